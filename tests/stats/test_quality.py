"""F1, Matthews correlation, Brier, average precision, calibration slope: scikit-learn and statsmodels as oracles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import statsmodels.api
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special

from auditkit.errors import InputError
from auditkit.stats import confusion
from auditkit.stats.calibration import calibration_slope
from auditkit.stats.estimates import Breakdown
from auditkit.stats.quality import CLASSIFICATION_METRICS, quality_measurement
from auditkit.stats.ranking import average_precision
from auditkit.tasks.classes import decided

Array = NDArray[Any]


def sample(seed: int, rows: int, classes: int = 2, *, rounded: bool = False) -> tuple[Array, Array]:
    draws = np.random.default_rng(seed)
    probabilities = draws.dirichlet(np.full(classes, 0.8), rows)
    if rounded:
        probabilities = np.column_stack([1 - probabilities[:, 1].round(1), probabilities[:, 1].round(1)])
    upto = probabilities.cumsum(axis=1)
    labels = (draws.random(rows)[:, None] > upto / upto[:, -1:]).sum(axis=1)
    return labels.astype(np.int64), probabilities


def measured(name: str, labels: Array, probabilities: Array, breakdown: Breakdown | None = None) -> Any:
    given = decided(probabilities) if CLASSIFICATION_METRICS[name].of == "decisions" else probabilities
    return quality_measurement(name, labels, given, breakdown, class_count=probabilities.shape[1])


def found(labels: Array, probabilities: Array) -> dict[str, Any]:
    return {name: measured(name, labels, probabilities) for name in CLASSIFICATION_METRICS}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(12, 120), st.booleans())
def test_two_classes(seed: int, rows: int, rounded: bool) -> None:
    labels, probabilities = sample(seed, rows, rounded=rounded)
    positive = probabilities[:, 1]
    decisions = (positive >= 0.5).astype(int)
    values = found(labels, probabilities)
    assert values["brier_score"].value == pytest.approx(sklearn.metrics.brier_score_loss(labels, positive), rel=1e-12)
    assert values["mean_score"].value == positive.mean()
    if (labels | decisions).any():
        assert values["f1_score"].value == pytest.approx(sklearn.metrics.f1_score(labels, decisions), rel=1e-12)
    if 0 < labels.sum() < rows:
        assert values["average_precision"].value == pytest.approx(
            sklearn.metrics.average_precision_score(labels, positive), rel=1e-12
        )
        if 0 < decisions.sum() < rows:
            assert values["matthews_correlation"].value == pytest.approx(
                sklearn.metrics.matthews_corrcoef(labels, decisions), abs=1e-12
            )
    for name, measurement in values.items():
        if measurement.value is None:
            assert measurement.reason
            continue
        rarer = min(labels.sum(), rows - labels.sum())
        if name == "log_loss" and rarer < 10:
            assert measurement.interval is None
            assert measurement.reason == "fewer than 10 rows with a rarer label are too few for an interval"
            continue
        assert measurement.interval.low <= measurement.value + 1e-12, name
        assert measurement.value - 1e-12 <= measurement.interval.high, name


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 5))
def test_several_classes(seed: int, classes: int) -> None:
    labels, probabilities = sample(seed, 150, classes)
    if len(np.unique(labels)) < classes:
        return
    decisions, values = probabilities.argmax(axis=1), found(labels, probabilities)
    one_hot = np.eye(classes)[labels]
    assert values["f1_score"].value == pytest.approx(sklearn.metrics.f1_score(labels, decisions, average="macro"))
    assert values["matthews_correlation"].value == pytest.approx(sklearn.metrics.matthews_corrcoef(labels, decisions))
    assert values["brier_score"].value == pytest.approx(((one_hot - probabilities) ** 2).sum(axis=1).mean())
    assert values["average_precision"].value == pytest.approx(
        sklearn.metrics.average_precision_score(one_hot, probabilities, average="macro")
    )


@pytest.mark.parametrize("seed", range(5))
def test_slope_is_that_of_a_logistic_regression(seed: int) -> None:
    labels, probabilities = sample(seed, 300)
    positive = probabilities[:, 1].clip(1e-6, 1 - 1e-6) ** 1.5
    oracle = statsmodels.api.Logit(labels.astype(float), statsmodels.api.add_constant(special.logit(positive))).fit(
        disp=0
    )
    slope = calibration_slope(labels == 1, positive)
    assert slope is not None
    assert slope.value == pytest.approx(oracle.params[1], rel=1e-6)
    assert slope.standard_error == pytest.approx(oracle.bse[1], rel=1e-6)


@pytest.mark.parametrize(
    "positive", [np.full(20, 0.3), np.r_[np.full(10, 0.1), np.full(10, 0.9)], np.r_[np.zeros(10), np.ones(10)]]
)
def test_no_slope_where_the_likelihood_has_no_maximum(positive: Array) -> None:
    labels = np.repeat([0, 1], 10)
    measurement = measured("calibration_slope", labels, np.column_stack([1 - positive, positive]))
    assert measurement.value is None
    assert "no slope fits" in measurement.reason


def test_undefined_says_why() -> None:
    certain = np.tile([0.9, 0.1], (20, 1))
    values = found(np.zeros(20, dtype=np.int64), certain)
    assert values["f1_score"].reason == "no rows with a positive label or decision"
    assert values["matthews_correlation"].reason == "all labels are of one class"
    assert values["average_precision"].reason == "no rows with a positive label"
    assert values["calibration_slope"].value is None
    assert values["brier_score"].value == pytest.approx(0.01)
    labels = np.repeat([0, 1], 10)
    assert found(labels, certain)["matthews_correlation"].reason == "all decisions are of one class"
    assert found(labels, certain)["f1_score"].value == 0


def test_decisions_can_be_given() -> None:
    labels, probabilities = sample(3, 100)
    decisions = 1 - (probabilities[:, 1] >= 0.5).astype(np.int64)
    measurement = quality_measurement("matthews_correlation", labels, decisions)
    assert measurement.value == pytest.approx(sklearn.metrics.matthews_corrcoef(labels, decisions))


@pytest.mark.parametrize("name", CLASSIFICATION_METRICS)
def test_few_rows_of_a_label_are_not_told_by_a_group(name: str) -> None:
    """A group of 9 positive rows: what rests on these rows is undefined there, and says why."""
    labels = np.repeat(np.array([0, 1, 0, 1], dtype=np.int64), [91, 9, 50, 50])
    positive = np.random.default_rng(4).beta(1, 1, 200)
    breakdown = Breakdown(("g",), (("a",), ("b",)), np.repeat([0, 1], 100))
    few, enough = measured(name, labels, np.column_stack([1 - positive, positive]), breakdown).slices
    assert enough.value is not None
    if CLASSIFICATION_METRICS[name].needs:
        assert (few.value, few.interval) == (None, None)
        assert few.reason == "fewer than 10 rows with a positive label in this group"
    else:
        assert few.value is not None
    flipped = measured(name, 1 - labels, np.column_stack([1 - positive, positive]), breakdown).slices[0]
    assert (flipped.value is None) == (CLASSIFICATION_METRICS[name].needs == "each")
    assert measured(name, labels[:100], np.column_stack([1 - positive, positive])[:100]).value is not None


def test_few_rows_of_one_of_several_classes() -> None:
    labels = np.tile(np.repeat(np.array([0, 1, 2], dtype=np.int64), [50, 41, 9]), 2)
    probabilities = np.random.default_rng(5).dirichlet([1, 1, 1], 200)
    measurement = measured(
        "roc_auc", labels, probabilities, Breakdown(("g",), (("a",), ("b",)), np.repeat([0, 1], 100))
    )
    assert {part.reason for part in measurement.slices} == {"1 of 3 classes have fewer than 10 rows in this group"}


@pytest.mark.parametrize(
    ("labels", "decisions", "message"),
    [
        ([0, 1], [0, 2], "decisions must be from 0 to 1, got 0 to 2"),
        ([0, -1], [0, 1], "labels must be from 0 to 1, got -1 to 0"),
        ([0, 1, 1], [0, 1], "for 3 labels"),
        ([], [], "at least 1"),
    ],
)
def test_what_is_no_decision_is_refused(labels: Any, decisions: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        quality_measurement("accuracy", np.array(labels, dtype=np.int64), np.array(decisions, dtype=np.int64))


def test_groups_order_and_names_do_not_matter() -> None:
    labels, probabilities = sample(1, 400)
    codes = np.random.default_rng(2).integers(0, 3, 400)
    order = np.random.default_rng(3).permutation(400)
    for name in CLASSIFICATION_METRICS:
        before = measured(name, labels, probabilities, Breakdown(("g",), (("a",), ("b",), ("c",)), codes))
        renamed = Breakdown(("g",), (("z",), ("y",), ("x",)), codes[order])
        after = measured(name, labels[order], probabilities[order], renamed)
        assert [part.count for part in before.slices] == [part.count for part in after.slices][::-1]
        for first, second in zip(before.slices, after.slices[::-1], strict=True):
            assert first.value == pytest.approx(second.value, rel=1e-9)
            assert first.simultaneous_interval.low == pytest.approx(second.simultaneous_interval.low, rel=1e-6)


def test_average_precision_of_ties_is_hand_computed() -> None:
    positive, scores = np.array([True, False, True, False]), np.array([0.9, 0.9, 0.5, 0.1])
    assert average_precision(positive, scores) == pytest.approx(0.5 * 1 / 2 + 0.5 * 2 / 3)


Pair = tuple[float, float]
Statistic = Callable[..., Any]

CELLS = [(0.5, 0.05), (0.8, 0.1), (0.3, 0.3), (0.95, 0.02), (0.6, 0.4)]


def coverage_of_tables(
    statistic: Statistic, rows: int, base: float, rates: Pair, draws: np.random.Generator, replicates: int
) -> list[bool]:
    """Return the share of tables whose interval holds the statistic of the table of probabilities."""
    cells = [[1 - rates[1], rates[1]], [1 - rates[0], rates[0]]]
    shares = (np.array([[1 - base], [base]]) * cells).ravel()
    truth = statistic((shares.reshape(2, 2) * 10**9).astype(np.int64), ()).value
    tables = draws.multinomial(rows, shares, replicates).reshape(-1, 2, 2)
    estimates = [statistic(table, (0.95,)) for table in tables]
    return [part.bounds[0][0] <= truth <= part.bounds[0][1] for part in estimates if part.value is not None]


@pytest.mark.parametrize("statistic", [confusion.f1, confusion.matthews_correlation])
@pytest.mark.parametrize("rows", [20, 200])
def test_coverage_of_tables(statistic: Statistic, rows: int) -> None:
    draws = np.random.default_rng(5)
    for base, rates in ((0.05, CELLS[0]), (0.25, CELLS[3]), (0.5, CELLS[1])):
        held = coverage_of_tables(statistic, rows, base, rates, draws, 400)
        assert np.mean(held) >= 0.93 - 0.025  # two standard errors


@pytest.mark.slow
@pytest.mark.parametrize("statistic", [confusion.f1, confusion.matthews_correlation])
def test_coverage_of_tables_everywhere(statistic: Statistic) -> None:
    draws, every = np.random.default_rng(6), []
    for rows in (20, 50, 100, 300, 1000, 10_000):
        for base in (0.02, 0.05, 0.1, 0.25, 0.5):
            for rates in CELLS:
                held = coverage_of_tables(statistic, rows, base, rates, draws, 2000)
                if len(held) > 400:
                    every.append(np.mean(held))
                    assert every[-1] >= 0.93 - 0.012, (rows, base, rates)
    assert np.mean(every) <= 0.98


def coverage_of_scores(
    name: str, truth: float, rows: int, shape: Pair, draws: np.random.Generator, replicates: int
) -> list[bool]:
    held = []
    for _ in range(replicates):
        positive = draws.beta(*shape, rows)
        labels = (draws.random(rows) < positive).astype(np.int64)
        measurement: Any = quality_measurement(name, labels, np.column_stack([1 - positive, positive]))
        if measurement.value is not None:
            held.append(measurement.interval.low <= truth <= measurement.interval.high)
    return held


def truth_of(name: str, shape: Pair) -> float:
    draws = np.random.default_rng(9)
    positive = draws.beta(*shape, 300_000)
    labels = (draws.random(300_000) < positive).astype(np.int64)
    value = quality_measurement(name, labels, np.column_stack([1 - positive, positive])).value
    assert value is not None
    return value


@pytest.mark.parametrize("name", ["brier_score", "average_precision", "calibration_slope", "mean_score"])
@pytest.mark.parametrize("shape", [(0.6, 1.2), (0.5, 4)])
def test_coverage_of_scores(name: str, shape: Pair) -> None:
    draws = np.random.default_rng(7)
    for rows in (30, 200):
        held = coverage_of_scores(name, truth_of(name, shape), rows, shape, draws, 150)
        assert np.mean(held) >= 0.93 - 0.042  # two standard errors


@pytest.mark.slow
@pytest.mark.parametrize("name", ["brier_score", "average_precision", "calibration_slope", "mean_score"])
@pytest.mark.parametrize("shape", [(0.6, 1.2), (0.5, 4), (2, 2), (0.3, 10)])
def test_coverage_of_scores_everywhere(name: str, shape: Pair) -> None:
    draws, truth = np.random.default_rng(8), truth_of(name, shape)
    for rows in (20, 50, 100, 300, 1000):
        held = coverage_of_scores(name, truth, rows, shape, draws, 1000)
        if len(held) > 200:
            assert np.mean(held) >= 0.93 - 2 * np.sqrt(0.05 / len(held)), rows
