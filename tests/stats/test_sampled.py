"""Metrics of rows with weights and clusters: against scikit-learn, by derivatives, and against simple samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from numpy.typing import NDArray
from statsmodels.regression.linear_model import WLS

from auditkit.stats import sampled
from auditkit.stats.estimates import Breakdown, Estimate
from auditkit.stats.quality import CLASSIFICATION_METRICS, metric_statistic, quality_measurement
from auditkit.stats.regression import REGRESSION_METRICS, regression_gap, regression_measurement
from auditkit.stats.sampling import SIMPLE, Sampling

RNG = np.random.default_rng(11)
ROWS = 300
LABELS = (RNG.random(ROWS) < 0.4).astype(np.int64)
SCORES = np.clip(RNG.normal(0.35 + 0.25 * LABELS, 0.2), 0.01, 0.99).round(2)
PROBABILITIES = np.column_stack([1 - SCORES, SCORES])
DECISIONS = (SCORES >= 0.5).astype(np.int64)
WEIGHTS = RNG.uniform(0.5, 4, ROWS)
CLUSTERS = RNG.integers(0, 60, ROWS)
NUMBERS = RNG.normal(size=ROWS)
PREDICTED = NUMBERS + RNG.normal(size=ROWS)

SKLEARN: dict[str, Callable[..., float]] = {
    "accuracy": lambda w: sklearn.metrics.accuracy_score(LABELS, DECISIONS, sample_weight=w),
    "balanced_accuracy": lambda w: sklearn.metrics.balanced_accuracy_score(LABELS, DECISIONS, sample_weight=w),
    "f1_score": lambda w: sklearn.metrics.f1_score(LABELS, DECISIONS, sample_weight=w),
    "matthews_correlation": lambda w: sklearn.metrics.matthews_corrcoef(LABELS, DECISIONS, sample_weight=w),
    "roc_auc": lambda w: sklearn.metrics.roc_auc_score(LABELS, SCORES, sample_weight=w),
    "average_precision": lambda w: sklearn.metrics.average_precision_score(LABELS, SCORES, sample_weight=w),
    "log_loss": lambda w: sklearn.metrics.log_loss(LABELS, PROBABILITIES, sample_weight=w),
    "brier_score": lambda w: sklearn.metrics.brier_score_loss(LABELS, SCORES, sample_weight=w),
    "mean_score": lambda w: float(np.average(SCORES, weights=w)),
    "mean_error": lambda w: float(np.average(PREDICTED - NUMBERS, weights=w)),
    "mean_absolute_error": lambda w: sklearn.metrics.mean_absolute_error(NUMBERS, PREDICTED, sample_weight=w),
    "root_mean_squared_error": lambda w: sklearn.metrics.root_mean_squared_error(NUMBERS, PREDICTED, sample_weight=w),
    "r2": lambda w: sklearn.metrics.r2_score(NUMBERS, PREDICTED, sample_weight=w),
}
EVERY = [*CLASSIFICATION_METRICS, "mean_error", "mean_absolute_error", "root_mean_squared_error", "r2"]


def estimated(name: str, sampling: Sampling, levels: tuple[float, ...] = (0.95,)) -> Estimate:
    if name in REGRESSION_METRICS:
        metric = REGRESSION_METRICS[name]
        given: tuple[NDArray[Any], ...] = (NUMBERS, PREDICTED)
        return (
            metric.statistic(*given, levels)
            if sampling.is_simple or metric.sampled is None
            else metric.sampled(*given, levels, sampling)
        )
    given = (LABELS, DECISIONS if CLASSIFICATION_METRICS[name].of == "decisions" else PROBABILITIES)
    return metric_statistic(name)(*given, levels, sampling)


@pytest.mark.parametrize("name", SKLEARN)
def test_values_are_scikit_learns_with_sample_weights(name: str) -> None:
    assert estimated(name, Sampling(WEIGHTS, CLUSTERS)).value == pytest.approx(SKLEARN[name](WEIGHTS), rel=1e-9)


@pytest.mark.parametrize("name", EVERY)
def test_an_influence_is_the_derivative_by_the_rows_weight(name: str) -> None:
    """The infinitesimal jackknife: the weight of a row times how the value changes with it."""
    found = estimated(name, Sampling(WEIGHTS, CLUSTERS))
    assert found.influence is not None
    assert float(found.influence.sum()) == pytest.approx(0, abs=1e-6)
    for row in (0, 7, 100):
        step = np.zeros(ROWS)
        step[row] = 1e-4 * WEIGHTS[row]
        up, down = (estimated(name, Sampling(WEIGHTS + sign * step), ()).value for sign in (1, -1))
        assert up is not None
        assert down is not None
        assert found.influence[row] == pytest.approx((up - down) / 2e-4, abs=2e-6)


@pytest.mark.parametrize("name", EVERY)
def test_clusters_of_one_row_give_nearly_the_interval_of_a_simple_sample(name: str) -> None:
    simple, alone = estimated(name, SIMPLE), estimated(name, Sampling(None, np.arange(ROWS)))
    assert alone.value == pytest.approx(simple.value, rel=1e-9)
    (one,), (other,) = simple.bounds, alone.bounds
    assert one is not None
    assert other is not None
    assert other[1] - other[0] == pytest.approx(one[1] - one[0], rel=0.2)
    assert other[:2] == pytest.approx(one[:2], abs=0.25 * (one[1] - one[0]))


@pytest.mark.parametrize("name", EVERY)
def test_rows_given_three_times_in_a_cluster_tell_no_more(name: str) -> None:
    if name in REGRESSION_METRICS:
        return
    given = (LABELS, DECISIONS if CLASSIFICATION_METRICS[name].of == "decisions" else PROBABILITIES)
    rows = np.repeat(np.arange(ROWS), 3)
    alone = metric_statistic(name)(*given, (0.95,), Sampling(None, np.arange(ROWS)))
    thrice = metric_statistic(name)(*(part[rows] for part in given), (0.95,), Sampling(None, rows))
    assert alone.bounds[0] is not None
    assert thrice.bounds[0] is not None
    assert thrice.bounds[0][:2] == pytest.approx(alone.bounds[0][:2], abs=5e-3)


def test_the_variance_of_a_mean_is_statsmodels_with_clusters() -> None:
    fit = WLS(NUMBERS, np.ones(ROWS), weights=WEIGHTS).fit(
        cov_type="cluster", cov_kwds={"groups": CLUSTERS, "use_correction": False}
    )
    found = sampled.mean_label(NUMBERS, PREDICTED, (0.95,), Sampling(WEIGHTS, CLUSTERS))
    assert found.influence is not None
    spread = sampled.spread_of(found.value or 0.0, found.influence, Sampling(WEIGHTS, CLUSTERS))
    count = len(np.unique(CLUSTERS))
    assert found.value == pytest.approx(fit.params[0])
    assert spread.variance == pytest.approx(fit.cov_params()[0, 0] * count / (count - 1), rel=1e-9)
    assert spread.units == count


def test_several_classes_are_weighted_too() -> None:
    labels = RNG.integers(0, 3, ROWS)
    probabilities = RNG.dirichlet(np.ones(3), ROWS) + np.eye(3)[labels]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    decisions = probabilities.argmax(axis=1)
    sampling = Sampling(WEIGHTS, CLUSTERS)
    area = metric_statistic("roc_auc", 3)(labels, probabilities, (0.95,), sampling)
    by_class = [
        sklearn.metrics.roc_auc_score(labels == code, probabilities[:, code], sample_weight=WEIGHTS)
        for code in range(3)
    ]
    assert area.value == pytest.approx(np.mean(by_class))
    expected = {
        "f1_score": sklearn.metrics.f1_score(labels, decisions, average="macro", sample_weight=WEIGHTS),
        "matthews_correlation": sklearn.metrics.matthews_corrcoef(labels, decisions, sample_weight=WEIGHTS),
    }
    for name, value in expected.items():
        assert metric_statistic(name, 3)(labels, decisions, (0.95,), sampling).value == pytest.approx(value)


def test_groups_are_measured_by_their_own_weights() -> None:
    groups = RNG.integers(0, 2, ROWS)
    breakdown = Breakdown(("g",), (("a",), ("b",)), groups, 10, Sampling(WEIGHTS, CLUSTERS))
    made = quality_measurement("roc_auc", LABELS, PROBABILITIES, breakdown)
    rows = groups == 1
    expected = sklearn.metrics.roc_auc_score(LABELS[rows], SCORES[rows], sample_weight=WEIGHTS[rows])
    assert made.slices[1].value == pytest.approx(expected)
    assert made.slices[1].effective_count is not None
    assert len(made.slices[1].replicates) == 20, "whole clusters are left out"
    error = regression_measurement("mean_error", NUMBERS, PREDICTED, breakdown)
    gap = regression_gap("mean_error", NUMBERS, PREDICTED, breakdown)
    values = [part.value for part in error.slices if part.value is not None]
    assert gap.value is not None
    assert gap.value == pytest.approx(max(values) - min(values))
    assert gap.effective_count is not None
    assert gap.interval is not None
    assert gap.interval.low <= gap.value <= gap.interval.high


def test_paired_groups_of_numbers_are_compared_as_pairs() -> None:
    units = np.tile(np.arange(150), 2)
    base = RNG.normal(size=150) * 3
    labels = np.concatenate([base, base + 0.5 + RNG.normal(size=150) * 0.1])
    groups = np.repeat([0, 1], 150)
    made = [
        regression_gap("mean_prediction", labels * 0, labels, Breakdown(("g",), (("a",), ("b",)), groups, 10, one))
        for one in (SIMPLE, Sampling(None, units))
    ]
    widths = [one.interval.high - one.interval.low for one in made if one.interval is not None]
    assert widths[1] < widths[0] / 4


def test_too_few_of_a_label_have_no_interval_of_the_log_loss() -> None:
    labels = np.zeros(ROWS, dtype=np.int64)
    labels[:5] = 1
    found = metric_statistic("log_loss")(labels, PROBABILITIES, (0.95,), Sampling(WEIGHTS))
    assert found.bounds == (None,)
    assert found.reason is not None


def test_nothing_wrong_is_not_certainty() -> None:
    """Right in all of 30 clusters of 10 rows: as of 30 rows."""
    labels, clusters = np.ones(300, dtype=np.int64), np.repeat(np.arange(30), 10)
    found = metric_statistic("accuracy")(labels, labels, (0.95,), Sampling(None, clusters))
    assert found.bounds[0] is not None
    assert found.bounds[0][0] == pytest.approx(0.88, abs=0.02)


def drawn(rng: np.random.Generator, clusters: int, related: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and scores of clusters of 5 to 15 rows, both with an effect of the cluster."""
    codes = np.repeat(np.arange(clusters), rng.integers(5, 16, clusters))
    effects = rng.normal(size=(2, clusters)) * related**0.5
    latent = effects[0][codes] + rng.normal(size=len(codes)) * (1 - related) ** 0.5
    noise = effects[1][codes] + rng.normal(size=len(codes)) * (1 - related) ** 0.5
    return codes, (latent > 0.5).astype(np.int64), 1 / (1 + np.exp(1 - 1.3 * latent - 0.8 * noise))


MEASURED = [name for name in CLASSIFICATION_METRICS if name != "calibration_slope"]


def coverage(clusters: int, related: float, samples: int) -> dict[str, float]:
    """Return how often the interval of each metric holds its value in a population of 200,000 rows."""

    def estimates(rng: np.random.Generator, count: int, levels: tuple[float, ...]) -> dict[str, Estimate]:
        codes, labels, scores = drawn(rng, count, related)
        sampling = Sampling(np.exp(rng.normal(size=len(codes)) * 0.4), codes) if levels else SIMPLE
        both = np.column_stack([1 - scores, scores])
        decisions = (scores >= 0.5).astype(np.int64)
        return {
            name: metric_statistic(name)(
                labels, decisions if CLASSIFICATION_METRICS[name].of == "decisions" else both, levels, sampling
            )
            for name in MEASURED
        }

    rng = np.random.default_rng(clusters)
    truth = estimates(rng, 20_000, ())
    held = dict.fromkeys(MEASURED, 0)
    for _ in range(samples):
        for name, found in estimates(rng, clusters, (0.95,)).items():
            (bound,), value = found.bounds or (None,), truth[name].value
            held[name] += bound is None or (value is not None and bound[0] <= value <= bound[1])
    return {name: count / samples for name, count in held.items()}


def test_intervals_of_metrics_cover_with_clusters_and_weights() -> None:
    """Three standard errors of 60 samples at 93 % are 10 %."""
    assert min(coverage(50, 0.3, 60).values()) >= 0.93 - 0.10


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [20, 50, 200])
def test_intervals_of_metrics_cover_at_every_intracluster_correlation(clusters: int) -> None:
    """The figures of docs/statistics.md; the standard error of 400 samples is 1.1 %."""
    found = [coverage(clusters, related, 400) for related in (0.0, 0.1, 0.3, 0.5)]
    least = {name: min(one[name] for one in found) for name in MEASURED}
    print(clusters, least)  # the figures
    assert min(least.values()) >= 0.89
