"""Intervals beside a second way to compute them: by hand, by definition, or pair by pair."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import optimize, stats

from auditkit.stats.intervals import (
    WEIGHTED_GROUPS,
    difference_gap_interval,
    donner_zou,
    limits_gap_interval,
    mean_interval,
    mid_p,
    multinomial_bootstrap,
    newcombe,
    pair_levels,
    paired_difference_interval,
    ratio_gap_interval,
    ratio_to_highest_interval,
    simultaneous_level,
    skewed_mean_interval,
    student_share,
    studentized_range_level,
)

SUCCESSES, TRIALS = np.array([12, 40, 9, 30]), np.array([60, 90, 70, 110])


def test_trials_count_less_by_the_squared_ratio_of_the_quantiles() -> None:
    # The two-sided 95 % quantiles: 1.959964 of the normal, 2.228139 of Student with 10 degrees of freedom.
    assert float(student_share(0.95, 10)) == pytest.approx((1.959964 / 2.228139) ** 2, abs=1e-6)
    assert student_share(0.95, [np.inf, 10**9]).tolist() == pytest.approx([1, 1])


def test_a_difference_is_bounded_by_the_squares_of_the_distances_to_the_limits() -> None:
    freedom, related = (8.0, 30.0), 0.4
    limits = []
    for x, n, known in ((12, 60, freedom[0]), (40, 90, freedom[1])):
        share = (stats.norm.ppf(0.975) / stats.t.ppf(0.975, known)) ** 2
        limits.append([float(end) for end in mid_p(x * share, n * share, 0.95)])
    (low, high), (other_low, other_high) = limits
    rate, other = 12 / 60, 40 / 90

    def root(one: float, two: float) -> float:
        return float(np.sqrt(one**2 + two**2 - 2 * related * one * two))

    found = newcombe(12, 60, 40, 90, 0.95, freedom=freedom, related=related)
    assert float(found[0]) == pytest.approx(rate - other - root(rate - low, other_high - other))
    assert float(found[1]) == pytest.approx(rate - other + root(high - rate, other - other_low))


@pytest.mark.parametrize("related", [-0.6, 0.0, 0.5, 0.9])
def test_a_ratio_is_bounded_where_the_difference_from_so_many_times_the_other_is_zero(related: float) -> None:
    """The upper end is the R for which the upper limit of first - R * other (MOVER) is 0; the lower end likewise."""
    x, n, y, m = 12, 60, 40, 90
    (low, high), (other_low, other_high) = ([float(end) for end in mid_p(*pair, 0.95)] for pair in ((x, n), (y, m)))
    rate, other = x / n, y / m

    def limit(ratio: float, own: float, theirs: float, sign: int) -> float:
        one, two = abs(own - rate), ratio * abs(theirs - other)
        return rate - ratio * other + sign * float(np.sqrt(one**2 + two**2 - 2 * related * one * two))

    found = donner_zou(x, n, y, m, 0.95, related=related)
    lower = optimize.brentq(lambda ratio: limit(ratio, low, other_high, -1), 1e-6, rate / other)
    upper = optimize.brentq(lambda ratio: limit(ratio, high, other_low, 1), rate / other, 100)
    assert (float(found[0]), float(found[1])) == pytest.approx((lower, upper), rel=1e-6)


def test_gaps_are_the_largest_bounds_of_any_pair() -> None:
    levels, rates = pair_levels(TRIALS, 0.95), SUCCESSES / TRIALS
    low, high, ratio_low, ratio_high = 0.0, -1.0, 1.0, 1.0
    for i, j in itertools.permutations(range(4), 2):
        pair = SUCCESSES[i], TRIALS[i], SUCCESSES[j], TRIALS[j]
        low = max(low, float(newcombe(*pair, float(levels[i, j]))[0]))
        high = max(high, float(newcombe(*pair, 0.95)[1]))
        ratio_low = min(ratio_low, float(donner_zou(*pair, 0.95)[0]))
        ratio_high = min(ratio_high, float(donner_zou(*pair, float(levels[i, j]))[1]))
    assert 0 < low < rates.max() - rates.min() < high
    assert difference_gap_interval(SUCCESSES, TRIALS, 0.95) == pytest.approx((low, high))
    assert ratio_gap_interval(SUCCESSES, TRIALS, 0.95) == pytest.approx((ratio_low, ratio_high))


def test_a_gap_of_values_by_hand() -> None:
    values = np.array([1.0, 3.0])
    limits = np.array([0.7, 2.6]), np.array([1.4, 3.3])
    wide = np.array([0.4, 2.2]), np.array([1.8, 3.6])
    low, high = limits_gap_interval(values, limits, wide)
    # 2 less the root of 0.8 squared (3.0 - 2.2) and 0.8 squared (1.8 - 1.0); 2 and the root of 0.3 and 0.3 squared.
    assert low == pytest.approx(2 - np.sqrt(0.8**2 + 0.8**2))
    assert high == pytest.approx(2 + np.sqrt(0.3**2 + 0.3**2))
    near = np.array([1.0, 1.5])
    low, high = limits_gap_interval(near, (near - 0.3, near + 0.3), (near - 0.1, near + 0.1))
    assert low == pytest.approx(0.5 - np.sqrt(0.02))
    assert limits_gap_interval(near, (near - 0.3, near + 0.3), (near - 0.5, near + 0.5))[0] == 0.0


@pytest.mark.parametrize("count", [3, WEIGHTED_GROUPS, WEIGHTED_GROUPS + 1])
def test_each_rate_over_the_highest_is_the_smallest_bound_of_its_ratios(count: int) -> None:
    rng = np.random.default_rng(0)
    n = np.concatenate([[4000, 3000], rng.integers(20, 60, count - 2)])  # so that the pairs' levels differ
    x = rng.binomial(n, 0.4)
    low, high = ratio_to_highest_interval(x, n, 0.9)
    below = simultaneous_level(0.9, count - 1)
    levels = (
        pair_levels(n, 0.9)
        if count <= WEIGHTED_GROUPS
        else np.full((count, count), studentized_range_level(0.9, count))
    )
    for i in (0, count - 1):
        others = [j for j in range(count) if j != i]
        bounds = [donner_zou(x[i], n[i], x[j], n[j], float(levels[i, j]))[1] for j in others]
        assert high[i] == pytest.approx(min(1, *map(float, bounds)))
        bounds = [donner_zou(x[i], n[i], x[j], n[j], below)[0] for j in others]
        assert low[i] == pytest.approx(min(1, *map(float, bounds)))


@pytest.mark.parametrize("count", [2, 3, 10])
def test_the_level_of_a_pair_is_that_of_the_studentised_range(count: int) -> None:
    quantile = stats.studentized_range.ppf(0.95, count, np.inf) / np.sqrt(2)
    assert studentized_range_level(0.95, count) == pytest.approx(2 * stats.norm.cdf(quantile) - 1, abs=1e-6)


def test_a_paired_difference_by_hand() -> None:
    # One row more to each side: 11 and 4 of 102; half = 1.959964 * sqrt((0.147059 - 0.068627 squared) / 102).
    low, high = (float(end) for end in paired_difference_interval(10, 3, 100, 0.95))
    assert (low, high) == pytest.approx((0.068627 - 0.07322, 0.068627 + 0.07322), abs=1e-5)
    assert [float(end) for end in paired_difference_interval(3, 0, 3, 0.999)] == pytest.approx([-0.4477, 1.0], abs=0.5)
    assert float(paired_difference_interval(3, 0, 3, 0.999)[1]) == 1.0
    assert float(paired_difference_interval(0, 3, 3, 0.999)[0]) == -1.0


def test_a_mean_has_students_interval_and_a_skewed_one_more() -> None:
    values = np.array([1.0, 2.0, 4.0, 9.0])
    mean, variance = float(values.mean()), float(values.var(ddof=1))
    found = mean_interval(mean, variance, 4, 0.95)
    assert [float(end) for end in found] == pytest.approx(stats.t.interval(0.95, 3, mean, np.sqrt(variance / 4)))
    assert [float(end) for end in mean_interval(mean, variance, 4, 0.9, freedom=7)] == pytest.approx(
        stats.t.interval(0.9, 7, mean, np.sqrt(variance / 4))
    )
    plain = skewed_mean_interval(mean, variance, 0.0, 40, 0.95)
    assert plain == pytest.approx(stats.t.interval(0.95, 39, mean, np.sqrt(variance / 40)))
    right, left = (skewed_mean_interval(mean, variance, sign * 1.5, 40, 0.95) for sign in (1, -1))
    assert right[0] == plain[0]
    assert right[1] > plain[1]
    assert (mean - left[0], left[1] - mean) == pytest.approx((right[1] - mean, mean - right[0]))
    quantile, slant = stats.t.ppf(0.975, 39), 1.5 / np.sqrt(40)
    hall = mean - np.sqrt(variance / 40) * 3 / slant * (np.cbrt(1 + slant * (-quantile - slant / 6)) - 1)
    assert right[1] == pytest.approx(hall)


def test_a_bootstrap_has_a_seed_of_its_own_and_leaves_out_what_is_undefined() -> None:
    table = np.array([700, 200, 100])

    def rate(tables: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.asarray(tables[:, 1] / (tables[:, 1] + tables[:, 2]))

    usual = multinomial_bootstrap(table, rate)
    assert usual == multinomial_bootstrap(table, rate, seed=0, replicates=10_000, level=0.95)
    assert usual != multinomial_bootstrap(table, rate, seed=1)
    assert np.isfinite(multinomial_bootstrap(np.array([8, 2, 1]), rate)).all()
    draws = np.random.default_rng(0).multinomial(1000, table / 1000, size=10_000)
    assert usual == pytest.approx(tuple(np.nanquantile(rate(draws), [0.025, 0.975])))
