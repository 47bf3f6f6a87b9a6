"""Shares that a classifier counted, corrected for its errors, which rows with known labels tell.

A share of `observed` rows holds true and false positives: observed = sensitivity x true + (1 - specificity) x (1 -
true). Solved for the true share (Rogan & Gladen 1978); the intervals take in the uncertainty of all three. Coverage is
simulated in tests/stats/test_misclassification.py.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from auditkit.stats.intervals import normal_quantile, proportion_interval

Ends = tuple[float, float]


class ClassifierErrors(NamedTuple):
    """What a classifier said of rows with known labels: hits among the positive rows, rejections among the others."""

    hits: int
    positives: int
    rejections: int
    negatives: int

    @property
    def sensitivity(self) -> float:
        """The share of positive rows that it calls positive."""
        return self.hits / self.positives

    @property
    def specificity(self) -> float:
        """The share of negative rows that it calls negative."""
        return self.rejections / self.negatives

    @property
    def discrimination(self) -> float:
        """Sensitivity and specificity less 1: 1 for a classifier without errors, 0 for one that guesses."""
        return self.sensitivity + self.specificity - 1

    def discrimination_interval(self, level: float) -> Ends:
        """Return the interval of `discrimination`: MOVER of both rates' intervals (Zou & Donner 2008)."""
        parts = [(self.hits, self.positives), (self.rejections, self.negatives)]
        ends = [tuple(map(float, proportion_interval(count, trials, level))) for count, trials in parts]
        rates = [count / trials for count, trials in parts]
        down = math.hypot(*(rate - low for rate, (low, _) in zip(rates, ends, strict=True)))
        up = math.hypot(*(high - rate for rate, (_, high) in zip(rates, ends, strict=True)))
        return self.discrimination - down, min(self.discrimination + up, 1.0)


def tells_apart(errors: ClassifierErrors, level: float) -> bool:
    """Return whether a classifier is certainly better than a guess, without which nothing can be corrected."""
    return errors.discrimination_interval(level)[0] > 0


def corrected_share(observed: float, errors: ClassifierErrors) -> float:
    """Return the true share of rows of which a classifier calls `observed` positive, from 0 to 1."""
    return min(max((observed + errors.specificity - 1) / errors.discrimination, 0.0), 1.0)


def corrected_share_interval(observed: float, trials: float, errors: ClassifierErrors, level: float) -> Ends:
    """Return the interval of `corrected_share`, of which `trials` independent rows were observed.

    Lang and Reiczigel's (2014, doi:10.1016/j.prevetmed.2013.09.015): observed share, sensitivity and specificity are
    drawn towards one half as if a few rows more had been seen, and the middle is moved by the skewness.
    """
    quantile = normal_quantile(level)
    rows = trials + quantile**2
    share = (observed * trials + quantile**2 / 2) / rows
    positives, negatives = errors.positives + 2, errors.negatives + 2
    sensitivity, specificity = (errors.hits + 1) / positives, (errors.rejections + 1) / negatives
    apart = sensitivity + specificity - 1
    true = (share + specificity - 1) / apart
    missed = sensitivity * (1 - sensitivity) / positives
    alarms = specificity * (1 - specificity) / negatives
    shift = 2 * quantile**2 * (true * missed - (1 - true) * alarms)
    variance = share * (1 - share) / rows + (1 - true) ** 2 * alarms + true**2 * missed
    half = quantile * math.sqrt(variance) / apart
    value = corrected_share(observed, errors)
    low, high = (min(max(true + shift + side, 0.0), 1.0) for side in (-half, half))
    return min(low, value), max(high, value)


def corrected_difference(observed: float, errors: ClassifierErrors) -> float:
    """Return the true difference of two shares whose observed difference this is, from -1 to 1.

    The errors of a classifier that makes them alike in both groups shrink a difference, and never turn it round.
    """
    return min(max(observed / errors.discrimination, -1.0), 1.0)


def corrected_difference_interval(observed: float, ends: Ends, errors: ClassifierErrors, level: float) -> Ends:
    """Return the interval of `corrected_difference`, from the `ends` of the observed one's.

    MOVER of a ratio (Donner & Zou 2012) whose parts come from different rows; an end on the other side of 0 is farther
    off the worse the classifier is. The classifier must tell rows apart (`tells_apart`).
    """
    apart = errors.discrimination
    worst, best = errors.discrimination_interval(level)
    best = min(best, 2 * apart * (1 - 1e-9))  # beyond which the ratio has no end

    def end(limit: float, other: float, side: float) -> float:
        """Return the root of (observed - x apart)^2 = (observed - limit)^2 + x^2 (apart - other)^2 on this side."""
        product, below = observed * apart, other * (2 * apart - other)
        root = product**2 - limit * (2 * observed - limit) * below
        return (product + side * math.sqrt(max(root, 0.0))) / below

    least = end(ends[0], worst if ends[0] < 0 else best, -1.0)
    most = end(ends[1], worst if ends[1] > 0 else best, 1.0)
    value = corrected_difference(observed, errors)
    return max(min(least, value), -1.0), min(max(most, value), 1.0)
