"""How well the model predicts: accuracy, errors, ranking and calibration, overall and per group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from auditkit.engine.subject import Subject
from auditkit.errors import InputError
from auditkit.evidence.measurement import Evidence, Exhibit, Measurement, SliceChart, SliceTable, shown
from auditkit.stats import scores
from auditkit.stats.counts import crossings, suppression_note
from auditkit.stats.estimates import Breakdown
from auditkit.stats.quality import QUALITIES, quality_measurement
from auditkit.stats.ranking import average_ranks
from auditkit.tasks.multilabel import WHOLE_ROWS
from auditkit.tasks.multilabel_audit import performance_of_labels
from auditkit.tasks.regression import NUMBERS
from auditkit.tasks.regression_audit import performance_of_numbers


@dataclass(frozen=True, kw_only=True)
class Performance:
    """Accuracy, errors, ranking and calibration, each with its interval, overall and per group.

    `intersections` is the largest number of sensitive columns that are crossed with each other.
    """

    intersections: int = 2

    requires: ClassVar = ("labels",)
    several_labels: ClassVar = True
    measures: ClassVar = tuple(f"performance.{name}" for name in (*QUALITIES, *NUMBERS, *WHOLE_ROWS))

    def __post_init__(self) -> None:
        """Refuse a depth under 1."""
        if self.intersections < 1:
            raise InputError(f"intersections must be at least 1, got {self.intersections}; 1 means no crossing.")

    def audit(self, subject: Subject) -> Evidence:
        """Measure overall, and by the sensitive columns and their intersections."""
        if subject.schema.task == "regression":
            return performance_of_numbers(subject, self.intersections)
        if subject.schema.task == "multilabel":
            return performance_of_labels(subject, self.intersections)
        labels, predictions = subject.labels, subject.predictions
        possible, probabilities, notes = _possible(subject)
        notes += subject.scored_note
        rows = subject.scored_rows
        exhibits: list[Exhibit] = []
        if predictions.class_probabilities is not None:
            exhibits.append(
                scores.calibration_curve(
                    labels[rows], probabilities[rows], level=subject.conf_level, min_group=subject.min_group
                )
            )
        breakdowns = [(), *crossings(subject.sensitive, self.intersections)]
        measurements: list[Measurement] = []
        for done, columns in enumerate(breakdowns, 1):
            names, codes = subject.group_codes(columns) if columns else ((), None)
            whole = Breakdown(columns, names, codes, subject.min_group)
            sampled = Breakdown(columns, names, None if codes is None else codes[rows], subject.min_group)
            for name in possible:
                of_all = QUALITIES[name].of == "decisions"
                measurements.append(
                    quality_measurement(
                        name,
                        labels if of_all else labels[rows],
                        predictions.labels if of_all else probabilities[rows],
                        whole if of_all else sampled,
                        class_count=len(subject.schema.classes),
                        level=subject.conf_level,
                    )
                )
            if codes is not None:
                hidden = suppression_note(columns, names, np.bincount(codes, minlength=len(names)), subject.min_group)
                notes += [hidden] if hidden else []
                by = shown(columns)
                if len(columns) == 1:
                    exhibits.append(
                        SliceChart(title=f"Accuracy by {by}", measurement="performance.accuracy", by=columns)
                    )
                exhibits.append(
                    SliceTable(
                        title=f"Performance by {by}",
                        measurements=tuple(f"performance.{name}" for name in possible),
                        by=columns,
                    )
                )
            subject.progress(done / len(breakdowns), shown(columns))
        exhibits.sort(key=lambda exhibit: exhibit.kind == "slice_table")
        return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def _possible(subject: Subject) -> tuple[list[str], NDArray[np.float64], list[str]]:
    """Return what can be measured, (rows, classes) to measure it on, and a note on what cannot."""
    predictions = subject.predictions
    if predictions.class_probabilities is not None:
        return list(QUALITIES), predictions.class_probabilities, []
    if predictions.ranking is not None:
        # Ranks order the rows as the scores do, and lie between 0 and 1.
        ranks = average_ranks(predictions.ranking) / len(predictions.ranking)
        note = "The scores are no probabilities: log loss, Brier score and calibration are left out."
        named = [name for name, quality in QUALITIES.items() if quality.of != "probabilities"]
        return named, np.column_stack([1 - ranks, ranks]), [note]
    named = [name for name, quality in QUALITIES.items() if quality.of == "decisions"]
    note = "The data hold decisions and no scores: ranking and calibration are left out."
    return named, np.zeros((len(subject.labels), 0)), [note]
