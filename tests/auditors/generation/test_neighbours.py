"""Metrics of nearest neighbours against hand-computed cases, an implementation of their formulas, and invariances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from auditkit.auditors.generation import neighbours
from auditkit.auditors.generation.neighbours import (
    kernel_distance,
    manifold_metrics,
    neighbourhoods,
    real_rows,
)
from auditkit.errors import InputError


def rows(count: int, width: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(count, width)) + shift).astype(np.float32)


def by_formula(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float, float, float]:
    """The definitions of Naeem et al. 2020, equations 3 to 9, written out row by row in float64."""
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    radius_of = {
        name: np.sort(cdist(points, points), axis=1)[:, k] for name, points in (("real", real), ("fake", fake))
    }
    between = cdist(real, fake)
    precision = np.mean(
        [any(between[i, j] <= radius_of["real"][i] for i in range(len(real))) for j in range(len(fake))]
    )
    recall = np.mean([any(between[i, j] <= radius_of["fake"][j] for j in range(len(fake))) for i in range(len(real))])
    density = sum(between[i, j] <= radius_of["real"][i] for i in range(len(real)) for j in range(len(fake))) / (
        k * len(fake)
    )
    coverage = np.mean([between[i].min() <= radius_of["real"][i] for i in range(len(real))])
    return float(precision), float(recall), float(density), float(coverage)


@pytest.mark.parametrize(("count", "width", "shift", "k"), [(40, 2, 0.0, 5), (60, 3, 1.0, 3), (31, 8, 0.3, 1)])
def test_metrics_follow_their_definitions(count: int, width: int, shift: float, k: int) -> None:
    real, fake = rows(count, width, 1), rows(count + 7, width, 2, shift)
    found = manifold_metrics(real_rows(real, k), fake, k)
    np.testing.assert_allclose(found, by_formula(real, fake, k), atol=1e-12)


def test_a_case_by_hand() -> None:
    # Real rows at 0, 1, 3 with k = 1: radii 1, 1, 2. Samples at 1.5, 9, 10: radii 7.5, 1, 1.
    real, fake = (np.array([[value] for value in values], dtype=np.float32) for values in ((0, 1, 3), (1.5, 9, 10)))
    found = manifold_metrics(real_rows(real, 1), fake, 1)
    assert found.precision == pytest.approx(1 / 3)  # 1.5 alone lies in a neighbourhood
    assert found.recall == 1.0  # all lie within 7.5 of 1.5
    assert found.density == pytest.approx(2 / 3)  # 1.5 lies in the neighbourhoods of 1 and of 3
    assert found.coverage == pytest.approx(2 / 3)  # that of 0 holds no sample
    assert neighbourhoods(real_rows(real, 1), fake, 1).covered.tolist() == [False, True, True]
    assert neighbourhoods(real_rows(real, 1), fake, 1).recalled.all()
    assert neighbourhoods(real_rows(real, 1), fake, 1).containing.tolist() == [2, 0, 0]


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = rows(300, 4, 1), rows(250, 4, 2)
    whole = manifold_metrics(real_rows(real), fake), kernel_distance(real, fake)
    monkeypatch.setattr(neighbours, "CELLS_AT_ONCE", 1000)
    parts = manifold_metrics(real_rows(real), fake), kernel_distance(real, fake)
    np.testing.assert_allclose(parts[0], whole[0], atol=1e-12)
    assert parts[1] == pytest.approx(whole[1], abs=1e-6)


def test_order_and_rotation_do_not_matter() -> None:
    real, fake = rows(200, 3, 1), rows(200, 3, 2, 0.4)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0].astype(np.float32)
    found = manifold_metrics(real_rows(real), fake)
    np.testing.assert_allclose(manifold_metrics(real_rows(real[::-1]), fake[::-1]), found, atol=1e-12)
    np.testing.assert_allclose(manifold_metrics(real_rows(real @ turn), fake @ turn), found, atol=0.011)


def test_copies_have_every_quality() -> None:
    training = rows(400, 4, 1)
    copies = training[:300] + np.float32(1e-4)
    found = manifold_metrics(real_rows(training), copies)
    assert found.precision == 1.0
    assert found.coverage > 0.95


def test_the_kernel_distance_is_unbiased_and_follows_its_formula() -> None:
    small_x, small_y = rows(9, 2, 1), rows(7, 2, 2, 0.5)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray((x.astype(np.float64) @ y.T.astype(np.float64) / 2 + 1) ** 3)

    xx, yy, xy = kernel(small_x, small_x), kernel(small_y, small_y), kernel(small_x, small_y)
    expected = (xx.sum() - np.trace(xx)) / 72 + (yy.sum() - np.trace(yy)) / 42 - 2 * xy.mean()
    assert kernel_distance(small_x, small_y) == pytest.approx(expected, rel=1e-5)
    equal = [kernel_distance(rows(60, 2, seed), rows(60, 2, seed + 1000)) for seed in range(200)]
    assert abs(np.mean(equal)) < 3 * np.std(equal) / np.sqrt(len(equal))
    assert kernel_distance(rows(300, 2, 1), rows(300, 2, 2, 1.0)) > 5 * np.std(equal)


@pytest.mark.parametrize(
    ("real", "fake", "words"),
    [
        (rows(5, 2, 1), rows(50, 2, 2), "more than 5 rows"),
        (rows(50, 2, 1), rows(5, 2, 2), "more than 5 rows"),
        (rows(50, 2, 1), rows(50, 3, 2), "must have 2 columns"),
        (rows(50, 2, 1), np.full((50, 2), np.nan, dtype=np.float32), "NaN or infinity"),
    ],
)
def test_what_cannot_be_compared_is_refused(real: np.ndarray, fake: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        manifold_metrics(real_rows(real), fake)
