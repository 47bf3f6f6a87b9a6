"""How well scores rank: the areas under the ROC and the precision-recall curve, with their intervals."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from auditkit.evidence.messages import Message
from auditkit.stats.intervals import normal_quantile, wilson

ROWS_AT_ONCE = 2**18

FEWEST_FOR_DELONG = 4
"""The fewest rows of a class from which a variance within that class is taken."""


def average_ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the rank of each number, from 1; equal numbers share the mean of their ranks.

    >>> average_ranks(np.array([0.3, 0.1, 0.3]))
    array([2.5, 1. , 2.5])
    """
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[places])


class RocAuc(NamedTuple):
    """An area under the ROC curve, its variance, and what its interval depends on.

    `smaller` is the number of rows of the rarer class, `larger` that of the other; `single` says whether the area
    is that of one pair of classes or a mean of several.
    """

    value: float
    variance: float
    smaller: int
    larger: int
    single: bool = True


def roc_auc(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> RocAuc:
    """Return the area under the ROC curve: how often a positive row is scored above a negative one, ties half.

    Midranks make it exact, in n log n (Sun & Xu 2014); the variance is that of DeLong, DeLong & Clarke-Pearson
    (1988). Both classes must occur.
    """
    above, below = np.sort(scores[positive]), np.sort(scores[~positive])
    value, spread = _shares_below(above, below)
    _, other_spread = _shares_below(below, above)
    smaller, larger = sorted((len(above), len(below)))
    variance = sum(
        part / (len(rows) - 1) / len(rows) for part, rows in ((spread, above), (other_spread, below)) if len(rows) > 1
    )
    return RocAuc(value, float(variance), smaller, larger)


def _shares_below(scores: NDArray[np.float64], others: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean share of `others` below each score, ties half, and the sum of squared deviations from it.

    Both are sorted. In parts, which are merged as they come (Chan, Golub & LeVeque 1983), so that the memory does not
    grow with the rows.
    """
    count, mean, squares, pairs = 0, 0.0, 0.0, 0
    for start in range(0, len(scores), ROWS_AT_ONCE):
        part = scores[start : start + ROWS_AT_ONCE]
        twice = np.searchsorted(others, part, side="left") + np.searchsorted(others, part, side="right")
        pairs += int(twice.sum())
        shares = twice / (2 * len(others))
        centre = float(shares.mean())
        apart, together = centre - mean, count + len(part)
        squares += float(((shares - centre) ** 2).sum()) + apart**2 * count * len(part) / together
        mean, count = mean + apart * len(part) / together, together
    return pairs / (2 * len(scores) * len(others)), squares


def macro_roc_auc(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> RocAuc:
    """Return the mean over the classes of the area under the ROC curve of each class against the rest.

    The variance is that of the mean of the classes' placements, so their dependence is counted. Every class must
    occur, and not be alone.
    """
    count = len(labels)
    values, influence, smaller = [], np.zeros(count), count
    for code in range(probabilities.shape[1]):
        positive = labels == code
        value, placements = _placements(positive, probabilities[:, code])
        rows = int(positive.sum())
        influence += np.where(positive, count / rows, count / (count - rows)) * (placements - value)
        smaller = min(smaller, rows, count - rows)
        values.append(value)
    variance = float(((influence / len(values)) ** 2).sum()) / count**2
    return RocAuc(float(np.mean(values)), variance, smaller, count - smaller, single=False)


def _placements(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Return the area, and each row's placement: the share of the other class that it is ordered right against."""
    ranks = average_ranks(scores)
    within = np.empty(len(scores))
    within[positive], within[~positive] = average_ranks(scores[positive]), average_ranks(scores[~positive])
    positives, negatives = int(positive.sum()), int((~positive).sum())
    below = ranks - within
    value = below[positive].sum() / (positives * negatives)
    return float(value), np.where(positive, below / negatives, 1 - below / positives)


def roc_auc_interval(area: RocAuc, level: float) -> tuple[float, float, str]:
    """Return `(low, high, method)` of an area under the ROC curve.

    DeLong's variance on the logit scale, while the rarer class has at least z**2 rows on the wrong side of the
    ranking (`smaller` times the area or its complement); below, that interval is joined with Newcombe's score
    interval (2006, method 5), which does not vanish where all pairs are ordered alike. A class of fewer than 4
    rows (or a macro average with so few on the wrong side) has Wilson's interval with the rarer class as trials:
    an area's variance is at most that of so many trials (Birnbaum & Klose 1957).
    """
    z = normal_quantile(level)
    informative = area.variance > 0 and area.smaller * min(area.value, 1 - area.value) >= z * z
    if area.smaller < FEWEST_FOR_DELONG or not (informative or area.single):
        ends = wilson(area.value * area.smaller, area.smaller, level)
        return float(ends[0]), float(ends[1]), Message("Wilson over the rarer class")
    if informative:
        return *_logit(area, z), Message("DeLong on the logit scale")
    low, high = _newcombe(area, z)
    if 0 < area.value < 1 and area.variance > 0:
        logit_low, logit_high = _logit(area, z)
        low, high = min(low, logit_low), max(high, logit_high)
    return low, high, Message("DeLong on the logit scale, joined with Newcombe's score interval")


def _logit(area: RocAuc, z: float) -> tuple[float, float]:
    odds = area.value * (1 - area.value)
    centre, half = special.logit(area.value), z * np.sqrt(area.variance) / odds
    return float(special.expit(centre - half)), float(special.expit(centre + half))


def _newcombe(area: RocAuc, z: float) -> tuple[float, float]:
    """Return where |value - truth| = z times the standard error at the truth (Hanley & McNeil's, by Newcombe)."""
    scale = 1 / (area.smaller * area.larger)
    pairs = (area.smaller + area.larger) / 2 - 1

    def outside(truth: float) -> bool:
        odds = truth * (1 - truth)
        variance = odds * scale * (1 + pairs * ((1 - truth) / (2 - truth) + truth / (1 + truth)))
        return abs(area.value - truth) > z * float(np.sqrt(variance))

    ends = []
    for far in (0.0, 1.0):
        near = area.value
        for _ in range(54):
            middle = (far + near) / 2
            far, near = (middle, near) if outside(middle) else (far, middle)
        ends.append(near)
    return min(ends), max(ends)


def average_precision(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Return the area under the precision-recall curve, as a sum of steps: the mean precision at each positive row.

    Rows of equal scores are taken together, as in scikit-learn's average_precision_score. 1 is ideal, the share of
    positive rows is chance. A positive row must occur.
    """
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(positive[order])
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    found = np.diff(hits[last], prepend=0)
    return float((found * hits[last] / (last + 1)).sum() / hits[-1])
