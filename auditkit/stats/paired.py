"""Groups compared on the same units: mean differences, and the largest of them, with intervals over the units."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.stats.bounded import bounded_student_interval
from auditkit.stats.rates import lowest_and_highest

Floats = NDArray[np.float64]


class PairedGap(NamedTuple):
    """The largest difference of two groups' means, its interval, and which groups are the lowest and the highest."""

    value: float
    low: float
    high: float
    lowest: int
    highest: int


def differences_from_mean(scores: Floats, level: float) -> tuple[Floats, Floats, Floats]:
    """Return each group's mean difference from the mean of all groups, with Student's t interval over the units.

    Where most differences are alike the interval allows for others (`bounded_student_interval`): no width is 0.

    Args:
        scores: (units, groups) from 0 to 1, at least two of both: the same unit scored once for each group.
        level: of each interval, in (0, 1).

    Returns:
        value, low, high: (groups,) each; the values sum to 0.

    >>> differences_from_mean(np.array([[0.2, 0.4], [0.3, 0.5]]), 0.95)[0].round(6)
    array([-0.1,  0.1])
    """
    away = scores - scores.mean(axis=1, keepdims=True)
    most = 1 - 1 / scores.shape[1]
    low, high = np.array([bounded_student_interval(own, -most, most, level) for own in away.T]).T
    return away.mean(axis=0), low, high


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
    low = high = 0.0
    for one, other in pairs:
        apart = scores[:, one] - scores[:, other]
        wide, own = (bounded_student_interval(apart, -1.0, 1.0, at) for at in (each, level))
        low = max(low, wide[0], -wide[1])
        high = max(high, own[1], -own[0])
    return PairedGap(float(np.ptp(means)), low, high, *lowest_and_highest(means))
