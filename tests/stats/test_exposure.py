"""Exposure by hand, its p-value under the null hypothesis, and an interval that holds for any distribution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from auditkit.stats.exposure import bounded_mean_interval, combined_p_value, rank_p_values


def test_ranks_count_ties_against_the_secret() -> None:
    chances = np.array([[0.0, -1.0, -1.0, -3.0], [-2.0, -2.0, -2.0, -2.0]])
    assert rank_p_values(chances, np.array([1, 0])).tolist() == [0.75, 1.0]
    assert rank_p_values(chances, np.array([0, 3])).tolist() == [0.25, 1.0]


def test_codes_that_were_never_read_have_uniform_ranks() -> None:
    rng = np.random.default_rng(0)
    found = rank_p_values(rng.normal(size=(400, 1000)), rng.integers(0, 1000, 400))
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_the_combined_p_value_is_fishers() -> None:
    given = np.array([0.2, 0.03, 0.6, 0.001])
    assert combined_p_value(given) == pytest.approx(stats.combine_pvalues(given, method="fisher").pvalue)
    rng = np.random.default_rng(1)
    null = [combined_p_value(rng.integers(1, 10_001, 20) / 10_000) for _ in range(400)]
    assert stats.kstest(null, "uniform").pvalue > 0.01


def test_the_interval_of_a_mean_never_vanishes_and_holds_the_mean() -> None:
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(300):
        values = -np.log2(rng.integers(1, 10_001, 30) / 10_000)
        low, high = bounded_mean_interval(values, np.log2(10_000), 0.95)
        assert low < values.mean() < high
        inside += low <= 1.4427 <= high
    assert inside / 300 >= 0.95
    low, high = bounded_mean_interval(np.full(50, 13.0), 13.0, 0.95)
    assert low < 13.0 == high
