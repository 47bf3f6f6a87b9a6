"""A regression judged: how far its numbers are off, and for whom; what performance and fairness show of one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import (
    Curve,
    Evidence,
    Exhibit,
    Facts,
    Line,
    Measurement,
    SliceChart,
    SliceTable,
    shown,
)
from auditkit.evidence.messages import Message
from auditkit.stats import distances
from auditkit.stats.counts import crossings, suppression_note
from auditkit.stats.estimates import Breakdown
from auditkit.stats.intervals import mean_interval
from auditkit.tasks.regression import GAPS, NUMBERS, regression_gap, regression_measurement

SHARES = {"Half of the rows": 0.5, "Nine rows in ten": 0.9, "99 rows in 100": 0.99}
CURVE_POINTS = 10


def performance_of_numbers(subject: Subject, intersections: int) -> Evidence:
    """Measure the errors overall, and by the sensitive columns and their intersections."""
    labels, predictions, level = subject.labels, subject.predictions.labels, subject.conf_level
    exhibits: list[Exhibit] = [_how_far_off(subject), *_labels_by_prediction(subject)]
    measurements = [regression_measurement(name, labels, predictions, Breakdown(), level=level) for name in NUMBERS]
    notes: list[str] = [
        Message(
            "Predictions and errors are in the unit of {target}; an error is prediction minus label.",
            target=subject.schema.target,
        )
    ]
    for breakdown, by in breakdowns_of(subject, intersections, notes):
        measurements += [regression_measurement(name, labels, predictions, breakdown, level=level) for name in NUMBERS]
        if len(breakdown.columns) == 1:
            exhibits.append(_chart(Message("Mean absolute error"), "performance.mean_absolute_error", breakdown))
        exhibits.append(
            SliceTable(
                title=Message("Performance by {by}", by=by),
                measurements=tuple(f"performance.{name}" for name in NUMBERS),
                by=breakdown.columns,
            )
        )
    exhibits.sort(key=lambda exhibit: exhibit.kind == "slice_table")
    return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def fairness_of_numbers(subject: Subject, intersections: int) -> Evidence:
    """Measure how predictions and errors differ between the groups of the sensitive columns and their intersections."""
    labels, predictions, level = subject.labels, subject.predictions.labels, subject.conf_level
    notes = [
        Message(
            "A regression selects nobody: predictions and errors are compared between groups, in the "
            "unit of {target}. A group's mean prediction may differ because its labels do; its mean "
            "error may not.",
            target=subject.schema.target,
        ),
        *subject.scored_note,
    ]
    measurements: list[Measurement] = []
    exhibits: list[Exhibit] = []
    for breakdown, by in breakdowns_of(subject, intersections, notes):
        for name in GAPS:
            measurements.append(
                regression_measurement(name, labels, predictions, breakdown, level=level, prefix="fairness")
            )
            measurements.append(regression_gap(name, labels, predictions, breakdown, level=level))
        rows = subject.scored_rows
        sampled = Breakdown(breakdown.columns, breakdown.names, _at(breakdown, rows), breakdown.min_group)
        measurements += distances.distance_measurements(
            np.asarray(predictions[rows]), sampled, level=level, seed=subject.seed
        )
        if len(breakdown.columns) == 1:
            exhibits.append(_chart(Message("Mean prediction"), "fairness.mean_prediction", breakdown))
            exhibits.append(_chart(Message("Mean error"), "fairness.mean_error", breakdown))
        exhibits.append(
            SliceTable(
                title=Message("Predictions and errors by {by}", by=by),
                measurements=tuple(f"fairness.{name}" for name in GAPS),
                by=breakdown.columns,
            )
        )
    exhibits.sort(key=lambda exhibit: exhibit.kind == "slice_table")
    return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def breakdowns_of(subject: Subject, intersections: int, notes: list[str]) -> Iterator[tuple[Breakdown, str]]:
    """Yield every breakdown and how it is called; say in `notes` which groups are too small to show."""
    breakdowns = crossings(subject.sensitive, intersections)
    for done, columns in enumerate(breakdowns, 1):
        names, codes = subject.group_codes(columns)
        by = shown(columns)
        yield Breakdown(columns, names, codes, subject.min_group), by
        hidden = suppression_note(columns, names, np.bincount(codes, minlength=len(names)), subject.min_group)
        notes += [hidden] if hidden else []
        subject.progress(done / len(breakdowns), by)


def _at(breakdown: Breakdown, rows: np.ndarray | slice) -> np.ndarray | None:
    return None if breakdown.codes is None else breakdown.codes[rows]


def _chart(what: str, measurement: str, breakdown: Breakdown) -> SliceChart:
    by = breakdown.columns
    return SliceChart(title=Message("{what} by {by}", what=what, by=shown(by)), measurement=measurement, by=by)


def _how_far_off(subject: Subject) -> Facts:
    errors = np.abs(subject.predictions.labels - subject.labels)
    rows = tuple(
        (name, Message("off by at most {quantile:.4g}", quantile=np.quantile(errors, share)))
        for name, share in SHARES.items()
        if len(errors) * (1 - share) >= subject.min_group
    )
    return Facts(title=Message("How far off the predictions are"), rows=rows)


def _labels_by_prediction(subject: Subject) -> Iterator[Curve]:
    """Yield the mean label over the mean prediction, by tenths of the rows in the order of their predictions."""
    labels, predictions = subject.labels, subject.predictions.labels
    if len(labels) < CURVE_POINTS * max(subject.min_group, 2) or predictions.min() == predictions.max():
        return
    parts = np.array_split(np.argsort(predictions, kind="stable"), CURVE_POINTS)
    means = [float(labels[rows].mean()) for rows in parts]
    bounds = [
        mean_interval(labels[rows].mean(), labels[rows].var(ddof=1), len(rows), subject.conf_level) for rows in parts
    ]
    yield Curve(
        title=Message("Labels against predictions"),
        note=Message(
            "Each point is a tenth of the rows, in the order of their predictions; on the diagonal both "
            "have the same mean. The band is the interval of the mean label."
        ),
        x_label=Message("mean prediction"),
        y_label=Message("mean label"),
        identity=True,
        lines=(
            Line(
                name=subject.schema.target or Message("label"),
                x=tuple(float(predictions[rows].mean()) for rows in parts),
                y=tuple(means),
                low=tuple(float(low) for low, _ in bounds),
                high=tuple(float(high) for _, high in bounds),
            ),
        ),
    )
