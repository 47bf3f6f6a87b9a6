"""The columns of a data set one by one: what each alone tells of the label, and how far it drifted from training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.data_quality.label_leakage import binned_codes, single_column_auc, single_column_r2
from auditkit.data.dataset import Data
from auditkit.data.image import holds_images
from auditkit.data.rows import column_values
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import (
    Column,
    Group,
    Interval,
    Measurement,
    Slice,
    Table,
)
from auditkit.evidence.messages import Message
from auditkit.stats.drift import Drift, categorical_drift, drift_interval, holm, numeric_drift
from auditkit.stats.estimates import Estimate, interval_of
from auditkit.stats.intervals import simultaneous_level
from auditkit.stats.ranking import roc_auc_interval

ROWS_SAMPLED = 1_000_000
"""Single-column prediction and drift are measured on a seeded sample of at most this many rows."""


def examined_columns(subject: Subject, columns: Sequence[str]) -> list[str]:
    """Return the columns that are looked at one by one: not the label, the decisions, images, pixels, or texts."""
    if not subject.modality.columnar:
        return []
    left_out = (*subject.schema.targets, *subject.decision_columns, *subject.schema.text_cells)
    names = [name for name in columns if name not in left_out]
    return [name for name in names if not holds_images(subject.data.frame[name])]


def _sample(count: int, seed: int) -> NDArray[np.int64] | slice:
    if count <= ROWS_SAMPLED:
        return slice(None)
    return np.sort(np.random.default_rng(seed).choice(count, size=ROWS_SAMPLED, replace=False))


def single_columns(subject: Subject, columns: Sequence[str]) -> Measurement:
    """Return how well each column alone predicts the label, most telling first: ROC AUC, in a regression R2.

    Of several labels, how well it predicts each: by `column` and `label`.
    """
    rows = _sample(len(subject.labels), subject.seed)
    frame, labels = subject.data.frame.iloc[rows], subject.labels[rows]
    aims = subject.task.single_labels(labels)
    of_numbers = all(aim.class_count == 0 for aim in aims)
    family = len(columns) * len(aims)
    level, together = subject.conf_level, simultaneous_level(subject.conf_level, family)
    by = ("column", *subject.task.axis)
    what = Message("pairs of column and label") if subject.task.axis else Message("columns")
    slices = []
    for name in columns:
        values = column_values(frame, name)
        assert values is not None
        codes = values[0].astype(np.int64) + 1 if isinstance(values, tuple) else binned_codes(values)
        for aim in aims:
            if of_numbers:
                found = single_column_r2(codes, aim.values, (level, together), seed=subject.seed)
            else:
                area = single_column_auc(codes, aim.values.astype(np.int64), aim.class_count, seed=subject.seed)
                found = (
                    Estimate(reason=Message("a class has fewer than 2 rows"))
                    if area is None
                    else Estimate(area.value, tuple(roc_auc_interval(area, each) for each in (level, together)))
                )
            alone, wide = found.bounds or (None, None)
            slices.append(
                Slice(
                    group=Group(by=by, key=(name, *aim.key)),
                    value=found.value,
                    count=len(labels),
                    interval=interval_of(alone, level),
                    simultaneous_interval=interval_of(
                        wide, level, Message(", Sidak over {family} {what}", family=family, what=what)
                    ),
                    reason=found.reason,
                )
            )
    slices.sort(key=lambda part: -(part.value or 0))
    shares = Message("ROC AUC of the class shares that the column's values have in the other half of the rows")
    ranks = Message(
        "R2 of the labels' ranks, predicted by their mean at the column's values in the other half of the rows"
    )
    return Measurement(
        id="data.single_column_r2" if of_numbers else "data.single_column_roc_auc",
        by=by,
        unit="number",
        better="neither",
        count=len(labels),
        slices=tuple(slices),
        definition=ranks if of_numbers else shares,
    )


def drifts_of(subject: Subject, columns: Sequence[str]) -> dict[str, Drift]:
    """Return how far each column, and the label, of the audited rows lies from the training rows."""
    training: Data | None = subject.training
    if training is None or not columns:
        return {}
    both = set(training.frame.columns) & set(subject.data.frame.columns)
    names = [name for name in (*columns, *subject.schema.targets) if name in both]
    theirs = training.frame.iloc[_sample(len(training.frame), subject.seed)]
    mine = subject.data.frame.iloc[_sample(len(subject.labels), subject.seed)]
    return {name: _drift(column_values(theirs, name), column_values(mine, name)) for name in names}


Values = NDArray[np.float64] | tuple[NDArray[np.int64], list[str]] | None


def _drift(first: Values, second: Values) -> Drift:
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return numeric_drift(first, second)
    counts: list[dict[str, int]] = []
    for values in (first, second):
        if isinstance(values, tuple):
            codes, words = values
        else:
            assert values is not None
            distinct, codes = np.unique(values, return_inverse=True)
            words = [f"{value:g}" for value in distinct]
        found = np.bincount(codes.astype(np.int64) + 1, minlength=len(words) + 1)
        counts.append(dict(zip(["", *words], found.tolist(), strict=True)))
    together = sorted(counts[0].keys() | counts[1].keys())
    tables = [np.array([count.get(word, 0) for word in together], dtype=np.int64) for count in counts]
    return categorical_drift(tables[0], tables[1])


def drift_measurement(drifts: Mapping[str, Drift], subject: Subject) -> Measurement:
    """Return the distances, the largest first, each with its own and a simultaneous interval."""
    level = subject.conf_level
    each = simultaneous_level(level, len(drifts))
    method = Message("Dvoretzky-Kiefer-Wolfowitz or McDiarmid, for any distribution")
    slices = []
    for name, drift in sorted(drifts.items(), key=lambda item: -item[1].distance):
        alone, together = drift_interval(drift, level), drift_interval(drift, each)
        slices.append(
            Slice(
                group=Group(by=("column",), key=(name,)),
                value=drift.distance,
                count=drift.sizes[1],
                interval=Interval(low=alone[0], high=alone[1], level=level, method=method),
                simultaneous_interval=Interval(
                    low=together[0],
                    high=together[1],
                    level=level,
                    method=Message(
                        "{method}, Sidak over {drifts_count} columns", method=method, drifts_count=len(drifts)
                    ),
                ),
            )
        )
    reason = Message("no column that both the training data and the audited data have was examined")
    if subject.training is None:
        reason = Message("no training data to compare with; pass --train-dataset FILE")
    return Measurement(
        id="data.drift_distance",
        by=("column",),
        unit="share",
        better="lower",
        count=len(subject.labels),
        slices=tuple(slices),
        definition=Message("Kolmogorov-Smirnov distance of numbers and dates, total variation of categories"),
        reason=None if slices else reason,
    )


def drift_table(drifts: Mapping[str, Drift], level: float) -> tuple[Table, str]:
    """Return the columns with their tests, and a sentence on those that differ beyond chance."""
    corrected = dict(zip(drifts, holm(np.array([drift.p_value for drift in drifts.values()])), strict=True))
    moved = [name for name in drifts if corrected[name] < 1 - level]
    rows = tuple(
        (name, drift.kind, drift.distance, float(corrected[name]), Message("yes") if name in moved else Message("no"))
        for name, drift in sorted(drifts.items(), key=lambda item: -item[1].distance)
    )
    table = Table(
        title=Message("Drift between training and audited data"),
        note=Message(
            "Tested by Kolmogorov-Smirnov or chi-squared; p-values corrected for {drifts_count} columns "
            "(Holm). With many records a difference can be statistically significant but small: look at "
            "the distance.",
            drifts_count=len(drifts),
        ),
        columns=(
            Column(name=Message("column")),
            Column(name=Message("distance by")),
            Column(name=Message("distance"), unit="share"),
            Column(name=Message("corrected p-value"), unit="number"),
            Column(name=Message("statistically significant")),
        ),
        rows=rows,
    )
    error = Message("{value:g} %", value=(1 - level) * 100)
    names = [*moved[:10], *(["..."] if len(moved) > 10 else [])]
    listed = Message(": {columns}", columns=names) if moved else ""
    return table, (
        Message(
            "{moved_count} of {drifts_count} columns differ significantly between training and audited "
            "data, at {error} for all tests together{listed}.",
            moved_count=len(moved),
            drifts_count=len(drifts),
            error=error,
            listed=listed,
        )
    )
