"""Gaps: Fairlearn's numbers to the last bit where they are defined, and intervals that hold when groups are equal."""

from __future__ import annotations

from random import Random
from typing import Any

import fairlearn.metrics
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from keys import compared
from numpy.typing import NDArray

from auditkit.stats.counts import Counts, tally
from auditkit.stats.gaps import gap_measurements, left_out_notes
from auditkit.stats.intervals import newcombe, simultaneous_level
from auditkit.stats.rates import rate_measurement

Cells = list[list[int]]

ORACLES = {
    "demographic_parity_difference": fairlearn.metrics.demographic_parity_difference,
    "demographic_parity_ratio": fairlearn.metrics.demographic_parity_ratio,
    "equalized_odds_difference": fairlearn.metrics.equalized_odds_difference,
    "equalized_odds_ratio": fairlearn.metrics.equalized_odds_ratio,
}

tables = st.lists(st.lists(st.integers(0, 30), min_size=4, max_size=4), min_size=2, max_size=5)


def counts_of(cells: Cells) -> Counts:
    """Make Counts of `cells`: for each group its true negatives, false positives, false negatives, true positives."""
    groups = tuple((f"g{position}",) for position in range(len(cells)))
    return Counts(("group",), groups, ("no", "yes"), np.array(cells, dtype=np.int64).reshape(-1, 2, 2))


def rows_of(cells: Cells) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    labels: list[int] = []
    predictions: list[int] = []
    groups: list[str] = []
    for position, cell in enumerate(cells):
        for (label, prediction), count in zip(((0, 0), (0, 1), (1, 0), (1, 1)), cell, strict=True):
            labels += [label] * count
            predictions += [prediction] * count
            groups += [f"g{position}"] * count
    return np.array(labels), np.array(predictions), np.array(groups)


def gaps(counts: Counts, **options: Any) -> dict[str, Any]:
    return {measurement.id.split(".")[1]: measurement for measurement in gap_measurements(counts, **options)}


@settings(max_examples=40, deadline=None)
@given(tables)
def test_values_are_fairlearns_where_every_group_has_both_labels(cells: Cells) -> None:
    assume(all(cell[0] + cell[1] and cell[2] + cell[3] for cell in cells))
    labels, predictions, groups = rows_of(cells)
    found = gaps(counts_of(cells), min_group=1)
    assert list(found) == list(ORACLES)
    for name, oracle in ORACLES.items():
        measurement = found[name]
        if measurement.value is None:
            assert name.endswith("ratio")
            assert "zero in every group" in measurement.reason
            continue
        assert measurement.value == oracle(labels, predictions, sensitive_features=groups)
        assert measurement.interval.low <= measurement.value <= measurement.interval.high
        assert 0 <= measurement.interval.low <= measurement.interval.high <= 1


@settings(max_examples=40, deadline=None)
@given(tables, st.randoms())
def test_order_of_groups_does_not_matter(cells: Cells, random: Random) -> None:
    cells = [cell for cell in cells if sum(cell)]
    assume(len(cells) > 1)
    shuffled = list(cells)
    random.shuffle(shuffled)
    before, after = gaps(counts_of(cells), min_group=1), gaps(counts_of(shuffled), min_group=1)
    for name, measurement in before.items():
        assert measurement.value == after[name].value
        assert measurement.interval == after[name].interval
        assert measurement.reason == after[name].reason


def test_hand_computed() -> None:
    # g0: TPR 40/50, FPR 10/50. g1: TPR 30/50, FPR 20/50. g2: TPR 45/50, FPR 15/50.
    found = gaps(counts_of([[40, 10, 10, 40], [30, 20, 20, 30], [35, 15, 5, 45]]))
    assert found["demographic_parity_difference"].value == pytest.approx(0.1)
    assert compared(found["demographic_parity_difference"]) == ("g0", "g2")
    assert found["demographic_parity_difference"].compared_counts == (100, 100)
    assert found["equalized_odds_difference"].compared_counts == (50, 50)
    assert found["demographic_parity_ratio"].value == pytest.approx(50 / 60)
    assert found["equalized_odds_difference"].value == pytest.approx(0.3)
    assert compared(found["equalized_odds_difference"]) == ("g1", "g2")
    assert found["equalized_odds_ratio"].value == pytest.approx(0.5)
    assert compared(found["equalized_odds_ratio"]) == ("g0", "g1")
    assert [measurement.count for measurement in found.values()] == [300] * 4
    assert [measurement.unit for measurement in found.values()] == ["rate_difference", "ratio"] * 2
    assert [measurement.better for measurement in found.values()] == ["lower", "higher"] * 2
    assert found["equalized_odds_difference"].interval.method == (
        "Newcombe with mid-P limits of weight 0.6, lower end for all pairs of 3 groups at once, Sidak over both rates"
    )


def test_groups_with_equal_rates_are_compared_with_each_other_and_not_with_themselves() -> None:
    found = gaps(counts_of([[40, 10, 10, 40], [40, 10, 10, 40], [40, 10, 10, 40]]))
    for measurement in found.values():
        low, high = compared(measurement)
        assert low != high, measurement.id


def test_two_groups_have_the_interval_of_their_difference() -> None:
    found = gaps(counts_of([[0, 60, 0, 0], [60, 40, 0, 0]]))["demographic_parity_difference"]
    low, high = newcombe(60, 60, 40, 100, 0.95)
    assert (found.interval.low, found.interval.high) == pytest.approx((float(low), float(high)))
    assert found.interval.method == "Newcombe with mid-P limits of weight 0.6"


def test_a_group_without_positives_is_left_out_of_equalized_odds() -> None:
    """Fairlearn takes its true positive rate as 0.0, and reports a gap of 0.8."""
    cells = [[40, 10, 10, 40], [40, 10, 10, 40], [45, 15, 0, 0]]
    labels, predictions, groups = rows_of(cells)
    assert fairlearn.metrics.equalized_odds_difference(labels, predictions, sensitive_features=groups) == 0.8
    found = gaps(counts_of(cells))["equalized_odds_difference"]
    assert found.value == pytest.approx(0.05)
    assert compared(found) == ("g0", "g2")
    assert "lower end for all pairs of 2 and 3 groups at once" in found.interval.method


@pytest.mark.parametrize(
    ("cells", "name", "reason"),
    [
        (
            [[40, 10, 0, 0], [30, 20, 0, 0]],
            "equalized_odds_difference",
            "fewer than two groups have at least 10 rows with a positive label",
        ),
        (
            [[0, 0, 10, 40], [0, 0, 20, 30]],
            "equalized_odds_ratio",
            "fewer than two groups have at least 10 rows with a negative label",
        ),
        ([[50, 0, 10, 0], [50, 0, 10, 0]], "demographic_parity_ratio", "Selection rate is zero in every group"),
        ([[50, 0, 10, 5], [50, 0, 10, 9]], "equalized_odds_ratio", "False positive rate is zero in every group"),
        ([[50, 1, 10, 5]], "demographic_parity_difference", "only one group occurs"),
        (
            [[50, 1, 10, 5], [1, 1, 1, 1]],
            "demographic_parity_difference",
            "fewer than two groups have at least 10 rows",
        ),
    ],
)
def test_undefined_says_why(cells: Cells, name: str, reason: str) -> None:
    found = gaps(counts_of(cells))[name]
    assert found.value is None
    assert found.interval is None
    assert found.compared is None
    assert reason in found.reason


def test_nothing_selected_is_no_difference_but_no_ratio() -> None:
    found = gaps(counts_of([[50, 0, 10, 0], [50, 0, 10, 0]]))
    assert found["demographic_parity_difference"].value == 0.0
    assert found["demographic_parity_difference"].interval.low == 0.0
    assert found["demographic_parity_difference"].interval.high > 0.0


def test_small_groups_are_not_compared() -> None:
    cells = [[40, 10, 10, 40], [30, 20, 20, 30], [0, 2, 0, 2], [2, 4, 0, 0]]
    found = gaps(counts_of(cells))["demographic_parity_difference"]
    assert found.count == 200
    assert found.value == 0.0


@pytest.mark.parametrize("trials", [20, 50, 200])
def test_equalized_odds_tells_equal_groups_apart_as_often_as_stated(trials: int) -> None:
    """Exactly: two groups with as many positive as negative rows, and the same rates; both rates are one family."""
    results = np.arange(trials + 1)
    low, high = newcombe(results[:, None], trials, results[None, :], trials, simultaneous_level(0.95, 2))
    apart = (low > 0) | (high < 0)
    for rate in np.linspace(0.02, 0.5, 40):
        probability = scipy.stats.binom.pmf(results, trials, rate)
        assert 1 - (1 - probability @ apart @ probability) ** 2 <= 0.06, rate


def test_many_groups_are_quick_enough() -> None:
    draws = np.random.default_rng(0)
    names = tuple((f"{number:04}",) for number in range(1000))
    codes, labels, predictions = draws.integers(0, 1000, 50_000), *draws.integers(0, 2, (2, 50_000))
    counts = tally(("group",), names, codes, labels, predictions, ("no", "yes"))
    assert gaps(counts)["demographic_parity_difference"].interval.low == 0.0


@settings(max_examples=25, deadline=None)
@given(tables)
def test_further_gaps_are_fairlearns(cells: Cells) -> None:
    assume(all(cell[0] + cell[1] and cell[2] + cell[3] and cell[1] + cell[3] for cell in cells))
    labels, predictions, groups = rows_of(cells)
    found = gaps(counts_of(cells), gaps=("equal_opportunity", "predictive_parity", "accuracy"), min_group=1)
    oracles = {
        "predictive_parity": lambda y, p: sklearn.metrics.precision_score(y, p, zero_division=0.0),
        "accuracy": sklearn.metrics.accuracy_score,
    }
    for name, metric in oracles.items():
        frame = fairlearn.metrics.MetricFrame(
            metrics=metric, y_true=labels, y_pred=predictions, sensitive_features=groups
        )
        assert found[f"{name}_difference"].value == frame.difference()
        if found[f"{name}_ratio"].value is not None:
            assert found[f"{name}_ratio"].value == frame.ratio()
    opportunity = fairlearn.metrics.equal_opportunity_difference(labels, predictions, sensitive_features=groups)
    assert found["equal_opportunity_difference"].value == opportunity


def test_a_rate_over_few_rows_enters_no_gap() -> None:
    """Three positive rows are a group of 12 rows' true positive rate of 1.0: no ground for a gap."""
    cells = [[40, 10, 10, 40], [40, 10, 20, 30], [6, 3, 0, 3], [30, 3, 3, 30]]
    found = gaps(counts_of(cells))["equalized_odds_difference"]
    assert compared(found) == ("g1", "g3")
    rate = {part.group.text: part for part in rate_measurement(counts_of(cells), "true_positive_rate").slices}
    assert rate["g2"].value is None
    assert rate["g2"].count == 3
    assert rate["g2"].reason == "fewer than 10 rows with a positive label in this group"
    assert left_out_notes(counts_of(cells), 10) == [
        "By group, gaps between rates of rows with a positive label leave out g2: fewer than 10 such rows.",
        "By group, gaps between rates of rows with a negative label leave out g2: fewer than 10 such rows.",
        "By group, gaps between rates of rows with a positive prediction leave out g2: fewer than 10 such rows.",
    ]
