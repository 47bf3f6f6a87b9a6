"""How well the model predicts: accuracy, errors, ranking and calibration, overall and per group."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from auditkit.errors import InputError
from auditkit.evidence.counts import crossings, suppression_note
from auditkit.evidence.measurement import Evidence, Exhibit, Measurement, SliceChart, SliceTable
from auditkit.metrics import quality, scores
from auditkit.subject.subject import Subject

Measure = Callable[..., Measurement]

OF_DECISIONS: dict[str, Measure] = {
    "accuracy": scores.accuracy_measurement,
    "balanced_accuracy": scores.balanced_accuracy_measurement,
    "f1_score": functools.partial(quality.quality_measurement, "f1_score"),
    "matthews_correlation": functools.partial(quality.quality_measurement, "matthews_correlation"),
}
OF_RANKINGS: dict[str, Measure] = {
    "roc_auc": scores.roc_auc_measurement,
    "average_precision": functools.partial(quality.quality_measurement, "average_precision"),
}
OF_PROBABILITIES: dict[str, Measure] = {
    "log_loss": scores.log_loss_measurement,
    "brier_score": functools.partial(quality.quality_measurement, "brier_score"),
    "calibration_error": scores.calibration_error_measurement,
    "calibration_slope": functools.partial(quality.quality_measurement, "calibration_slope"),
    "mean_score": functools.partial(quality.quality_measurement, "mean_score"),
}


@dataclass(frozen=True, kw_only=True)
class Performance:
    """Accuracy, errors, ranking and calibration, each with its interval, overall and per group.

    `intersections` is the largest number of sensitive columns that are crossed with each other.
    """

    intersections: int = 2

    requires: ClassVar = ("labels",)
    measures: ClassVar = tuple(f"performance.{name}" for name in (*OF_DECISIONS, *OF_RANKINGS, *OF_PROBABILITIES))

    def __post_init__(self) -> None:
        """Refuse a depth under 1."""
        if self.intersections < 1:
            raise InputError(f"intersections must be at least 1, got {self.intersections}; 1 means no crossing.")

    def audit(self, subject: Subject) -> Evidence:
        """Measure overall, and by the sensitive columns and their intersections."""
        labels, predictions = subject.labels, subject.predictions
        metrics, probabilities, notes = _possible(subject)
        notes += subject.scored_note
        rows = subject.scored_rows
        scored = labels[rows], probabilities[rows]
        exhibits: list[Exhibit] = []
        if predictions.class_probabilities is not None:
            exhibits.append(scores.calibration_curve(*scored, level=subject.conf_level, min_group=subject.min_group))
        breakdowns = [(), *crossings(subject.sensitive, self.intersections)]
        measurements: list[Measurement] = []
        for done, columns in enumerate(breakdowns, 1):
            names, codes = subject.group_codes(columns) if columns else ((), None)
            for name, measure in metrics.items():
                of_all = name in OF_DECISIONS
                options: dict[str, Any] = {"decisions": predictions.labels} if of_all else {}
                measurements.append(
                    measure(
                        *((labels, probabilities) if of_all else scored),
                        columns=columns,
                        names=names,
                        codes=codes if of_all or codes is None else codes[rows],
                        level=subject.conf_level,
                        min_group=subject.min_group,
                        **options,
                    )
                )
            if codes is not None:
                hidden = suppression_note(columns, names, np.bincount(codes, minlength=len(names)), subject.min_group)
                notes += [hidden] if hidden else []
                by = " & ".join(columns)
                if len(columns) == 1:
                    exhibits.append(
                        SliceChart(title=f"Accuracy by {by}", measurement="performance.accuracy", by=columns)
                    )
                exhibits.append(
                    SliceTable(
                        title=f"Performance by {by}",
                        measurements=tuple(f"performance.{name}" for name in metrics),
                        by=columns,
                    )
                )
            subject.progress(done / len(breakdowns), " & ".join(columns))
        exhibits.sort(key=lambda exhibit: exhibit.kind == "slice_table")
        return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def _possible(subject: Subject) -> tuple[dict[str, Measure], NDArray[np.float64], list[str]]:
    """Return what can be measured, (rows, classes) to measure it on, and a note on what cannot."""
    predictions = subject.predictions
    if predictions.class_probabilities is not None:
        return OF_DECISIONS | OF_RANKINGS | OF_PROBABILITIES, predictions.class_probabilities, []
    if predictions.ranking is not None:
        # Ranks order the rows as the scores do, and lie between 0 and 1.
        ranks = stats.rankdata(predictions.ranking) / len(predictions.ranking)
        note = "The scores are no probabilities: log loss, Brier score and calibration are left out."
        return OF_DECISIONS | OF_RANKINGS, np.column_stack([1 - ranks, ranks]), [note]
    decided = np.eye(len(subject.schema.classes))[predictions.labels]
    return OF_DECISIONS, decided, ["The data hold decisions and no scores: ranking and calibration are left out."]
