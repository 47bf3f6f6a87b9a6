"""The interval of a mean of bounded values of which most may be alike, such as differences of paired scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import InputError
from auditkit.evidence.messages import Message
from auditkit.stats.intervals import clopper_pearson, mean_interval, skewed_mean_interval

Floats = NDArray[np.float64]

FEWEST_APART = 10
"""The fewest values that differ from what most are, from which their spread alone gives the interval."""

ALIKE = 1e-6
"""Values that are closer than this share of their range count as alike: models compute in 32 bits."""

WITH_HALL = Message(", joined with Hall's")
WITH_EXACT_SHARES = Message(", joined with Clopper-Pearson")


class BoundedInterval(NamedTuple):
    """Student's t interval of a mean, and what it is joined with, to be said behind its name; "" of t alone."""

    low: float
    high: float
    joined: str


def bounded_student_interval(values: Floats, lowest: float, highest: float, level: float) -> BoundedInterval:
    """Return Student's t interval of a mean, which allows for values that were not drawn where most are alike.

    Where more than half of the values are alike and fewer than 10 differ, the sample's spread says next to nothing of
    the rare ones: with none it is 0. Each end then reaches at least as far as the exact upper limit of the share of
    values on that side (Clopper & Pearson 1934) would move the mean, if all of that share lay at the bound. Such ends
    hold for any values from `lowest` to `highest`, as Anderson's (1969) do, with the distribution function bounded at
    one place. With n values alike the share is 1 - ((1 - `level`) / 2) ** (1 / n). Where 10 or more of the minority
    differ, Student's t is joined with Hall's, which allows for their skewness.

    Args:
        values: (n,), at least 2, from `lowest` to `highest`.
        lowest: the least that a value can be.
        highest: the greatest that a value can be.
        level: confidence level in (0, 1).

    Raises:
        InputError: fewer than 2 values, or one outside the bounds.

    >>> low, high, joined = bounded_student_interval(np.zeros(100), -1.0, 1.0, 0.95)  # 100 differences, all of them 0
    >>> round(low, 4), round(high, 4)
    (-0.0362, 0.0362)
    >>> print("Student's t" + joined)
    Student's t, joined with Clopper-Pearson
    """
    count, margin = len(values), ALIKE * (highest - lowest)
    if count and not (lowest - margin <= values.min() and values.max() <= highest + margin):
        raise InputError(
            f"values must lie from {lowest:g} to {highest:g}, got {values.min():g} to {values.max():g}; "
            "state the bounds of the scale that they are on."
        )
    if count < 2:
        raise InputError(f"values must be at least 2 for the interval of a mean, got {count}.")
    mean, variance = float(values.mean()), float(values.var(ddof=1))
    low, high = (float(end) for end in mean_interval(mean, variance, count, level))
    usual = float(np.median(values))
    below, above = int((values < usual - margin).sum()), int((values > usual + margin).sum())
    apart = below + above
    if 2 * apart >= count:
        return BoundedInterval(low, high, "")
    if apart >= FEWEST_APART:
        skewness = float(((values - mean) ** 3).mean()) / variance**1.5
        return BoundedInterval(*skewed_mean_interval(mean, variance, skewness, count, level), WITH_HALL)
    _, shares = clopper_pearson([below, above], count, level)
    low = min(low, usual - float(shares[0]) * (usual - lowest))
    high = max(high, usual + float(shares[1]) * (highest - usual))
    return BoundedInterval(low, high, WITH_EXACT_SHARES)
