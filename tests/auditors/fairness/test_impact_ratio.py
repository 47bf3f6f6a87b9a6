"""Impact ratios by the formulas of Local Law 144, Fisher's exact test, differences from a reference group."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from auditkit.auditors.fairness import impact_ratio
from auditkit.stats.counts import Counts
from auditkit.stats.intervals import donner_zou, newcombe, ratio_gap_interval, ratio_to_highest_interval


def counts_of(**groups: tuple[int, int]) -> Counts:
    """Make Counts of (selected, rows) of each group; half of both kinds have a positive label."""
    keys = sorted(groups)
    cells = []
    for key in keys:
        selected, rows = groups[key]
        rest = rows - selected
        cells.append([[rest - rest // 2, selected - selected // 2], [rest // 2, selected // 2]])
    return Counts(("sex",), tuple((key.strip("_"),) for key in keys), ("no", "yes"), np.array(cells))


MADE_UP = {"Female": (30, 100), "Male": (80, 200), "(missing)": (5, 20)}


def test_local_law_144_by_hand() -> None:
    counts = counts_of(**MADE_UP)
    ratio = impact_ratio.impact_ratio_measurement(counts)
    assert {part.group.text: (part.value, part.count) for part in ratio.slices} == {
        "Female": (0.3 / 0.4, 100),
        "Male": (1.0, 200),
    }
    fisher = impact_ratio.fisher_measurement(counts)
    assert [part.group.text for part in fisher.slices] == ["Female"]
    assert fisher.slices[0].value == pytest.approx(naive_fisher(30, 100, 80, 200))
    table = impact_ratio.impact_exhibit(counts, None, {"impact_ratio": ratio, "fisher_exact_p": fisher})
    female, male = table.rows
    assert female[:5] == ("Female", 100, 100 / 320, 30, 0.3)
    assert female[5] == pytest.approx(0.75)
    assert female[7] == "below (not enough data)"
    assert male[:6] == ("Male", 200, 200 / 320, 80, 0.4, 1.0)
    assert male[7] == "not below"
    assert "Unknown category: 20 rows, outside the ratios." in table.note
    assert "pass" not in table.note


def test_scoring_rates_are_of_the_median_of_all() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    assert impact_ratio.above_median(scores).tolist() == [0, 0, 0, 1, 1]
    assert impact_ratio.above_median(np.full(4, 0.5)).tolist() == [0, 0, 0, 0]


def test_small_categories_are_named_and_hidden_ones_counted() -> None:
    counts = counts_of(A=(300, 1000), B=(280, 900), C=(5, 20), D=(1, 4), E=(2, 8))
    ratio, fisher = impact_ratio.impact_ratio_measurement(counts), impact_ratio.fisher_measurement(counts)
    table = impact_ratio.impact_exhibit(counts, None, {"impact_ratio": ratio, "fisher_exact_p": fisher})
    assert [row[0] for row in table.rows] == ["A", "B", "C"]
    assert "Under 2 % of the rows: C" in table.note
    assert "Not shown: 2 categories (12 rows)." in table.note


def test_a_p_value_too_small_to_read_is_bounded() -> None:
    counts = counts_of(A=(3, 1000), B=(280, 900))
    ratio, fisher = impact_ratio.impact_ratio_measurement(counts), impact_ratio.fisher_measurement(counts)
    rows = impact_ratio.impact_exhibit(counts, None, {"impact_ratio": ratio, "fisher_exact_p": fisher}).rows
    assert [row[8] for row in rows] == ["< 0.0001", None]
    value = fisher.slices[0].value
    assert value is not None
    assert value < 1e-4


def naive_fisher(a: int, n: int, b: int, m: int) -> float:
    total = a + b

    def probability(x: int) -> float:
        return math.comb(n, x) * math.comb(m, total - x) / math.comb(n + m, total)

    seen = probability(a)
    possible = range(max(0, total - m), min(n, total) + 1)
    return sum(probability(x) for x in possible if probability(x) <= seen * (1 + 1e-7))


@pytest.mark.parametrize(("a", "n", "b", "m"), [(3, 20, 9, 25), (0, 15, 4, 30), (10, 40, 22, 60)])
def test_fisher_is_the_sum_of_what_is_as_unlikely(a: int, n: int, b: int, m: int) -> None:
    counts = counts_of(A=(a, n), B=(b, m))
    assert impact_ratio.fisher_measurement(counts).slices[0].value == pytest.approx(naive_fisher(a, n, b, m))
    against_first = impact_ratio.fisher_measurement(counts, reference=("A",))
    assert against_first.slices[0].group.text == "B"
    assert "against A" in against_first.definition


def test_undefined_says_why() -> None:
    nobody = counts_of(A=(0, 50), B=(0, 60))
    assert "no group has anyone selected" in str(impact_ratio.impact_ratio_measurement(nobody).reason)
    alone = counts_of(A=(5, 50), B=(0, 3))
    for measure in (impact_ratio.impact_ratio_measurement, impact_ratio.fisher_measurement):
        assert "fewer than two groups" in str(measure(alone).reason)
    absent = impact_ratio.fisher_measurement(counts_of(A=(5, 50), B=(9, 30)), reference=("C",))
    assert "reference group C is not among" in str(absent.reason)


def test_order_and_names_do_not_matter() -> None:
    first = impact_ratio.impact_ratio_measurement(counts_of(A=(5, 50), B=(9, 30), C=(40, 70)))
    second = impact_ratio.impact_ratio_measurement(counts_of(Z=(5, 50), Y=(9, 30), X=(40, 70)))
    for one, other in zip(first.slices, second.slices[::-1], strict=True):
        assert (one.value, one.interval) == (other.value, other.interval)


@pytest.mark.parametrize("groups", [2, 5, pytest.param(20, marks=pytest.mark.slow)])
def test_equal_groups_differ_from_the_highest_as_rarely_as_stated(groups: int) -> None:
    draws, apart = np.random.default_rng(1), []
    for rate in (0.05, 0.3):
        for _ in range(100):
            _, high = ratio_to_highest_interval(draws.binomial(100, rate, groups), np.full(groups, 100), 0.95)
            apart.append((high < 1).any())
    assert np.mean(apart) <= 0.06


def test_coverage_of_ratios_to_the_highest() -> None:
    draws, rates, sizes = np.random.default_rng(2), np.array([0.1, 0.2, 0.25]), np.array([60, 300, 200])
    held = []
    for _ in range(200):
        low, high = ratio_to_highest_interval(draws.binomial(sizes, rates), sizes, 0.95)
        held.append(((low <= rates / 0.25) & (rates / 0.25 <= high)).all())
    assert np.mean(held) >= 0.93


def test_two_groups_have_the_ratio_of_the_pair() -> None:
    ends = ratio_to_highest_interval([30, 80], [100, 200], 0.95)
    assert ends[0][0] == pytest.approx(donner_zou(30, 100, 80, 200, 0.95)[0])
    assert (ends[0].min(), ends[1].min()) == pytest.approx(ratio_gap_interval([30, 80], [100, 200], 0.95))


def test_reference_group() -> None:
    counts = counts_of(A=(5, 50), B=(9, 30), C=(40, 70))
    found = impact_ratio.reference_measurement(counts, "selection_rate", ("B",))
    assert [(part.group.text, part.value) for part in found.slices] == [("A", 5 / 50 - 9 / 30), ("C", 40 / 70 - 9 / 30)]
    low, high = newcombe(5, 50, 9, 30, 0.95)
    alone, together = found.slices[0].interval, found.slices[0].simultaneous_interval
    assert alone is not None
    assert (alone.low, alone.high) == (float(low), float(high))
    low, _ = newcombe(5, 50, 9, 30, 0.975)
    assert together is not None
    assert together.low == pytest.approx(float(low))
    small = impact_ratio.reference_measurement(counts, "positive_predictive_value", ("A",))
    assert small.reason == "the reference group A has fewer than 10 rows with a positive prediction, or is not shown"


def test_each_interval_covers_the_difference_from_the_reference() -> None:
    draws, held = np.random.default_rng(4), []
    for _ in range(60):
        selected = draws.binomial([40, 60, 200], [0.1, 0.3, 0.35])
        counts = counts_of(A=(selected[0], 40), B=(selected[1], 60), C=(selected[2], 200))
        parts = impact_ratio.reference_measurement(counts, "selection_rate", ("C",)).slices
        truth = (0.1 - 0.35, 0.3 - 0.35)
        together = [part.simultaneous_interval for part in parts if part.simultaneous_interval]
        held.append(all(ends.low <= true <= ends.high for ends, true in zip(together, truth, strict=True)))
    assert np.mean(held) >= 0.93 - 0.03


def test_the_exact_test_is_scipys() -> None:
    counts = counts_of(A=(3, 20), B=(9, 25))
    expected = scipy.stats.fisher_exact([[3, 17], [9, 16]]).pvalue
    assert impact_ratio.fisher_measurement(counts).slices[0].value == pytest.approx(expected, rel=1e-12)
