"""Membership rates against scikit-learn, the rates of single rows, and simulated coverage with clusters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from auditkit.stats.membership import roc_auc, true_positive_rate_at


def scores_of(seed: int, shift: float, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    member = np.arange(2 * count) < count
    return member, rng.normal(0, 1, 2 * count) + shift * member


@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0])
def test_the_area_is_that_of_scikit_learn_and_single_clusters_change_little(shift: float) -> None:
    member, scores = scores_of(1, shift)
    found = roc_auc(member, scores, 0.95)
    assert found.value == pytest.approx(roc_auc_score(member, scores))
    alone = roc_auc(member, scores, 0.95, np.arange(len(scores)))
    assert alone.value == pytest.approx(found.value)
    assert alone.low == pytest.approx(found.low, abs=0.01)
    assert alone.high == pytest.approx(found.high, abs=0.01)


@pytest.mark.parametrize("clusters", [None, np.repeat(np.arange(100), 4)])
def test_perfect_attacks_have_intervals_below_one(clusters: np.ndarray | None) -> None:
    member, scores = scores_of(2, 50.0)
    found = roc_auc(member, scores, 0.95, clusters)
    assert found.value == found.high == 1.0
    assert found.low < 0.995
    named = true_positive_rate_at(member, scores, 0.01, 0.95, clusters)
    assert named is not None
    assert named.value == named.high == 1.0
    assert named.low < 0.995


@pytest.mark.parametrize(("seed", "rate"), [(seed, rate) for seed in range(6) for rate in (0.01, 0.05)])
def test_the_ends_for_independent_rows_are_those_of_scipys_binomials(seed: int, rate: float) -> None:
    member, scores = scores_of(seed, 1.0, 500)
    found = true_positive_rate_at(member, scores, rate, 0.95)
    others, members = np.sort(scores[~member])[::-1], scores[member]
    fewest, most = (int(stats.binom.ppf(tail, len(others), rate)) for tail in (0.0125, 0.9875))
    strict = int((members > others[fewest - 1]).sum()) if fewest else 0
    lax = int((members >= others[most]).sum())
    assert found is not None
    assert found.value == (members > others[int(rate * len(others) + 1e-9)]).mean()
    assert found.low == pytest.approx(stats.binomtest(strict, len(members)).proportion_ci(0.975).low)
    assert found.high == pytest.approx(stats.binomtest(lax, len(members)).proportion_ci(0.975).high)
    assert true_positive_rate_at(member, scores, 0.001, 0.95) is None


def test_clusters_widen_the_intervals() -> None:
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(100), 10)
    member = clusters < 50
    scores = rng.normal(0, 1, 100)[clusters] + rng.normal(0, 0.2, 1000) + 0.8 * member
    for estimate in (roc_auc, lambda *given: true_positive_rate_at(given[0], given[1], 0.05, *given[2:])):
        alone, together = estimate(member, scores, 0.95), estimate(member, scores, 0.95, clusters)
        assert alone is not None
        assert together is not None
        assert together.value == alone.value
        assert together.high - together.low > 1.8 * (alone.high - alone.low)


@pytest.mark.slow
def test_intervals_with_clusters_cover() -> None:
    """400 data sets of 60 authors with 6 texts each, whose scores lie together: chance, and an attack that works."""
    for shift in (0.0, 1.0):
        truth = float(np.mean([_area(seed, shift, 4000) for seed in range(20)]))
        inside = 0
        for seed in range(400):
            member, scores, clusters = _drawn(seed, shift, 60)
            found = roc_auc(member, scores, 0.95, clusters)
            inside += found.low <= truth <= found.high
        assert inside / 400 >= 0.92, shift


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "authors", "texts"), [(0.01, 120, 10), (0.01, 40, 20), (0.001, 1000, 6)])
def test_intervals_of_the_share_of_members_named_cover_with_clusters(rate: float, authors: int, texts: int) -> None:
    """200 data sets of authors whose scores lie together, for no attack, one that works, and one that works well."""
    for shift in (0.0, 1.0, 2.5):
        parts = [_drawn(10**6 + seed, shift, 4000, texts)[:2] for seed in range(20)]
        member, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
        truth = float((scores[member] > np.quantile(scores[~member], 1 - rate)).mean())
        inside = 0
        for seed in range(200):
            found = true_positive_rate_at(
                *_drawn(seed, shift, authors, texts)[:2], rate, 0.95, _clusters(authors, texts)
            )
            assert found is not None
            assert found.low < found.high
            inside += found.low <= truth <= found.high
        assert inside / 200 >= 0.92, shift


def _clusters(authors: int, texts: int) -> np.ndarray:
    return np.repeat(np.arange(authors), texts)


def _drawn(seed: int, shift: float, authors: int, texts: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng((seed, authors))
    clusters = _clusters(authors, texts)
    member = clusters % 2 == 0
    return member, rng.normal(0, 0.7, authors)[clusters] + rng.normal(0, 0.7, len(clusters)) + shift * member, clusters


def _area(seed: int, shift: float, authors: int) -> float:
    member, scores, _ = _drawn(seed, shift, authors)
    return float(roc_auc_score(member, scores))
