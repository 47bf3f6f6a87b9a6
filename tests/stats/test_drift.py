from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from auditkit.stats.drift import categorical_drift, drift_interval, holm, numeric_drift


def test_numbers_agree_with_scipy_and_missing_ones_count() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=500), rng.normal(0.2, 1, size=300)
    found = numeric_drift(first, second)
    expected = stats.ks_2samp(first, second, method="asymp")
    assert (found.distance, found.p_value) == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))  # type: ignore[comparison-overlap]  # approx equals a number
    missing = numeric_drift(np.full(50, 1.0), np.array([np.nan] * 20 + [1.0] * 30))
    assert missing.distance == pytest.approx(0.4)
    assert missing.p_value < 0.001
    assert numeric_drift(first, first).distance == 0


def test_categories_by_hand_and_by_scipy() -> None:
    found = categorical_drift(np.array([30, 50, 20]), np.array([60, 20, 20]))
    assert found.distance == pytest.approx((0.3 + 0.3 + 0) / 2)
    table = np.array([[30, 50, 20], [60, 20, 20]])
    assert found.p_value == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue)
    assert categorical_drift(np.array([5, 0]), np.array([9, 0])).p_value == 1
    rare = categorical_drift(np.array([1000, 1, 0, 1]), np.array([1000, 0, 1, 0]))
    assert 0.05 < rare.p_value <= 1, "rare categories are taken together"
    assert categorical_drift(np.array([10, 0]), np.array([0, 10])).distance == 1


@pytest.mark.parametrize("kind", ["numbers", "categories"])
def test_the_interval_holds_its_level(kind: str) -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(300):
        if kind == "numbers":
            drift, truth = numeric_drift(rng.random(80), rng.random(120) ** 2), 0.25
        else:
            p, q = np.array([0.5, 0.3, 0.2]), np.array([0.3, 0.3, 0.4])
            drift, truth = categorical_drift(rng.multinomial(80, p), rng.multinomial(120, q)), 0.2
        low, high = drift_interval(drift, 0.95)
        held += low <= truth <= high
    assert held >= 0.95 * 300


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_agrees_with_statsmodels(values: Any) -> None:
    p_values = np.array(values)
    with mock.patch("gc.collect"):  # statsmodels collects all garbage of the process in each call
        expected = multipletests(p_values, method="holm")[1]
    np.testing.assert_allclose(holm(p_values), expected)
    assert holm(np.array([])).tolist() == []
