"""Shares of classes by hand, and how often their intervals hold the truth of a known confusion."""

from __future__ import annotations

import numpy as np
import pytest

from auditkit.auditors.generation.shares import corrected_shares, share_estimates

REAL = np.array([0.5, 0.3, 0.2])
CONFUSION = np.array([[0.9, 0.1, 0.0], [0.1, 0.8, 0.1], [0.0, 0.1, 0.9]])
"""Of each true class, a column, the shares that are seen as each class."""


def seen(classes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return what the classifier sees in rows of known class."""
    found: np.ndarray = (generator.random(len(classes))[:, None] > np.cumsum(CONFUSION.T[classes], axis=1)).sum(axis=1)
    return found


def coverage(made: np.ndarray, repetition_count: int, row_count: int) -> np.ndarray:
    """Return how often 95 % intervals hold the true differences and ratios, (2, classes)."""
    generator = np.random.default_rng(0)
    held = np.zeros((2, 3))
    for repetition in range(repetition_count):
        true = generator.choice(3, row_count, p=REAL)
        sets = [seen(generator.choice(3, row_count, p=made), generator) for _ in range(10)]
        found = share_estimates(sets, true, seen(true, generator), 3, seed=repetition)
        for place, truth in enumerate((made - REAL, made / REAL)):
            low = -1.0 if place == 0 else 0.0
            for group in range(3):
                interval = found[place].interval(group, level=0.95, count=int((true == group).sum()), low=low)
                held[place, group] += interval.low <= truth[group] <= interval.high
    return held / repetition_count


def test_shares_are_corrected_for_confusion_and_a_class_without_real_rows_has_none() -> None:
    true = np.repeat([0, 1], 10)
    predicted = np.array([0] * 8 + [1] * 2 + [1] * 10)
    np.testing.assert_allclose(corrected_shares(np.array([0] * 4 + [1] * 6), true, predicted, 2), [0.5, 0.5])
    np.testing.assert_allclose(corrected_shares(np.array([0, 1]), true, np.repeat([0, 1], 10), 3), [0.5, 0.5, 0.0])


def test_a_forgotten_class_has_a_ratio_near_zero_with_an_interval() -> None:
    generator = np.random.default_rng(1)
    true = generator.choice(3, 300, p=REAL)
    sets = [seen(generator.choice(2, 300), generator) for _ in range(10)]
    _, ratio = share_estimates(sets, true, seen(true, generator), 3, seed=0)
    interval = ratio.interval(2, level=0.95, count=60, low=0.0)
    assert ratio.values[2] < 0.1
    assert 0.03 < interval.high < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("made", [(0.5, 0.3, 0.2), (0.6, 0.35, 0.05), (0.2, 0.2, 0.6)])
def test_the_intervals_hold_the_truth_often_enough(made: tuple[float, ...]) -> None:
    assert (coverage(np.array(made), 300, 200) >= 0.92).all()
