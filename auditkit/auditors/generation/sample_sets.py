"""Intervals of quality metrics from fresh sample sets and halves of the real rows; rows are never resampled.

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

FEWEST_SETS = 10
"""The variance between sample sets is taken over at least this many."""

HALVING_COUNT = 20
"""How many random halvings of the real rows are made."""

METHOD = Message("t interval over fresh sample sets and halves of the real rows")


class SetEstimates(NamedTuple):
    """Several metrics at once: mean values, (metrics,), and their variances with degrees of freedom.

    The variance is that of the mean over sample sets, for fresh samples and fresh real rows alike.
    """

    values: Values
    variances: Values
    degrees: Values
    set_count: int


def over_sample_sets(
    metrics: Callable[[NDArray[np.int64], int], Sequence[float]], *, real_count: int, set_count: int, seed: int
) -> SetEstimates:
    """Return the mean of metrics over sample sets, and its variance.

    The variance between sets, over their number, is that of the samples. For the real rows, halves A and B of them
    are held against one set: half of (a - b)^2 estimates the variance at half the rows, a quarter that at all rows.
    The two add up (Welch-Satterthwaite degrees of freedom).

    Args:
        metrics: from positions of real rows and the number of a sample set to one value a metric.
        real_count: how many real rows there are, at least 4.
        set_count: how many fresh sets of samples there are, at least 10.
        seed: draws the halves.

    Raises:
        InputError: fewer sample sets than 10.
    """
    if set_count < FEWEST_SETS:
        raise InputError(f"sample sets must be at least {FEWEST_SETS}, got {set_count}; draw more.")
    every = np.arange(real_count)
    values = np.array([metrics(every, number) for number in range(set_count)], dtype=np.float64)
    between = values.var(axis=0, ddof=1) / set_count
    generator = np.random.default_rng(seed)
    half = real_count // 2
    squares = []
    for number in range(HALVING_COUNT):
        order = generator.permutation(real_count)
        first, second = (np.array(metrics(rows, number % set_count)) for rows in (order[:half], order[half : 2 * half]))
        squares.append((first - second) ** 2)
    of_real = np.mean(squares, axis=0) / 4
    total = between + of_real
    with np.errstate(divide="ignore", invalid="ignore"):
        degrees = total**2 / (between**2 / (set_count - 1) + of_real**2 / HALVING_COUNT)
    return SetEstimates(values.mean(axis=0), total, np.nan_to_num(degrees, nan=1.0), set_count)


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

    Where all sets gave one value at a bound, no variance was seen, and the interval reaches as far as `count`
    independent rows without an exception allow at this level (the rule of three): never of width 0.
    """
    quantile = float(special.stdtrit(max(degrees, 1.0), (1 + level) / 2))
    margin = quantile * float(np.sqrt(variance))
    unseen = -np.log((1 - level) / 2) / count
    below, above = margin, margin
    if value >= high:
        below = max(margin, unseen)
    if value <= low:
        above = max(margin, unseen)
    return Interval(low=max(low, value - below), high=min(high, value + above), level=level, method=METHOD)
