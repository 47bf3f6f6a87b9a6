"""Whether the data are fit to audit with: what is missing, repeated, shared with training, drifted, or tells all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from auditkit.auditors.data_quality.columns import (
    ROWS_SAMPLED,
    drift_measurement,
    drift_table,
    drifts_of,
    examined_columns,
    single_columns,
)
from auditkit.auditors.data_quality.known_labels import DIFFERENCES, SELECTIVE, known_labels
from auditkit.auditors.data_quality.missingness import (
    LOOK_ALIKES,
    MISSING_DECISIONS,
    look_alike_groups,
    missing_decisions,
)
from auditkit.auditors.data_quality.personal_data import COLUMNS, VALUES, personal_data
from auditkit.auditors.data_quality.record_gaps import GAPS, record_gaps
from auditkit.auditors.data_quality.representation import (
    group_shares,
    label_shares,
    labels_by_group,
    missing_by_group,
    missing_rates,
    read_population,
    shares_against,
)
from auditkit.data.image import holds_images
from auditkit.data.rows import missing_rows, row_hashes
from auditkit.engine.subject import Subject
from auditkit.errors import InputError, closest
from auditkit.evidence.measurement import (
    Better,
    Evidence,
    Exhibit,
    Facts,
    Interval,
    Measurement,
    SliceChart,
    Unit,
)
from auditkit.evidence.messages import Message, number
from auditkit.stats.counts import not_compared_note

STEPS = 6
"""How many parts the checks have, for the progress."""


@dataclass(frozen=True, kw_only=True)
class DataChecks:
    """What is missing, repeated, constant, shared with training or drifted, and columns that give the label away.

    `population` states, by sensitive column, the share of each group in the population that the data should resemble.
    """

    population: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    requires: ClassVar = ("records",)
    multilabel: ClassVar = True
    read_from_file: ClassVar = {"population": read_population}
    measures: ClassVar = (
        "data.row_count",
        "data.duplicate_rate",
        "data.shared_row_rate",
        "data.constant_column_count",
        "data.missing_rate",
        "data.class_share",
        "data.base_rate",
        "data.group_share",
        "data.group_share_difference",
        "data.mean_label",
        "data.single_column_roc_auc",
        "data.single_column_r2",
        "data.drift_distance",
        MISSING_DECISIONS,
        LOOK_ALIKES,
        SELECTIVE,
        *DIFFERENCES.values(),
        COLUMNS,
        VALUES,
        GAPS,
    )

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        for column, shares in self.population.items():
            total = sum(shares.values())
            if len(shares) < 2 or not all(0 <= share <= 1 for share in shares.values()) or abs(total - 1) > 0.01:
                raise InputError(
                    f"population: the shares of {column!r} must be at least two, from 0 to 1, and sum to 1, "
                    f"got {total:g} over {len(shares)}."
                )

    def check(self, subject: Subject) -> None:
        """Refuse a population by a column that is not sensitive."""
        unknown = [column for column in self.population if column not in subject.sensitive]
        if unknown:
            raise InputError(
                f"population: {unknown[0]!r} is no sensitive column{closest(unknown[0], subject.sensitive)}."
            )

    def audit(self, subject: Subject) -> Evidence:
        """Count over all rows, compare with the training data and the population where there are any."""
        columns = [str(column) for column in subject.data.frame.columns]
        parts = [_counted(subject, columns), *(self._group(subject, column) for column in subject.sensitive)]
        subject.progress(4 / STEPS, "columns that give the label away")
        examined = examined_columns(subject, columns)
        parts.append(_labels_given_away(subject, examined))
        subject.progress(5 / STEPS, "drift")
        parts += [_drift(subject, examined), personal_data(subject, columns), record_gaps(subject)]
        return Evidence(
            measurements=[one for part in parts for one in part.measurements],
            exhibits=[one for part in parts for one in part.exhibits],
            notes=[one for part in parts for one in part.notes],
        )

    def _group(self, subject: Subject, column: str) -> Evidence:
        """Return how many rows the groups of a sensitive column have, and what their labels are."""
        names, codes = subject.group_codes((column,))
        sizes = np.bincount(codes, minlength=len(names))
        measurements = [group_shares(column, names, sizes, subject)]
        exhibits = [_chart(Message("Share of the rows by {column}", column=column), "group_share", (column,))]
        if column in self.population:
            measurements.append(shares_against(self.population[column], column, names, sizes, subject))
            against = Message("Share by {column}, less that in the population", column=column)
            exhibits.append(_chart(against, "group_share_difference", (column,)))
        known = subject.labelled
        if subject.schema.targets and len(known.labels):
            own, by, title = labels_by_group(known, column)
            measurements += own
            exhibits += [_chart(title, one.id.partition(".")[2], by) for one in own]
        hidden = not_compared_note((column,), names, sizes, subject.min_group)
        return Evidence(measurements=measurements, exhibits=exhibits, notes=[hidden] if hidden else [])


def _counted(subject: Subject, columns: Sequence[str]) -> Evidence:
    """Count rows, and what is missing, repeated, constant, or shared with the training data."""
    frame, row_count, level = subject.data.frame, len(subject.labels), subject.conf_level
    missing = {name: missing_rows(frame, name) for name in columns}
    subject.progress(1 / STEPS, Message("missing values"))
    constants = _constants(subject, columns)
    repeated = row_count - len(np.unique(row_hashes(frame, columns)))
    subject.progress(2 / STEPS, "repeated rows")
    shared = _shared(subject, columns)
    subject.progress(3 / STEPS, "rows shared with training")
    alike, notes = look_alike_groups(subject)
    coverage, known = known_labels(subject), subject.labelled
    measurements = [
        _exact("data.row_count", row_count, "rows", "neither", row_count, level),
        _exact("data.duplicate_rate", repeated / row_count, "rate", "lower", row_count, level),
        shared,
        _exact("data.constant_column_count", len(constants), "count", "lower", row_count, level),
        missing_rates(missing, level),
        *missing_by_group(subject, missing),
        *missing_decisions(subject),
        *alike,
        *coverage.measurements,
        *([label_shares(known)] if subject.schema.targets and len(known.labels) else []),
    ]
    exhibits: list[Exhibit] = [_glance(subject, columns, repeated, shared, constants), *coverage.exhibits]
    if any(mask.any() for mask in missing.values()):
        chart = _chart(Message("Missing values by column"), "missing_rate", ("column",))
        exhibits.append(chart.model_copy(update={"zeros": False}))
    return Evidence(measurements=measurements, exhibits=exhibits, notes=[*notes, *coverage.notes])


def _labels_given_away(subject: Subject, examined: Sequence[str]) -> Evidence:
    """Return how well each of the examined columns predicts the label, where labels are known."""
    if not examined:
        return Evidence(notes=[Message("Rows are images or texts: they are not examined column by column.")])
    known = subject.labelled
    if not len(known.labels):
        return Evidence()
    alone = single_columns(known, examined)
    title = Message("How well a single column predicts the label")
    texts = tuple(subject.schema.text_cells)
    return Evidence(
        measurements=[alone],
        exhibits=[SliceChart(title=title, measurement=alone.id, by=alone.by)],
        notes=[
            Message(
                "The texts in {columns} are not examined as single columns, neither as predictors of the label nor for "
                "drift: hardly two of them are the same.",
                columns=texts,
            )
        ]
        if texts
        else [],
    )


def _drift(subject: Subject, examined: Sequence[str]) -> Evidence:
    """Return how far the examined columns have moved from the training data."""
    drifts = drifts_of(subject, examined)
    exhibits: list[Exhibit] = []
    notes: list[str] = []
    if drifts:
        table, sentence = drift_table(drifts, subject.conf_level)
        exhibits.append(table)
        notes.append(sentence)
    training_row_count = 0 if subject.training is None else len(subject.training.frame)
    if examined and max(len(subject.labels), training_row_count) > ROWS_SAMPLED:
        notes.append(
            Message(
                "Single-column prediction and drift were measured on samples of {rows_sampled:,} rows, drawn "
                "with seed {seed}.",
                rows_sampled=ROWS_SAMPLED,
                seed=subject.seed,
            )
        )
    return Evidence(measurements=[drift_measurement(drifts, subject)], exhibits=exhibits, notes=notes)


def _exact(id: str, value: float, unit: Unit, better: Better, count: int, level: float) -> Measurement:
    return Measurement(
        id=id,
        value=value,
        unit=unit,
        better=better,
        count=count,
        interval=Interval(low=value, high=value, level=level, method=Message("exact: all of these rows were counted")),
        definition=Message("a count over the audited rows"),
    )


def _chart(title: str, name: str, by: tuple[str, ...]) -> SliceChart:
    return SliceChart(title=title, measurement=f"data.{name}", by=by)


def _constants(subject: Subject, columns: Sequence[str]) -> list[str]:
    frame = subject.data.frame
    constant = []
    for name in columns:
        column = frame[name]
        # One different value is enough; most columns show it at once.
        if not holds_images(column) and column.head(100).nunique() <= 1 and column.nunique() <= 1:
            constant.append(name)
    return constant


def _shared(subject: Subject, columns: Sequence[str]) -> Measurement:
    id, row_count, level = "data.shared_row_rate", len(subject.labels), subject.conf_level
    card = subject.card
    if card is not None and subject.data.sha256 and card.training.get("sha256") == subject.data.sha256:
        measured = _exact(id, 1.0, "rate", "lower", row_count, level)
        return measured.model_copy(
            update={"definition": Message("the sha256 of the data is that of the model's training data")}
        )
    if subject.training is None:
        reason = Message("no training data; pass --train-dataset FILE")
        return Measurement(
            id=id,
            unit="rate",
            better="lower",
            count=row_count,
            definition=Message("rows compared by value"),
            reason=reason,
        )
    common = [name for name in columns if name in subject.training.frame.columns]
    theirs = np.unique(row_hashes(subject.training.frame, common))
    mine = row_hashes(subject.data.frame, common)
    places = np.minimum(np.searchsorted(theirs, mine), len(theirs) - 1)
    found = int((theirs[places] == mine).sum())
    measured = _exact(id, found / row_count, "rate", "lower", row_count, level)
    definition = Message("rows with the same values in all {count} common columns", count=len(common))
    return measured.model_copy(update={"definition": definition})


def _glance(
    subject: Subject, columns: Sequence[str], repeated: int, shared: Measurement, constants: Sequence[str]
) -> Facts:
    row_count = len(subject.labels)
    rows = [
        (
            Message("Rows"),
            Message(
                "{row_count:,} audited of {row_count_read:,} read",
                row_count=row_count,
                row_count_read=subject.row_count_read,
            ),
        ),
        (Message("Columns"), f"{len(columns):,}"),
        (
            Message("Exact duplicates"),
            _counted_rows(repeated, repeated / row_count),
        ),
        (
            Message("Records that also occur in the training data"),
            shared.reason or _counted_rows(round((shared.value or 0) * row_count), shared.value or 0),
        ),
        (Message("Constant columns"), ", ".join(constants) or Message("none")),
    ]
    return Facts(title=Message("The data at a glance"), rows=tuple(rows))


def _counted_rows(count: int, share: float) -> Message:
    return Message("{n:,} ({share})", n=count, share=number(share, "rate"))
