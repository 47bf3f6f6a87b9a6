"""ROC AUC: a naive loop over pairs, DeLong's own variance, and coverage by simulation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from auditkit.stats.ranking import RocAuc, macro_roc_auc, roc_auc, roc_auc_interval


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=60))
def test_naive_loop_over_pairs(rows: Any) -> None:
    positive, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], dtype=float)
    assume(0 < positive.sum() < len(rows))
    won = (scores[positive][:, None] > scores[~positive]) + 0.5 * (scores[positive][:, None] == scores[~positive])
    area = roc_auc(positive, scores)
    assert area.value == pytest.approx(won.mean(), abs=1e-12)
    variance = sum(
        part.var(ddof=1) / len(part) for part in (won.mean(axis=1), won.mean(axis=0)) if len(part) > 1
    )  # DeLong, DeLong & Clarke-Pearson 1988, equations 4 to 6
    assert area.variance == pytest.approx(variance, abs=1e-12)
    assert (area.smaller, area.larger) == tuple(sorted((int(positive.sum()), int((~positive).sum()))))
    for level in (0.9, 0.95, 0.9999):
        low, high, _ = roc_auc_interval(area, level)
        assert 0 <= low <= area.value + 1e-12
        assert area.value - 1e-12 <= high <= 1


def test_scale_of_scores_does_not_matter() -> None:
    draws = np.random.default_rng(0)
    positive, scores = draws.random(200) < 0.3, draws.random(200)
    assert roc_auc(positive, scores) == roc_auc(positive, scores**3)
    turned = roc_auc(positive, -scores)
    assert turned.value == pytest.approx(1 - roc_auc(positive, scores).value)
    assert turned.variance == pytest.approx(roc_auc(positive, scores).variance)


def test_interval_is_near_the_bootstrap() -> None:
    """FACTS 10: DeLong's and the bootstrap's ends agree within a fraction of the width."""
    draws = np.random.default_rng(1)
    positive = draws.random(1500) < 0.25
    scores = draws.normal(positive * 1.2)
    low, high, method = roc_auc_interval(roc_auc(positive, scores), 0.95)
    assert method == "DeLong on the logit scale"
    resampled = []
    for _ in range(1500):
        rows = draws.integers(0, 1500, 1500)
        resampled.append(roc_auc(positive[rows], scores[rows]).value)
    assert np.quantile(resampled, [0.025, 0.975]) == pytest.approx([low, high], abs=0.12 * (high - low))


def test_methods() -> None:
    assert roc_auc_interval(RocAuc(1.0, 0.0, 3, 97), 0.95)[2] == "Wilson over the rarer class"
    perfect = roc_auc_interval(RocAuc(1.0, 0.0, 20, 80), 0.95)
    assert perfect[1] == 1
    assert 0.8 < perfect[0] < 1
    assert "Newcombe" in perfect[2]
    none = roc_auc_interval(RocAuc(0.0, 0.0, 20, 80), 0.95)
    assert none[:2] == pytest.approx((0, 1 - perfect[0]), abs=1e-9)


def test_macro_of_two_mirrored_classes_is_the_binary_one() -> None:
    draws = np.random.default_rng(2)
    labels = draws.integers(0, 2, 300)
    positive = draws.beta(1 + labels, 2)
    binary = roc_auc(labels == 1, positive)
    macro = macro_roc_auc(labels, np.column_stack([1 - positive, positive]))
    assert macro.value == pytest.approx(binary.value)
    assert macro.variance == pytest.approx(binary.variance, rel=0.02)  # n against n - 1


def test_macro_variance_is_the_bootstraps() -> None:
    draws = np.random.default_rng(3)
    labels = draws.choice(3, 600, p=[0.5, 0.3, 0.2])
    probabilities = np.exp(draws.normal(size=(600, 3)) + 1.5 * np.eye(3)[labels])
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    areas = []
    for _ in range(600):
        rows = draws.integers(0, 600, 600)
        areas.append(macro_roc_auc(labels[rows], probabilities[rows]).value)
    assert macro_roc_auc(labels, probabilities).variance == pytest.approx(np.var(areas), rel=0.2)


@pytest.mark.parametrize("sizes", [(2, 18), (5, 45), (10, 90), (25, 25), (10, 490)])
def test_coverage(sizes: tuple[int, ...]) -> None:
    assert_coverage(sizes, samples=600, spreads=(0.6, 1.6), slack=0.027)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sizes", [(1, 19), (4, 16), (10, 10), (5, 95), (20, 80), (50, 50), (20, 180), (100, 100), (30, 470)]
)
def test_coverage_everywhere(sizes: tuple[int, ...]) -> None:
    assert_coverage(sizes, samples=4000, spreads=(0.6, 1.0, 1.6), slack=0.012)


def assert_coverage(sizes: Sequence[int], *, samples: int, spreads: Sequence[float], slack: float) -> None:
    """Binormal scores; `slack` is three standard errors of the simulation at 95 %."""
    draws = np.random.default_rng(9)
    positive = np.arange(sum(sizes)) < sizes[0]
    for spread in spreads:
        for distance in (0.0, 1.0, 2.0, 3.0):
            truth = scipy.stats.norm.cdf(distance / np.hypot(1, spread))
            held = []
            for _ in range(samples):
                scores = np.where(
                    positive, draws.normal(distance, spread, len(positive)), draws.normal(size=len(positive))
                )
                low, high, _ = roc_auc_interval(roc_auc(positive, scores), 0.95)
                held.append(low <= truth <= high)
            assert np.mean(held) >= 0.93 - slack, (sizes, spread, distance)
