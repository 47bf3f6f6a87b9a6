from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame
from hypothesis import given, settings
from hypothesis import strategies as st
from keys import compared
from scipy import stats
from sklearn import metrics as oracle

from auditkit.errors import InputError
from auditkit.evidence.measurement import Measurement
from auditkit.stats.estimates import Breakdown
from auditkit.stats.intervals import skewed_mean_interval
from auditkit.stats.regression import (
    GAPS,
    METHOD,
    REGRESSION_METRICS,
    mean_estimate,
    regression_gap,
    regression_measurement,
)

ALL = Breakdown()
ORACLES = {
    "mean_error": lambda labels, predictions: float(np.mean(np.subtract(predictions, labels))),
    "mean_absolute_error": oracle.mean_absolute_error,
    "root_mean_squared_error": oracle.root_mean_squared_error,
    "r2": oracle.r2_score,
    "mean_prediction": lambda labels, predictions: float(np.mean(predictions)),
    "mean_label": lambda labels, predictions: float(np.mean(labels)),
}
ERRORS = {
    "uniform": lambda rng, shape: rng.uniform(-1, 1, shape),
    "normal": lambda rng, shape: rng.normal(size=shape),
    "laplace": lambda rng, shape: rng.laplace(size=shape),
    "t": lambda rng, shape: rng.standard_t(4.5, shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
}
HEAVY = {
    "lognormal": lambda rng, shape: rng.lognormal(size=shape) - np.exp(0.5),
    "t of 3": lambda rng, shape: rng.standard_t(3, shape),
}
# Their mean, mean size and mean square, which no sample tells well.
HEAVY_MOMENTS = {
    "lognormal": (0.0, 2 * np.exp(0.5) * (2 * stats.norm.cdf(0.5) - 1), np.exp(2) - np.exp(1)),
    "t of 3": (0.0, 2 * np.sqrt(3) / np.pi, 3.0),
}
# Not the root mean squared error with t of 3: the squares have no variance, and 90 % cover.
HEAVY_CASES = [
    ("mean_absolute_error", "lognormal"),
    ("mean_absolute_error", "t of 3"),
    ("root_mean_squared_error", "lognormal"),
    ("r2", "lognormal"),
    ("r2", "t of 3"),
]


def groups(count: int, rows: int) -> Breakdown:
    return Breakdown(("g",), tuple((f"{code}",) for code in range(count)), np.repeat(np.arange(count), rows))


def table(seed: int = 0, rows: int = 300) -> tuple[np.ndarray, np.ndarray, Breakdown]:
    rng = np.random.default_rng(seed)
    labels = rng.normal(40, 10, rows)
    codes = rng.integers(0, 3, rows)
    return labels, labels + rng.normal(0, 5, rows) + codes, Breakdown(("g",), (("a",), ("b",), ("c",)), codes)


def test_a_hand_computed_example() -> None:
    labels, predictions = np.array([1.0, 2.0, 3.0, 6.0]), np.array([2.0, 2.0, 1.0, 7.0])
    values = {name: regression_measurement(name, labels, predictions, ALL).value for name in REGRESSION_METRICS}
    # Errors 1, 0, -2, 1; labels differ from their mean, 3, by -2, -1, 0, 3.
    assert values == {
        "mean_error": 0.0,
        "mean_absolute_error": 1.0,
        "root_mean_squared_error": 1.5**0.5,
        "r2": pytest.approx(1 - 6 / 14),
        "mean_prediction": 3.0,
        "mean_label": 3.0,
    }


@pytest.mark.parametrize("name", REGRESSION_METRICS)
def test_scikit_learn_and_fairlearn_agree(name: str) -> None:
    labels, predictions, breakdown = table()
    whole = regression_measurement(name, labels, predictions, ALL)
    assert whole.value == pytest.approx(ORACLES[name](labels, predictions), rel=1e-12)
    assert whole.value is not None
    assert whole.interval is not None
    assert whole.interval.low < whole.value < whole.interval.high
    frame = MetricFrame(metrics=ORACLES[name], y_true=labels, y_pred=predictions, sensitive_features=breakdown.codes)
    found = regression_measurement(name, labels, predictions, breakdown)
    assert [part.value for part in found.slices] == pytest.approx(frame.by_group.tolist(), rel=1e-12)
    for part in found.slices:
        if part.interval is None:
            assert part.count < REGRESSION_METRICS[name].fewest_rows
            continue
        assert part.value is not None
        assert part.simultaneous_interval is not None
        assert part.simultaneous_interval.low < part.interval.low < part.value < part.interval.high
    if name in GAPS:
        gap = regression_gap(name, labels, predictions, breakdown)
        assert gap.value == pytest.approx(frame.difference(method="between_groups"), rel=1e-12)
        assert gap.id == f"fairness.{name}_difference"
        assert gap.value is not None
        assert gap.interval is not None
        assert gap.interval.low <= gap.value <= gap.interval.high


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(30, 200), shift=st.floats(-100, 100), scale=st.floats(0.1, 10))
def test_order_names_and_units_do_not_matter(seed: int, rows: int, shift: float, scale: float) -> None:
    labels, predictions, breakdown = table(seed, rows)
    order = np.random.default_rng(seed).permutation(rows)
    assert breakdown.codes is not None
    renamed = Breakdown(("g",), (("z",), ("y",), ("x",)), breakdown.codes[order])

    def values(found: Measurement) -> list[float]:
        return sorted(part.value for part in found.slices if part.value is not None)

    for name in REGRESSION_METRICS:
        found = regression_measurement(name, labels, predictions, breakdown)
        again = regression_measurement(name, labels[order], predictions[order], renamed)
        assert values(again) == pytest.approx(values(found), rel=1e-9, abs=1e-9)
        moved = regression_measurement(name, labels * scale + shift, predictions * scale + shift, ALL).value
        plain = regression_measurement(name, labels, predictions, ALL).value
        assert plain is not None
        expected = (
            plain if name == "r2" else plain * scale + (shift if name in ("mean_prediction", "mean_label") else 0)
        )
        assert moved == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_what_is_undefined_says_why() -> None:
    labels, predictions = np.full(40, 3.0), np.arange(40.0)
    found = regression_measurement("r2", labels, predictions, groups(2, 20))
    assert [part.value for part in found.slices] == [None, None]
    assert found.slices[0].reason == "all labels are alike, and their variance is zero, in this group"
    few = regression_measurement("mean_error", labels[:5], predictions[:5], groups(1, 5))
    assert few.reason is not None
    one = regression_gap("mean_error", labels, predictions, Breakdown(("g",), (("a",),), np.zeros(40, dtype=np.int64)))
    assert one.value is None
    assert one.reason is not None
    lonely = regression_measurement("mean_error", labels[:1], predictions[:1], ALL)
    assert (lonely.value, lonely.interval) == (-3.0, None)
    assert lonely.reason == "fewer than 20 rows are too few for an interval"
    exact = regression_measurement("mean_absolute_error", predictions, predictions, ALL)
    assert (exact.value, exact.interval) == (0, None), "no sample has an interval of width zero"
    assert exact.reason == "all rows are alike, which says nothing of the spread that an interval needs"
    for wrong in (np.array([1.0, np.nan]), np.array([1.0, np.inf]), np.ones(3), np.ones(0)):
        with pytest.raises(InputError, match=r"must be (finite numbers|as many)"):
            regression_measurement("mean_error", np.array([1.0, 2.0]), wrong, ALL)


def covered(name: str, kind: str, rows: int, repetitions: int) -> float:
    """Return how often the interval of a number holds its true value, for predictions with errors of a kind."""
    rng = np.random.default_rng(1)
    draw: Callable[[np.random.Generator, int], Any] = {**ERRORS, **HEAVY}[kind]
    many = draw(rng, 10**6)
    mean, size, square = HEAVY_MOMENTS.get(kind, (many.mean(), np.abs(many).mean(), (many**2).mean()))
    truth = {"mean_error": mean, "mean_absolute_error": size, "root_mean_squared_error": square**0.5}
    truth |= {"mean_prediction": mean, "mean_label": 0.0, "r2": 1 - square / (1 + square)}
    hits = 0
    for _ in range(repetitions):
        predictions, errors = rng.normal(size=rows), draw(rng, rows)
        # Labels are what was predicted plus an error, so that R2 is not negative.
        labels = predictions - errors
        if name in ("mean_prediction", "mean_label"):
            labels, predictions = predictions, errors
        bounds = REGRESSION_METRICS[name].statistic(labels, predictions, (0.95,)).bounds[0]
        assert bounds is not None
        hits += bounds[0] <= truth[name] <= bounds[1]
    return hits / repetitions


@pytest.mark.parametrize("name", REGRESSION_METRICS)
@pytest.mark.parametrize("kind", ["normal", "exponential"])
def test_intervals_cover_as_often_as_they_say(name: str, kind: str) -> None:
    # A quarter of a percent below 93 %: three standard errors of so many repetitions.
    assert covered(name, kind, REGRESSION_METRICS[name].fewest_rows, 1000) >= 0.93 - 0.024


@pytest.mark.parametrize(("name", "kind"), HEAVY_CASES)
def test_intervals_cover_heavy_tails_in_200_rows(name: str, kind: str) -> None:
    assert covered(name, kind, 200, 3000) >= 0.93 - 0.014


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), HEAVY_CASES)
def test_intervals_cover_heavy_tails_in_more_rows(name: str, kind: str) -> None:
    found = [covered(name, kind, rows, 6000) for rows in (200, 500, 2000)]
    assert min(found) >= 0.93 - 0.006, found


@pytest.mark.slow
@pytest.mark.parametrize("name", REGRESSION_METRICS)
@pytest.mark.parametrize("kind", ERRORS)
def test_intervals_cover_at_every_size(name: str, kind: str) -> None:
    found = [
        covered(name, kind, max(rows, REGRESSION_METRICS[name].fewest_rows), 6000)
        for rows in (20, 30, 50, 100, 200, 1000)
    ]
    assert min(found) >= 0.93 - 0.006, found
    assert np.mean(found) <= 0.985, found


def false_gaps(name: str, kind: str, count: int, rows: int, repetitions: int) -> float:
    """Return how often a gap of groups that are all alike is told from zero."""
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(repetitions):
        labels = rng.normal(size=count * rows)
        predictions = labels + ERRORS[kind](rng, count * rows)
        gap = regression_gap(name, labels, predictions, groups(count, rows))
        assert gap.value is not None
        assert gap.interval is not None
        found += gap.interval.low > 0
    return found / repetitions


@pytest.mark.parametrize("name", GAPS)
@pytest.mark.parametrize("count", [2, 5])
def test_equal_groups_are_seldom_told_apart(name: str, count: int) -> None:
    assert false_gaps(name, "exponential", count, 30, 400) <= 0.06 + 0.02


@pytest.mark.slow
@pytest.mark.parametrize("name", GAPS)
@pytest.mark.parametrize("count", [2, 5, 20])
@pytest.mark.parametrize("kind", ERRORS)
def test_equal_groups_of_every_kind_are_seldom_told_apart(name: str, count: int, kind: str) -> None:
    for rows in (20, 50, 500):
        assert false_gaps(name, kind, count, rows, 2000) <= 0.06 + 0.008, rows


def test_a_group_whose_numbers_are_all_alike_is_compared_without_an_interval() -> None:
    predictions, codes = np.arange(130.0) % 5, np.repeat([0, 1, 2], [60, 60, 10])
    predictions[codes == 0] = 50.0  # the gap lies here, and must not be passed over
    predictions[codes == 2] = 900.0  # of too few rows
    breakdown = Breakdown(("g",), (("a",), ("b",), ("c",)), codes)
    gap = regression_gap("mean_prediction", np.zeros(130), predictions, breakdown)
    assert (gap.value, gap.interval, gap.count) == (48, None, 120)
    assert compared(gap) == ("b", "a")
    assert gap.reason == "all rows are alike, which says nothing of the spread that an interval needs"


def test_a_real_gap_is_found() -> None:
    labels, predictions, breakdown = table(rows=3000)
    gap = regression_gap("mean_error", labels, predictions, breakdown)
    assert compared(gap) == ("a", "c")
    assert gap.interval is not None
    assert 1 < gap.interval.low < 2 < gap.interval.high < 3


def test_an_interval_is_made_of_the_moments_of_the_values() -> None:
    values = np.random.default_rng(3).lognormal(size=60)
    spread, third = values.var(ddof=1), float(stats.skew(values) * (59 / 60) ** 1.5)
    kurtosis = float(stats.kurtosis(values, fisher=False))
    low, high = skewed_mean_interval(float(values.mean()), spread, third, 60, 0.9, kurtosis=kurtosis)
    assert mean_estimate(values, (0.9,)).bounds[0] == pytest.approx((low, high, METHOD))
    unseen = (values.max() - values.mean()) / 60
    assert mean_estimate(values, (0.9,), sizes=True).bounds[0] == pytest.approx((low, high + unseen, METHOD))
    wide = mean_estimate(values[:5], (0.99,), sizes=True).bounds[0]
    assert wide is not None
    assert wide[0] == 0, "no size lies below 0"
    alike = mean_estimate(np.full(5, -1.0), (0.9, 0.99), sizes=True)
    assert (alike.value, alike.bounds) == (-1, (None, None)), "no sample has an interval of width zero"
    assert alike.reason == "all rows are alike, which says nothing of the spread that an interval needs"
