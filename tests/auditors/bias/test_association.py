"""The association test against Caliskan's formulas, written down independently, and its interval by simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cosine

from auditkit.auditors.bias.association import (
    Floats,
    Sizes,
    associations,
    cosines,
    detectable,
    effect_interval,
    effect_size,
    largest_effect,
    norm_distance_error,
    permutation_p,
    random_attribute_effects,
    relative_norm_distance,
    resampled_effects,
    student_interval,
)


def lists(seed: int, *counts: int, width: int = 12, shift: float = 0.0) -> list[Floats]:
    """Return four lists of vectors around means of their own; with `shift` the first and third are alike."""
    generator = np.random.default_rng(seed)
    axis = generator.normal(size=width)
    signs = (1, -1, 1, -1)
    return [
        sign * shift * axis + 0.5 + generator.normal(size=(count, width))
        for sign, count in zip(signs, counts, strict=True)
    ]


def caliskan(x: Floats, y: Floats, a: Floats, b: Floats) -> float:
    """Return the effect size as Caliskan et al. 2017 write it, word by word."""

    def s(w: Floats) -> float:
        return float(np.mean([1 - cosine(w, one) for one in a]) - np.mean([1 - cosine(w, one) for one in b]))

    every = [s(w) for w in [*x, *y]]
    centre = sum(every) / len(every)
    deviation = math.sqrt(sum((value - centre) ** 2 for value in every) / (len(every) - 1))
    return float(np.mean([s(w) for w in x]) - np.mean([s(w) for w in y])) / deviation


def effect(parts: list[Floats]) -> float:
    x, y, a, b = parts
    sizes = Sizes(*map(len, parts))
    values = associations(cosines(np.vstack([x, y]), np.vstack([a, b])), sizes)
    return float(effect_size(values, sizes.first))


@pytest.mark.parametrize("counts", [(8, 8, 8, 8), (5, 9, 7, 6), (2, 3, 1, 4)])
def test_the_effect_size_is_caliskans(counts: tuple[int, ...]) -> None:
    parts = lists(3, *counts, shift=0.3)
    assert effect(parts) == pytest.approx(caliskan(*parts), abs=1e-12)


def test_a_case_by_hand() -> None:
    # Associations 1, 1 against -1, -1: difference 2, standard deviation 2 / sqrt(3).
    assert effect_size(np.array([1.0, 1.0, -1.0, -1.0]), 2) == pytest.approx(math.sqrt(3))
    assert largest_effect(2, 2) == pytest.approx(math.sqrt(3))
    assert np.isnan(effect_size(np.ones(4), 2))
    # Two of six partitions are as far apart: the observed one and its mirror image.
    assert permutation_p(np.array([1.0, 1.0, -1.0, -1.0]), 2) == pytest.approx(2 / 6)


@given(st.integers(0, 10_000), st.floats(0.01, 100))
def test_scale_and_order_of_the_words_do_not_matter(seed: int, scale: float) -> None:
    parts = lists(seed, 5, 6, 4, 7, shift=0.2)
    generator = np.random.default_rng(seed)
    scaled = [generator.permutation(part) * scale * generator.uniform(0.5, 2, size=(len(part), 1)) for part in parts]
    assert effect(scaled) == pytest.approx(effect(parts), abs=1e-9)
    x, y, a, b = parts
    assert effect([y, x, a, b]) == pytest.approx(-effect(parts), abs=1e-9)
    assert effect([x, y, b, a]) == pytest.approx(-effect(parts), abs=1e-9)


@pytest.mark.parametrize("first", [2, 3, 5])
def test_the_exact_p_value_is_that_of_all_partitions(first: int) -> None:
    values = np.random.default_rng(first).normal(size=8)
    seen = abs(values[:first].mean() - values[first:].mean())
    larger = total = 0
    for chosen in itertools.combinations(range(8), first):
        others = [place for place in range(8) if place not in chosen]
        total += 1
        larger += abs(values[list(chosen)].mean() - values[others].mean()) >= seen - 1e-12
    assert permutation_p(values, first) == pytest.approx(larger / total)


def test_the_sampled_p_value_agrees_with_the_exact_one() -> None:
    generator = np.random.default_rng(1)
    values = np.concatenate([generator.normal(0.6, 1, 12), generator.normal(0, 1, 12)])  # 2,704,156 partitions
    sampled = permutation_p(values, 12, seed=4)
    seen = abs(values[:12].mean() - values[12:].mean())
    drawn = np.array([generator.permutation(values)[:12].mean() for _ in range(40_000)])
    direct = np.mean(np.abs(drawn - (values.sum() - 12 * drawn) / 12) >= seen)
    assert sampled == pytest.approx(direct, abs=0.02)
    assert permutation_p(np.concatenate([np.ones(20), np.zeros(20)]), 20) == pytest.approx(1 / 10_001)


def test_random_attributes_give_the_share_that_a_loop_gives() -> None:
    x, y, *_ = lists(5, 6, 6, 1, 1)
    pool = np.random.default_rng(2).normal(size=(60, 12))
    sizes = Sizes(6, 6, 4, 4)
    found = random_attribute_effects(cosines(np.vstack([x, y]), pool), sizes, draws=300, seed=7)
    assert found.shape == (300,)
    assert np.abs(found).max() <= largest_effect(6, 6)
    generator = np.random.default_rng(7)
    rows = generator.choice(60, size=8, replace=False)
    assert found[0] == pytest.approx(effect([x, y, pool[rows[:4]], pool[rows[4:]]]), abs=1e-9)
    with pytest.raises(ValueError, match="at least 8 words, got 3"):
        random_attribute_effects(cosines(x, pool[:3]), sizes, draws=1)


def test_the_norm_distance_is_gargs_mean() -> None:
    x, y, a, _ = lists(9, 5, 7, 6, 1, shift=0.4)

    def length_one(vectors: Floats) -> Floats:
        return np.array([vector / math.sqrt(sum(vector**2)) for vector in vectors])

    centres = [length_one(group).mean(axis=0) for group in (x, y)]
    by_hand = np.mean([math.dist(word, centres[0]) - math.dist(word, centres[1]) for word in length_one(a)])
    assert relative_norm_distance(x, y, a) == pytest.approx(float(by_hand))
    assert relative_norm_distance(x, y, a) < 0  # the words of the first attribute are nearer to the first group
    assert relative_norm_distance(y, x, a) == pytest.approx(-relative_norm_distance(x, y, a))
    # The bootstrap of the distance, by resampling the vectors themselves.
    generator = np.random.default_rng(0)
    direct = [
        relative_norm_distance(*(part[generator.integers(len(part), size=len(part))] for part in (x, y, a)))
        for _ in range(2_000)
    ]
    assert norm_distance_error(x, y, a) == pytest.approx(np.std(direct), rel=0.08)


def test_the_standard_error_is_that_of_resampled_words() -> None:
    parts = lists(11, 8, 6, 7, 9, shift=0.2)
    sizes = Sizes(*map(len, parts))
    generator = np.random.default_rng(0)
    direct = [effect([part[generator.integers(len(part), size=len(part))] for part in parts]) for _ in range(1_500)]
    similarities = cosines(np.vstack(parts[:2]), np.vstack(parts[2:]))
    found = resampled_effects(similarities, sizes)
    assert np.nanstd(found, ddof=1) == pytest.approx(np.std(direct), rel=0.08)
    assert np.nanquantile(found, 0.9) == pytest.approx(np.quantile(direct, 0.9), abs=0.1)


def test_an_interval_stays_within_what_an_effect_can_be_and_widens_with_its_level() -> None:
    low, high = student_interval(1.5, 0.5, 10, 0.95, largest_effect(6, 6))
    assert low == pytest.approx(1.5 - 2.228139 * 0.5, abs=1e-6)
    assert high == largest_effect(6, 6)
    wider = student_interval(1.5, 0.5, 10, 0.99, largest_effect(6, 6))
    assert wider[0] < low
    # Student's quantiles for 10 degrees of freedom: 2.2281 and, for a power of 80 %, 0.8791.
    assert detectable(0.5, 10, 0.95) == pytest.approx(0.5 * (2.228139 + 0.879058), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("counts", [(5, 5, 5, 5), (8, 8, 8, 8), (16, 12, 6, 7), (25, 25, 25, 25)])
@pytest.mark.parametrize("shift", [0.0, 0.15, 0.4])
def test_the_interval_covers_the_mean_over_fresh_words(counts: tuple[int, ...], shift: float) -> None:
    generator = np.random.default_rng(sum(counts) + int(100 * shift))
    centres = 0.4 * generator.normal(size=(4, 20)) + 0.3
    axis = generator.normal(size=20)
    means = [centre + sign * shift * axis for centre, sign in zip(centres, (1, -1, 1, -1), strict=True)]

    def fresh() -> list[Floats]:
        return [mean + generator.normal(size=(count, 20)) for mean, count in zip(means, counts, strict=True)]

    truth = np.mean([effect(fresh()) for _ in range(3_000)])
    sizes, most = Sizes(*counts), largest_effect(counts[0], counts[1])
    trials, held = 400, 0
    for trial in range(trials):
        parts = fresh()
        effects = resampled_effects(cosines(np.vstack(parts[:2]), np.vstack(parts[2:])), sizes, seed=trial)
        low, high = effect_interval(effect(parts), effects, sizes.freedom, 0.95, most)
        held += int(low <= truth <= high)
    assert held / trials >= 0.92  # 0.95 less three standard errors of a share of 400 trials


@pytest.mark.slow
@pytest.mark.parametrize("counts", [(6, 6, 5), (14, 14, 12)])
def test_the_interval_of_a_norm_distance_covers_the_mean_over_fresh_words(counts: tuple[int, ...]) -> None:
    generator = np.random.default_rng(3)
    means = 0.5 * generator.normal(size=(3, 20))

    def fresh() -> list[Floats]:
        return [mean + generator.normal(size=(count, 20)) for mean, count in zip(means, counts, strict=True)]

    truth = np.mean([relative_norm_distance(*fresh()) for _ in range(4_000)])
    freedom = min(counts[0] + counts[1] - 2, counts[2] - 1)
    trials, held = 400, 0
    for trial in range(trials):
        parts = fresh()
        error = norm_distance_error(*parts, seed=trial)
        low, high = student_interval(relative_norm_distance(*parts), error, freedom, 0.95)
        held += int(low <= truth <= high)
    assert held / trials >= 0.92
