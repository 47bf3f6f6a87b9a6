"""What is measured of counts follows from them: an edited number, interval or gap is refused, whole or taken out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counted import counted_report, rows

from auditkit.errors import InputError
from auditkit.evidence.measurement import Measurement
from auditkit.evidence.rederive import ContradictionError
from auditkit.evidence.report import Outcome, Report, read_report
from auditkit.stats import one_vs_rest
from auditkit.stats.counts import tally
from auditkit.stats.recount import recount_fairness

Document = dict[str, Any]
GAP, RATIO = "fairness.demographic_parity_difference", "fairness.demographic_parity_ratio"


def one(document: Document, id: str, by: tuple[str, ...] = ("sex",)) -> Document:
    every = (m for outcome in document["outcomes"] for m in outcome["measurements"])
    return next(m for m in every if m["id"] == id and tuple(m["by"]) == by)


def without(document: Document, *names: str) -> None:
    """Take measurements by sex away, as if they had never been made."""
    for outcome in document["outcomes"]:
        outcome["measurements"] = [m for m in outcome["measurements"] if m["id"] not in names or not m["by"]]


def hidden(document: Document) -> None:
    """Say of a group of 200 rows that it is too small to have a rate."""
    part = one(document, "fairness.true_negative_rate")["slices"][0]
    part.update(value=None, interval=None, simultaneous_interval=None, reason="fewer than 10 rows in this group")


def undefined(document: Document, id: str) -> None:
    one(document, id).update(value=None, interval=None, compared=None, compared_counts=None, pair=None, reason="none")


FORGED: dict[str, tuple[Callable[[Document], object], str]] = {
    "gap, wider": (lambda d: one(d, GAP)["interval"].update(low=0.0, high=1.0), "its counts give"),
    "gap, narrower": (lambda d: one(d, GAP)["interval"].update(low=0.31), "its counts give"),
    "gap, of its pair": (lambda d: one(d, GAP)["pair"]["interval"].update(low=0.01), "of two groups, has an interval"),
    "gap, no pair": (lambda d: one(d, GAP).update(pair=None), "does not state the two rates"),
    "gap, no interval": (lambda d: one(d, GAP).update(interval=None), "has no interval"),
    "gap, another level": (lambda d: one(d, GAP)["interval"].update(level=0.99), "an interval of 0.99, and the audit"),
    "gap, undefined": (lambda d: undefined(d, GAP), "and the rates of its groups give"),
    "gap, gone": (lambda d: without(d, GAP), "demographic_parity_difference is missing by sex"),
    "gap and its rate, gone": (
        lambda d: without(d, GAP, RATIO, "fairness.selection_rate"),
        "does not hold|missing|groups",
    ),
    "ratio, wider": (lambda d: one(d, RATIO)["interval"].update(low=0.0, high=1.0), "its counts give"),
    "odds, wider": (lambda d: one(d, "fairness.equalized_odds_difference")["interval"].update(low=0.0), "counts give"),
    "odds, undefined": (lambda d: undefined(d, "fairness.equalized_odds_ratio"), "of its groups give"),
    "rate, wider": (
        lambda d: one(d, "fairness.true_positive_rate")["slices"][1]["simultaneous_interval"].update(high=1.0),
        "its counts give",
    ),
    "rate, no count": (
        lambda d: one(d, "fairness.base_rate")["slices"][0].update(value=0.2512),
        "which no count of its 200 rows gives",
    ),
    "rate, fewer rows": (lambda d: one(d, "fairness.base_rate")["slices"][0].update(count=100), "its groups have 300"),
    "rate, hidden": (hidden, "has 150 rows, and no value"),
    "rate, effective rows": (
        lambda d: one(d, "fairness.base_rate")["slices"][0].update(effective_count=9.0),
        "neither weights nor clusters",
    ),
    "rate, one record": (
        lambda d: one(d, "fairness.base_rate")["slices"][0].update(one_record=0.5),
        "another effect of one record",
    ),
    "accuracy, wider": (lambda d: one(d, "performance.accuracy", ())["interval"].update(low=0.1), "its counts give"),
    "accuracy of a group, wider": (
        lambda d: one(d, "performance.accuracy")["slices"][0]["simultaneous_interval"].update(low=0.1),
        "its counts give",
    ),
    "impact ratio, wider": (
        lambda d: one(d, "fairness.impact_ratio")["slices"][0]["simultaneous_interval"].update(high=1.0),
        "its counts give",
    ),
    "impact ratio, a group gone": (lambda d: one(d, "fairness.impact_ratio")["slices"].pop(0), "has 1 groups, and"),
    "p value": (lambda d: one(d, "fairness.fisher_exact_p")["slices"][0].update(value=0.4), "and its counts give"),
}


@pytest.fixture(scope="module")
def honest() -> str:
    return counted_report().to_json()


@pytest.mark.parametrize("name", FORGED)
def test_what_its_counts_do_not_give_is_refused(name: str, honest: str, tmp_path: Path) -> None:
    change, said = FORGED[name]
    path = tmp_path / "results.json"
    path.write_text(honest)
    read_report(path)
    document = json.loads(honest)
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=said) as refused:
        read_report(path)
    assert str(refused.value).count("\n") == 0


def test_intervals_may_be_wider_only_where_labels_are_missing() -> None:
    """With missing labels they hold whatever these are; narrower than the counts give they never are."""
    report = counted_report()
    fairness = next(outcome for outcome in report.outcomes if outcome.auditor == "fairness")

    def with_interval(low: float, audited: int) -> tuple[Outcome, Report]:
        changed = [
            m.model_copy(update={"interval": m.interval.model_copy(update={"low": low})})
            if m.id == "fairness.true_positive_rate" and m.interval is not None
            else m
            for m in fairness.measurements
        ]
        data = report.subject.dataset.model_copy(update={"audited_row_count": audited, "row_count": audited})
        of_rows = report.model_copy(update={"subject": report.subject.model_copy(update={"dataset": data})})
        return fairness.model_copy(update={"measurements": tuple(changed)}), of_rows

    recount_fairness(*with_interval(0.01, 500))
    for low, audited in ((0.01, 400), (0.85, 500)):
        with pytest.raises(ContradictionError, match="its counts give"):
            recount_fairness(*with_interval(low, audited))


def of_classes() -> list[Measurement]:
    """Return the rates and gaps of three classes, each against the rest."""
    groups, labels, decisions = rows()
    third = np.arange(len(groups)) % 3 == 2
    labels, decisions = np.where(third, 2, labels), np.where(third & (groups == 0), 2, decisions)
    parts = [
        tally(
            ("sex",),
            (("F",), ("M",)),
            groups,
            (labels == code).astype(int),
            (decisions == code).astype(int),
            ("rest", name),
        )
        for code, name in enumerate(("a", "b", "c"))
    ]
    return [*one_vs_rest.rate_measurements(parts, "class"), *one_vs_rest.gap_measurements(parts, "class")]


def test_gaps_of_classes_and_their_mean_are_derived_again() -> None:
    report, measurements = counted_report(), of_classes()

    def check(changed: list[Measurement]) -> None:
        recount_fairness(Outcome(auditor="fairness", version="1", measurements=tuple(changed)), report)

    check(measurements)
    for place, found in enumerate(measurements):
        if found.id != GAP:
            continue
        if found.slices:
            first = found.slices[0]
            assert first.simultaneous_interval is not None
            wide = first.model_copy(
                update={
                    "simultaneous_interval": first.simultaneous_interval.model_copy(update={"low": 0.0, "high": 1.0})
                }
            )
            forged = found.model_copy(update={"slices": (wide, *found.slices[1:])})
        else:
            assert found.interval is not None
            forged = found.model_copy(update={"interval": found.interval.model_copy(update={"high": 1.0})})
        with pytest.raises(ContradictionError, match="its counts give"):
            check([*measurements[:place], forged, *measurements[place + 1 :]])
    with pytest.raises(ContradictionError, match="is missing by sex"):
        check([m for m in measurements if m.id != GAP or m.slices])
