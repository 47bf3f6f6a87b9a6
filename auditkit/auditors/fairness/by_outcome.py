"""Fairness of recorded outcomes: the mean of each group, and how far apart the groups' means lie."""

from __future__ import annotations

from auditkit.engine.breakdowns import breakdowns_of
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Evidence, Exhibit, Measurement, SliceChart, SliceTable
from auditkit.evidence.messages import Message
from auditkit.stats.estimates import Breakdown
from auditkit.stats.regression import regression_gap, regression_measurement


def compare_outcomes(subject: Subject, intersections: int) -> Evidence:
    """Measure the mean outcome of all rows and of each group, and the largest difference, where outcomes are recorded.

    The intervals of the groups hold for all groups at once, and that of the difference for all pairs.
    """
    outcomes = subject.task.outcomes(subject.labels)
    if outcomes is None:
        return Evidence()
    target = subject.schema.target or ""
    notes: list[str] = [
        Message(
            "{target} is a recorded outcome: its means are compared between groups, in its own unit. Groups may differ "
            "in it for reasons that these data do not hold.",
            target=target,
        )
    ]

    def mean(breakdown: Breakdown) -> Measurement:
        found = regression_measurement(
            "mean_label", outcomes, outcomes, breakdown, level=subject.conf_level, prefix="fairness"
        )
        return found.model_copy(
            update={"id": "fairness.mean_outcome", "definition": Message("mean of the recorded outcome")}
        )

    measurements = [mean(Breakdown(min_group=subject.min_group, sampling=subject.sampling))]
    exhibits: list[Exhibit] = []
    for breakdown, by in breakdowns_of(subject, intersections, notes):
        measurements.append(mean(breakdown))
        gap = regression_gap("mean_label", outcomes, outcomes, breakdown, level=subject.conf_level)
        definition = Message("highest minus lowest mean outcome of a group")
        measurements.append(gap.model_copy(update={"id": "fairness.mean_outcome_difference", "definition": definition}))
        if len(breakdown.columns) == 1:
            exhibits.append(
                SliceChart(
                    title=Message("Mean {target} by {by}", target=target, by=by),
                    measurement="fairness.mean_outcome",
                    by=breakdown.columns,
                )
            )
        exhibits.append(
            SliceTable(
                title=Message("Outcomes by {by}", by=by),
                measurements=("fairness.mean_outcome",),
                by=breakdown.columns,
            )
        )
    return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)
