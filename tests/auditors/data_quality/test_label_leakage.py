from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from auditkit.auditors.data_quality.label_leakage import binned_codes, out_of_half, single_column_auc

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 4000)


def area(values: Any, labels: Any = LABELS, classes: int = 2) -> Any:
    found = single_column_auc(binned_codes(np.asarray(values, dtype=float)), labels, classes)
    assert found is not None
    return found.value


def test_what_gives_the_label_away_is_found_whatever_its_form() -> None:
    assert area(LABELS) > 0.999
    assert area(-LABELS * 3.7) > 0.999
    assert area(np.where(LABELS == 1, np.nan, RNG.random(4000))) > 0.999, "missing only for one class"
    assert area(np.where(LABELS == 1, RNG.choice([-1, 1], 4000), 0) * (1 + RNG.random(4000))) > 0.99, "not monotone"


def test_noise_and_ids_predict_nothing() -> None:
    assert abs(area(RNG.random(4000)) - 0.5) < 0.05
    ids = single_column_auc(np.arange(4000), LABELS, 2)
    assert ids is not None
    assert ids.value == pytest.approx(0.5, abs=0.02)


def test_a_monotone_column_has_nearly_its_own_area() -> None:
    scores = LABELS + np.random.default_rng(1).normal(size=4000)
    # The area is that of one half of the rows: over 2,000 rows its standard error is 0.01.
    assert area(scores) == pytest.approx(roc_auc_score(LABELS, scores), abs=0.03)


def test_the_other_half_counts_by_a_naive_loop() -> None:
    codes, labels = RNG.integers(0, 5, 60), RNG.integers(0, 3, 60)
    half = np.random.default_rng(7).permutation(60) % 2
    found = out_of_half(codes, labels, 3, seed=7)
    for row in range(60):
        others = [other for other in range(60) if half[other] != half[row]]
        same = [labels[other] for other in others if codes[other] == codes[row]]
        for code in range(3):
            prior = (sum(labels[other] == code for other in others) + 1 / 3) / (len(others) + 1)
            assert found[row, code] == pytest.approx((same.count(code) + prior) / (len(same) + 1))
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_several_classes_and_too_few_rows() -> None:
    labels = RNG.integers(0, 3, 900)
    assert area(labels, labels, 3) > 0.999
    assert single_column_auc(np.zeros(3, dtype=np.int64), np.array([0, 0, 1]), 2) is None


def test_quantile_codes() -> None:
    assert binned_codes(np.array([3.0, np.nan, 1.0, 3.0])).tolist() == [2, 0, 1, 2]
    many = binned_codes(np.arange(6400.0))
    assert np.bincount(many)[1:].tolist() == [100] * 64
    assert binned_codes(np.array([np.nan])).tolist() == [0]
