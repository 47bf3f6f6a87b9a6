"""Scores of sentences by hand, and the estimates that are made of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from auditkit.auditors.bias.estimates import Key, Part, measured, truths_of
from auditkit.auditors.bias.preferences import (
    Scored,
    decided,
    detectable_mean,
    detectable_share,
    estimated_mean,
    estimated_rate,
    excess,
    of_templates,
    shared_difference,
    whole_difference,
)
from auditkit.evidence.messages import Message


def scored(ids: list[int], *log_probabilities: float) -> Scored:
    return Scored(ids, np.array(log_probabilities))


def test_a_pair_by_hand() -> None:
    first = scored([1, 2, 3, 4], -1.0, -2.0, -3.0, -4.0)
    second = scored([1, 9, 8, 3, 4], -1.5, -7.0, -1.0, -2.0, -4.5)
    assert whole_difference(first, second) == pytest.approx(-10 + 16)
    assert shared_difference(first, second) == pytest.approx((-1 - 3 - 4) - (-1.5 - 2 - 4.5))
    assert shared_difference(second, first) == pytest.approx(-shared_difference(first, second))
    assert shared_difference(scored([1], -1.0), scored([2], -5.0)) == 0


def test_a_rare_word_decides_the_whole_sentence_and_not_its_shared_tokens() -> None:
    common, rare = scored([1, 2, 3], -1.0, -1.0, -1.0), scored([1, 7, 3], -1.0, -9.0, -0.5)
    assert whole_difference(rare, common) < 0
    assert shared_difference(rare, common) > 0


def test_ties_prefer_nothing() -> None:
    values = np.array([0.0, 1e-6, 0.5, -0.5, 2.0])
    assert decided(values).tolist() == [False, False, True, True, True]
    part = truths_of(Part(values, np.array([0, 0, 1, 2, 2])))
    assert part.values.tolist() == [True, False, True]
    assert part.clusters is not None
    assert part.clusters.tolist() == [1, 2, 2]


def test_rates_and_means_are_those_of_textbooks() -> None:
    truths = np.array([True] * 140 + [False] * 260)
    found = estimated_rate(truths, None, (0.95,))
    wilson = stats.binomtest(140, 400).proportion_ci(0.95, method="wilson")
    assert found.value == 0.35
    assert found.ends[0] == pytest.approx((wilson.low, wilson.high), abs=1e-9)
    values = np.random.default_rng(0).normal(1, 2, 50)
    low, high = stats.t.interval(0.95, 49, loc=values.mean(), scale=stats.sem(values))
    ends = estimated_mean(values, None, (0.95,)).ends[0]
    assert ends is not None
    assert ends[0] <= low + 1e-9
    assert ends[1] >= high - 1e-9  # joined with Hall's interval, which allows for skewness
    assert ends == pytest.approx((low, high), abs=0.1)
    assert estimated_mean(np.ones(20), None, (0.95,)).ends == (None,)


def test_rows_of_one_template_count_once() -> None:
    values = np.repeat(np.random.default_rng(1).normal(size=20), 5)
    clusters = np.repeat(np.arange(20), 5)
    apart, together = (estimated_mean(values, codes, (0.95,)).ends[0] for codes in (None, clusters))
    assert apart is not None
    assert together is not None
    assert (together[1] - together[0]) / (apart[1] - apart[0]) == pytest.approx(np.sqrt(5), rel=0.15)


def test_detectable_effects_are_detected_in_four_of_five_samples() -> None:
    generator = np.random.default_rng(2)
    smallest = detectable_mean(generator.normal(0, 1, 60), None, 0.95)
    assert smallest is not None
    samples = generator.normal(smallest, 1, (3_000, 60))
    seen = np.abs(stats.ttest_1samp(samples, 0, axis=1).pvalue) < 0.05
    assert seen.mean() == pytest.approx(0.8, abs=0.13)  # the standard deviation of one sample is known to a tenth
    far = detectable_share(200, 0.95)
    counts = generator.binomial(200, 0.5 + far, 3_000)
    assert np.mean(np.abs(counts / 200 - 0.5) > 1.96 * np.sqrt(0.25 / 200)) == pytest.approx(0.8, abs=0.05)


def test_the_excess_is_welchs() -> None:
    generator = np.random.default_rng(3)
    swaps, floor = generator.gamma(2, 1, 30), generator.gamma(2, 0.5, 18)
    value, ends = excess(swaps, floor, (0.95,))
    known = stats.ttest_ind(swaps, floor, equal_var=False).confidence_interval(0.95)
    assert value == pytest.approx(swaps.mean() - floor.mean())
    assert ends[0] == pytest.approx((known.low, known.high))
    assert of_templates(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 1])).tolist() == [2, 5]


def test_too_few_and_equal_values_have_a_reason() -> None:
    parts: dict[Key, Part] = {
        ("few",): Part(np.arange(9.0)),
        ("alike",): Part(np.ones(12)),
        ("told",): Part(np.ones(12), None, "why"),
    }
    found = measured("log_likelihood_difference", ("kind",), parts, 0.95, Message("x"))
    few, alike, told = found.slices
    assert few.value is None
    assert few.reason == "9 pairs of sentences are too few; 10 are needed"
    assert alike.value == 1
    assert alike.interval is None
    assert alike.reason == "all values are alike, and tell nothing of their spread"
    assert told.reason == "why"
    clustered = Part(np.arange(40.0), np.repeat(np.arange(4), 10))
    found = measured("log_likelihood_difference", (), {(): clustered}, 0.95, Message("x"))
    assert found.reason == "4 templates are too few; 10 are needed"


@pytest.mark.slow
@pytest.mark.parametrize(("count", "floor_count"), [(10, 10), (15, 40), (60, 20)])
def test_the_excess_covers_the_truth(count: int, floor_count: int) -> None:
    """Mean absolute log-likelihood changes are skewed: half-normal within a template, of 3 sentences each."""
    generator, held, trials = np.random.default_rng(count), 0, 2_000
    truth = (1.5 - 1.0) * np.sqrt(2 / np.pi)
    for _ in range(trials):
        swaps = np.abs(generator.normal(0, 1.5, (count, 3))).mean(axis=1)
        floor = np.abs(generator.normal(0, 1.0, (floor_count, 3))).mean(axis=1)
        (low, high) = excess(swaps, floor, (0.95,))[1][0]
        held += int(low <= truth <= high)
    assert held / trials >= 0.93


@pytest.mark.slow
@pytest.mark.parametrize(("templates", "each"), [(12, 1), (25, 4), (80, 2)])
def test_preferences_and_differences_over_templates_cover_the_truth(templates: int, each: int) -> None:
    generator, trials = np.random.default_rng(templates), 1_000
    held_mean = held_share = 0
    clusters = np.repeat(np.arange(templates), each)
    for _ in range(trials):
        own = np.repeat(generator.normal(0.3, 1, templates), each) + generator.normal(0, 1, templates * each)
        truth = stats.norm.cdf(0.3 / np.sqrt(2))
        mean = estimated_mean(own, clusters, (0.95,)).ends[0]
        share = estimated_rate(own > 0, clusters, (0.95,)).ends[0]
        assert mean is not None
        assert share is not None
        held_mean += int(mean[0] <= 0.3 <= mean[1])
        held_share += int(share[0] <= truth <= share[1])
    assert held_mean / trials >= 0.93
    assert held_share / trials >= 0.92
