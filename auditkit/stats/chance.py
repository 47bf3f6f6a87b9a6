"""Whether predictions tell the classes apart no better than chance: by areas, by rates of two classes, by agreement.

Predictions are at chance where their 95 % interval holds what chance gives, and where they are surely no more than
`NEAR` above it: the upper end of an interval of level `SURE` lies below that. So a model that is `NEAR`
or more above chance is taken for one at chance in less than 1 of 1,000 samples (docs/statistics.md).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.stats import clustered, sampled
from auditkit.stats.estimates import Estimate
from auditkit.stats.intervals import newcombe, wilson
from auditkit.stats.ranking import roc_auc, roc_auc_interval
from auditkit.stats.sampling import SIMPLE, Sampling
from auditkit.stats.weighted import weighted_mean

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Codes = NDArray[np.int64]
Ends = tuple[float, float]

LEVEL = 0.95
SURE = 0.999
"""The level of the interval whose upper end says that predictions are near chance: that end errs in 0.05 %."""

NEAR = 0.1
"""Predictions that may be so far above chance are not said to be at chance."""


class AtChance(NamedTuple):
    """Predictions no better than chance: the estimate, its 95 % interval, and what chance gives."""

    value: float
    low: float
    high: float
    chance: float


def _judged(value: float, chance: float, usual: Ends, sure: Ends) -> AtChance | None:
    low, high = (float(end) for end in usual)
    return AtChance(value, low, high, chance) if low <= chance <= high and sure[1] <= chance + NEAR else None


def area_at_chance(positive: Mask, scores: Floats, sampling: Sampling = SIMPLE) -> AtChance | None:
    """Return the area under the ROC curve where it is at chance, 0.5; None otherwise, and where a class is missing."""
    if positive.all() or not positive.any():
        return None
    if sampling.is_simple:
        area = roc_auc(positive, scores)
        usual, sure = (roc_auc_interval(area, level)[:2] for level in (LEVEL, SURE))
        return _judged(area.value, 0.5, usual, sure)
    found = sampled.roc_auc(positive.astype(np.int64), np.column_stack([-scores, scores]), (LEVEL, SURE), sampling)
    return _of_estimate(found, 0.5)


def rates_at_chance(positive: Mask, decided: Mask, sampling: Sampling = SIMPLE) -> tuple[float, float] | None:
    """Return how often rows of each class are decided for the positive one, where that is alike; None otherwise.

    The first is the rate among rows of the positive class, the second among the others. None too where a class is
    missing, or where all rows get one decision.
    """
    if positive.all() or not positive.any() or decided.all() or not decided.any():
        return None
    values = decided.astype(np.float64)
    one, other = (weighted_mean(values, sampling.weights, rows) for rows in (positive, ~positive))
    if sampling.is_simple:
        sizes = int(positive.sum()), int((~positive).sum())
        hits = int((decided & positive).sum()), int((decided & ~positive).sum())
        pairs = [newcombe(hits[0], sizes[0], hits[1], sizes[1], level) for level in (LEVEL, SURE)]
        usual, sure = ((float(low), float(high)) for low, high in pairs)
    else:
        units = sampling.units_of(len(positive))
        if min(len(np.unique(units[rows])) for rows in (positive, ~positive)) < 2:
            return None
        usual, sure = (
            clustered.difference_interval(one, other, level, sampling.clusters, sampling.weights)
            for level in (LEVEL, SURE)
        )
    return (one.value, other.value) if _judged(one.value - other.value, 0.0, usual, sure) else None


def agreement_at_chance(labels: Codes, decided: Codes, classes: int, sampling: Sampling = SIMPLE) -> AtChance | None:
    """Return how often labels and predictions agree, where that is what independent ones with the same shares would.

    None otherwise, and where all labels or all predictions are of one class.
    """
    if len(np.unique(decided)) < 2 or len(np.unique(labels)) < 2:
        return None
    weights = sampling.weights_of(len(labels))
    shares = [np.bincount(codes, weights, classes) / weights.sum() for codes in (labels, decided)]
    chance = float(shares[0] @ shares[1])
    if sampling.is_simple:
        hits = int((labels == decided).sum())
        usual, sure = (
            (float(low), float(high)) for low, high in (wilson(hits, len(labels), at) for at in (LEVEL, SURE))
        )
        return _judged(hits / len(labels), chance, usual, sure)
    return _of_estimate(sampled.accuracy(labels, decided, (LEVEL, SURE), sampling, classes), chance)


def _of_estimate(found: Estimate, chance: float) -> AtChance | None:
    usual, sure = found.bounds
    if found.value is None or usual is None or sure is None:
        return None
    return _judged(found.value, chance, usual[:2], sure[:2])
