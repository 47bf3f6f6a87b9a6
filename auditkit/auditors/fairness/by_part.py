"""Fairness of the parts of a task: the rates and gaps of each class against the rest, or of each label by itself."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditkit.budgets import ALLOW_LARGE, COMPARED_CLASSES
from auditkit.engine.breakdowns import breakdowns_of
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Evidence, Exhibit, Measurement, SliceChart, SliceTable
from auditkit.evidence.messages import Message
from auditkit.stats import one_vs_rest
from auditkit.stats.counts import Counts, tally
from auditkit.stats.gaps import OF_DECISIONS, gap_measurements
from auditkit.stats.jackknife import with_gap_replicates
from auditkit.stats.rates import rate_measurement
from auditkit.tasks.base import Rows


@dataclass(frozen=True, eq=False)
class _Measured:
    """Rows, and the rates and gaps that are measured on them: of decisions on all rows, else on those with a label."""

    subject: Subject
    rows: Rows
    rates: tuple[str, ...]
    gaps: tuple[str, ...]

    def tables(self, places: Sequence[int]) -> Sequence[Counts]:
        """Return the tables of the parts at `places`, over all sensitive columns."""
        columns = self.subject.sensitive
        return self.subject.task.tables(places, self.rows, columns, *self.subject.group_codes(columns))

    def replicated(
        self, columns: tuple[str, ...], places: Sequence[int], found: list[Measurement], place: int
    ) -> list[Measurement]:
        """Return the gaps of the part at a place with their replicates."""
        view = self.subject.task.binary_views(self.rows)[places[place]]
        groups = self.subject.group_codes(columns)
        return with_gap_replicates(
            found, *groups, view.labels, view.decisions, self.subject.min_group, self.subject.sampling
        )


def compare_parts(subject: Subject, intersections: int) -> Evidence:
    """Measure the rates and gaps of each binary view of the task that has a name, and the mean of the gaps over them.

    Of a task that is judged by whole rows, the share of right rows is compared besides; else the accuracy of each part.
    """
    task, level, min_group = subject.task, subject.conf_level, subject.min_group
    if not task.part:
        return Evidence()
    notes = task.selected(subject.decision_columns)
    measurements: list[Measurement] = []
    exhibits: list[Exhibit] = []
    by_whole_rows = not task.axis
    total = len(subject.views)
    most = COMPARED_CLASSES.most if by_whole_rows else total
    known = subject.labelled
    labelled = len(known.labels) > 0
    chosen = one_vs_rest.most_frequent(task.occurrences(known.rows), most)
    unlabelled = Rows(np.zeros_like(subject.labels), subject.predictions, subject.sampling)
    measured = [_Measured(subject, unlabelled, ("selection_rate",), OF_DECISIONS)]
    if labelled:
        more = () if by_whole_rows else ("accuracy",)
        of_rates = tuple(name for name in (*one_vs_rest.RATES, *more) if name != "selection_rate")
        of_gaps = (*(gap for gap in one_vs_rest.GAPS if gap not in OF_DECISIONS), *more)
        measured.append(_Measured(known, known.rows, of_rates, of_gaps))
    finest = [one.tables(chosen) for one in measured]
    notes += _left_out(finest[-1], total) if labelled else []
    for breakdown, by in breakdowns_of(subject, intersections, notes):
        columns = breakdown.columns
        own: list[Measurement] = []
        gaps: list[Measurement] = []
        for one, tables in zip(measured, finest, strict=True):
            parts = [part.by(columns) for part in tables]
            own += one_vs_rest.rate_measurements(parts, task.part, rates=one.rates, level=level, min_group=min_group)
            gaps += one_vs_rest.gap_measurements(
                parts,
                task.part,
                gaps=one.gaps,
                total=total,
                level=level,
                min_group=min_group,
                replicated=functools.partial(one.replicated, columns, chosen),
            )
        rows = _right_rows(known, columns) if by_whole_rows and labelled else None
        if rows is not None:
            own.append(rate_measurement(rows, "accuracy", level=level, min_group=min_group))
            exhibits.append(
                SliceChart(title=Message("Accuracy by {by}", by=by), measurement="fairness.accuracy", by=columns)
            )
        measurements += own + gaps
        if rows is not None:
            measurements += gap_measurements(rows, gaps=("accuracy",), level=level, min_group=min_group)
        exhibits += _exhibits(task.part, columns, by, own, gaps)
    return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def _left_out(parts: Sequence[Counts], total: int) -> list[str]:
    """Return the sentence that says how many of the classes are compared each against the rest, if not all are."""
    if len(parts) == total:
        return []
    labelled = sum(int(part.table[:, 1].sum()) for part in parts)
    return [
        Message(
            "Of {total:,} classes the {n:,} most frequent are compared between groups, each against the rest; they are "
            "the labels of {share:.1%} of the rows. Gaps in accuracy are over all classes. {option} compares all.",
            total=total,
            n=len(parts),
            share=labelled / int(parts[0].sizes.sum()),
            option=ALLOW_LARGE,
        )
    ]


def _right_rows(subject: Subject, columns: tuple[str, ...]) -> Counts:
    """Count the rows of each group that are predicted right: as the label, and as the decision, that they are."""
    names, codes = subject.group_codes(columns)
    right = (~subject.task.errors(subject.rows)).astype(codes.dtype)
    every = right * 0 + 1
    return tally(columns, names, codes, every, right, ("wrong", "right"), subject.sampling)


def _exhibits(
    part: str, columns: tuple[str, ...], by: str, own: list[Measurement], gaps: list[Measurement]
) -> list[Exhibit]:
    """Return a chart of the gaps in selection by the parts, and tables of their rates and gaps."""
    named, axes = Message(part), (*columns, part)
    exhibits: list[Exhibit] = []
    if len(columns) == 1:
        exhibits.append(
            SliceChart(
                title=Message("Gap in selection between the groups of {by}, by {part}", by=by, part=named),
                note=Message("How differently often each {part} is predicted for the groups.", part=named),
                measurement="fairness.demographic_parity_difference",
                by=axes,
            )
        )
    rates, differences = (
        Message("Rates of each {part} by {by}", part=named, by=by),
        Message("Gaps of each {part} by {by}", part=named, by=by),
    )
    for title, found in ((rates, own), (differences, gaps)):
        ids = tuple(dict.fromkeys(one.id for one in found if one.by != columns))
        exhibits.append(SliceTable(title=title, measurements=ids, by=axes))
    return exhibits
