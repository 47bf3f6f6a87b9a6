"""Intervals: worked examples from papers, independent oracles, and coverage by enumeration, not simulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from auditkit.errors import InputError
from auditkit.stats import intervals

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

RATES = np.linspace(0.02, 0.5, 400)
CONFIGURATIONS = [(20, 20), (50, 50), (200, 200), (20, 100), (1000, 20), (50, 1500), (1500, 200)]
PARTS = st.floats(-12, 0).map(lambda power: 10**power)


def misses(low: Floats, high: Floats, truth: Floats | float, trials: int, rates: Floats) -> Floats:
    """How often an interval misses `truth`, exactly: sums the binomial over the results whose interval does."""
    results = np.arange(trials + 1)[:, None]
    outside = (low[:, None] > truth) | (high[:, None] < truth)
    missed: Floats = (scipy.stats.binom.pmf(results, trials, rates) * outside).sum(axis=0)
    return missed


def pair_misses(low: Floats, high: Floats, truth: float, trials: Sequence[int], rates: Sequence[float]) -> float:
    """The same for two groups: low and high are (first results, second results)."""
    first, second = (scipy.stats.binom.pmf(np.arange(n + 1), n, rate) for n, rate in zip(trials, rates, strict=True))
    return float(first @ ((low > truth + 1e-12) | (high < truth - 1e-12)) @ second)


def grid(trials: Sequence[int]) -> tuple[Counts, int, Counts, int]:
    return np.arange(trials[0] + 1)[:, None], trials[0], np.arange(trials[1] + 1)[None, :], trials[1]


def _mid_p_root(successes: float, trials: float, level: float) -> float:
    """The lower limit: where 0.6 of the chance of as much as was seen, and 0.4 of that of more, is the tail."""

    def excess(log_rate: float) -> float:
        rate = np.exp(log_rate)
        chance = 0.6 * scipy.special.betainc(successes, trials - successes + 1, rate)
        if successes < trials:
            chance += 0.4 * scipy.special.betainc(successes + 1, trials - successes, rate)
        return float(chance) - (1 - level) / 2

    if successes == 0 or excess(-700.0) > 0:  # below 1e-304
        return 0.0
    return float(np.exp(scipy.optimize.brentq(excess, -700.0, -1e-16, xtol=1e-14)))


class TestOneRate:
    @given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.9999))
    def test_agrees_with_statsmodels(self, counts: tuple[int, int], level: float) -> None:
        for method, function in (("wilson", intervals.wilson), ("beta", intervals.clopper_pearson)):
            expected = proportion_confint(*counts, alpha=1 - level, method=method)
            assert np.allclose(function(*counts, level), expected, rtol=1e-9, atol=1e-12)

    @given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
    def test_mid_p_halves_the_probability_of_what_was_seen(self, counts: tuple[int, int], level: float) -> None:
        successes, trials = counts
        low, high = (float(bound) for bound in intervals.mid_p(successes, trials, level, weight=0.5))
        tail = (1 - level) / 2
        if successes > 0:
            binomial = scipy.stats.binom(trials, low)
            assert binomial.sf(successes) + binomial.pmf(successes) / 2 == pytest.approx(tail, rel=1e-6)
        if successes < trials:
            binomial = scipy.stats.binom(trials, high)
            assert binomial.cdf(successes) - binomial.pmf(successes) / 2 == pytest.approx(tail, rel=1e-6)

    @given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
    def test_mirror_and_containment(self, counts: tuple[int, int]) -> None:
        successes, trials = counts
        for function in (intervals.wilson, intervals.clopper_pearson, intervals.mid_p, intervals.proportion_interval):
            low, high = function(successes, trials, 0.95)
            mirrored_low, mirrored_high = function(trials - successes, trials, 0.95)
            assert 0 <= low <= successes / trials <= high <= 1
            assert (1 - high, 1 - low) == pytest.approx((float(mirrored_low), float(mirrored_high)), abs=1e-12)

    @given(
        st.floats(-18, 3),
        st.sampled_from([0.0, 1.0]) | PARTS,
        st.floats(0.5, 0.9999),
    )
    def test_mid_p_limits_of_parts_of_a_row_are_where_their_equation_says(
        self, power: float, rate: float, level: float
    ) -> None:
        """Few degrees of freedom make 20 rows count as 1e-16 of one. SciPy's root finder is asked, in logarithms."""
        trials = 10**power
        successes = rate * trials
        low, high = (float(bound) for bound in intervals.mid_p(successes, trials, level))
        for bound, seen in ((low, successes), (1 - high, trials - successes)):
            assert bound == pytest.approx(_mid_p_root(seen, trials, level), abs=1e-12)

    @given(
        st.sampled_from([0.0, 1.0]) | PARTS,
        st.integers(1, 1000),
        st.floats(1, 3),
        st.integers(1, 9).map(lambda power: 1 - 10.0**-power),
    )
    def test_pairs_with_few_degrees_of_freedom_are_bounded_silently(
        self, rate: float, trials: int, freedom: float, level: float
    ) -> None:
        """Warnings are errors in the tests."""
        pair = rate * trials, trials, trials / 2, trials
        low, high = intervals.newcombe(*pair, level, freedom=(freedom, np.inf))
        assert -1 <= low <= rate - 0.5 + 1e-12
        assert rate - 0.5 - 1e-12 <= high <= 1
        low, high = intervals.donner_zou(*pair, level, freedom=(freedom, np.inf))
        assert 0 <= low <= 2 * rate * (1 + 1e-12)
        assert high >= 2 * rate * (1 - 1e-12)

    def test_exact_where_successes_or_failures_are_few(self) -> None:
        assert intervals.needs_exact([14, 15, 85, 86], 100, 0.95).tolist() == [True, False, False, True]
        assert intervals.proportion_interval(3, 40, 0.95) == intervals.clopper_pearson(3, 40, 0.95)
        assert intervals.proportion_interval(20, 40, 0.95) == intervals.wilson(20, 40, 0.95)

    @pytest.mark.parametrize("trials", [20, 31, 75, 200, 1000, pytest.param(10_000, marks=pytest.mark.slow)])
    def test_coverage(self, trials: int) -> None:
        assert_covers(trials, RATES)

    @pytest.mark.slow
    def test_coverage_everywhere(self) -> None:
        sizes = [*range(20, 400), *range(400, 2000, 37), *range(2000, 10_001, 500)]
        for trials in sizes:
            assert_covers(trials, np.linspace(0.02, 0.5, 2000 if trials < 2000 else 500))

    @pytest.mark.parametrize("groups", [5, 20, 190])
    @pytest.mark.parametrize("trials", [20, 100, 1000])
    def test_simultaneous_intervals_keep_their_family_level(self, groups: int, trials: int) -> None:
        level = intervals.simultaneous_level(0.95, groups)
        low, high = intervals.proportion_interval(np.arange(trials + 1), trials, level)
        each = misses(low, high, RATES, trials, RATES)
        assert (1 - (1 - each) ** groups).max() <= 0.07

    def test_sidak(self) -> None:
        assert intervals.simultaneous_level(0.95, 1) == 0.95
        assert intervals.simultaneous_level(0.95, 10) ** 10 == pytest.approx(0.95)

    @pytest.mark.parametrize(("successes", "trials"), [(1, 0), (5, 4), (-1, 4), (np.nan, 4), (0, 0)])
    def test_impossible_counts_are_refused(self, successes: float, trials: int) -> None:
        with pytest.raises(InputError, match="successes must lie between 0 and trials"):
            intervals.proportion_interval(successes, trials, 0.95)

    @pytest.mark.parametrize("level", [0, 1, 95, float("nan")])
    def test_impossible_levels_are_refused(self, level: float) -> None:
        with pytest.raises(InputError, match="level must lie between 0 and 1"):
            intervals.wilson(1, 2, level)


def assert_covers(trials: int, rates: Floats) -> None:
    low, high = intervals.proportion_interval(np.arange(trials + 1), trials, 0.95)
    coverage = 1 - misses(low, high, rates, trials, rates)
    assert coverage.min() >= 0.93, trials
    assert coverage.mean() < 0.98, trials


class TestTwoRates:
    def test_square_and_add_is_newcombes(self) -> None:
        """With Wilson limits in the place of mid-P, the formula is statsmodels' `newcomb`."""
        first, other = intervals.wilson(56, 70, 0.95), intervals.wilson(48, 80, 0.95)
        ours = intervals._difference(np.array(0.8), first, np.array(0.6), other)
        assert np.allclose(ours, confint_proportions_2indep(56, 70, 48, 80, method="newcomb"), atol=1e-4)
        assert np.round(ours, 4).tolist() == [0.0524, 0.3339]  # Newcombe 1998, table II, case a, method 10

    def test_coverage_of_the_difference(self) -> None:
        for trials in CONFIGURATIONS:
            low, high = intervals.newcombe(*grid(trials), level=0.95)
            missed = [
                pair_misses(low, high, rates[0] - rates[1], trials, rates)
                for rates in rate_pairs((0.02, 0.05, 0.12, 0.3, 0.5))
            ]
            assert max(missed) <= 0.07, trials
            assert np.mean(missed) > 0.02, trials

    def test_coverage_of_the_ratio(self) -> None:
        for trials in CONFIGURATIONS:
            low, high = intervals.donner_zou(*grid(trials), level=0.95)
            missed = [
                pair_misses(low, high, rates[0] / rates[1], trials, rates)
                for rates in rate_pairs((0.02, 0.05, 0.12, 0.3, 0.5))
            ]
            assert max(missed) <= 0.07, trials
            assert np.mean(missed) > 0.02, trials

    @given(
        st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
        st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    )
    def test_mirrors_containment_and_agreement_of_difference_and_ratio(
        self, first: tuple[int, int], other: tuple[int, int]
    ) -> None:
        low, high = (float(bound) for bound in intervals.newcombe(*first, *other, level=0.95))
        back_low, back_high = intervals.newcombe(*other, *first, level=0.95)
        rates = first[0] / first[1], other[0] / other[1]
        assert low - 1e-12 <= rates[0] - rates[1] <= high + 1e-12
        assert (low, high) == pytest.approx((-float(back_high), -float(back_low)), abs=1e-12)
        ratio_low, ratio_high = (float(bound) for bound in intervals.donner_zou(*first, *other, level=0.95))
        assert 0 <= ratio_low <= ratio_high
        if rates[1]:
            assert ratio_low - 1e-9 <= rates[0] / rates[1] <= ratio_high + 1e-9
        if min(abs(low), abs(high)) > 1e-6:
            assert (ratio_low > 1) == (low > 0)
            assert (ratio_high < 1) == (high < 0)

    def test_rates_of_zero(self) -> None:
        low, high = intervals.donner_zou(0, 50, 10, 50, 0.95)
        assert low == 0
        assert 0 < high < 1
        low, high = intervals.donner_zou(10, 50, 0, 50, 0.95)
        assert low > 1
        assert np.isinf(high)
        low, high = intervals.donner_zou(0, 50, 0, 50, 0.95)
        assert (float(low), float(high)) == (0, np.inf)


def rate_pairs(rates: Sequence[float]) -> list[tuple[float, float]]:
    return [(first, other) for first in rates for other in rates]


class TestGaps:
    @pytest.mark.parametrize(("groups", "level"), [(2, 0.95), (3, 0.9), (5, 0.95), (20, 0.95), (50, 0.99)])
    def test_studentised_range_is_scipys(self, groups: int, level: float) -> None:
        z = scipy.stats.studentized_range.ppf(level, groups, np.inf) / np.sqrt(2)
        found = intervals.normal_quantile(intervals.studentized_range_level(level, groups))
        assert found == pytest.approx(z, rel=1e-6)

    def test_two_groups_are_the_pair_itself(self) -> None:
        pair = intervals.newcombe(60, 100, 40, 100, 0.95)
        assert np.allclose(intervals.difference_gap_interval([40, 60], [100, 100], 0.95), pair, atol=1e-9)
        pair = intervals.donner_zou(40, 100, 60, 100, 0.95)
        assert np.allclose(intervals.ratio_gap_interval([60, 40], [100, 100], 0.95), pair, atol=1e-9)

    def test_naive_loop(self) -> None:
        successes, trials = np.array([3, 40, 90, 0, 7]), np.array([20, 100, 150, 15, 7])
        pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
        together = intervals.pair_levels(trials, 0.95)
        ends: dict[str, list[list[float]]] = {"newcombe": [], "donner_zou": []}
        for i, j in pairs:
            counts = successes[i], trials[i], successes[j], trials[j]
            for name, bounds in ends.items():
                bounds.append(
                    [*getattr(intervals, name)(*counts, together[i, j]), *getattr(intervals, name)(*counts, 0.95)]
                )
        low, _, _, high = np.array(ends["newcombe"]).T
        assert intervals.difference_gap_interval(successes, trials, 0.95) == pytest.approx(
            (max(0, low.max()), high.max())
        )
        _, high, low, _ = np.array(ends["donner_zou"]).T
        assert intervals.ratio_gap_interval(successes, trials, 0.95) == pytest.approx(
            (min(1, low.min()), min(1, high.min()))
        )

    @pytest.mark.parametrize("trials", [[500] * 4, [20, 1000, 1000], [5, 50, 500, 5000], [7, 9]])
    def test_the_levels_of_pairs_hold_together(self, trials: list[int]) -> None:
        """Either all are Tukey's, or their errors add up to that of the whole."""
        levels = intervals.pair_levels(trials, 0.95)
        errors = (1 - levels)[np.triu_indices(len(trials), 1)]
        tukey = 1 - intervals.studentized_range_level(0.95, len(trials))
        assert np.allclose(errors, tukey) or errors.sum() == pytest.approx(0.05)
        assert errors.max() >= tukey - 1e-12

    def test_a_tiny_group_changes_next_to_nothing_for_the_others(self) -> None:
        before, _ = intervals.difference_gap_interval([500, 560], [1000, 1000], 0.95)
        after, _ = intervals.difference_gap_interval([500, 560, 6], [1000, 1000, 12], 0.95)
        assert before > 0
        assert before - 0.001 < after <= before

    def test_the_upper_end_is_that_of_a_pair(self) -> None:
        """4 and 12 equal groups of 500: over a fifth nearer to the value than an end that holds for all pairs."""
        for groups, share in ((4, 0.8), (12, 0.65)):
            counts = np.linspace(140, 160, groups).round()
            value = (counts.max() - counts.min()) / 500
            _, high = intervals.difference_gap_interval(counts, [500] * groups, 0.95)
            level = intervals.studentized_range_level(0.95, groups)
            _, wide = intervals.newcombe(counts.max(), 500, counts.min(), 500, level)
            assert value < high < value + share * (wide - value)

    def test_equal_groups_pass_a_limit_of_ten_points(self) -> None:
        """4 groups of 500 at 30 %: 18 % of samples passed with an end for all pairs at once."""
        samples = np.random.default_rng(5).binomial(500, 0.3, size=(300, 4))
        found = [intervals.difference_gap_interval(sample, [500] * 4, 0.95)[1] <= 0.1 for sample in samples]
        assert np.mean(found) > 0.4

    def test_blocks_of_pairs_make_no_difference(self, monkeypatch: pytest.MonkeyPatch) -> None:
        successes, trials = np.arange(10, 40), np.full(30, 100)
        whole = intervals.difference_gap_interval(successes, trials, 0.95)
        monkeypatch.setattr(intervals, "PAIRS_AT_ONCE", 64)
        assert intervals.difference_gap_interval(successes, trials, 0.95) == whole

    @pytest.mark.parametrize("groups", [2, 5, 20])
    @pytest.mark.parametrize("trials", [20, 50, 200])
    def test_equal_groups_are_told_apart_as_often_as_stated(self, groups: int, trials: int) -> None:
        assert_level_at_equality(groups, trials, np.linspace(0.02, 0.5, 40))

    @pytest.mark.slow
    @pytest.mark.parametrize("groups", [2, 3, 5, 20, 50])
    def test_equal_groups_everywhere(self, groups: int) -> None:
        for trials in (*range(20, 120), 150, 200, 300, 500, 1000):
            assert_level_at_equality(groups, trials, np.linspace(0.02, 0.5, 100))

    @pytest.mark.parametrize(
        "sizes", [(20, 1000), pytest.param((20, 50, 200, 1000, 5000), marks=pytest.mark.slow), (10, 10, 10, 5000, 5000)]
    )
    def test_groups_of_unequal_size(self, sizes: tuple[int, ...]) -> None:
        """Simulated; three standard errors of 500 draws are 3.2 %."""
        draws = np.random.default_rng(7)
        for rate in (0.03, 0.15, 0.5):
            samples = draws.binomial(sizes, rate, size=(500, len(sizes)))
            found = [intervals.difference_gap_interval(row, sizes, 0.95)[0] > 0 for row in samples]
            assert np.mean(found) <= 0.06 + 0.032, rate

    @pytest.mark.slow
    @pytest.mark.parametrize("groups", [2, 4, 12])
    @pytest.mark.parametrize("size", [40, 500])
    def test_coverage_of_gaps_everywhere(self, groups: int, size: int) -> None:
        """Groups with one apart, evenly spread, or all but two in the middle; at least 94 % but for simulation."""
        draws, samples = np.random.default_rng(13), 1500
        for base in (0.05, 0.3):
            for gap in (0.0, 0.03, 0.1, 0.2):
                middle = np.full(groups, base + gap / 2)
                middle[[0, -1]] = base, base + gap
                apart = np.full(groups, base)
                apart[0] = base + gap
                for rates in (apart, np.linspace(base, base + gap, groups), middle):
                    counts = draws.binomial(size, rates, size=(samples, groups))
                    found = np.array([intervals.difference_gap_interval(row, [size] * groups, 0.95) for row in counts])
                    covered = ((found[:, 0] <= gap + 1e-12) & (gap - 1e-12 <= found[:, 1])).mean()
                    assert covered >= 0.94 - 3 * (0.06 * 0.94 / samples) ** 0.5, (base, gap, rates)
                    assert (found[:, 1] < gap - 1e-12).mean() <= 0.025 + 3 * (0.025 * 0.975 / samples) ** 0.5 + 0.01

    @pytest.mark.parametrize("rates", [(0.1, 0.2), (0.1, 0.15, 0.2, 0.25, 0.5), (0.02, 0.02, 0.02, 0.1)])
    def test_coverage_of_a_real_gap(self, rates: tuple[float, ...]) -> None:
        draws = np.random.default_rng(11)
        sizes = np.resize([40, 300, 1000], len(rates))
        samples = draws.binomial(sizes, rates, size=(500, len(sizes)))
        gaps = np.array([intervals.difference_gap_interval(row, sizes, 0.95) for row in samples])
        ratios = np.array([intervals.ratio_gap_interval(row, sizes, 0.95) for row in samples])
        for bounds, truth in ((gaps, max(rates) - min(rates)), (ratios, min(rates) / max(rates))):
            assert ((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])).mean() >= 0.93

    def test_order_of_groups_does_not_matter(self) -> None:
        successes, trials = np.array([3, 40, 90, 0]), np.array([20, 100, 150, 15])
        for function in (intervals.difference_gap_interval, intervals.ratio_gap_interval):
            assert function(successes, trials, 0.95) == function(successes[::-1], trials[::-1], 0.95)

    @pytest.mark.parametrize("trials", [[200, 200], [20, 400, 90], [300] * 3, [40] * 30])
    def test_several_samples_are_bounded_as_each_by_itself(self, trials: list[int]) -> None:
        samples = np.random.default_rng(0).binomial(trials, 0.3, (6, len(trials)))
        alone = [intervals.difference_gap_interval(sample, trials, 0.95) for sample in samples]
        assert intervals.difference_gap_intervals(samples, trials, 0.95) == alone

    def test_one_group_is_refused(self) -> None:
        with pytest.raises(InputError, match="needs at least 2 groups"):
            intervals.difference_gap_interval([3], [10], 0.95)
        with pytest.raises(InputError, match="needs at least 2 groups"):
            intervals.difference_gap_intervals([[3], [4]], [10], 0.95)


def assert_level_at_equality(groups: int, trials: int, rates: Floats) -> None:
    """Sum, exactly, over the smallest and the largest of the groups' counts: that pair is told apart first."""
    results = np.arange(trials + 1)
    low, high = intervals.newcombe(
        results[:, None], trials, results[None, :], trials, intervals.studentized_range_level(0.95, groups)
    )
    apart = np.triu((low > 0) | (high < 0))
    assert intervals.difference_gap_interval([0] * (groups - 1) + [trials], [trials] * groups, 0.95)[0] > 0
    for rate in rates:
        upto = scipy.stats.binom.cdf(results, trials, rate)
        below = np.concatenate([[0], upto[:-1]])
        spans = [
            np.maximum(top[None, :] - bottom[:, None], 0) ** groups
            for top, bottom in ((upto, below), (upto, upto), (below, below), (below, upto))
        ]
        probability = spans[0] - spans[1] - spans[2] + spans[3]
        assert (probability * apart).sum() <= 0.06, (groups, trials, rate)


class TestPaired:
    @pytest.mark.parametrize("trials", [20, 60])
    @pytest.mark.parametrize("rates", [(0.02, 0.02), (0.1, 0.1), (0.2, 0.05), (0.3, 0.3), (0.02, 0.15)])
    def test_coverage(self, trials: int, rates: tuple[float, float]) -> None:
        first, second = np.meshgrid(np.arange(trials + 1), np.arange(trials + 1), indexing="ij")
        rest = trials - first - second
        possible = rest >= 0
        outcomes = np.stack([first, second, rest], axis=-1)[possible]
        probability = scipy.stats.multinomial.pmf(outcomes, trials, [*rates, 1 - sum(rates)])
        low, high = intervals.paired_difference_interval(outcomes[:, 0], outcomes[:, 1], trials, 0.95)
        truth = rates[0] - rates[1]
        assert probability[(low <= truth) & (truth <= high)].sum() >= 0.93

    def test_hand_computed(self) -> None:
        low, high = intervals.paired_difference_interval(9, 4, 98, 0.95)
        spread = 1.959964 * np.sqrt((0.10 + 0.05 - 0.05**2) / 100)
        assert (low, high) == pytest.approx((0.05 - spread, 0.05 + spread), rel=1e-6)


class TestMeans:
    def test_agrees_with_scipy(self) -> None:
        values = np.random.default_rng(3).exponential(size=40)
        expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.9)
        found = intervals.mean_interval(values.mean(), values.var(ddof=1), len(values), 0.9)
        assert found == pytest.approx((expected.low, expected.high))

    def test_one_value_has_no_spread(self) -> None:
        with pytest.raises(InputError, match="at least 2"):
            intervals.mean_interval(1.0, 0.0, 1, 0.95)

    def test_skewness_widens_towards_the_long_tail(self) -> None:
        low, high = intervals.skewed_mean_interval(1.0, 1.0, 2.0, 30, 0.95)
        plain_low, plain_high = (float(bound) for bound in intervals.mean_interval(1.0, 1.0, 30, 0.95))
        assert low == plain_low
        assert high > plain_high
        assert intervals.skewed_mean_interval(1.0, 1.0, 0.0, 30, 0.95) == (plain_low, plain_high)
        mirrored = intervals.skewed_mean_interval(-1.0, 1.0, -2.0, 30, 0.95)
        assert mirrored == pytest.approx((-high, -low))

    def test_the_interval_of_a_skewed_mean_by_hand(self) -> None:
        # Hall's g(t) = t + s t^2 / 3 + s^2 t^3 / 27 + s / 6, with s the skewness over the root of the count, maps the
        # ends' t statistics to Student's quantiles; the shorter side is Student's own.
        _, high = intervals.skewed_mean_interval(1.0, 4.0, 2.0, 25, 0.95)
        statistic, s = (1.0 - high) / 0.4, 2.0 / 5
        transformed = statistic + s * statistic**2 / 3 + s**2 * statistic**3 / 27 + s / 6
        assert transformed == pytest.approx(scipy.stats.t.ppf(0.025, 24))

    def test_heavy_tails_leave_few_degrees_of_freedom(self) -> None:
        # Var(s^2) = sigma^4 (kurtosis / n - (n - 3) / (n (n - 1))) is 2 sigma^4 / freedom.
        for kurtosis, freedom in ((1.8, 19), (3.0, 19), (10.0, 2 / (10 / 20 - 17 / (20 * 19)))):
            low, high = intervals.skewed_mean_interval(0.0, 20.0, 0.0, 20, 0.95, kurtosis=kurtosis)
            assert (low, high) == pytest.approx((-scipy.stats.t.ppf(0.975, freedom), scipy.stats.t.ppf(0.975, freedom)))

    def test_coverage_of_the_mean_of_an_exponential(self) -> None:
        draws = np.random.default_rng(5).exponential(size=(4000, 20))
        third = ((draws - draws.mean(axis=1, keepdims=True)) ** 3).mean(axis=1)
        variance = draws.var(axis=1, ddof=1)
        bounds = [
            intervals.skewed_mean_interval(mean, spread, skew, 20, 0.95)
            for mean, spread, skew in zip(draws.mean(axis=1), variance, third / variance**1.5, strict=True)
        ]
        assert np.mean([low <= 1 <= high for low, high in bounds]) >= 0.93


@pytest.mark.parametrize("interval", [intervals.clopper_pearson, intervals.mid_p, intervals.proportion_interval])
def test_a_part_of_a_success_lies_in_its_interval(interval: Callable[..., intervals.Bounds]) -> None:
    """A mean precision over one positive row is a rate of one trial, with less than one success."""
    trials = np.array([1.0, 1.0, 3.0, 3.0])
    for successes in (trials * 0.0006, trials * 0.9994, np.array([0.4, 0.6, 2.7, 0.2])):
        low, high = interval(successes, trials, 0.95)
        assert (low <= successes / trials).all()
        assert (successes / trials <= high).all()


class TestBootstrap:
    def test_a_rate_has_nearly_its_wilson_interval(self) -> None:
        table = np.array([[300, 100], [250, 350]])
        low, high = intervals.multinomial_bootstrap(
            table, lambda draws: draws[..., 1].sum(axis=-1) / draws.sum(axis=(-2, -1)), seed=1
        )
        assert np.allclose((low, high), intervals.wilson(450, 1000, 0.95), atol=0.003)

    def test_the_seed_decides(self) -> None:
        table = np.array([5, 10, 20])
        results = [
            intervals.multinomial_bootstrap(table, lambda draws: draws[:, 0] / draws[:, 1], replicates=500, seed=seed)
            for seed in (1, 1, 2)
        ]
        assert results[0] == results[1] != results[2]

    def test_an_empty_table_is_refused(self) -> None:
        with pytest.raises(InputError, match="at least 1 row"):
            intervals.multinomial_bootstrap(np.zeros(3, dtype=np.int64), lambda draws: draws[:, 0] / 1)
