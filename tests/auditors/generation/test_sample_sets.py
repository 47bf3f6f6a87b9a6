"""The intervals of quality metrics hold what they promise on a known mixture, and never have width zero."""

from __future__ import annotations

import numpy as np
import pytest

from auditkit.auditors.generation.neighbours import kernel_distance, manifold_metrics, real_rows
from auditkit.auditors.generation.sample_sets import SetEstimates, interval_of, over_sample_sets
from auditkit.errors import InputError


def mixture(count: int, generator: np.random.Generator, spread: float = 1.0) -> np.ndarray:
    """Draw from two Gaussians in the plane; `spread` widens both."""
    centres = np.array([[0.0, 0.0], [3.0, 1.0]])[generator.integers(0, 2, count)]
    return (centres + spread * generator.normal(size=(count, 2))).astype(np.float32)


def metrics(real: np.ndarray, samples: np.ndarray) -> list[float]:
    return [*manifold_metrics(real_rows(real), samples), kernel_distance(real, samples)]


def estimates(real: np.ndarray, sets: list[np.ndarray], seed: int) -> SetEstimates:
    return over_sample_sets(
        lambda rows, number, drawn: metrics(real[rows], sets[number][drawn]),
        row_count=len(real),
        set_count=len(sets),
        seed=seed,
    )


def coverage(repetition_count: int, row_count: int, seed: int) -> np.ndarray:
    """Return how often the 95 % intervals hold the mean over many fresh real rows and samples, (metrics,)."""
    generator = np.random.default_rng(seed)
    truth = np.mean(
        [
            metrics(mixture(row_count, generator), mixture(row_count, generator, 1.3))
            for _ in range(8 * repetition_count)
        ],
        axis=0,
    )
    held = np.zeros(5)
    for repetition in range(repetition_count):
        real = mixture(row_count, generator)
        sets = [mixture(row_count, generator, 1.3) for _ in range(10)]
        found = estimates(real, sets, seed=repetition)
        for place, (value, variance, degrees) in enumerate(zip(*found[:3], strict=True)):
            interval = interval_of(value, variance, degrees, level=0.95, count=row_count)
            held[place] += interval.low <= truth[place] <= interval.high
    return held / repetition_count


def test_the_intervals_hold_the_truth() -> None:
    # 30 repetitions at 95 %: fewer than 23 hits come in 1 of 10,000 runs.
    assert (coverage(30, 100, seed=1) >= 23 / 30).all()


@pytest.mark.slow
@pytest.mark.parametrize("row_count", [100, 400])
def test_the_intervals_hold_the_truth_often_enough(row_count: int) -> None:
    assert (coverage(400, row_count, seed=row_count) >= 0.92).all()


def test_no_interval_has_width_zero() -> None:
    at_top = interval_of(1.0, 0.0, 1.0, level=0.95, count=500, low=0.0, high=1.0)
    assert at_top.high == 1.0
    assert at_top.low == pytest.approx(1 + np.log(0.025) / 500)
    at_bottom = interval_of(0.0, 0.0, 1.0, level=0.95, count=500, low=0.0, high=1.0)
    assert at_bottom.low == 0.0
    assert at_bottom.high == pytest.approx(-np.log(0.025) / 500)


def test_fewer_than_ten_sets_are_refused() -> None:
    with pytest.raises(InputError, match="at least 10"):
        estimates(np.zeros((20, 2)), [np.zeros((20, 2))] * 9, seed=0)
