"""For which rows a label is known: by group and by decision, and whether it depends on either, or on the score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Column, Evidence, Table
from auditkit.evidence.messages import Message, number
from auditkit.stats.counts import not_compared
from auditkit.stats.drift import holm
from auditkit.stats.missing_labels import dependence, quarters

SMALLEST = 0.01
"""Shares of known labels that differ by less are no selection worth a finding, however surely they differ."""

MOST_CLASSES = 20
"""The table of known labels has a column for each predicted class up to so many."""

SplitKind = Literal["decision", "score", "group"]


@dataclass(frozen=True, eq=False)
class Split:
    """The rows in parts, and for how many of each a label is known: int64, (parts,).

    `kind` says whether they are told apart by what was decided, by quarters of the score, or by the groups of `column`.
    `p_value` is that of equal shares, corrected for all splits together (Holm 1979).
    """

    kind: SplitKind
    column: str
    names: tuple[str, ...]
    known: NDArray[np.int64]
    rows: NDArray[np.int64]
    p_value: float = 1.0

    @property
    def shares(self) -> NDArray[np.float64]:
        """The share of each part's rows that has a label."""
        return np.asarray(self.known / self.rows, dtype=np.float64)

    def is_selective(self, level: float) -> bool:
        """Whether labels are known for some parts clearly more often than for others."""
        return self.p_value < 1 - level and float(np.ptp(self.shares)) >= SMALLEST

    def sentence(self) -> Message:
        """Say of which part the label is known least and most often."""
        least, most = int(np.argmin(self.shares)), int(np.argmax(self.shares))
        values = {
            "column": self.column,
            "low": number(self.shares[least], "rate"),
            "least": self.names[least],
            "high": number(self.shares[most], "rate"),
            "most": self.names[most],
        }
        if self.kind == "decision":
            return Message("{low} of the rows decided {least} have a label, {high} of those decided {most}", **values)
        if self.kind == "score":
            return Message("{low} of {least} have a label, {high} of {most}", **values)
        return Message("{low} of {least} have a label, {high} of {most} ({column})", **values)


def splits_of(subject: Subject) -> tuple[Split, ...]:
    """Return the rows told apart by decision, by score and by each sensitive column; none where all have a label."""
    known = subject.has_labels
    if known.all() or not known.any() or subject.task.unpredicted is not None:
        return ()
    found = list(_splits(subject, known))
    corrected = holm(np.array([split.p_value for split in found])) if found else ()
    return tuple(
        Split(split.kind, split.column, split.names, split.known, split.rows, float(p))
        for split, p in zip(found, corrected, strict=True)
    )


def is_selective(subject: Subject) -> bool:
    """Return whether the rows with a label are a selection by decision, score or group."""
    return any(split.is_selective(subject.conf_level) for split in splits_of(subject))


def _decided(subject: Subject) -> NDArray[np.int64] | None:
    """Return the predicted class of each row, (rows,), where a row has one of several classes."""
    if subject.task.unpredicted is not None or not subject.schema.classes or subject.task.axis:
        return None
    return subject.predictions.labels


def _splits(subject: Subject, known: NDArray[np.bool_]) -> Iterator[Split]:
    predictions = subject.predictions
    if _decided(subject) is not None:
        yield from _split("decision", "", subject.schema.classes, predictions.labels, known)
    scores = predictions.ranking
    if scores is None and subject.task.positive is not None and predictions.class_probabilities is not None:
        scores = predictions.class_probabilities[:, -1]
    if scores is None:
        scores = subject.task.numbers(predictions)
    if scores is not None:
        codes = quarters(np.asarray(scores, dtype=np.float64))
        count = int(codes.max()) + 1
        parts = tuple(Message("part {n} of {count} by score", n=part + 1, count=count) for part in range(count))
        yield from _split("score", "", parts, codes, known)
    for column in subject.sensitive:
        names, codes = subject.group_codes((column,))
        sizes = np.bincount(codes, minlength=len(names))
        kept = np.flatnonzero(~not_compared(sizes, subject.min_group, names))
        inside = np.isin(codes, kept)
        places = np.zeros(len(names), dtype=np.int64)
        places[kept] = np.arange(len(kept))
        yield from _split("group", column, tuple(names[code][0] for code in kept), places[codes[inside]], known[inside])


def _split(
    kind: SplitKind, column: str, names: Sequence[str], codes: NDArray[np.int64], known: NDArray[np.bool_]
) -> Iterator[Split]:
    rows = np.bincount(codes, minlength=len(names))
    labelled = np.bincount(codes[known], minlength=len(names))
    present = np.flatnonzero(rows)
    if len(present) > 1:
        named = tuple(names[int(code)] for code in present)
        yield Split(kind, column, named, labelled[present], rows[present], dependence(labelled[present], rows[present]))


def selective_statement(subject: Subject) -> tuple[str, ...]:
    """Return the sentence that says that the rows with a label are a selection, where they are."""
    found = [split for split in splits_of(subject) if split.is_selective(subject.conf_level)]
    if not found:
        return ()
    named = (
        found[0].sentence()
        if len(found) == 1
        else Message("{one}; {more}", one=found[0].sentence(), more=found[1].sentence())
    )
    return (
        Message(
            "Labels ({target}) are known for a selection of the rows: {what}. Numbers that need labels hold for those "
            "rows alone.",
            target=", ".join(subject.schema.targets),
            what=named,
        ),
    )


def coverage_table(subject: Subject) -> Table | None:
    """Return for how many rows of each group a label is known, by decision; None where all rows have one, or none.

    Of the rows of a subject that have a label it is that of the subject.
    """
    subject = subject if subject.part_of is None else subject.part_of[0]
    known = subject.has_labels
    if known.all() or not known.any():
        return None
    decided = _decided(subject)
    classes = subject.schema.classes if decided is not None and len(subject.schema.classes) <= MOST_CLASSES else ()
    lines: list[tuple[str | float | None, ...]] = []

    def line(name: str, inside: NDArray[np.bool_]) -> None:
        size = int(inside.sum())
        cells: list[str | float | None] = [name, float(size), float(known[inside].sum()), float(known[inside].mean())]
        for code, _ in enumerate(classes):
            part = inside & (decided == code)
            cells.append(float(known[part].mean()) if part.sum() >= subject.min_group else None)
        lines.append(tuple(cells))

    line(Message("all rows"), np.ones(len(known), dtype=bool))
    for column in subject.sensitive:
        names, codes = subject.group_codes((column,))
        few = not_compared(np.bincount(codes, minlength=len(names)), subject.min_group, names)
        for code in np.flatnonzero(~few):
            line(Message("{group} ({column})", group=names[code][0], column=column), codes == code)
    return Table(
        title=Message("Rows with a known label, by group and decision"),
        note=Message("What needs a label is measured on these rows alone. A dash stands for too few rows."),
        columns=(
            Column(name=Message("rows")),
            Column(name=Message("all"), unit="rows"),
            Column(name=Message("with a label"), unit="rows"),
            Column(name=Message("share"), unit="rate"),
            *(Column(name=Message("of those decided {name}", name=name), unit="rate") for name in classes),
        ),
        rows=tuple(lines),
    )


def beside_coverage(subject: Subject, evidence: Evidence) -> Evidence:
    """Return evidence with the table of known labels beside it, where some rows have none."""
    table = coverage_table(subject)
    if table is None:
        return evidence
    return Evidence(measurements=evidence.measurements, exhibits=[*evidence.exhibits, table], notes=evidence.notes)
