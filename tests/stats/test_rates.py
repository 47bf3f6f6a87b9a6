"""Rates: bit for bit those of Fairlearn's MetricFrame over the rows, undefined where it says 0.0."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import fairlearn.metrics
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from fairlearn.metrics import MetricFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.errors import InputError
from auditkit.stats.counts import Counts, tally
from auditkit.stats.intervals import wilson
from auditkit.stats.rates import RATES, overall_rate, rate_measurement

ORACLES: dict[str, Callable[..., Any]] = {
    "selection_rate": fairlearn.metrics.selection_rate,
    "true_positive_rate": fairlearn.metrics.true_positive_rate,
    "false_positive_rate": fairlearn.metrics.false_positive_rate,
    "true_negative_rate": fairlearn.metrics.true_negative_rate,
    "false_negative_rate": fairlearn.metrics.false_negative_rate,
    "accuracy": sklearn.metrics.accuracy_score,
    "positive_predictive_value": lambda labels, predictions: sklearn.metrics.precision_score(
        labels, predictions, zero_division=0.0
    ),
    "negative_predictive_value": lambda labels, predictions: sklearn.metrics.precision_score(
        labels, predictions, pos_label=0, zero_division=0.0
    ),
    "base_rate": lambda labels, predictions: fairlearn.metrics.selection_rate(labels, labels),
}
DENOMINATORS: dict[str, Callable[..., Any]] = {
    "true_positive_rate": lambda labels, predictions: labels == 1,
    "false_negative_rate": lambda labels, predictions: labels == 1,
    "false_positive_rate": lambda labels, predictions: labels == 0,
    "true_negative_rate": lambda labels, predictions: labels == 0,
    "positive_predictive_value": lambda labels, predictions: predictions == 1,
    "negative_predictive_value": lambda labels, predictions: predictions == 0,
}

rows = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=80)


def rate(counts: Counts, name: str, **options: Any) -> Any:
    return rate_measurement(counts, name, **options)


def counted(data: Any, names: tuple[str, ...] = ("a", "b", "c"), classes: tuple[str, ...] = ("no", "yes")) -> Counts:
    groups, labels, predictions = zip(*data, strict=True)
    codes = np.array([names.index(group) for group in groups])
    return tally(("group",), tuple((name,) for name in names), codes, np.array(labels), np.array(predictions), classes)


@pytest.mark.parametrize("name", RATES)
@settings(max_examples=25, deadline=None)
@given(data=rows)
def test_values_are_those_of_metric_frame_to_the_last_bit(name: str, data: Any) -> None:
    frame = pd.DataFrame(data, columns=["group", "label", "prediction"])
    oracle = MetricFrame(
        metrics=ORACLES[name],
        y_true=frame["label"],
        y_pred=frame["prediction"],
        sensitive_features=frame["group"],
    )
    counts = counted(data)
    measurement = rate(counts, name, min_group=1)
    assert [part.group.text for part in measurement.slices] == sorted(frame["group"].unique())
    within: Callable[..., Any] = DENOMINATORS.get(name, lambda labels, predictions: labels >= 0)
    for part in measurement.slices:
        rows = frame[frame["group"] == part.group.text]
        trials = int(within(rows["label"], rows["prediction"]).sum())
        assert part.count == trials
        if trials:
            assert part.value == oracle.by_group[part.group.text]
            assert part.interval.low <= part.value <= part.interval.high
            assert part.simultaneous_interval.low <= part.interval.low
            assert part.simultaneous_interval.high >= part.interval.high
        else:
            assert part.value is None
            assert part.interval is part.simultaneous_interval is None
            assert part.reason.startswith("no rows with a ")
    whole = overall_rate(counts, name, "fairness")
    trials = int(within(frame["label"], frame["prediction"]).sum())
    assert whole.value == (oracle.overall if trials else None)
    assert (whole.reason is None) == bool(trials)


def test_undefined_is_not_zero() -> None:
    counts = counted([("a", 0, 1), ("a", 0, 0), ("b", 1, 1), ("b", 0, 0)])
    positive = rate(counts, "true_positive_rate", min_group=1)
    assert positive.slices[0].value is None
    assert positive.slices[0].reason == "no rows with a positive label in this group"
    assert positive.slices[1].value == 1.0
    assert positive.value is None
    assert positive.count == 1


def test_a_measurement_ready_to_report() -> None:
    counts = counted([("a", 1, 1)] * 30 + [("a", 1, 0)] * 20 + [("b", 0, 1)] * 40 + [("b", 1, 0)] * 60)
    measurement = rate(counts, "selection_rate", prefix="privacy", level=0.9)
    assert measurement.id == "privacy.selection_rate"
    assert measurement.by == ("group",)
    assert (measurement.unit, measurement.better, measurement.count) == ("rate", "neither", 150)
    part = measurement.slices[0]
    assert (part.group.text, part.value, part.count) == ("a", 0.6, 50)
    assert (part.interval.low, part.interval.high) == pytest.approx(tuple(map(float, wilson(30, 50, 0.9))))
    assert (part.interval.method, part.interval.level) == ("Wilson", 0.9)
    assert part.simultaneous_interval.method == "Wilson, Sidak over 2 groups"
    assert part.simultaneous_interval.level == 0.9


def test_small_counts_name_the_conservative_method() -> None:
    counts = counted([("a", 1, 1)] * 3 + [("a", 1, 0)] * 20 + [("b", 1, 0)] * 20)
    parts = rate(counts, "selection_rate").slices
    assert [part.interval.method for part in parts] == ["Clopper-Pearson", "Clopper-Pearson"]
    assert parts[1].interval.low == 0


def test_small_groups_are_listed_and_change_nothing_for_the_others() -> None:
    data = [("a", 1, 1)] * 50 + [("b", 1, 1)] * 40
    alone = rate(counted(data), "selection_rate").slices
    *others, small = rate(counted([*data, *[("c", 0, 1)] * 4]), "selection_rate").slices
    assert tuple(others) == alone
    assert (small.group.text, small.value, small.count) == ("c", None, 4)
    assert small.reason == "too few to judge: fewer than 10 rows"
    nobody = rate(counted([("a", 1, 1)] * 4), "accuracy")
    assert (nobody.slices, nobody.value, nobody.reason) == ((), None, "fewer than two groups have at least 10 rows")


@given(rows, st.randoms())
@settings(max_examples=25, deadline=None)
def test_renaming_groups_changes_only_names(data: Any, random: Random) -> None:
    names = ["a", "b", "c"]
    random.shuffle(names)
    renamed = dict(zip("abc", names, strict=True))
    before = rate(counted(data), "accuracy", min_group=1).slices
    after = rate(counted([(renamed[group], *rest) for group, *rest in data]), "accuracy", min_group=1).slices
    assert {renamed[part.group.text]: part.model_dump(exclude={"group"}) for part in before} == {
        part.group.text: part.model_dump(exclude={"group"}) for part in after
    }


def test_accuracy_of_many_classes() -> None:
    draws = np.random.default_rng(0)
    labels, predictions = draws.integers(0, 4, size=(2, 200))
    data = list(zip(["a"] * 100 + ["b"] * 100, labels.tolist(), predictions.tolist(), strict=True))
    measurement = rate(counted(data, classes=tuple("wxyz")), "accuracy")
    for part, block in zip(measurement.slices, (slice(0, 100), slice(100, 200)), strict=True):
        assert part.value == sklearn.metrics.accuracy_score(labels[block], predictions[block])
    with pytest.raises(InputError, match="needs 2 classes, got 4"):
        rate(counted(data, classes=tuple("wxyz")), "selection_rate")


def test_an_unknown_rate_is_named() -> None:
    with pytest.raises(InputError, match="did you mean 'selection_rate'"):
        rate(counted([("a", 1, 1)]), "selektion_rate")
