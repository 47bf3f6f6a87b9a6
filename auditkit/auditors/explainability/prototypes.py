"""Local explanations of a table: of synthetic typical profiles, and of single rows only where that is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from auditkit.auditors.explainability.methods_table import Explanation
from auditkit.auditors.explainability.segments_report import shown_rows
from auditkit.data.dataset import factorize
from auditkit.data.values import numbers
from auditkit.engine.sampling import sample_rows
from auditkit.engine.subject import Subject
from auditkit.engine.texts import shortened
from auditkit.evidence.measurement import Column, Exhibit, Table
from auditkit.evidence.messages import Message
from auditkit.schema.table import Feature

PROFILES, COLUMNS_SHOWN, ROWS_SHOWN = 10, 4, 5


def profiles(subject: Subject, given: Explanation, *, show_rows: bool) -> list[Exhibit]:
    """Return a table of typical profiles with what moved their decisions; with `show_rows` one of single rows too."""
    exhibits = _typical(subject, given)
    return [*exhibits, _single(subject, given)] if show_rows and bool(subject.task.classes) else exhibits


def _typical(subject: Subject, given: Explanation) -> list[Exhibit]:
    """Return the profile of each predicted class: its medians and its most frequent values, no one's row."""
    schema = subject.schema
    rows = sample_rows(subject, len(given.size))
    frame = subject.data.frame.iloc[rows]
    groups = subject.task.typical(subject.predictions.take(rows))
    large = [(name, part, at) for name, part, at in groups if part.sum() >= max(subject.min_group, 2)][:PROFILES]
    if not large:
        return []
    typical = pd.DataFrame(
        [
            {feature.name: _typical_value(frame.iloc[part], feature) for feature in schema.features}
            for _, part, _ in large
        ]
    ).astype(object)
    outputs = np.array([at for _, _, at in large], dtype=np.int64)
    explained = replace(given.explained, inputs=schema.encode(typical), predicted=outputs)
    values, attributions = explained.values(explained.inputs), given.local(explained)
    table = [
        (
            name,
            int(part.sum()),
            ", ".join(
                f"{column} {_word(value)}"
                for column, value in typical.iloc[place].items()
                if column not in schema.text_cells
            ),
            float(values[place]),
            _movers(given, typical.iloc[place], attributions[place]),
        )
        for place, (name, part, _) in enumerate(large)
    ]
    return [
        Table(
            title=Message("Typical profiles, and what determines their decisions"),
            note=Message(
                "Each profile is made up: the medians and the most frequent values of the rows with that "
                "prediction. What moves the decision most, against the baseline, comes first."
            )
            + (
                Message(" No text is typical: {columns} is empty in each.", columns=tuple(schema.text_cells))
                if schema.text_cells
                else ""
            ),
            columns=(
                Column(name=Message("typical of")),
                Column(name=Message("rows"), unit="rows"),
                Column(name=Message("profile")),
                Column(name=Message("decision"), unit="number"),
                Column(name=Message("moved most by")),
            ),
            rows=tuple(table),
        )
    ]


def _single(subject: Subject, given: Explanation) -> Table:
    """Return the surest right row of each class and the worst errors, with what moved their decisions."""
    rows = sample_rows(subject, len(given.size))
    sureness = subject.predictions.probabilities[rows].max(axis=1)
    right, worst, _ = shown_rows(
        subject, rows, lambda members: members[np.argsort(-sureness[members], kind="stable")][:1], ROWS_SHOWN
    )
    chosen = [(Message("surest {name}", name=name), row) for name, row in right[:PROFILES]] + [
        (Message("worst error"), row) for row in worst
    ]
    places = np.array([row for _, row in chosen], dtype=np.int64)
    attributions = given.local(given.explained.take(places))
    classes, predicted = subject.schema.classes, subject.predictions.labels
    return Table(
        title=Message("Individual records, and what determined their decisions"),
        note=Message("Shown because --show-rows asks: the surest right row of each class, and the surest errors."),
        columns=(
            Column(name=Message("chosen as")),
            Column(name=Message("label")),
            Column(name=Message("predicted")),
            Column(name=Message("probability"), unit="rate"),
            Column(name=Message("moved most by")),
        ),
        rows=tuple(
            (
                what,
                classes[subject.labels[rows[row]]],
                classes[predicted[rows[row]]],
                float(sureness[row]),
                _movers(given, subject.data.frame.iloc[rows[row]], attributions[place]),
            )
            for place, (what, row) in enumerate(chosen)
        ),
    )


def _typical_value(frame: pd.DataFrame, feature: Feature) -> object:
    if feature.is_text_cell:
        return ""  # no text is typical, and one would be somebody's
    if feature.kind == "numeric":
        held = numbers(frame, feature.name)
        return float(np.nanmedian(held)) if np.isfinite(held).any() else None
    codes, words = factorize(frame[feature.name])
    present = codes[codes >= 0]
    return words[int(np.bincount(present).argmax())] if len(present) else None


def _movers(given: Explanation, row: pd.Series[Any], attributions: np.ndarray) -> str:
    """Say which columns moved one row's decision most, with their values and attributions."""
    order = np.argsort(-np.abs(attributions), kind="stable")[:COLUMNS_SHOWN]
    return ", ".join(
        f"{given.columns[place]} {_word(row[given.columns[place]])} ({attributions[place]:+.2f})" for place in order
    )


def _word(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "missing" if value is None else shortened(str(value)) or "empty"
