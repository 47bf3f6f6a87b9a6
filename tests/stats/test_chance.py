"""Whether predictions are at chance: by hand, with weights and clusters, and how often a useful model is so called."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from auditkit.stats.chance import NEAR, agreement_at_chance, area_at_chance, rates_at_chance
from auditkit.stats.sampling import SIMPLE, Sampling


def drawn(
    draws: np.random.Generator, rows: int, apart: float, kind: str = "simple"
) -> tuple[np.ndarray, np.ndarray, Sampling]:
    """Return labels, scores whose means lie `apart` standard deviations, and how the rows were sampled."""
    positive = draws.random(rows) < 0.5
    scores, sampling = apart * positive + draws.normal(size=rows), SIMPLE
    if kind == "weights":
        sampling = Sampling(weights=np.exp(0.7 * draws.normal(size=rows)))
    if kind == "clusters":
        codes = draws.integers(0, 40, rows)
        scores = apart * positive + draws.normal(size=40)[codes] * 0.1**0.5 + draws.normal(size=rows) * 0.9**0.5
        sampling = Sampling(clusters=codes)
    return positive, scores, sampling


def test_by_hand() -> None:
    positive = np.arange(2000) < 1000
    decided = np.arange(2000) % 2 == 0
    assert rates_at_chance(positive, decided) == (0.5, 0.5)
    better = decided | (positive & (np.arange(2000) % 5 == 0))
    assert rates_at_chance(positive, better) is None, "60 % of the positive class against 50 % of the others"
    area = area_at_chance(positive, np.tile([0.0, 1.0], 1000))
    assert area is not None
    assert (area.value, area.chance) == (0.5, 0.5)
    labels, guesses = np.repeat([0, 1, 2], 500), np.tile([0, 1, 2], 500)
    agreement = agreement_at_chance(labels, guesses, 3)
    assert agreement is not None
    assert agreement[::3] == pytest.approx((1 / 3, 1 / 3))
    assert agreement_at_chance(labels, labels, 3) is None


def test_a_missing_class_or_one_decision_is_no_question() -> None:
    ones, half = np.ones(400, dtype=bool), np.arange(400) < 200
    for positive, decided in ((ones, half), (half, ones), (half, ~ones)):
        assert rates_at_chance(positive, decided) is None
    assert area_at_chance(ones, np.zeros(400)) is None
    assert agreement_at_chance(half.astype(int), np.zeros(400, dtype=int), 2) is None
    together = Sampling(clusters=half.astype(np.int64))
    assert rates_at_chance(half, np.arange(400) % 2 == 0, together) is None, "each class is one cluster"


def test_weights_decide_what_is_at_chance() -> None:
    """The unweighted rows tell nothing apart, and those that weigh do."""
    draws = np.random.default_rng(0)
    positive = draws.random(4000) < 0.5
    decided = np.where(np.arange(4000) < 2000, positive, ~positive)
    scores = decided + 0.1 * draws.normal(size=4000)
    weights = np.where(np.arange(4000) < 2000, 9.0, 1.0)
    labels, codes = positive.astype(np.int64), decided.astype(np.int64)
    assert rates_at_chance(positive, decided)
    assert area_at_chance(positive, scores)
    assert agreement_at_chance(labels, codes, 2)
    weighed = Sampling(weights=weights)
    assert rates_at_chance(positive, decided, weighed) is None
    assert area_at_chance(positive, scores, weighed) is None
    assert agreement_at_chance(labels, codes, 2, weighed) is None


def test_rows_that_repeat_in_clusters_are_not_more_evidence() -> None:
    """200 persons of 10 equal rows each: as 2,000 rows they would surely be at chance, and 200 cannot show it."""
    draws = np.random.default_rng(3)
    positive, scores, _ = drawn(draws, 200, 0.0)
    labels, repeated = np.repeat(positive, 10), np.repeat(scores, 10)
    persons = Sampling(clusters=np.repeat(np.arange(200), 10))
    decided = repeated > 0.7
    assert abs(decided[labels].mean() - decided[~labels].mean()) < NEAR
    assert rates_at_chance(labels, decided, persons) is None
    alone = rates_at_chance(positive, scores > 0.7)
    assert alone is None, "as the 200 by themselves"


def false_questions(kind: str, rows: int, samples: int) -> tuple[int, int]:
    """Return in how many samples a model is taken for one at chance: of area 0.60, and of 10 points between rates."""
    draws, found = np.random.default_rng(rows), [0, 0]
    apart, between = (factor * float(stats.norm.ppf(at)) for factor, at in ((2**0.5, 0.60), (2, 0.55)))
    for _ in range(samples):
        found[0] += area_at_chance(*drawn(draws, rows, apart, kind)) is not None
        positive, scores, sampling = drawn(draws, rows, between, kind)
        found[1] += rates_at_chance(positive, scores > between / 2, sampling) is not None
    return found[0], found[1]


@pytest.mark.parametrize("kind", ["simple", "weights", "clusters"])
def test_a_useful_model_is_hardly_ever_taken_for_one_at_chance(kind: str) -> None:
    """At 1 in 1,000 more than 3 of 300 samples come in 1 of 3,000 runs."""
    assert max(false_questions(kind, 200, 300)) <= 3


@pytest.mark.slow
@pytest.mark.parametrize("rows", [100, 200, 500, 1000])
@pytest.mark.parametrize("kind", ["simple", "weights", "clusters"])
def test_at_most_one_in_a_thousand_useful_models_is_taken_for_one_at_chance(kind: str, rows: int) -> None:
    """Three standard errors of 20,000 samples at 0.1 % are 13 samples."""
    assert max(false_questions(kind, rows, 20_000)) <= 20 + 13


def test_a_model_at_chance_is_found() -> None:
    draws = np.random.default_rng(4)
    samples = [drawn(draws, 1000, 0.0) for _ in range(60)]
    assert sum(area_at_chance(*one) is not None for one in samples) >= 45
