"""Whom the model treats differently: rates per group and the gaps between groups, by Fairlearn's definitions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

from auditkit.errors import InputError, NotRun
from auditkit.evidence.counts import Counts, suppression_note, tally
from auditkit.evidence.measurement import Evidence, Exhibit, Measurement, SliceChart
from auditkit.metrics.disparity import gap_measurements
from auditkit.metrics.rates import rate_measurement
from auditkit.metrics.replicates import with_gap_replicates
from auditkit.subject.subject import Subject

RATES = ("selection_rate", "true_positive_rate", "false_positive_rate", "accuracy")
GAPS = (
    "demographic_parity_difference",
    "demographic_parity_ratio",
    "equalized_odds_difference",
    "equalized_odds_ratio",
)


@dataclass(frozen=True, kw_only=True)
class Fairness:
    """Rates per group and gaps between groups, for each sensitive column and their intersections.

    `intersections` is the largest number of sensitive columns that are crossed with each other.
    """

    intersections: int = 2

    requires: ClassVar = ("labels", "sensitive")
    measures: ClassVar = tuple(f"fairness.{name}" for name in RATES + GAPS)

    def __post_init__(self) -> None:
        """Refuse a depth under 1."""
        if self.intersections < 1:
            raise InputError(f"intersections must be at least 1, got {self.intersections}; 1 means no crossing.")

    def audit(self, subject: Subject) -> Evidence:
        """Count once over all sensitive columns, and read every breakdown off the table."""
        if subject.schema.task != "binary":
            raise NotRun(
                f"selection needs a binary label, and {subject.schema.target} has {len(subject.schema.classes)} classes"
            )
        finest = confusion_counts(subject, subject.sensitive)
        breakdowns = [
            columns
            for depth in range(1, min(self.intersections, len(subject.sensitive)) + 1)
            for columns in combinations(subject.sensitive, depth)
        ]
        measurements: list[Measurement] = []
        exhibits: list[Exhibit] = []
        positive = subject.schema.classes[-1]
        notes = [f"Selected means predicted {subject.schema.target} = {positive}, at a probability of at least 0.5."]
        for done, columns in enumerate(breakdowns, 1):
            counts = finest.by(columns)
            for rate in RATES:
                measurements.append(
                    rate_measurement(
                        counts, rate, prefix="fairness", level=subject.conf_level, min_group=subject.min_group
                    )
                )
            gaps = gap_measurements(counts, prefix="fairness", level=subject.conf_level, min_group=subject.min_group)
            measurements += with_gap_replicates(
                gaps, *subject.group_codes(columns), subject.labels, subject.predictions.labels, subject.min_group
            )
            exhibits += [
                SliceChart(title=f"{title} by {' & '.join(columns)}", measurement=f"fairness.{rate}", by=columns)
                for rate, title in zip(
                    RATES, ("Selection rate", "True positive rate", "False positive rate"), strict=False
                )
            ]
            hidden = suppression_note(columns, counts.groups, counts.sizes, subject.min_group)
            notes += [hidden] if hidden else []
            subject.progress(done / len(breakdowns), " & ".join(columns))
        return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def confusion_counts(subject: Subject, columns: tuple[str, ...]) -> Counts:
    """Tally the subject's labels and predictions over the groups of `columns`."""
    names, codes = subject.group_codes(columns)
    return tally(columns, names, codes, subject.labels, subject.predictions.labels, subject.schema.classes)
