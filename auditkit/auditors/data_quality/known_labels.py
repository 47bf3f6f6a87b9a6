"""Selective labels: whether the rows with a label are a selection by decision, score or group."""

from __future__ import annotations

import numpy as np

from auditkit.engine.label_coverage import Split, coverage_table, selective_statement, splits_of
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Column, Evidence, Group, Interval, Measurement, Table
from auditkit.evidence.messages import Message
from auditkit.stats.intervals import difference_gap_interval

SELECTIVE = "data.selective_label_count"
DIFFERENCES = {
    "decision": "data.known_label_difference_by_decision",
    "score": "data.known_label_difference_by_score",
    "group": "data.known_label_difference",
}


def known_labels(subject: Subject) -> Evidence:
    """Measure how far known labels depend on decision, score and groups; nothing where all rows have one, or none."""
    splits, table = splits_of(subject), coverage_table(subject)
    if table is None:
        return Evidence()
    level = subject.conf_level
    found = float(sum(split.is_selective(level) for split in splits))
    count = Measurement(
        id=SELECTIVE,
        value=found,
        unit="count",
        better="lower",
        count=len(subject.labels),
        interval=Interval(low=found, high=found, level=level, method=Message("exact: all of these rows were counted")),
        definition=Message(
            "Fisher's exact test of each part against the rest, Holm over decision, score and columns; "
            "from 1 point apart"
        ),
    )
    return Evidence(
        measurements=[count, *(_difference(split, level) for split in splits)],
        exhibits=[table, _tests(splits, level)],
        notes=selective_statement(subject),
    )


def _difference(split: Split, level: float) -> Measurement:
    low, high = difference_gap_interval(split.known, split.rows, level)
    value = float(np.ptp(split.shares))
    ends = [int(np.argmin(split.shares)), int(np.argmax(split.shares))]
    by = (split.column,) if split.kind == "group" else ()
    return Measurement(
        id=DIFFERENCES[split.kind],
        by=by,
        value=value,
        unit="rate_difference",
        better="lower",
        count=int(split.rows.sum()),
        interval=Interval(
            low=min(low, value),
            high=max(high, value),
            level=level,
            method=Message("{pairs} with mid-P limits of weight 0.6", pairs="Newcombe"),
        ),
        compared=(Group(by=by, key=(split.names[ends[0]],)), Group(by=by, key=(split.names[ends[1]],))) if by else None,
        compared_counts=(int(split.rows[ends[0]]), int(split.rows[ends[1]])) if by else None,
        definition=Message("highest minus lowest share of rows with a known label"),
    )


def _tests(splits: tuple[Split, ...], level: float) -> Table:
    what = {"decision": Message("the decision"), "score": Message("the score")}
    return Table(
        title=Message("Does it depend on the row whether its label is known?"),
        note=Message(
            "Each part against the rest by Fisher's exact test; p-values corrected for all parts and lines (Holm)."
        ),
        columns=(
            Column(name=Message("told apart by")),
            Column(name=Message("least known")),
            Column(name=Message("share"), unit="rate"),
            Column(name=Message("most known")),
            Column(name=Message("share"), unit="rate"),
            Column(name=Message("corrected p-value"), unit="number"),
            Column(name=Message("beyond chance")),
        ),
        rows=tuple(
            (
                what.get(split.kind, split.column),
                split.names[int(np.argmin(split.shares))],
                float(split.shares.min()),
                split.names[int(np.argmax(split.shares))],
                float(split.shares.max()),
                split.p_value,
                Message("yes") if split.is_selective(level) else Message("no"),
            )
            for split in splits
        ),
    )
