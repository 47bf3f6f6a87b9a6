"""Intervals of quality metrics from fresh sample sets and halves of rows; rows are never resampled with repetition.

A bootstrap of rows is wrong for nearest-neighbour metrics: duplicates shrink the neighbourhoods, and the replicates
lie far from the value. Fresh sets of samples, which the owner of a generator can draw, show how a metric varies with
the samples; halves of the real rows, how it varies with the rows that it is held against.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from auditkit.errors import InputError
from auditkit.evidence.measurement import Interval
from auditkit.evidence.messages import Message

Values = NDArray[np.float64]
Rows = NDArray[np.int64]

FEWEST_SETS = 10
"""The variance between sample sets is taken over at least this many."""

HALVING_COUNT = 20
"""How many random halvings are made."""

METHOD = Message("t interval over fresh sample sets and halves of the real rows")


class SetEstimates(NamedTuple):
    """Several metrics at once: mean values, (metrics,), and their variances with degrees of freedom.

    The variance is that of the mean over sample sets, for fresh samples and fresh real rows alike.
    """

    values: Values
    variances: Values
    degrees: Values

    def interval(self, place: int, *, level: float, count: int, low: float = -np.inf, high: float = np.inf) -> Interval:
        """Return the interval of the metric at `place`, which lies between `low` and `high`; see `interval_of`."""
        numbers = (float(part[place]) for part in (self.values, self.variances, self.degrees))
        return interval_of(*numbers, level=level, count=count, low=low, high=high)


def over_sample_sets(
    metrics: Callable[[Rows, int, Rows], Sequence[float] | Values], *, row_count: int, set_count: int, seed: int
) -> SetEstimates:
    """Return the mean of metrics over sample sets, and its variance.

    The variance between sets, over their number, is that of the samples. For the real rows, halves A and B of them
    are each held against the same half of a set, so that samples stand to real rows as they do in the whole: a half of
    (a - b)^2 estimates the variance at half the rows, a quarter that at all rows.

    Args:
        metrics: from positions of real rows, the number of a sample set, and positions in it, to one value a metric.
        row_count: how many real rows there are, and samples in each set, at least 4.
        set_count: how many fresh sets of samples there are, at least 10.
        seed: draws the halves.

    Raises:
        InputError: fewer sample sets than 10.
    """
    if set_count < FEWEST_SETS:
        raise InputError(f"sample sets must be at least {FEWEST_SETS}, got {set_count}; draw more.")
    every = np.arange(row_count)
    values = np.array([metrics(every, number, every) for number in range(set_count)], dtype=np.float64)
    generator = np.random.default_rng(seed)
    half = row_count // 2
    squares = []
    for number in range(HALVING_COUNT):
        order, drawn = generator.permutation(row_count), generator.permutation(row_count)[:half]
        halves = order[:half], order[half : 2 * half]
        first, second = (np.asarray(metrics(rows, number % set_count, drawn), dtype=np.float64) for rows in halves)
        squares.append((first - second) ** 2)
    return added(values, np.mean(squares, axis=0) / 4, HALVING_COUNT)


def added(by_set: Values, of_real: Values, degrees: int) -> SetEstimates:
    """Return the means over sets of metrics, (sets, metrics), with the variances of samples and of real rows added.

    `of_real`, (metrics,), is the variance for fresh real rows, known with so many degrees of freedom; those of the sum
    are Welch-Satterthwaite's.
    """
    between = by_set.var(axis=0, ddof=1) / len(by_set)
    total = between + of_real
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = total**2 / (between**2 / (len(by_set) - 1) + of_real**2 / degrees)
    return SetEstimates(by_set.mean(axis=0), total, np.nan_to_num(freedom, nan=1.0))


def interval_of(
    value: float,
    variance: float,
    degrees: float,
    *,
    level: float,
    count: int,
    low: float = -np.inf,
    high: float = np.inf,
) -> Interval:
    """Return the t interval of a mean over sample sets, within the bounds of the metric.

    Where all sets gave one value, or one at a bound, no variance was seen, and the interval reaches as far as `count`
    independent rows without an exception allow at this level (the rule of three): never of width 0.
    """
    margin = float(special.stdtrit(max(degrees, 1.0), (1 + level) / 2)) * float(np.sqrt(variance))
    unseen = -np.log((1 - level) / 2) / count
    below = max(margin, unseen) if variance == 0 or value >= high else margin
    above = max(margin, unseen) if variance == 0 or value <= low else margin
    return Interval(low=max(low, value - below), high=min(high, value + above), level=level, method=METHOD)
