"""Scores: scikit-learn as the oracle, hand-computed cases, hostile data, and what must not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from auditkit.errors import InputError
from auditkit.stats import scores
from auditkit.stats.estimates import Breakdown
from auditkit.stats.quality import CLASSIFICATION_METRICS, quality_measurement
from auditkit.tasks.classes import decided

MEASURED = ("accuracy", "balanced_accuracy", "log_loss", "roc_auc", "calibration_error")
NAMES = (("a",), ("b",), ("c",))


Array = NDArray[Any]


def measured(
    name: str,
    labels: Array,
    probabilities: Array,
    codes: Array | None = None,
    *,
    names: tuple[tuple[str, ...], ...] = NAMES,
    min_group: int = 10,
) -> Any:
    """Return a measurement, of decisions where it is one of those."""
    breakdown = None if codes is None else Breakdown(("g",), names, codes, min_group)
    of_decisions = CLASSIFICATION_METRICS[name].of == "decisions"
    given = decided(probabilities) if of_decisions else probabilities
    return quality_measurement(name, labels, given, breakdown, class_count=probabilities.shape[1])


def sample(seed: int, rows: int, classes: int = 2, *, rounded: bool = False) -> tuple[Array, Array]:
    draws = np.random.default_rng(seed)
    if classes == 2:
        positive = draws.beta(0.6, 1.2, rows)
        positive = positive.round(1) if rounded else positive
        probabilities = np.column_stack([1 - positive, positive])
    else:
        probabilities = draws.dirichlet(np.full(classes, 0.7), rows)
    upto = probabilities.cumsum(axis=1)
    labels = (draws.random(rows)[:, None] > upto / upto[:, -1:]).sum(axis=1)
    return labels.astype(np.int64), probabilities


def naive_calibration_error(labels: Array, probabilities: Array) -> float:
    total = 0.0
    for number in range(15):
        inside = [
            row
            for row, p in enumerate(probabilities)
            if number / 15 < p <= (number + 1) / 15 or (p == 0 and number == 0)
        ]
        if inside:
            gap = np.mean([labels[row] for row in inside]) - np.mean([probabilities[row] for row in inside])
            total += len(inside) / len(labels) * abs(gap)
    return total


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(12, 120), st.booleans())
def test_binary_values_are_scikit_learns(seed: int, rows: int, rounded: bool) -> None:
    labels, probabilities = sample(seed, rows, rounded=rounded)
    positive = probabilities[:, 1]
    found = {name: measured(name, labels, probabilities) for name in MEASURED}
    assert found["accuracy"].value == sklearn.metrics.accuracy_score(labels, positive >= 0.5)
    assert found["log_loss"].value == pytest.approx(
        sklearn.metrics.log_loss(labels, probabilities, labels=[0, 1]), rel=1e-12
    )
    assert found["calibration_error"].value == pytest.approx(naive_calibration_error(labels, positive), abs=1e-12)
    if 0 < labels.sum() < rows:
        assert found["balanced_accuracy"].value == sklearn.metrics.balanced_accuracy_score(labels, positive >= 0.5)
        assert found["roc_auc"].value == pytest.approx(sklearn.metrics.roc_auc_score(labels, positive), abs=1e-12)
    for name, measurement in found.items():
        if measurement.interval is None:
            assert measurement.reason
            assert measurement.value is None or name == "log_loss"
        else:
            assert measurement.interval.low <= measurement.value <= measurement.interval.high
            assert measurement.count == rows


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 6))
def test_multiclass_values_are_scikit_learns(seed: int, classes: int) -> None:
    labels, probabilities = sample(seed, 150, classes)
    if len(np.unique(labels)) < classes:
        return
    predictions = probabilities.argmax(axis=1)
    found = {name: measured(name, labels, probabilities) for name in MEASURED}
    assert found["accuracy"].value == sklearn.metrics.accuracy_score(labels, predictions)
    assert found["balanced_accuracy"].value == pytest.approx(
        sklearn.metrics.balanced_accuracy_score(labels, predictions), rel=1e-12
    )
    assert found["log_loss"].value == pytest.approx(sklearn.metrics.log_loss(labels, probabilities), rel=1e-12)
    assert found["roc_auc"].value == pytest.approx(
        sklearn.metrics.roc_auc_score(labels, probabilities, multi_class="ovr"), abs=1e-12
    )
    assert found["calibration_error"].value == pytest.approx(
        naive_calibration_error(predictions == labels, probabilities.max(axis=1)), abs=1e-12
    )
    for measurement in found.values():
        assert measurement.interval.low <= measurement.value <= measurement.interval.high


@pytest.mark.parametrize("name", MEASURED)
def test_a_group_has_the_numbers_of_its_rows_alone(name: str) -> None:
    labels, probabilities = sample(1, 300)
    codes = np.random.default_rng(2).integers(0, 3, 300)
    measurement = measured(name, labels, probabilities, codes)
    assert measurement.value is None
    assert measurement.by == ("g",)
    assert [part.group.text for part in measurement.slices] == ["a", "b", "c"]
    for code, part in enumerate(measurement.slices):
        alone = measured(name, labels[codes == code], probabilities[codes == code])
        assert part.value == pytest.approx(alone.value, abs=1e-12)
        assert part.count == alone.count
        assert part.interval.low == pytest.approx(alone.interval.low, abs=1e-9)
        assert part.interval.high == pytest.approx(alone.interval.high, abs=1e-9)
        assert part.simultaneous_interval.low <= part.interval.low
        assert part.simultaneous_interval.high >= part.interval.high
        assert part.simultaneous_interval.method.endswith(", Sidak over 3 groups")


@pytest.mark.parametrize("name", MEASURED)
def test_order_of_rows_and_names_of_groups_do_not_matter(name: str) -> None:
    labels, probabilities = sample(3, 200)
    draws = np.random.default_rng(4)
    codes, order = draws.integers(0, 3, 200), draws.permutation(200)
    before = measured(name, labels, probabilities, codes).slices
    after = measured(name, labels[order], probabilities[order], codes[order], names=(("z",), ("y",), ("x",))).slices
    assert [part.group.text for part in after] == ["x", "y", "z"]
    for part, same in zip(before, reversed(after), strict=True):
        assert part.value == pytest.approx(same.value, abs=1e-12)
        assert part.interval.low == pytest.approx(same.interval.low, abs=1e-9)
        assert part.interval.high == pytest.approx(same.interval.high, abs=1e-9)


@pytest.mark.parametrize("name", MEASURED)
def test_extreme_scores_have_an_interval(name: str) -> None:
    """All right and sure of it; all wrong and sure of it; all the same."""
    labels = np.repeat(np.array([0, 1], dtype=np.int64), 20)
    for positive in (labels.astype(float), 1.0 - labels, np.full(40, 0.5)):
        measurement = measured(name, labels, np.column_stack([1 - positive, positive]))
        assert measurement.value is not None
        if name == "log_loss":
            assert measurement.interval is None
            assert measurement.reason.startswith("all rows cost the same")
            continue
        assert measurement.interval.low <= measurement.value <= measurement.interval.high
        assert measurement.interval.low < measurement.interval.high


def test_one_class_is_undefined_and_says_why() -> None:
    labels, probabilities = np.zeros(60, dtype=np.int64), np.tile([0.7, 0.3], (60, 1))
    codes = np.repeat(np.arange(3), 20)
    for name in ("roc_auc", "balanced_accuracy"):
        measurement = measured(name, labels, probabilities)
        assert (measurement.value, measurement.interval) == (None, None)
        assert measurement.reason == "no rows with a positive label"
        parts = measured(name, labels, probabilities, codes).slices
        assert {part.reason for part in parts} == {"no rows with a positive label in this group"}
        flipped = measured(name, 1 - labels, probabilities)
        assert flipped.reason == "no rows with a negative label"
    three = np.tile([0.5, 0.3, 0.2], (60, 1))
    assert measured("roc_auc", labels, three).reason == "2 of 3 classes have no rows"
    for name in ("accuracy", "log_loss", "calibration_error"):
        assert measured(name, labels, probabilities).value is not None


@pytest.mark.parametrize("name", MEASURED)
def test_groups_too_small_to_judge_keep_no_other_from_being_measured(name: str) -> None:
    labels, probabilities = sample(5, 105)
    names = (*NAMES, ("d",))
    codes = np.repeat(np.arange(4), [50, 35, 16, 4])
    measurement = measured(name, labels, probabilities, codes, names=names)
    assert [(part.group.text, part.count) for part in measurement.slices] == [("a", 50), ("b", 35), ("c", 16)]
    assert measurement.count == 101
    for code, part in enumerate(measurement.slices):
        alone = measured(name, labels[codes == code], probabilities[codes == code])
        if part.group.text == "c" and name in ("balanced_accuracy", "roc_auc"):
            assert (part.value, part.interval) == (None, None)
            assert part.reason == "fewer than 10 rows with a positive label in this group"
            continue
        assert part.value == pytest.approx(alone.value, rel=1e-12)
    one = measured(name, labels, probabilities, codes, names=names, min_group=40)
    assert [part.group.text for part in one.slices] == ["a"]
    nothing = measured(name, labels, probabilities, codes, names=names, min_group=51)
    assert nothing.slices == ()
    assert "at least 51 rows" in nothing.reason


def test_log_loss_is_clipped_like_scikit_learn() -> None:
    labels, probabilities = np.array([0, 1, 1, 0]), np.array([[1.0, 0.0], [1.0, 0.0], [0.2, 0.8], [0.0, 1.0]])
    found = measured("log_loss", labels, probabilities)
    assert found.value == pytest.approx(sklearn.metrics.log_loss(labels, probabilities), rel=1e-12)
    assert found.value == pytest.approx((2 * 36.04365338911715 - np.log(0.8)) / 4)
    assert "clipped" in found.definition


def test_half_is_positive() -> None:
    labels, probabilities = np.array([1, 1, 0]), np.array([[0.5, 0.5], [0.51, 0.49], [0.5, 0.5]])
    assert decided(probabilities).tolist() == [1, 0, 1]
    assert measured("accuracy", labels, probabilities).value == 1 / 3


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 1], [[0.5, 0.5], [np.nan, 0.5]], "1 of 2 rows hold NaN"),
        ([0, 1], [[0.5, 0.5], [np.inf, 0.5]], "1 of 2 rows hold NaN"),
        ([0, 1], [[0.5, 0.5], [1.5, -0.5]], "1 of 2 rows hold NaN or other"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "labels must be from 0 to 1, got 0 to 2"),
        ([0, 1, 1], [[0.5, 0.5], [0.5, 0.5]], "for 3 labels and 2 classes or more, got"),
        ([0, 1], [[0.5], [0.5]], "2 classes or more"),
        ([], np.zeros((0, 2)), "at least 1 row, got 0"),
    ],
)
@pytest.mark.parametrize("name", ["log_loss", "roc_auc", "calibration_error"])
def test_what_is_no_probability_is_refused(name: str, labels: Any, probabilities: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        measured(name, np.array(labels, dtype=np.int64), np.array(probabilities))


@pytest.mark.parametrize(
    ("shape", "temperature"),
    [
        ((0.4, 1.2), 1.0),
        pytest.param((0.3, 8.0), 1.0, marks=pytest.mark.slow),
        pytest.param((0.1, 0.1), 1.0, marks=pytest.mark.slow),
        ((0.2, 0.4), 0.5),
    ],
)
@pytest.mark.parametrize("rows", [20, 200])
def test_coverage_of_log_loss(shape: tuple[float, float], temperature: float, rows: int) -> None:
    """Simulated: probabilities from a beta distribution, true rates their odds to the power of the temperature."""
    draws = np.random.default_rng(6)

    def draw(size: int) -> tuple[Array, Array]:
        positive = draws.beta(*shape, size).clip(1e-9, 1 - 1e-9)
        rate = 1 / (1 + ((1 - positive) / positive) ** temperature)
        return (draws.random(size) < rate).astype(np.int64), np.column_stack([1 - positive, positive])

    labels, probabilities = draw(2_000_000)
    truth = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
    bounds = [measured("log_loss", *draw(rows)).interval for _ in range(1000)]
    given = [bound for bound in bounds if bound is not None]
    missed = sum(not bound.low <= truth <= bound.high for bound in given)
    assert missed <= 0.07 * len(bounds)
    if len(given) > len(bounds) / 2:
        assert missed <= 0.07 * len(given)


RARE = ("log_loss", "brier_score", "mean_score", "calibration_error")


def rare(draws: np.random.Generator, rows: int, rate: float, kind: str) -> tuple[Array, Array]:
    """Labels with a rare positive, and a model that is calibrated, sharp, too sure, or constant."""
    spread = 0.5 if kind == "sharp" else 5
    truth = np.full(rows, rate) if kind == "constant" else draws.beta(rate * spread, (1 - rate) * spread, rows)
    labels = (draws.random(rows) < truth).astype(np.int64)
    positive = truth.clip(1e-9, 1 - 1e-9)
    if kind == "too sure":
        positive = 1 / (1 + ((1 - positive) / positive) ** 1.7)
    return labels, np.column_stack([1 - positive, positive])


def misses_of_rare(rate: float, kind: str, rows: int, samples: int) -> dict[str, tuple[float, float]]:
    """Return how often each statistic's interval is given, and how often it is given and misses."""
    draws = np.random.default_rng(rows)
    whole = rare(draws, 1_000_000, rate, kind)
    truths: dict[str, Any] = {name: CLASSIFICATION_METRICS[name].statistic(*whole, ()).value for name in RARE}
    counts = {name: np.zeros(2) for name in RARE}
    for _ in range(samples):
        labels, probabilities = rare(draws, rows, rate, kind)
        for name, truth in truths.items():
            (bound,) = CLASSIFICATION_METRICS[name].statistic(labels, probabilities, (0.95,)).bounds
            if bound is not None:
                missed = not bound[0] - 1e-12 <= truth <= bound[1] + 1e-12
                counts[name] += [1, missed]
    return {name: (found[0] / samples, found[1] / samples) for name, found in counts.items()}


@pytest.mark.parametrize("kind", ["sharp", "too sure"])
def test_zero_events_are_not_zero_variance(kind: str) -> None:
    """A base rate of 1 % in 40 and 200 rows; three standard errors of 150 samples at 7 % are 6 %."""
    for rows in (40, 200):
        for name, (shown, missed) in misses_of_rare(0.01, kind, rows, 150).items():
            assert missed <= 0.07 + 0.06, (name, rows)
            assert (shown == 1) != (name == "log_loss"), "two events say little of an unbounded loss"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["constant", "calibrated", "sharp", "too sure"])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3])
def test_coverage_with_rare_events_everywhere(kind: str, rate: float) -> None:
    for rows in (40, 100, 200, 1000):
        for name, (shown, missed) in misses_of_rare(rate, kind, rows, 600).items():
            assert missed <= 0.07 * shown + 3 * (0.07 * 0.93 / 600) ** 0.5, (name, rows)


@pytest.mark.parametrize("sizes", [(6, 14), pytest.param((20, 80), marks=pytest.mark.slow), (5, 195)])
@pytest.mark.parametrize(
    "recalls",
    [(0.95, 0.5), pytest.param((0.7, 0.7), marks=pytest.mark.slow), pytest.param((0.99, 0.9), marks=pytest.mark.slow)],
)
def test_coverage_of_balanced_accuracy(sizes: tuple[int, int], recalls: tuple[float, float]) -> None:
    draws = np.random.default_rng(8)
    labels = np.repeat(np.array([1, 0], dtype=np.int64), sizes)
    rate = np.repeat(recalls, sizes)
    held = []
    for _ in range(600):
        positive = np.where(draws.random(len(labels)) < rate, labels, 1 - labels).astype(float)
        bound = measured("balanced_accuracy", labels, np.column_stack([1 - positive, positive])).interval
        held.append(bound.low <= np.mean(recalls) <= bound.high)
    assert np.mean(held) >= 0.93 - 0.02  # two standard errors of 600 draws


def test_paired_difference() -> None:
    first = np.array([True] * 90 + [False] * 10)
    second = np.array([True] * 85 + [False] * 15)
    value, interval = scores.paired_difference_interval(first, second)
    assert value == pytest.approx(0.05)
    assert 0 < interval.high - interval.low < 0.1  # far less than 0.19 of two independent samples
    back, mirrored = scores.paired_difference_interval(second, first)
    assert (back, mirrored.low, mirrored.high) == pytest.approx((-value, -interval.high, -interval.low))
    with pytest.raises(InputError, match="same rows"):
        scores.paired_difference_interval(first, second[:5])
