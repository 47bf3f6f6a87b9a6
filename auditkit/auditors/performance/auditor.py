"""How well the model predicts: accuracy, errors, ranking and calibration, overall and per group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from auditkit.engine.breakdowns import breakdowns_of
from auditkit.engine.missing_metrics import MissingMetrics
from auditkit.engine.right_rows import bounded_accuracy
from auditkit.engine.subject import Subject
from auditkit.errors import InputError
from auditkit.evidence.measurement import Evidence, Exhibit, Measurement, SliceChart, SliceTable
from auditkit.evidence.messages import Message, title
from auditkit.stats.estimates import Breakdown
from auditkit.tasks.base import every_metric

OF_SCORES = ("order", "probabilities")
"""What metrics are computed from that sort and copy scores: of very many rows they are taken over a sample."""


@dataclass(frozen=True, kw_only=True)
class Performance:
    """Accuracy, errors, ranking and calibration, each with its interval, overall and per group.

    `intersections` is the largest number of sensitive columns that are crossed with each other.
    """

    intersections: int = 2

    requires: ClassVar = ("predictions", "labels")
    multilabel: ClassVar = True
    measures: ClassVar = tuple(f"performance.{name}" for name in every_metric())

    def __post_init__(self) -> None:
        """Refuse a depth under 1."""
        if self.intersections < 1:
            raise InputError(f"intersections must be at least 1, got {self.intersections}; 1 means no crossing.")

    def audit(self, subject: Subject) -> Evidence:
        """Measure overall, and by the sensitive columns and their intersections."""
        task, level = subject.task, subject.conf_level
        possible, notes = task.measurable(subject.predictions)
        if any(task.metrics[name].of in OF_SCORES for name in possible):
            notes += subject.scored_note
        whole, sampled = subject.rows, subject.rows.take(subject.scored_rows)
        measurements: list[Measurement] = []
        missing = MissingMetrics.of(subject)

        def measure(breakdown: Breakdown) -> None:
            among = breakdown.take(subject.scored_rows)
            for name in possible:
                given = (sampled, among) if task.metrics[name].of in OF_SCORES else (whole, breakdown)
                found = task.measure(name, *given, level=level)
                if name == "accuracy" and not task.axis:
                    found = [bounded_accuracy(subject, one, breakdown.columns) for one in found]
                elif missing is not None:
                    found = [missing.bounded(name, one, breakdown.columns) for one in found]
                measurements.extend(found)

        measure(Breakdown(min_group=subject.min_group, sampling=subject.sampling))
        exhibits: list[Exhibit] = task.overview(sampled, level=level, min_group=subject.min_group)
        for breakdown, by in breakdowns_of(subject, self.intersections, notes):
            measure(breakdown)
            if len(breakdown.columns) == 1:
                drawn = f"performance.{task.headline}"
                heading = Message("{what} by {by}", what=title(drawn), by=by)
                exhibits.append(SliceChart(title=heading, measurement=drawn, by=breakdown.columns))
            exhibits += _tables(breakdown.columns, task.axis, by, measurements)
        exhibits.sort(key=lambda exhibit: exhibit.kind == "slice_table")
        return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def _tables(
    columns: tuple[str, ...], axis: tuple[str, ...], by: str, measurements: list[Measurement]
) -> list[SliceTable]:
    """Return the table of what was measured by these columns, and one of each part of the task, such as a label."""
    ids: dict[tuple[str, ...], dict[str, None]] = {}
    for one in measurements:
        ids.setdefault(one.by, {})[one.id] = None
    tables = [SliceTable(title=Message("Performance by {by}", by=by), measurements=tuple(ids[columns]), by=columns)]
    for part in axis:
        names = tuple(ids[(*columns, part)])
        tables.append(
            SliceTable(
                title=Message("Performance of each {part} by {by}", part=Message(part), by=by),
                measurements=names,
                by=(*columns, part),
            )
        )
    return tables
