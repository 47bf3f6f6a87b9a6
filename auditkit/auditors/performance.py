"""How well the model predicts: accuracy, log loss, ranking and calibration, overall and per group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from auditkit.evidence.counts import suppression_note
from auditkit.evidence.measurement import Evidence, Exhibit, Measurement, SliceChart
from auditkit.metrics import scores
from auditkit.subject.subject import Subject

METRICS = {
    "accuracy": scores.accuracy_measurement,
    "balanced_accuracy": scores.balanced_accuracy_measurement,
    "log_loss": scores.log_loss_measurement,
    "roc_auc": scores.roc_auc_measurement,
    "calibration_error": scores.calibration_error_measurement,
}


@dataclass(frozen=True, kw_only=True)
class Performance:
    """Accuracy, balanced accuracy, log loss, ROC AUC and calibration error, each with its interval."""

    requires: ClassVar = ("labels", "scores")
    measures: ClassVar = tuple(f"performance.{name}" for name in METRICS)

    def audit(self, subject: Subject) -> Evidence:
        """Measure overall, and by each sensitive column."""
        labels, probabilities = subject.labels, subject.predictions.probabilities
        measurements: list[Measurement] = []
        exhibits: list[Exhibit] = [
            scores.calibration_curve(labels, probabilities, level=subject.conf_level, min_group=subject.min_group)
        ]
        for name, measure in METRICS.items():
            measurements.append(measure(labels, probabilities, level=subject.conf_level))
            for column in subject.sensitive:
                names, codes = subject.group_codes((column,))
                measurements.append(
                    measure(
                        labels,
                        probabilities,
                        columns=(column,),
                        names=names,
                        codes=codes,
                        level=subject.conf_level,
                        min_group=subject.min_group,
                    )
                )
            subject.progress(len(measurements) / (len(METRICS) * (1 + len(subject.sensitive))), name.replace("_", " "))
        notes = []
        for column in subject.sensitive:
            names, codes = subject.group_codes((column,))
            sizes = np.bincount(codes, minlength=len(names))
            hidden = suppression_note((column,), names, sizes, subject.min_group)
            notes += [hidden] if hidden else []
            exhibits.append(SliceChart(title=f"Accuracy by {column}", measurement="performance.accuracy", by=(column,)))
        return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)
