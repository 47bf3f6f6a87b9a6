"""Private models of a regression beside the original: how much further off their numbers are, and for whom."""

from __future__ import annotations

import numpy as np

from auditkit.auditors.privacy.comparison import (
    NIST,
    ORIGINAL,
    Runs,
    by_group,
    frontier,
    retrained,
    side_by_side,
    who_pays,
)
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Exhibit, Interval, Measurement, Slice, SliceChart
from auditkit.evidence.messages import Message
from auditkit.stats.estimates import Breakdown
from auditkit.stats.regression import mean_estimate, regression_gap, regression_measurement
from auditkit.stats.repetitions import slice_of_runs

ERROR, INCREASE = "mean_absolute_error", "mean_absolute_error_increase"
GAPS = ("mean_error", "mean_absolute_error")
MEASURED = (ERROR, INCREASE, *(f"{gap}_difference" for gap in GAPS))


def measurements_of_numbers(subject: Subject, runs: Runs) -> list[Measurement]:
    """Return the mean absolute error of each model, over all rows and within groups, its increase, and the gaps.

    Where no numbers are predicted, nothing.
    """
    if subject.task.numbers(subject.predictions) is None:
        return []
    labels, level = subject.labels, subject.conf_level

    def errors(breakdown: Breakdown) -> dict[str, list[Measurement]]:
        return {
            name: [
                regression_measurement(ERROR, labels, part.labels, breakdown, level=level, prefix="privacy")
                for part in parts
            ]
            for name, parts in runs.items()
        }

    measurements = [side_by_side(f"privacy.{ERROR}", errors(Breakdown()), high=None), _increase(subject, runs)]
    for column in subject.sensitive:
        breakdown = Breakdown((column,), *subject.group_codes((column,)), subject.min_group)
        measurements.append(by_group(f"privacy.{ERROR}", column, errors(breakdown), high=None))
        for gap in GAPS:
            found = {
                name: [
                    regression_gap(gap, labels, part.labels, breakdown, level=level, prefix="privacy") for part in parts
                ]
                for name, parts in runs.items()
            }
            measurements.append(side_by_side(f"privacy.{gap}_difference", found, (column,), high=None))
    return measurements


def _increase(subject: Subject, runs: Runs) -> Measurement:
    """Return by how much the absolute error of the same rows grows from the original to each private model."""
    before = np.abs(runs[ORIGINAL][0].labels - subject.labels)
    slices = []
    for name, parts in list(runs.items())[1:]:
        grown = []
        for part in parts:
            found = mean_estimate(np.abs(part.labels - subject.labels) - before, (subject.conf_level,))
            bound = found.bounds[0]
            assert bound is not None
            interval = Interval(
                low=bound[0], high=bound[1], level=subject.conf_level, method=Message("{bound}, paired", bound=bound[2])
            )
            grown.append(Slice(group=retrained(name), value=found.value, count=len(before), interval=interval))
        slices.append(slice_of_runs(retrained(name), grown))
    return Measurement(
        id=f"privacy.{INCREASE}",
        by=("retraining",),
        unit="number",
        better="lower",
        count=len(before),
        slices=tuple(slices),
        definition=Message("{standard}: utility against the non-private model", standard=NIST),
    )


def exhibits_of_numbers(
    subject: Subject, runs: Runs, targets: dict[str, float], measurements: list[Measurement]
) -> list[Exhibit]:
    """Return the pictures of what privacy costs predicted numbers, and whom; `targets` are the budgets."""
    if subject.task.numbers(subject.predictions) is None:
        return []
    by = {(part.id.partition(".")[2], part.by): part for part in measurements}
    exhibits: list[Exhibit] = [
        SliceChart(
            title=Message("Mean absolute error of the original and of the private retraining"),
            measurement=f"privacy.{ERROR}",
            by=("retraining",),
        )
    ]
    if len(targets) > 1:
        exhibits.append(frontier(ERROR, by[ERROR, ("retraining",)], targets))
    exhibits += [who_pays(ERROR, by[ERROR, ("retraining", column)], column, list(runs)) for column in subject.sensitive]
    return exhibits
