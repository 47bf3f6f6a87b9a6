"""A multi-label model judged: each label by itself, and the mean over the labels, for performance and fairness."""

from __future__ import annotations

import numpy as np

from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Evidence, Exhibit, Measurement, SliceChart, SliceTable
from auditkit.evidence.messages import Message
from auditkit.stats.counts import Counts, tally
from auditkit.stats.estimates import Breakdown
from auditkit.stats.jackknife import with_gap_replicates
from auditkit.stats.quality import QUALITIES
from auditkit.tasks import multiclass
from auditkit.tasks.multiclass import LABEL
from auditkit.tasks.multilabel import WHOLE_ROWS, label_measurement, mean_measurement, row_measurements
from auditkit.tasks.regression_audit import breakdowns_of

CHARTED = {"f1_score": Message("F1 score"), "roc_auc": "ROC AUC"}


def performance_of_labels(subject: Subject, intersections: int) -> Evidence:
    """Measure each label, the mean over the labels and whole rows: overall, by sensitive columns and intersections."""
    names, level, rows = subject.schema.classes, subject.conf_level, subject.scored_rows
    labels, decisions = subject.labels, subject.predictions.labels
    probabilities = subject.predictions.class_probabilities
    notes = [
        Message(
            "Each label is measured by itself, and without a label the mean over the labels is given. A "
            "row is an exact match where all of its labels are right; the Hamming loss is the share of "
            "single labels that are wrong."
        ),
        *subject.scored_note,
    ]
    if probabilities is None:
        notes.append(Message("The data hold decisions and no scores: ranking and calibration are left out."))
    possible = [name for name, quality in QUALITIES.items() if quality.of == "decisions" or probabilities is not None]
    measurements: list[Measurement] = []
    exhibits: list[Exhibit] = [
        SliceChart(
            title=Message("{charted} by label", charted=CHARTED[name]), measurement=f"performance.{name}", by=(LABEL,)
        )
        for name in CHARTED
        if name in possible
    ]

    def measure(breakdown: Breakdown) -> None:
        codes = breakdown.codes
        sampled = Breakdown(
            breakdown.columns, breakdown.names, None if codes is None else codes[rows], breakdown.min_group
        )
        measurements.extend(row_measurements(labels, decisions, breakdown, names, level=level))
        for name in possible:
            if QUALITIES[name].of == "decisions" or probabilities is None:
                given = labels, decisions, breakdown, names
            else:
                given = labels[rows], probabilities[rows], sampled, names
            measurements.append(mean_measurement(name, *given, level=level))
            measurements.append(label_measurement(name, *given, level=level))

    ids = tuple(f"performance.{name}" for name in possible)
    measure(Breakdown(min_group=subject.min_group))
    exhibits.append(SliceTable(title=Message("Performance by label"), measurements=ids, by=(LABEL,)))
    for breakdown, by in breakdowns_of(subject, intersections, notes):
        measure(breakdown)
        columns = breakdown.columns
        if len(columns) == 1:
            exhibits.append(
                SliceChart(title=Message("Accuracy by {by}", by=by), measurement="performance.accuracy", by=columns)
            )
        together = (*(f"performance.{name}" for name in WHOLE_ROWS), *ids)
        exhibits.append(SliceTable(title=Message("Performance by {by}", by=by), measurements=together, by=columns))
        exhibits.append(
            SliceTable(
                title=Message("Performance of each label by {by}", by=by), measurements=ids, by=(*columns, LABEL)
            )
        )
    exhibits.sort(key=lambda exhibit: exhibit.kind == "slice_table")
    return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def fairness_of_labels(subject: Subject, intersections: int) -> Evidence:
    """Measure the rates and gaps of each label by itself, and the mean of the gaps over the labels."""
    level, min_group = subject.conf_level, subject.min_group
    notes: list[str] = [Message('"Selected" means that a label is predicted; each label is compared by itself.')]
    if subject.opened is not None:
        notes = [
            Message(
                '"Selected" means that a label is predicted (probability {threshold:g} or more); each label is '
                "compared by itself.",
                threshold=subject.schema.decision_threshold,
            )
        ]
    measurements: list[Measurement] = []
    exhibits: list[Exhibit] = []
    finest = label_counts(subject, subject.sensitive, subject.predictions.labels)
    for breakdown, by in breakdowns_of(subject, intersections, notes):
        columns = breakdown.columns
        counts = [part.by(columns) for part in finest]
        own = multiclass.rate_measurements(counts, level=level, min_group=min_group)

        def replicated(found: list[Measurement], label: int, columns: tuple[str, ...] = columns) -> list[Measurement]:
            decided = subject.labels[:, label], subject.predictions.labels[:, label]
            return with_gap_replicates(found, *subject.group_codes(columns), *decided, min_group)

        gaps = multiclass.gap_measurements(counts, level=level, min_group=min_group, replicated=replicated)
        measurements += own + gaps
        if len(columns) == 1:
            exhibits.append(
                SliceChart(
                    title=Message("Gap in selection between the groups of {by}, by label", by=by),
                    note=Message("How differently often each label is predicted for the groups."),
                    measurement="fairness.demographic_parity_difference",
                    by=(*columns, LABEL),
                )
            )
        rates, differences = (
            Message("Rates of each label by {by}", by=by),
            Message("Gaps of each label by {by}", by=by),
        )
        for title, part in ((rates, own), (differences, gaps)):
            exhibits.append(
                SliceTable(
                    title=title,
                    measurements=tuple(dict.fromkeys(m.id for m in part if m.by != columns)),
                    by=(*columns, LABEL),
                )
            )
    exhibits.sort(key=lambda exhibit: exhibit.kind == "slice_table")
    return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def label_counts(subject: Subject, columns: tuple[str, ...], decisions: np.ndarray) -> list[Counts]:
    """Tally each label and the decision on it over the groups of `columns`: one table of two classes a label."""
    names, codes = subject.group_codes(columns)
    return [
        tally(columns, names, codes, subject.labels[:, place], decisions[:, place], ("not this label", label))
        for place, label in enumerate(subject.schema.classes)
    ]


def label_base_rates(subject: Subject, columns: tuple[str, ...]) -> Measurement:
    """Return the share of the rows that have each label, as the data auditor's base rate: by `columns` and label."""
    counts = label_counts(subject, columns, subject.labels)
    rates = multiclass.rate_measurements(
        counts, prefix="data", level=subject.conf_level, min_group=subject.min_group if columns else 0
    )
    return next(rate for rate in rates if rate.id == "data.base_rate")
