"""Fairness of predicted numbers: how predictions and errors differ between groups."""

from __future__ import annotations

import numpy as np

from auditkit.engine.breakdowns import breakdowns_of
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Evidence, Exhibit, Measurement, SliceChart, SliceTable, shown
from auditkit.evidence.messages import Message
from auditkit.stats import distances
from auditkit.stats.estimates import Breakdown
from auditkit.stats.regression import GAPS, regression_gap, regression_measurement

OF_PREDICTIONS = ("mean_prediction",)
"""The numbers that need no label."""


def compare_numbers(subject: Subject, intersections: int) -> Evidence:
    """Measure how predicted numbers and their errors differ between the groups, where the task predicts numbers."""
    if subject.task.unpredicted is not None:
        return Evidence()
    predictions = subject.task.numbers(subject.predictions)
    if predictions is None:
        return Evidence()
    level, known = subject.conf_level, subject.labelled
    notes = [*subject.task.selected(subject.decision_columns), *subject.scored_note]
    measurements: list[Measurement] = []
    exhibits: list[Exhibit] = []
    for breakdown, by in breakdowns_of(subject, intersections, notes):
        made = [name for name in GAPS if name in OF_PREDICTIONS or len(known.labels)]
        for name in made:
            part = subject if name in OF_PREDICTIONS else known
            numbers = subject.task.numbers(part.predictions)
            assert numbers is not None
            among = Breakdown(
                breakdown.columns, *part.group_codes(breakdown.columns), breakdown.min_group, part.sampling
            )
            given = numbers if name in OF_PREDICTIONS else part.labels, numbers, among
            measurements.append(regression_measurement(name, *given, level=level, prefix="fairness"))
            measurements.append(regression_gap(name, *given, level=level))
        rows = subject.scored_rows
        measurements += distances.distance_measurements(
            np.asarray(predictions[rows]), breakdown.take(rows), level=level, seed=subject.seed
        )
        if len(breakdown.columns) == 1:
            exhibits.append(_chart(Message("Mean prediction"), "fairness.mean_prediction", breakdown))
            if len(known.labels):
                exhibits.append(_chart(Message("Mean error"), "fairness.mean_error", breakdown))
        exhibits.append(
            SliceTable(
                title=Message("Predictions and errors by {by}", by=by),
                measurements=tuple(f"fairness.{name}" for name in made),
                by=breakdown.columns,
            )
        )
    return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def _chart(what: str, measurement: str, breakdown: Breakdown) -> SliceChart:
    by = breakdown.columns
    return SliceChart(title=Message("{what} by {by}", what=what, by=shown(by)), measurement=measurement, by=by)
