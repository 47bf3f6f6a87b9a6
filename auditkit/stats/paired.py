"""Groups compared on the same units: mean differences, and the largest of them, with intervals over the units."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.stats.bounded import BoundedInterval, bounded_student_interval
from auditkit.stats.rates import lowest_and_highest

Floats = NDArray[np.float64]


class PairedGap(NamedTuple):
    """The largest difference of two groups' means, its interval, and which groups are the lowest and the highest.

    `joined` is what Student's t is joined with, as in BoundedInterval.
    """

    value: float
    low: float
    high: float
    joined: str
    lowest: int
    highest: int


def differences_from_mean(scores: Floats, level: float) -> tuple[Floats, list[BoundedInterval]]:
    """Return each group's mean difference from the mean of all groups, with its interval over the units.

    The interval is `bounded_student_interval`: where most differences are alike it allows for others.

    Args:
        scores: (units, groups) from 0 to 1, at least two of both: the same unit scored once for each group.
        level: of each interval, in (0, 1).

    Returns:
        The differences, (groups,), which sum to 0, and an interval for each of them.

    >>> differences_from_mean(np.array([[0.2, 0.4], [0.3, 0.5]]), 0.95)[0].round(6)
    array([-0.1,  0.1])
    """
    away = scores - scores.mean(axis=1, keepdims=True)
    most = 1 - 1 / scores.shape[1]
    return away.mean(axis=0), [bounded_student_interval(own, -most, most, level) for own in away.T]


def paired_gap(scores: Floats, level: float) -> PairedGap:
    """Return the highest mean of a group minus the lowest, over units that are scored once for each group.

    The lower end is the largest lower bound of a pair's mean difference (`bounded_student_interval`), at a level that
    holds for all pairs at once (Bonferroni): where the groups are alike it excludes 0 in at most 1 - `level` of
    samples. The upper end is the largest upper bound of a pair at `level` itself: the gap is the difference of one
    pair.

    Args:
        scores: (units, groups) from 0 to 1, at least two units and two groups.
        level: confidence level in (0, 1).
    """
    means = scores.mean(axis=0)
    pairs = list(itertools.combinations(range(scores.shape[1]), 2))
    each = 1 - (1 - level) / len(pairs)
    lows, highs = [], []
    for one, other in pairs:
        apart = scores[:, one] - scores[:, other]
        wide, own = (bounded_student_interval(apart, -1.0, 1.0, at) for at in (each, level))
        lows += [(wide.low, wide.joined), (-wide.high, wide.joined)]
        highs += [(own.high, own.joined), (-own.low, own.joined)]
    low, below = max(lows)
    high, above = max(highs)
    joined = below if below == above else below + above
    return PairedGap(float(np.ptp(means)), max(low, 0.0), high, joined, *lowest_and_highest(means))
