"""Fairness of several labels: the rates and gaps of each label by itself, and the mean of the gaps."""

from __future__ import annotations

import numpy as np

from auditkit.engine.breakdowns import breakdowns_of
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Evidence, Exhibit, Measurement, SliceChart, SliceTable
from auditkit.evidence.messages import Message
from auditkit.stats import one_vs_rest
from auditkit.stats.counts import Counts, tally
from auditkit.stats.jackknife import with_gap_replicates
from auditkit.stats.one_vs_rest import LABEL


def fairness_of_labels(subject: Subject, intersections: int) -> Evidence:
    """Measure the rates and gaps of each label by itself, and the mean of the gaps over the labels."""
    level, min_group = subject.conf_level, subject.min_group
    notes: list[str] = [Message('"Selected" means that a label is predicted; each label is compared by itself.')]
    if subject.has_model:
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
        own = one_vs_rest.rate_measurements(counts, level=level, min_group=min_group)

        def replicated(found: list[Measurement], label: int, columns: tuple[str, ...] = columns) -> list[Measurement]:
            decided = subject.labels[:, label], subject.predictions.labels[:, label]
            return with_gap_replicates(found, *subject.group_codes(columns), *decided, min_group)

        gaps = one_vs_rest.gap_measurements(counts, level=level, min_group=min_group, replicated=replicated)
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
