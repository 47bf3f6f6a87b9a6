"""Several classes: Fairlearn on each class against the rest is the oracle, and the macro mean is their mean."""

from __future__ import annotations

from typing import Any

import fairlearn.metrics
import numpy as np
import pytest
from fairlearn.metrics import MetricFrame
from numpy.typing import NDArray

from auditkit.stats import one_vs_rest
from auditkit.stats.counts import Counts, tally
from auditkit.stats.jackknife import assign_blocks, block_count, with_gap_replicates

Codes = NDArray[np.int64]

CLASSES = ("blue", "green", "red")
ORACLES = {
    "demographic_parity_difference": fairlearn.metrics.demographic_parity_difference,
    "demographic_parity_ratio": fairlearn.metrics.demographic_parity_ratio,
    "equalized_odds_difference": fairlearn.metrics.equalized_odds_difference,
    "equalized_odds_ratio": fairlearn.metrics.equalized_odds_ratio,
    "equal_opportunity_difference": fairlearn.metrics.equal_opportunity_difference,
    "equal_opportunity_ratio": fairlearn.metrics.equal_opportunity_ratio,
}


def sample(seed: int = 0, rows: int = 600) -> tuple[Codes, Codes, Codes]:
    draws = np.random.default_rng(seed)
    labels = draws.integers(0, 3, rows)
    decisions = np.where(draws.random(rows) < 0.7, labels, draws.integers(0, 3, rows))
    codes = draws.choice(3, rows, p=[0.5, 0.3, 0.2])
    return codes, labels, decisions


def counts_of(codes: Codes, labels: Codes, decisions: Codes) -> list[Counts]:
    whole = tally(("g",), (("a",), ("b",), ("c",)), codes, labels, decisions, CLASSES)
    return [whole.one_vs_rest(code) for code in range(3)]


@pytest.mark.parametrize("seed", range(3))
def test_each_class_is_fairlearns_and_the_macro_is_their_mean(seed: int) -> None:
    codes, labels, decisions = sample(seed)
    found: dict[Any, Any] = {
        (m.id.partition(".")[2], m.by): m
        for m in one_vs_rest.gap_measurements(counts_of(codes, labels, decisions), one_vs_rest.CLASS)
    }
    for name, oracle in ORACLES.items():
        values = [
            oracle((labels == code).astype(int), (decisions == code).astype(int), sensitive_features=codes)
            for code in range(3)
        ]
        by_class, macro = found[name, ("g", "class")], found[name, ("g",)]
        assert [part.group.text for part in by_class.slices] == list(CLASSES)
        assert [part.value for part in by_class.slices] == values
        assert macro.value == pytest.approx(np.mean(values))
        assert macro.interval.low <= macro.value <= macro.interval.high
        for part in by_class.slices:
            assert part.simultaneous_interval.low <= part.interval.low
            assert part.simultaneous_interval.high >= part.interval.high


def test_rates_are_those_of_metric_frame() -> None:
    codes, labels, decisions = sample()
    found = {
        m.id.partition(".")[2]: m
        for m in one_vs_rest.rate_measurements(counts_of(codes, labels, decisions), one_vs_rest.CLASS)
    }
    for code, name in enumerate(CLASSES):
        frame = MetricFrame(
            metrics={
                "selection_rate": fairlearn.metrics.selection_rate,
                "true_positive_rate": fairlearn.metrics.true_positive_rate,
                "false_positive_rate": fairlearn.metrics.false_positive_rate,
            },
            y_true=(labels == code).astype(int),
            y_pred=(decisions == code).astype(int),
            sensitive_features=np.array(list("abc"))[codes],
        ).by_group
        for rate in frame.columns:
            parts = {part.group.text: part.value for part in found[rate].slices}
            for group in "abc":
                assert parts[f"{group} & {name}"] == frame.loc[group, rate]


@pytest.mark.slow
def test_equal_groups_are_told_apart_as_rarely_as_stated() -> None:
    draws, apart = np.random.default_rng(5), []
    for _ in range(100):
        labels = draws.integers(0, 3, 300)
        decisions = np.where(draws.random(300) < 0.7, labels, draws.integers(0, 3, 300))
        found = one_vs_rest.gap_measurements(
            counts_of(draws.integers(0, 3, 300), labels, decisions), one_vs_rest.CLASS
        )[0]
        assert found.by == ("g", "class")
        apart.append(
            any(part.simultaneous_interval is not None and part.simultaneous_interval.low > 0 for part in found.slices)
        )
    assert np.mean(apart) <= 0.06 + 0.02


def test_a_class_that_no_group_has_is_left_out_of_the_mean() -> None:
    codes, labels, decisions = sample()
    labels = np.where(labels == 2, 1, labels)
    found: dict[Any, Any] = {
        (m.id, m.by): m for m in one_vs_rest.gap_measurements(counts_of(codes, labels, decisions), one_vs_rest.CLASS)
    }
    parts = found["fairness.equal_opportunity_difference", ("g", "class")].slices
    assert parts[2].value is None
    assert "a positive label" in parts[2].reason
    macro = found["fairness.equal_opportunity_difference", ("g",)]
    assert macro.value == pytest.approx((parts[0].value + parts[1].value) / 2)
    assert "mean over 2 of 3 classes" in macro.definition


def test_gaps_carry_the_values_without_the_block_and_their_mean() -> None:
    codes, labels, decisions = sample(rows=900)

    def replicated(found: Any, code: int) -> Any:
        return with_gap_replicates(found, (("a",), ("b",), ("c",)), codes, labels == code, decisions == code)

    blocks = block_count(int(np.bincount(codes).min()))
    kept = assign_blocks(900, blocks, codes) != 4
    whole = one_vs_rest.gap_measurements(counts_of(codes, labels, decisions), one_vs_rest.CLASS, replicated=replicated)
    without = one_vs_rest.gap_measurements(counts_of(codes[kept], labels[kept], decisions[kept]), one_vs_rest.CLASS)
    for found, expected in zip(whole, without, strict=True):
        parts = zip(found.slices, expected.slices, strict=True) if found.slices else [(found, expected)]
        for part, value in parts:
            assert len(part.replicates) == blocks
            assert part.replicates[4] == pytest.approx(value.value, rel=1e-6)
    plain = one_vs_rest.gap_measurements(counts_of(codes, labels, decisions), one_vs_rest.CLASS)
    assert {measurement.replicates for measurement in plain} == {()}


def test_of_many_classes_the_most_frequent_are_compared() -> None:
    codes, labels, decisions = sample(rows=900)
    labels, decisions = np.where(labels == 1, 2, labels), np.where(decisions == 1, 0, decisions)
    counts = counts_of(codes, labels, decisions)
    chosen = one_vs_rest.most_frequent(np.bincount(labels) + np.bincount(decisions), 2)
    assert chosen == (0, 2)
    few = [counts[code] for code in chosen]
    some, every = (one_vs_rest.gap_measurements(parts, one_vs_rest.CLASS, total=3) for parts in (few, counts))
    by_class = {part.group.key: part.value for part in every[0].slices}
    assert {part.group.key: part.value for part in some[0].slices} == {
        key: by_class[key] for key in (("blue",), ("red",))
    }
    assert some[1].definition.endswith("mean over 2 of the 2 most frequent of 3 classes, each against the rest")
    rates = one_vs_rest.rate_measurements(few, one_vs_rest.CLASS)
    assert {part.group.key[-1] for part in rates[0].slices} == {"blue", "red"}
