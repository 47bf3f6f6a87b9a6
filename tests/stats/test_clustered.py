"""Weighted estimates and cluster-robust intervals: by hand, against other formulas, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from scipy import stats

from auditkit.errors import InputError
from auditkit.stats import clustered
from auditkit.stats.intervals import donner_zou, newcombe, proportion_interval
from auditkit.stats.ranking import roc_auc
from auditkit.stats.weighted import (
    check_weights,
    effective_sample_size,
    least_weighted_class,
    weighted_mean,
    weighted_roc_auc,
)

RNG = np.random.default_rng(0)


def drawn(rng: np.random.Generator, clusters: int, related: float, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes of clusters of about 10 rows with an intracluster correlation: (cluster of each row, outcome)."""
    own = np.full(clusters, rate)
    if related:
        own = rng.beta(rate * (1 - related) / related, (1 - rate) * (1 - related) / related, clusters)
    codes = np.repeat(np.arange(clusters), 1 + rng.poisson(9, clusters))
    return codes, (rng.random(len(codes)) < own[codes]).astype(np.float64)


def test_the_influence_is_the_derivative_by_the_weights() -> None:
    values, weights = RNG.random(30), RNG.uniform(0.5, 3, 30)
    labels, scores = RNG.random(30) < 0.4, RNG.normal(size=30).round(1)
    for estimate in (lambda w: weighted_mean(values, w), lambda w: weighted_roc_auc(labels, scores, w)):
        found = estimate(weights)  # type: ignore[no-untyped-call]  # the library gives no types
        for row in range(30):
            step = np.zeros(30)
            step[row] = 1e-6
            slope = (estimate(weights + step).value - estimate(weights - step).value) / 2e-6  # type: ignore[no-untyped-call]  # the library gives no types
            assert found.influence[row] == pytest.approx(slope * weights[row], abs=1e-7)
        assert found.influence.sum() == pytest.approx(0, abs=1e-12)


def test_weighted_values_are_scikit_learns() -> None:
    labels, scores, weights = RNG.random(200) < 0.3, RNG.normal(size=200).round(1), RNG.uniform(0.1, 4, 200)
    area = weighted_roc_auc(labels, scores, weights)
    assert area.value == pytest.approx(sklearn.metrics.roc_auc_score(labels, scores, sample_weight=weights))
    assert weighted_mean(labels.astype(float), weights).value == pytest.approx(np.average(labels, weights=weights))
    assert clustered.covariance(weighted_roc_auc(labels, scores), weighted_roc_auc(labels, scores)) == pytest.approx(
        roc_auc(labels, scores).variance, rel=0.05
    )


def test_without_weights_and_clusters_the_intervals_are_the_usual_ones() -> None:
    """But for Student's quantile in the place of the normal one, which 5,000 rows make the same."""
    outcomes, group = (RNG.random(5000) < 0.3).astype(np.float64), RNG.random(5000) < 0.5
    one, other = weighted_mean(outcomes, rows=group), weighted_mean(outcomes, rows=~group)
    counts = [int(outcomes[rows].sum()) for rows in (group, ~group)], [int(rows.sum()) for rows in (group, ~group)]
    pairs = [(counts[0][0], counts[1][0]), (counts[0][1], counts[1][1])]
    assert list(clustered.rate_interval(one, 0.95)) == pytest.approx(
        [float(end) for end in proportion_interval(*pairs[0], 0.95)], abs=2e-4
    )
    assert list(clustered.difference_interval(one, other, 0.95)) == pytest.approx(
        [float(end) for end in newcombe(*pairs[0], *pairs[1], 0.95)], abs=3e-4
    )
    assert list(clustered.ratio_interval(one, other, 0.95)) == pytest.approx(
        [float(end) for end in donner_zou(*pairs[0], *pairs[1], 0.95)], abs=2e-3
    )
    low, high = clustered.mean_interval(weighted_mean(outcomes), 0.95) or (0, 0)
    mean, error = outcomes.mean(), outcomes.std(ddof=1) / 5000**0.5
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 4999, mean, error), abs=2e-4)


def test_the_degrees_of_freedom_of_a_design_effect_by_hand() -> None:
    """20 units of influence 1 and 2 of 5: shares 1/70 and 25/70 of the variance, which would be 1/22 if all were alike.

    Equal, independent rows have a variance that follows from the rate, and lose nothing; nor where one alone is an
    event.
    """
    sums = [1.0, -1.0] * 10 + [5.0, -5.0]
    by_hand = 2 / (20 * (1 / 70 - 1 / 22) ** 2 + 2 * (25 / 70 - 1 / 22) ** 2)
    rare = [0.98 / 50] + [-0.02 / 50] * 49
    owner, counts = np.repeat([0, 1], [22, 50]), np.array([22, 50])
    found = clustered.design_freedom(np.array([0.5, 0.02]), np.array(sums + rare), owner, counts)
    assert found.tolist() == pytest.approx([by_hand, 49])
    assert by_hand == pytest.approx(9.3576, abs=1e-3)
    none = clustered.design_freedom(np.zeros(1), np.zeros(22), np.zeros(22, dtype=np.int64), np.array([22]))
    assert none.tolist() == [21], "without an event"


def test_rows_that_repeat_in_a_cluster_count_once() -> None:
    outcomes = (RNG.random(200) < 0.3).astype(np.float64)
    alone = clustered.rate_interval(weighted_mean(outcomes), 0.95)
    codes = np.repeat(np.arange(200), 5)
    repeated = weighted_mean(np.repeat(outcomes, 5))
    assert clustered.rate_interval(repeated, 0.95, codes) == pytest.approx(alone, abs=1e-9)
    assert clustered.design_effect(repeated, codes) == pytest.approx(5, rel=0.02)
    assert clustered.design_effect(weighted_mean(outcomes), np.arange(200)) == pytest.approx(1)


def test_no_events_are_not_no_variance() -> None:
    codes = np.repeat(np.arange(30), 10)
    low, high = clustered.rate_interval(weighted_mean(np.zeros(300)), 0.95, codes)
    assert (low, high) == (0, pytest.approx(0.12, abs=0.02)), "as of 30 rows, not of 300"  # type: ignore[comparison-overlap]  # approx equals a number
    nobody, all_ = weighted_mean(np.zeros(300), rows=codes < 15), weighted_mean(np.ones(300), rows=codes >= 15)
    assert clustered.ratio_interval(all_, nobody, 0.95, codes)[1] == np.inf
    assert clustered.mean_interval(weighted_mean(np.ones(300)), 0.95, codes) is None
    perfect = weighted_roc_auc(np.arange(300) >= 150, np.arange(300.0))
    assert clustered.roc_auc_interval(perfect, 0.95, codes, smaller=15)[0] < 0.85


def test_what_cannot_be_weighed_is_refused() -> None:
    for wrong in (np.array([1.0, 0.0]), np.array([1.0, -1.0]), np.array([1.0, np.nan])):
        with pytest.raises(InputError, match="1 of 2 are zero, negative or missing"):
            check_weights(wrong, 2)
    with pytest.raises(InputError, match="one a row"):
        check_weights(np.ones(3), 2)
    with pytest.raises(InputError, match="at least 1 row"):
        weighted_mean(np.ones(3), rows=np.zeros(3, dtype=bool))
    with pytest.raises(InputError, match="one class has no area"):
        weighted_roc_auc(np.ones(3, dtype=bool), np.arange(3.0))
    with pytest.raises(InputError, match="at least 2 for an interval"):
        clustered.rate_interval(weighted_mean(np.ones(3)), 0.95, np.zeros(3, dtype=np.int64))
    with pytest.raises(InputError, match="at least 2 groups"):
        clustered.gap_interval([weighted_mean(np.ones(3))], 0.95)
    assert effective_sample_size(np.ones(7)) == pytest.approx(7)


def coverage(clusters: int, related: float, rate: float, samples: int) -> dict[str, float]:
    """Return how often each interval holds the truth; groups lie across the clusters, and weights are random."""
    rng, held = np.random.default_rng(clusters), dict.fromkeys(("rate", "weighted", "gap", "ratio", "mean", "auc"), 0)
    area = stats.norm.cdf(1.2 / 2**0.5)
    for _ in range(samples):
        codes, outcomes = drawn(rng, clusters, related, rate)
        weights, group = np.exp(rng.normal(size=len(codes)) * 0.7), rng.random(len(codes)) < 0.5
        one, other = weighted_mean(outcomes, rows=group), weighted_mean(outcomes, rows=~group)
        apart = rng.normal(size=clusters)[codes] * related**0.5
        errors = (apart + rng.normal(size=len(codes))) ** 2
        labels = rng.random(len(codes)) < 0.3
        scores = 1.2 * labels + apart + rng.normal(size=len(codes)) * (1 - related) ** 0.5
        auc = weighted_roc_auc(labels, scores)
        smaller = least_weighted_class(auc, labels)
        ends = {
            "rate": (clustered.rate_interval(weighted_mean(outcomes), 0.95, codes), rate),
            "weighted": (clustered.rate_interval(weighted_mean(outcomes, weights), 0.95, codes, weights), rate),
            "gap": (clustered.gap_interval([one, other], 0.95, codes), 0.0),
            "ratio": (clustered.ratio_interval(one, other, 0.95, codes), 1.0),
            "mean": (clustered.mean_interval(weighted_mean(errors), 0.95, codes), 1 + related),
            "auc": (clustered.roc_auc_interval(auc, 0.95, codes, smaller=smaller), area),
        }
        for name, (bounds, truth) in ends.items():
            assert bounds is not None
            held[name] += bounds[0] <= truth + 1e-12 and truth <= bounds[1]
    return {name: count / samples for name, count in held.items()}


@pytest.mark.parametrize("related", [0.0, 0.3])
def test_coverage_with_clusters(related: float) -> None:
    """Three standard errors of 150 samples at 93 % are 6 %."""
    assert min(coverage(40, related, 0.3, 150).values()) >= 0.93 - 0.06


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [10, 20, 50, 200])
@pytest.mark.parametrize("related", [0.0, 0.1, 0.3, 0.5])
def test_coverage_with_clusters_everywhere(clusters: int, related: float) -> None:
    """Three standard errors of 1,000 samples are 2.4 %; means and areas over 10 clusters cover 90 % at least."""
    for rate in (0.05, 0.3):
        for name, held in coverage(clusters, related, rate, 1000).items():
            few = name in ("mean", "auc")
            assert held >= (0.90 if few else 0.93) - 0.024, (name, rate, held)
