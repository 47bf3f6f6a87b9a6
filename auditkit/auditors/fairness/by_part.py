"""Fairness of the parts of a task: the rates and gaps of each class against the rest, or of each label by itself."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from auditkit.budgets import ALLOW_LARGE, COMPARED_CLASSES
from auditkit.engine.breakdowns import breakdowns_of
from auditkit.engine.label_coverage import is_selective
from auditkit.engine.right_rows import missing_rows, right_rows
from auditkit.engine.subject import Subject
from auditkit.engine.undecided import beside_undecided, undecided_counts
from auditkit.evidence.measurement import Evidence, Exhibit, Measurement, SliceChart, SliceTable
from auditkit.evidence.messages import Message
from auditkit.stats import one_vs_rest
from auditkit.stats.counts import Counts
from auditkit.stats.gaps import GAPS, OF_DECISIONS, gap_measurements
from auditkit.stats.jackknife import with_gap_replicates
from auditkit.stats.missing_labels import Undecided, Unlabelled
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


@dataclass(frozen=True, eq=False)
class _Parts:
    """The tables of the parts over some columns, and those of the rows without a label, or decision, that matter."""

    known: Sequence[Counts]
    missing: Sequence[Unlabelled]
    axis: str
    level: float
    min_group: int

    def by(self, columns: tuple[str, ...]) -> _Parts:
        known, missing = [part.by(columns) for part in self.known], [part.by(columns) for part in self.missing]
        return replace(self, known=known, missing=missing)

    def rates(self, names: Sequence[str]) -> list[Measurement]:
        """Return the rates of each part, which hold whatever the missing labels, or decisions, are."""
        found = one_vs_rest.rate_measurements(
            self.known, self.axis, rates=names, level=self.level, min_group=self.min_group
        )
        if not self.missing:
            return found
        missing = type(self.missing[0]).stacked(self.missing, self.axis)
        return [missing.rate(one, name, self.level) for one, name in zip(found, names, strict=True)]

    def bounded(self, gaps: list[Measurement], place: int, level: float) -> list[Measurement]:
        """Return the gaps of the part at a place, which hold whatever the missing labels, or decisions, are."""
        if not self.missing:
            return gaps
        rates = [GAPS[one.id.partition(".")[2].rpartition("_")[0]] for one in gaps]
        return [self.missing[place].gap(one, of, level, self.min_group) for one, of in zip(gaps, rates, strict=True)]


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
    measured = [_Measured(subject, _of_decisions(subject), ("selection_rate",), OF_DECISIONS)]
    if labelled:
        more = () if by_whole_rows else ("accuracy",)
        of_rates = tuple(name for name in (*one_vs_rest.RATES, *more) if name != "selection_rate")
        of_gaps = (*(gap for gap in one_vs_rest.GAPS if gap not in OF_DECISIONS), *more)
        measured.append(_Measured(known, known.rows, of_rates, of_gaps))
    finest = [
        _Parts(one.tables(chosen), missing(one, chosen), task.part, level, min_group)
        for one, missing in zip(measured, (_undecided, _unlabelled), strict=False)
    ]
    notes += _left_out(finest[-1].known, total) if labelled else []
    for breakdown, by in breakdowns_of(subject, intersections, notes):
        columns = breakdown.columns
        own: list[Measurement] = []
        gaps: list[Measurement] = []
        for one, tables in zip(measured, finest, strict=True):
            parts = tables.by(columns)
            own += parts.rates(one.rates)
            gaps += one_vs_rest.gap_measurements(
                parts.known,
                task.part,
                gaps=one.gaps,
                total=total,
                level=level,
                min_group=min_group,
                replicated=functools.partial(one.replicated, columns, chosen),
                bounded=parts.bounded,
            )
        if by_whole_rows and labelled:
            accuracy, *of_accuracy = _right(known, columns)
            own.append(accuracy)
            gaps += of_accuracy
            exhibits.append(
                SliceChart(title=Message("Accuracy by {by}", by=by), measurement="fairness.accuracy", by=columns)
            )
        measurements += own + gaps
        exhibits += _exhibits(task.part, columns, by, own, gaps)
    return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def _of_decisions(subject: Subject) -> Rows:
    """Return the rows of a subject for what needs no label."""
    return Rows(np.zeros_like(subject.labels), subject.predictions, subject.sampling)


def _undecided(decided: _Measured, places: Sequence[int]) -> list[Unlabelled]:
    """Return the rows with and without a decision by part, where those with one are a selection by group."""
    subject, found = beside_undecided(decided.subject), list[Unlabelled]()
    for part in replace(decided, subject=subject, rows=_of_decisions(subject)).tables(places):
        others = undecided_counts(subject, subject.sensitive, part.classes)
        if others is None:
            return []
        found.append(Undecided(part, others))
    return found


def _unlabelled(labelled: _Measured, places: Sequence[int]) -> list[Unlabelled]:
    """Return the rows with and without a label by part, where those with one are a selection.

    Where the rows with a decision are one, these and the rows without a decision.
    """
    whole = labelled.subject if labelled.subject.part_of is None else labelled.subject.part_of[0]
    scaled = beside_undecided(whole)
    known = replace(labelled, subject=scaled.labelled, rows=scaled.labelled.rows).tables(places)
    without, found = scaled.unlabelled, list[Unlabelled]()
    if without is not None and is_selective(whole):
        others = replace(labelled, subject=without, rows=_of_decisions(without)).tables(places)
        found = [Unlabelled(*pair) for pair in zip(known, others, strict=True)]
    left_out = undecided_counts(whole, whole.sensitive, known[0].classes)
    if left_out is None:
        return found
    of_part = [replace(left_out, classes=part.classes) for part in known]
    if not found:
        return [Undecided(*pair) for pair in zip(known, of_part, strict=True)]
    return [Undecided(*three) for three in zip(known, of_part, found, strict=True)]


def _right(known: Subject, columns: tuple[str, ...]) -> list[Measurement]:
    """Return the share of rows of each group that are predicted right, and its gaps."""
    level, min_group = known.conf_level, known.min_group
    rows, missing = right_rows(known, columns), _missing_right(known, columns)
    found = rate_measurement(rows, "accuracy", level=level, min_group=min_group)
    gaps = gap_measurements(rows, gaps=("accuracy",), level=level, min_group=min_group)
    if missing is None:
        return [found, *gaps]
    bounded = [missing.gap(one, ("accuracy",), level, min_group) for one in gaps]
    return [missing.rate(found, "accuracy", level), *bounded]


def _missing_right(known: Subject, columns: tuple[str, ...]) -> Unlabelled | None:
    """Return the rows predicted right or wrong, and those without a label, or decision, where these matter."""
    whole = known if known.part_of is None else known.part_of[0]
    scaled = beside_undecided(whole)
    rows, missing = right_rows(scaled.labelled, columns), missing_rows(scaled, columns)
    others = undecided_counts(whole, columns, rows.classes)
    return missing if others is None else Undecided(rows, others, missing)


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
