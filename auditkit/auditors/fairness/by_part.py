"""Fairness of the parts of a task: the rates and gaps of each class against the rest, or of each label by itself."""

from __future__ import annotations

from collections.abc import Sequence

from auditkit.budgets import ALLOW_LARGE, COMPARED_CLASSES
from auditkit.engine.breakdowns import breakdowns_of
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Evidence, Exhibit, Measurement, SliceChart, SliceTable
from auditkit.evidence.messages import Message
from auditkit.stats import one_vs_rest
from auditkit.stats.counts import Counts, tally
from auditkit.stats.gaps import gap_measurements
from auditkit.stats.jackknife import with_gap_replicates
from auditkit.stats.rates import rate_measurement


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
    chosen = one_vs_rest.most_frequent(task.occurrences(subject.rows), most)
    finest = task.tables(chosen, subject.rows, subject.sensitive, *subject.group_codes(subject.sensitive))
    notes += _left_out(finest, total)
    for breakdown, by in breakdowns_of(subject, intersections, notes):
        columns = breakdown.columns
        parts = [part.by(columns) for part in finest]
        own = one_vs_rest.rate_measurements(
            parts, task.part, accuracy=not by_whole_rows, level=level, min_group=min_group
        )

        def replicated(found: list[Measurement], place: int, columns: tuple[str, ...] = columns) -> list[Measurement]:
            view = subject.views[chosen[place]]
            return with_gap_replicates(
                found, *subject.group_codes(columns), view.labels, view.decisions, min_group, subject.sampling
            )

        gaps = one_vs_rest.gap_measurements(
            parts,
            task.part,
            accuracy=not by_whole_rows,
            total=total,
            level=level,
            min_group=min_group,
            replicated=replicated,
        )
        rows = _right_rows(subject, columns) if by_whole_rows else None
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
