"""Intervals of weighted estimates whose rows come in clusters: a person, an image, a template, an author.

Rows of a cluster are not independent: a variance adds up the squares of the clusters' summed influences (Liang & Zeger
1986), not of the rows'. Student's t with one less degree of freedom than clusters stands for the normal distribution.
Without clusters every row is one. Coverage is simulated in tests/stats/test_clustered.py, with figures in
docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from auditkit.errors import InputError
from auditkit.stats.intervals import (
    normal_quantile,
    proportion_interval,
    skewed_mean_interval,
    student_share,
    studentized_range_level,
)
from auditkit.stats.weighted import Floats, Weighted

Clusters = NDArray[np.int64] | None
"""The cluster of each row, from 0; None where every row is its own."""

Ends = tuple[float, float]

FEWEST_HOLDING = 10
"""The fewest clusters with the rarer outcome from which the variance of a rate is taken."""


def cluster_count(estimate: Weighted, clusters: Clusters) -> int:
    """Return the number of clusters that the rows of an estimate come from."""
    return estimate.row_count if clusters is None else len(np.unique(clusters[estimate.rows]))


def covariance(one: Weighted, other: Weighted, clusters: Clusters = None) -> float:
    """Return the covariance of two estimates over the same rows; of an estimate and itself, its variance."""
    count = max(cluster_count(one, clusters), cluster_count(other, clusters))
    if count < 2:
        raise InputError(f"clusters must be at least 2 for an interval, got {count}; one unit has no spread.")
    sums = [_of_clusters(estimate.influence, clusters) for estimate in (one, other)]
    return float((sums[0] * sums[1]).sum()) * count / (count - 1)


def design_effect(estimate: Weighted, clusters: Clusters) -> float:
    """Return how many times larger the variance is than if all rows were independent; 1 where nothing varies."""
    apart = covariance(estimate, estimate)
    return covariance(estimate, estimate, clusters) / apart if apart > 0 else 1.0


def design_freedom(value: Floats, sums: Floats, owner: NDArray[np.intp], counts: NDArray[np.intp]) -> Floats:
    """Return the degrees of freedom with which the design effects of rates are known: float64, (rates,).

    Satterthwaite (1946): twice the square of a variance over its own variance, that of the squared influences, at most
    one less than the number of units. Wilson's interval already lets the variance follow the rate, so what the rate
    explains is left out: equal, independent rows lose nothing, and clusters of which few make up the variance do.

    Args:
        value: the rates, (rates,).
        sums: the influence of each unit on its rate, (units,).
        owner: the rate of each unit, (units,), from 0.
        counts: the number of units of each rate, (rates,).
    """
    most = np.maximum(counts - 1, 1).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = np.bincount(owner, sums**2, len(counts))
        slope = (1 - 2 * value) / (value * (1 - value))
        apart = sums**2 / variance[owner] - 1 / counts[owner] - slope[owner] * sums
        freedom = 2 / np.bincount(owner, apart**2, len(counts))
    return np.clip(np.fmin(freedom, most), 1, most)


def rate_interval(rate: Weighted, level: float, clusters: Clusters = None, weights: Floats | None = None) -> Ends:
    """Return the interval of a weighted rate: Wilson's or the exact one of the effective number of rows.

    The effective number is that of independent rows with the same variance, at most those that there are, lowered by
    the square of normal over Student's quantile (Korn & Graubard 1998), with the degrees of freedom that the design
    effect is known with. Where fewer than 10 clusters hold the rarer
    outcome they tell little of the variance, and nothing where none does: then it is at most Kish's effective number of
    clusters.
    """
    trials = effective_rows(rate, level, clusters, weights)
    low, high = proportion_interval(rate.value * trials, trials, level)
    return float(low), float(high)


def effective_rows(rate: Weighted, level: float, clusters: Clusters = None, weights: Floats | None = None) -> float:
    """Return the effective number of independent rows of `rate_interval`."""
    known = np.where(rate.rows, 1.0 if weights is None else weights, 0.0)
    apart = np.abs(rate.influence)
    rarer = (rate.influence > 0) if rate.value <= 0.5 else (rate.influence < 0)
    holding = int((_of_clusters(np.where(rarer, apart, 0.0), clusters) > 0).sum())
    variance = covariance(rate, rate, clusters)
    most = _kish(_of_clusters(known, clusters))
    if variance > 0:
        seen = min(
            rate.value * (1 - rate.value) / variance, _kish(known) if clusters is None else float(rate.row_count)
        )
        most = seen if holding >= FEWEST_HOLDING else min(seen, most)
    return most * float(student_share(level, _freedom(rate, clusters)))


def _freedom(rate: Weighted, clusters: Clusters) -> float:
    sums = _of_clusters(rate.influence, clusters)
    sums = sums[rate.rows] if clusters is None else sums[np.unique(clusters[rate.rows])]
    alone = np.zeros(len(sums), dtype=np.intp)
    return float(design_freedom(np.array([rate.value]), sums, alone, np.array([len(sums)]))[0])


def _kish(weights: Floats) -> float:
    return float(weights.sum() ** 2 / (weights**2).sum())


def mean_interval(mean: Weighted, level: float, clusters: Clusters = None) -> Ends | None:
    """Return the interval of a weighted mean, such as of errors: Student's t joined with Hall's, over the clusters.

    None where all values are alike: they tell nothing of the variance.
    """
    sums = _of_clusters(mean.influence, clusters)
    parts = sums[np.unique(clusters[mean.rows])] if clusters is not None else sums[mean.rows]
    count = len(parts)
    variance = covariance(mean, mean, clusters)
    if variance <= 0:
        return None
    parts = parts - parts.mean()
    skewness = float((parts**3).mean() / (parts**2).mean() ** 1.5)
    return skewed_mean_interval(mean.value, variance * count, skewness, count, level)


def roc_auc_interval(area: Weighted, level: float, clusters: Clusters = None, *, smaller: float) -> Ends:
    """Return the interval of an area under the ROC curve on the logit scale, joined with Wilson's where it is near 1.

    `smaller` is the effective number of rows (or clusters) of the rarer class: an area's variance is at most that of so
    many trials (Birnbaum & Klose 1957), which bounds it where few pairs are ordered wrongly.
    """
    quantile = _student(level, cluster_count(area, clusters) - 1)
    odds = area.value * (1 - area.value)
    variance = covariance(area, area, clusters)
    if odds <= 0 or variance <= 0 or smaller * min(area.value, 1 - area.value) < quantile**2:
        trials = smaller * (normal_quantile(level) / quantile) ** 2
        low, high = proportion_interval(area.value * trials, trials, level)
        return float(low), float(high)
    centre, half = special.logit(area.value), quantile * np.sqrt(variance) / odds
    return float(special.expit(centre - half)), float(special.expit(centre + half))


def difference_interval(
    one: Weighted, other: Weighted, level: float, clusters: Clusters = None, weights: Floats | None = None
) -> Ends:
    """Return the interval of a difference of two weighted rates, the first minus the other, of different rows.

    MOVER from the limits of both, with their correlation, which they have where clusters lie across the groups (Zou
    2008).
    """
    ends = [rate_interval(rate, level, clusters, weights) for rate in (one, other)]
    return _difference(one, other, ends[0], ends[1], _correlation(one, other, clusters))


def ratio_interval(
    one: Weighted, other: Weighted, level: float, clusters: Clusters = None, weights: Floats | None = None
) -> Ends:
    """Return the interval of a ratio of two weighted rates, the first over the other; infinite above a rate of 0.

    MOVER-R (Donner & Zou 2012) with the correlation of the two.
    """
    (low, high), (other_low, other_high) = (rate_interval(rate, level, clusters, weights) for rate in (one, other))
    related = _correlation(one, other, clusters)
    product = one.value * other.value
    down = product - related * (one.value - low) * (other_high - other.value)
    up = product - related * (high - one.value) * (other.value - other_low)
    below = other_high * (2 * other.value - other_high)
    root = np.sqrt(max(down**2 - low * (2 * one.value - low) * below, 0.0))
    # The smaller root, written so that it does not cancel, and holds where `below` is 0 or negative.
    least = low * (2 * one.value - low) / (down + root) if down + root > 0 else 0.0
    above = other_low * (2 * other.value - other_low)
    if above <= 0:
        return max(float(least), 0.0), float("inf")
    most = (up + np.sqrt(max(up**2 - high * (2 * one.value - high) * above, 0.0))) / above
    return max(float(least), 0.0), float(most)


def gap_interval(
    rates: Sequence[Weighted], level: float, clusters: Clusters = None, weights: Floats | None = None
) -> Ends:
    """Return the interval of the largest minus the smallest of weighted rates of different groups.

    As `auditkit.stats.intervals.difference_gap_interval`: the lower end bounds all pairs at once, the upper end is that
    of a pair.
    """
    if len(rates) < 2:
        raise InputError(f"a gap needs at least 2 groups, got {len(rates)}.")
    each = studentized_range_level(level, len(rates))
    own, wide = ([rate_interval(rate, at, clusters, weights) for rate in rates] for at in (level, each))
    low = high = 0.0
    for first, one in enumerate(rates):
        for second, other in enumerate(rates):
            if first != second:
                related = _correlation(one, other, clusters)
                low = max(low, _difference(one, other, wide[first], wide[second], related)[0])
                high = max(high, _difference(one, other, own[first], own[second], related)[1])
    return low, high


def _difference(one: Weighted, other: Weighted, ends: Ends, other_ends: Ends, related: float) -> Ends:
    value = one.value - other.value
    down, other_up = one.value - ends[0], other_ends[1] - other.value
    up, other_down = ends[1] - one.value, other.value - other_ends[0]
    low = value - np.sqrt(max(down**2 - 2 * related * down * other_up + other_up**2, 0.0))
    high = value + np.sqrt(max(up**2 - 2 * related * up * other_down + other_down**2, 0.0))
    return max(float(low), -1.0), min(float(high), 1.0)


def _correlation(one: Weighted, other: Weighted, clusters: Clusters) -> float:
    """Return the correlation of two estimates: 0 where no cluster, and no row, is part of both."""
    if clusters is None:
        return 0.0
    spread = covariance(one, one, clusters) * covariance(other, other, clusters)
    return float(np.clip(covariance(one, other, clusters) / np.sqrt(spread), -1, 1)) if spread > 0 else 0.0


def _of_clusters(values: Floats, clusters: Clusters) -> Floats:
    return values if clusters is None else np.bincount(clusters, values).astype(np.float64)


def _student(level: float, freedom: int) -> float:
    return float(special.stdtrit(max(freedom, 1), (1 + level) / 2))
