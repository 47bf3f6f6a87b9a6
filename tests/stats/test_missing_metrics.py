"""The labels that make a metric the highest and the lowest: against every labelling of small tables."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from auditkit.stats.missing_metrics import EXTREMES, OF_TWO_CLASSES, extreme_labels, is_bounded
from auditkit.stats.quality import CLASSIFICATION_METRICS, metric_statistic
from auditkit.stats.sampling import SIMPLE, Sampling

CASES = [(name, 2) for name in EXTREMES] + [(name, 3) for name in EXTREMES if name not in OF_TWO_CLASSES]
ROWS, MISSING = 11, 6


def predicted(name: str, classes: int, draws: np.random.Generator) -> Any:
    """Return decisions, or probabilities with ties and with bins that several rows share."""
    if CLASSIFICATION_METRICS[name].of == "decisions":
        return draws.integers(0, classes, ROWS)
    shares = draws.integers(1, 4, (ROWS, classes)).astype(float)
    return shares / shares.sum(axis=1, keepdims=True)


def value(name: str, labels: np.ndarray, given: Any, sampling: Sampling) -> float | None:
    arguments = () if sampling.is_simple else (sampling,)
    return metric_statistic(name, 2 if given.ndim == 1 else given.shape[1])(labels, given, (), *arguments).value


@pytest.mark.parametrize(("name", "classes"), CASES)
@pytest.mark.parametrize("sampled", ["simple", "clusters", "weights"])
def test_no_labelling_gives_a_higher_or_a_lower_value(name: str, classes: int, sampled: str) -> None:
    if not is_bounded(name, classes, weighted=sampled == "weights"):
        assert sampled == "weights"
        assert name in ("roc_auc", "calibration_error")
        return
    for seed in range(4):
        draws = np.random.default_rng([classes, seed])
        labels, given = draws.integers(0, classes, ROWS), predicted(name, classes, draws)
        labels[-2:] = 0, 1
        known = np.arange(ROWS) >= MISSING
        sampling = {
            "simple": SIMPLE,
            "clusters": Sampling(None, np.arange(ROWS) // 2),
            "weights": Sampling(draws.uniform(0.5, 3, ROWS), None),
        }[sampled]
        values = []
        for filled in product(range(classes), repeat=MISSING):
            whole = labels.copy()
            whole[~known] = filled
            values.append(value(name, whole, given, sampling))
        found = [
            value(
                name, extreme_labels(name, np.where(known, labels, -1), given, known, highest=highest), given, sampling
            )
            for highest in (False, True)
        ]
        defined = [one for one in values if one is not None]
        assert found == pytest.approx([min(defined), max(defined)]), (name, seed)


def test_what_has_no_exact_bound_has_none() -> None:
    for name in ("average_precision", "calibration_slope", "mean_score", "accuracy"):
        assert not is_bounded(name, 2, weighted=False)
    assert not is_bounded("f1_score", 3, weighted=False)
    assert is_bounded("f1_score", 2, weighted=True)


def test_an_area_by_hand() -> None:
    """Known: .2 negative, .8 positive. A row at .5: positive gives pairs .8 > .2, .5 > .2 (1.0); negative 1.0 too.

    A row at .9: positive 1.0; negative, .8 lies above .2 and below .9, 0.5.
    """
    labels, known = np.array([0, 1, -1]), np.array([True, True, False])
    for score, least in ((0.5, 1.0), (0.9, 0.5)):
        order = np.array([[0.8, 0.2], [0.2, 0.8], [1 - score, score]])
        for highest, expected in ((True, 1.0), (False, least)):
            filled = extreme_labels("roc_auc", labels, order, known, highest=highest)
            assert value("roc_auc", filled, order, SIMPLE) == expected


def test_nothing_missing_changes_nothing() -> None:
    labels = np.array([0, 1, 1])
    found = extreme_labels("f1_score", labels, np.array([1, 1, 0]), np.ones(3, dtype=bool), highest=False)
    np.testing.assert_array_equal(found, labels)
