"""Distances of scores: SciPy's values, and intervals that find nothing where there is nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
from keys import compared
from numpy.typing import NDArray

from auditkit.stats import scores as score_metrics
from auditkit.stats.distances import distance_measurements, mean_gap_measurement
from auditkit.stats.estimates import Breakdown, Quantity
from auditkit.stats.quality import quality_measurement

Draw = Callable[[np.random.Generator, int, int], NDArray[np.float64]]


def distances(scores: NDArray[np.float64], breakdown: Breakdown) -> list[Any]:
    return list(distance_measurements(scores, breakdown))


def grouped(sizes: tuple[int, ...], draw: Draw, seed: int = 0) -> tuple[NDArray[np.float64], Breakdown]:
    draws = np.random.default_rng(seed)
    scores = np.concatenate([draw(draws, number, size) for number, size in enumerate(sizes)])
    codes = np.repeat(np.arange(len(sizes)), sizes)
    return scores, Breakdown(("g",), tuple((f"g{number}",) for number in range(len(sizes))), codes)


def test_values_are_scipys() -> None:
    scores, breakdown = grouped((40, 60, 500), lambda draws, number, size: draws.beta(1 + number, 3, size).round(2))
    pairs = list(itertools.combinations([scores[breakdown.codes == code] for code in range(3)], 2))
    smirnov, wasserstein = distances(scores, breakdown)
    assert smirnov.value == max(scipy.stats.ks_2samp(*pair).statistic for pair in pairs)
    assert wasserstein.value == max(scipy.stats.wasserstein_distance(*pair) for pair in pairs)
    assert compared(smirnov) == compared(wasserstein) == ("g0", "g2")
    for measurement in (smirnov, wasserstein):
        assert 0 < measurement.interval.low < measurement.value < measurement.interval.high


def test_order_of_rows_and_names_do_not_matter() -> None:
    scores, breakdown = grouped((40, 90), lambda draws, number, size: draws.beta(1 + number, 3, size))
    codes = breakdown.codes
    assert codes is not None
    order = np.random.default_rng(1).permutation(130)
    other = Breakdown(("g",), breakdown.names, codes[order])
    for before, after in zip(distances(scores, breakdown), distances(scores[order], other), strict=True):
        assert before.value == pytest.approx(after.value, abs=1e-12)
        assert before.interval.low == pytest.approx(after.interval.low, abs=1e-12)


def test_undefined_says_why() -> None:
    scores, breakdown = grouped((40, 5), lambda draws, number, size: draws.random(size))
    assert "fewer than two groups" in distances(scores, breakdown)[0].reason
    scores, breakdown = grouped((10,) * 51, lambda draws, number, size: draws.random(size))
    assert "51 groups" in distances(scores, breakdown)[0].reason
    scores, breakdown = grouped((40, 50), lambda draws, number, size: draws.random(size))
    scores[3] = np.nan
    assert distances(scores, breakdown)[1].reason == "1 scores are not finite"


def test_equal_scores_are_no_distance_and_not_certain() -> None:
    scores, breakdown = grouped((20, 20), lambda draws, number, size: np.full(size, 0.5))
    for measurement in distances(scores, breakdown):
        assert measurement.value == 0
        assert measurement.interval.low == 0


@pytest.mark.parametrize("sizes", [(30, 30), (20, 500), pytest.param((50,) * 5, marks=pytest.mark.slow)])
def test_equal_groups_are_told_apart_as_rarely_as_stated(sizes: tuple[int, ...]) -> None:
    apart = []
    for seed in range(80):
        scores, breakdown = grouped(sizes, lambda draws, number, size: draws.beta(0.6, 2, size), seed)
        apart.append([m.interval.low > 0 for m in distances(scores, breakdown)])
    assert (np.mean(apart, axis=0) <= 0.06 + 0.025).all()  # one standard error of 80 draws; many more under `slow`


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(20, 20), (30, 1000), (100, 100), (50,) * 5, (100,) * 20])
@pytest.mark.parametrize("shape", [(0.6, 2), (2, 2), (0.2, 3)])
def test_equal_groups_everywhere(sizes: tuple[int, ...], shape: tuple[float, float]) -> None:
    apart = []
    for seed in range(1000 if len(sizes) < 20 else 100):
        scores, breakdown = grouped(sizes, lambda draws, number, size: draws.beta(*shape, size), seed)
        apart.append([m.interval.low > 0 for m in distances(scores, breakdown)])
    assert (np.mean(apart, axis=0) <= 0.06 + 2 * np.sqrt(0.05 / len(apart))).all()  # two standard errors


@pytest.mark.parametrize("sizes", [(40, 60), (300, 50)])
def test_coverage_of_a_real_distance(sizes: tuple[int, ...]) -> None:
    shapes = [(1, 3), (2, 3)]
    many = [np.random.default_rng(5).beta(*shape, 200_000) for shape in shapes]
    truth = scipy.stats.ks_2samp(*many, method="asymp").statistic, scipy.stats.wasserstein_distance(*many)
    held = []
    for seed in range(60):
        scores, breakdown = grouped(sizes, lambda draws, number, size: draws.beta(*shapes[number], size), seed)
        found = distances(scores, breakdown)
        held.append([m.interval.low <= true <= m.interval.high for m, true in zip(found, truth, strict=True)])
    assert (np.mean(held, axis=0) >= 0.93 - 0.03).all()


def calibration_gap(labels: NDArray[np.int64], positive: NDArray[np.float64], breakdown: Breakdown) -> Any:
    return mean_gap_measurement(
        Quantity("fairness.calibration_error_difference", "rate_difference", "lower", "test"),
        score_metrics.calibration_error,
        labels,
        np.column_stack([1 - positive, positive]),
        breakdown,
    )


def test_calibration_gap_is_the_difference_of_the_groups() -> None:
    positive, breakdown = grouped((60, 300, 40), lambda draws, number, size: draws.beta(1, 2, size))
    labels = (np.random.default_rng(3).random(400) < positive).astype(np.int64)
    gap = calibration_gap(labels, positive, breakdown)
    parts: Any = quality_measurement(
        "calibration_error", labels, np.column_stack([1 - positive, positive]), breakdown
    ).slices
    assert gap.value == max(part.value for part in parts) - min(part.value for part in parts)
    assert gap.interval.low <= gap.value <= gap.interval.high


@pytest.mark.parametrize("sizes", [(50, 50), (30, 1000), pytest.param((60,) * 5, marks=pytest.mark.slow)])
def test_calibrated_groups_are_told_apart_as_rarely_as_stated(sizes: tuple[int, ...]) -> None:
    """Small groups look worse calibrated than large ones by chance alone; the interval allows for it."""
    apart = []
    for seed in range(60):
        positive, breakdown = grouped(sizes, lambda draws, number, size: draws.beta(0.6, 2, size), seed)
        labels = (np.random.default_rng(1000 + seed).random(len(positive)) < positive).astype(np.int64)
        apart.append(calibration_gap(labels, positive, breakdown).interval.low > 0)
    assert np.mean(apart) <= 0.06
