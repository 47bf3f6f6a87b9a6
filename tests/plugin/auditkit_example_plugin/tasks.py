"""The task of CONTRIBUTING.md, installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from auditkit.evidence.measurement import Measurement
from auditkit.stats.estimates import Breakdown
from auditkit.stats.quality import CLASSIFICATION_METRICS, MetricSpec
from auditkit.stats.regression import REGRESSION_METRICS, regression_measurement
from auditkit.tasks.base import Floats, Predictions, Rows
from auditkit.tasks.multiclass import Multiclass

OFF_BY = "mean_absolute_error"


@dataclass(frozen=True)
class Grades(Multiclass):
    """Ordered classes, from the lowest, as `--classes` lists them: an error costs the grades that it is off."""

    metrics: ClassVar[Mapping[str, MetricSpec]] = {**CLASSIFICATION_METRICS, OFF_BY: REGRESSION_METRICS[OFF_BY]}

    def numbers(self, predictions: Predictions) -> Floats:
        """Return the predicted grades, 0 the lowest, (rows,): groups are compared by their mean."""
        return predictions.labels.astype(np.float64)

    def errors(self, rows: Rows) -> Floats:
        """Return how many grades each prediction is off, (rows,)."""
        return np.abs(rows.predictions.labels - rows.labels).astype(np.float64)

    def measurable(self, predictions: Predictions) -> tuple[list[str], list[str]]:
        names, notes = super().measurable(predictions)
        return list(dict.fromkeys([*names, OFF_BY])), notes

    def measure(self, metric: str, rows: Rows, breakdown: Breakdown, *, level: float) -> list[Measurement]:
        if metric != OFF_BY:
            return super().measure(metric, rows, breakdown, level=level)
        grades = rows.labels.astype(np.float64), rows.predictions.labels.astype(np.float64)
        return [regression_measurement(metric, *grades, breakdown, level=level)]
