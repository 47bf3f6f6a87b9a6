"""Copies of training rows among samples: planted ones are counted, and a generator without memory shows none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from auditkit.stats.copies import authentic, memorisation


def drawn(count: int, width: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(count, width))


def test_planted_copies_are_counted() -> None:
    training, unseen, samples = drawn(400, 8, 0), drawn(400, 8, 1), drawn(500, 8, 2)
    samples[:50] = training[:50]
    samples[50:100] = training[50:100] + 0.01
    found = memorisation(samples, training, unseen)
    assert found.exact.value == 0.1
    assert found.exact_control.value == 0
    assert found.near.value == pytest.approx(0.2, abs=0.01)
    assert found.excess.value == pytest.approx(0.2, abs=0.01)
    assert found.excess.interval.low > 0.15
    order = np.random.default_rng(3).permutation(500)
    again = memorisation(samples[order], training[::-1], unseen)
    assert again.near == found.near
    assert again.excess.value == found.excess.value


def test_near_copies_agree_with_a_loop_over_all_distances() -> None:
    samples, training, unseen = drawn(120, 2, 4), drawn(90, 2, 5), drawn(90, 2, 6)
    found = memorisation(samples, training, unseen)
    here, there = cdist(samples, training).min(axis=1), cdist(samples, unseen).min(axis=1)
    near, mirrored = (here < there / 2).mean(), (there < here / 2).mean()
    assert (found.near.value, found.near_control.value) == pytest.approx((near, mirrored))
    assert found.excess.value == pytest.approx(near - mirrored)


@pytest.mark.parametrize(("rows", "samples", "width"), [(300, 300, 4), (200, 1000, 2)])
def test_without_memory_the_interval_of_the_excess_holds_zero(rows: int, samples: int, width: int) -> None:
    wrong = 0
    for seed in range(60):
        found = memorisation(
            drawn(samples, width, 3 * seed), drawn(rows, width, 3 * seed + 1), drawn(rows, width, 3 * seed + 2)
        )
        wrong += not found.excess.interval.low <= 0 <= found.excess.interval.high
    assert wrong <= 6  # binomial(60, 0.05) exceeds it in 3 % of runs


def test_rows_that_repeat_by_nature_are_in_the_control_too() -> None:
    rng = np.random.default_rng(7)
    samples, training, unseen = (rng.integers(0, 3, (300, 2)).astype(float) for _ in range(3))
    found = memorisation(samples, training, unseen)
    assert found.exact.value == found.exact_control.value == 1
    assert found.near.value == found.excess.value == 0  # both kinds lie at distance 0
    assert found.excess.interval.low < 0 < found.excess.interval.high


def test_copies_are_not_authentic_and_fresh_rows_are() -> None:
    training, fresh = (np.random.default_rng(seed).normal(size=(300, 4)) for seed in (1, 2))
    assert authentic(training[:200] + 1e-4, training).mean() == 0.0
    assert 0.4 < authentic(fresh, training).mean() < 0.9
    by_hand = authentic(np.array([[0.4], [5.0]]), np.array([[0.0], [1.0], [3.0]]))  # radii 1, 1 and 2
    assert by_hand.tolist() == [False, False]
    assert authentic(np.array([[5.5]]), np.array([[0.0], [1.0], [3.0]])).tolist() == [True]
