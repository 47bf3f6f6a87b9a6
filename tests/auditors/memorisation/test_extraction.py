"""The edit distance of tokens, beside a recursion that follows its definition, and the intervals of extraction."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from auditkit.auditors.memorisation.exposure import Asked, canary_rates
from auditkit.auditors.memorisation.extraction import edit_distance, extraction_measurements
from auditkit.evidence.measurement import Interval


def by_definition(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    @functools.cache
    def distance(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        changed = distance(i - 1, j - 1) + (one[i - 1] != other[j - 1])
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, changed)

    return distance(len(one), len(other))


def test_edit_distances_follow_their_definition() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        one, other = (tuple(rng.integers(0, 3, rng.integers(0, 9)).tolist()) for _ in range(2))
        assert edit_distance(list(one), list(other)) == by_definition(one, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seen", "unseen", "authors", "texts", "alike"),
    [(0.02, 0.0, 100, 4, 0.3), (0.3, 0.02, 100, 4, 0.3), (0.05, 0.05, 60, 5, 0.6), (0.5, 0.0, 40, 6, 0.3)],
)
def test_intervals_of_extraction_cover_with_clusters(
    seen: float, unseen: float, authors: int, texts: int, alike: float
) -> None:
    """300 data sets of authors whose texts come back together: rates of a beta distribution by author."""
    rate = excess = 0
    for seed in range(300):
        rng = np.random.default_rng((seed, 5))
        clusters = np.repeat(np.arange(authors), texts)
        member = clusters % 2 == 0

        def chances(mean: float, rng: np.random.Generator = rng) -> np.ndarray:
            size = (1 - alike) / alike
            return rng.beta(mean * size, (1 - mean) * size, authors) if mean else np.zeros(authors)

        back = rng.random(len(clusters)) < np.where(member, chances(seen)[clusters], chances(unseen)[clusters])
        found = {one.id: one for one in extraction_measurements(back, back, member, clusters, 0.95)}
        low, high = ends(found["memorisation.near_extraction_rate"].interval)
        rate += low <= seen <= high
        low, high = ends(found["memorisation.extraction_excess"].interval)
        excess += low <= seen - unseen <= high
    assert rate / 300 >= 0.92
    assert excess / 300 >= 0.92


@pytest.mark.slow
def test_intervals_of_canary_rates_cover_all_at_once() -> None:
    """400 audits of 10 canaries of each number of repetitions: every interval holds its rate in 95 % of audits."""
    truths = {0: 0.0, 1: 0.05, 4: 0.4, 16: 0.97}
    alone = together = 0
    for seed in range(400):
        rng = np.random.default_rng((seed, 9))
        asked = [Asked(times, np.full(10, 0.5), rng.random(10) < truth) for times, truth in truths.items()]
        slices = canary_rates(asked, 0.95).slices
        held = [(ends(part.interval), ends(part.simultaneous_interval)) for part in slices]
        alone += sum(low <= truth <= high for ((low, high), _), truth in zip(held, truths.values(), strict=True))
        together += all(low <= truth <= high for (_, (low, high)), truth in zip(held, truths.values(), strict=True))
    assert alone / 1600 >= 0.95
    assert together / 400 >= 0.95


def ends(interval: Interval | None) -> tuple[float, float]:
    assert interval is not None
    return interval.low, interval.high
