"""Calibration: hand-computed bins, scikit-learn's curve, and an interval that is not fooled by chance."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.calibration

from auditkit.stats.calibration import (
    bin_probabilities,
    calibration_error_intervals,
    confidence,
    expected_calibration_error,
)
from auditkit.stats.scores import calibration_curve


def test_hand_computed() -> None:
    outcomes = np.array([True, False, True, True, False])
    probabilities = np.array([0.9, 0.9, 0.9, 0.3, 0.3])
    bins = bin_probabilities(outcomes, probabilities, bin_count=2)
    assert bins.rows.tolist() == [2, 3]
    assert expected_calibration_error(bins) == pytest.approx((2 * abs(0.5 - 0.3) + 3 * abs(2 / 3 - 0.9)) / 5)


def test_bins_are_closed_on_the_right() -> None:
    edges = np.linspace(0, 1, 16)
    bins = bin_probabilities(np.zeros(16, dtype=bool), edges)
    assert bins.rows.tolist() == [2] + [1] * 14


def test_bins_of_parts_add_up() -> None:
    draws = np.random.default_rng(0)
    probabilities, outcomes = draws.random(100), draws.random(100) < 0.4
    whole = bin_probabilities(outcomes, probabilities)
    parts = [bin_probabilities(outcomes[rows], probabilities[rows]) for rows in (slice(0, 30), slice(30, 100))]
    for total, first, second in zip(whole, *parts, strict=True):
        assert np.allclose(total, first + second)


def test_several_classes_are_judged_by_the_likeliest() -> None:
    probabilities = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    outcomes, confidences = confidence(np.array([1, 2]), probabilities)
    assert outcomes.tolist() == [True, False]
    assert confidences.tolist() == [0.5, 0.6]
    outcomes, confidences = confidence(np.array([1, 0]), probabilities[:, :2])
    assert outcomes.tolist() == [True, False]
    assert confidences.tolist() == [0.5, 0.3]


def test_curve_is_scikit_learns() -> None:
    draws = np.random.default_rng(1)
    positive = draws.random(3000)
    labels = (draws.random(3000) < positive**2).astype(np.int64)
    line = calibration_curve(labels, np.column_stack([1 - positive, positive])).lines[0]
    observed, predicted = sklearn.calibration.calibration_curve(labels, positive, n_bins=15)
    assert line.x == pytest.approx(predicted)
    assert line.y == pytest.approx(observed)
    assert line.low is not None
    assert line.high is not None
    assert all(low <= value <= high for low, value, high in zip(line.low, line.y, line.high, strict=True))


def test_curve_shows_no_bin_of_a_few_rows() -> None:
    positive = np.array([0.05] * 40 + [0.5] * 9 + [0.95] * 2)
    curve = calibration_curve((positive > 0.4).astype(np.int64), np.column_stack([1 - positive, positive]))
    assert len(curve.lines[0].x) == 1
    assert "Not shown: 2 of 3 bins in use, with fewer than 10 rows each (11 in all)." in curve.note
    assert curve.identity


@pytest.mark.parametrize("rows", [20, 100, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("shape", [(2, 2), (0.5, 2), (0.3, 10)])
@pytest.mark.parametrize("shift", [0.0, pytest.param(0.02, marks=pytest.mark.slow), 0.1])
def test_coverage(rows: int, shape: tuple[float, float], shift: float) -> None:
    """Simulated: beta probabilities whose true rate is `shift` higher. The estimate alone is above zero every time."""
    draws = np.random.default_rng(2)
    many = draws.beta(*shape, 1_000_000)
    truth = expected_calibration_error(bin_probabilities((many + shift).clip(0, 1), many))
    held, above = [], []
    for _ in range(300):
        positive = draws.beta(*shape, rows)
        bins = bin_probabilities(draws.random(rows) < positive + shift, positive)
        ((low, high),) = calibration_error_intervals(bins, [0.95])
        value = expected_calibration_error(bins)
        assert low <= value <= high
        held.append(low <= truth <= high)
        above.append(value > truth)
    assert np.mean(held) >= 0.93 - 0.025  # two standard errors of 300 draws
    if shift == 0:
        assert all(above)


def test_a_large_sample_finds_what_is_there() -> None:
    draws = np.random.default_rng(3)
    positive = draws.beta(0.5, 2, 20_000)
    bins = bin_probabilities(draws.random(20_000) < positive + 0.05, positive)
    ((low, high),) = calibration_error_intervals(bins, [0.95])
    assert low > 0.035
    assert high < 0.062
