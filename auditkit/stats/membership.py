"""How well scores tell members from others, where rows may come in clusters such as the texts of an author."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from auditkit.evidence.messages import Message
from auditkit.stats import clustered, ranking
from auditkit.stats.intervals import clopper_pearson
from auditkit.stats.weighted import weighted_mean, weighted_roc_auc

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Clusters = NDArray[np.int64] | None


CHANCE = 0.5
"""The area under the ROC curve of an attack that cannot tell members from others."""

SURE = 0.999
"""The level of the interval that says that an attack is clearly below chance: it errs in 1 of 2,000 audits."""

BELOW_CHANCE = Message(
    "the attack is invalid here: it ranks training rows below audited ones more often than chance does"
)
"""Why an attack clearly below chance is no result: it failed, and says nothing of what the model remembers."""


class Bounded(NamedTuple):
    """A value with the ends of its interval."""

    value: float
    low: float
    high: float


def below_chance(area: float, high: float, level: float) -> Message | None:
    """Return why an attack is no result where the interval of its area, up to `high`, lies below chance."""
    if high >= CHANCE:
        return None
    return Message(
        "{invalid} (area under the ROC curve {area:.3f}, {level:.0%} CI to {high:.3f})",
        invalid=BELOW_CHANCE,
        area=area,
        level=level,
        high=high,
    )


def roc_auc(member: Mask, scores: Floats, level: float, clusters: Clusters = None) -> Bounded:
    """Return how often a member has a higher score than another row, ties half: 0.5 is chance, 1 is perfect.

    Without clusters the interval is DeLong's on the logit scale, joined with Newcombe's near 1; with clusters that of
    the linearised variance over them, joined with Wilson's over the clusters of the rarer side. None has width 0.
    """
    if clusters is None:
        area = ranking.roc_auc(member, scores)
        low, high, _ = ranking.roc_auc_interval(area, level)
        return Bounded(area.value, min(low, area.value), max(high, area.value))
    found = weighted_roc_auc(member, scores)
    smaller = min(len(np.unique(clusters[side])) for side in (member, ~member))
    low, high = clustered.roc_auc_interval(found, level, clusters, smaller=float(smaller))
    return Bounded(found.value, min(low, found.value), max(high, found.value))


def true_positive_rate_at(
    member: Mask, scores: Floats, false_positive_rate: float, level: float, clusters: Clusters = None
) -> Bounded | None:
    """Return the share of members that an attack names when it may name this share of the others; None if unknown.

    The threshold is the highest score that leaves at most this share of the others above it; members at the threshold
    are not counted. None where this share is less than one of the others. The interval allows for the threshold too:
    half of the error goes to the order statistics of the others that enclose their true quantile, half to
    Clopper-Pearson's interval for the members. With clusters the numbers of rows are divided by the design effect of
    their rates.
    """
    order = np.sort(scores[~member])[::-1]
    members = scores[member]
    count = len(order)
    allowed = int(np.floor(false_positive_rate * count + 1e-9))
    if allowed < 1:
        return None
    above = scores > order[allowed]
    alike = [1.0, 1.0] if clusters is None else [_design_effect(above, side, clusters) for side in (member, ~member)]
    error = (1 - level) / 2
    known = count / alike[1]
    fewest, most = (
        _binomial_quantile(tail, known, false_positive_rate) / known * count for tail in (error / 2, 1 - error / 2)
    )
    strict = int((members > order[int(fewest) - 1]).sum()) if fewest >= 1 else 0
    lax = int((members >= order[int(np.ceil(most))]).sum()) if most < count else len(members)
    value = float((members > order[allowed]).mean())
    low = float(clopper_pearson(strict / alike[0], len(members) / alike[0], 1 - error)[0])
    high = float(clopper_pearson(lax / alike[0], len(members) / alike[0], 1 - error)[1])
    return Bounded(value, min(low, value), max(high, value))


def _design_effect(outcomes: Mask, rows: Mask, clusters: NDArray[np.int64]) -> float:
    """Return how many times the variance of a rate is larger than of independent rows, at least 1."""
    rate = weighted_mean(outcomes.astype(np.float64), rows=rows)
    if clustered.cluster_count(rate, clusters) < 2 or not 0 < rate.value < 1:
        sizes = np.unique(clusters[rows], return_counts=True)[1]
        return float((sizes**2).sum() / sizes.sum())
    return max(1.0, clustered.design_effect(rate, clusters))


def _binomial_quantile(probability: float, trials: float, rate: float) -> int:
    """Return the quantile of the number of successes; trials may be a fraction."""
    counts = np.arange(int(np.ceil(trials)))
    reached = special.betaincc(counts + 1, np.maximum(trials - counts, 1e-9), rate)
    return int(np.searchsorted(reached, probability))
