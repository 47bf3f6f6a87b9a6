"""Shares of a total: their intervals against simulation, the jackknife and Bonferroni's rule."""

from __future__ import annotations

import numpy as np
import pytest

from auditkit.auditors.explainability.statistics import ratio_of_means

WEIGHTS = np.array([3.0, 1.0, 0.1])


@pytest.mark.parametrize("kind", ["exponential", "lognormal", "rare"])
def test_ratio_of_means_covers_its_level(kind: str) -> None:
    rng = np.random.default_rng(0)

    def draw(rows: int) -> np.ndarray:
        if kind == "rare":  # a column that weighs in few rows
            return WEIGHTS * rng.exponential(size=(rows, 3)) * (rng.random((rows, 3)) < 0.1) + 0.01
        return WEIGHTS * (rng.exponential(size=(rows, 3)) if kind == "exponential" else rng.lognormal(size=(rows, 3)))

    truth = (WEIGHTS * 0.1 + 0.01) / (WEIGHTS * 0.1 + 0.01).sum() if kind == "rare" else WEIGHTS / WEIGHTS.sum()
    hits = np.zeros(3)
    for _ in range(1000):
        parts = draw(100)
        _, low, high = ratio_of_means(parts, parts.sum(axis=1), level=0.95)
        hits += (low <= truth) & (truth <= high)
    # Three standard errors of so many repetitions below 93 %.
    assert (hits / 1000 > 0.93 - 0.024).all(), hits


def test_the_interval_is_as_long_as_the_jackknife_says() -> None:
    parts = np.random.default_rng(2).uniform(1, 3, size=(2000, 3))
    totals = parts.sum(axis=1)
    without = (parts.sum(axis=0) - parts) / (totals.sum() - totals)[:, None]
    error = np.sqrt(((without - without.mean(axis=0)) ** 2).sum(axis=0) * 1999 / 2000)
    _, low, high = ratio_of_means(parts, totals, level=0.95)
    np.testing.assert_allclose(high - low, 2 * 1.961 * error, rtol=0.02)


def test_several_intervals_hold_at_once_by_bonferroni_and_one_row_bounds_nothing() -> None:
    parts = np.random.default_rng(3).exponential(size=(40, 3))
    family = ratio_of_means(parts, parts.sum(axis=1), level=0.9, family_size=4)
    np.testing.assert_allclose(family, ratio_of_means(parts, parts.sum(axis=1), level=0.975))
    value, low, high = ratio_of_means(parts[:1], parts[:1].sum(axis=1), level=0.9)
    assert (low.tolist(), high.tolist()) == ([0] * 3, [np.inf] * 3)
    assert value.sum() == pytest.approx(1)
    same = np.full((40, 2), 0.3)  # no spread: the interval is the value
    np.testing.assert_allclose(np.ptp(ratio_of_means(same, same.sum(axis=1), level=0.9), axis=0), 0, atol=1e-12)


def test_ratio_of_means_does_not_depend_on_row_order() -> None:
    parts = np.random.default_rng(1).exponential(size=(50, 3))
    one = ratio_of_means(parts, parts.sum(axis=1), level=0.9)
    other = ratio_of_means(parts[::-1], parts[::-1].sum(axis=1), level=0.9)
    np.testing.assert_allclose(np.array(one), np.array(other))
