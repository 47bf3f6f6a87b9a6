"""Whom the model treats differently: rates per group and the gaps between groups, by Fairlearn's definitions."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.fairness import conditional, cross_check, impact_ratio
from auditkit.auditors.fairness.by_number import compare_numbers
from auditkit.auditors.fairness.by_outcome import compare_outcomes
from auditkit.auditors.fairness.by_part import compare_parts
from auditkit.auditors.fairness.tables import REFERRED, Tables, decision_counts
from auditkit.data.group_names import known_as
from auditkit.engine.label_coverage import beside_coverage
from auditkit.engine.subject import Subject
from auditkit.errors import InputError, closest
from auditkit.evidence.measurement import Evidence, Exhibit, Measurement, SliceChart, SliceTable, shown
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import Runnable
from auditkit.stats import distances, inequality, regression
from auditkit.stats.counts import Counts, crossings, not_compared_note
from auditkit.stats.estimates import Breakdown, Quantity
from auditkit.stats.gaps import GAPS
from auditkit.stats.quality import metric_statistic
from auditkit.stats.rates import RATES

CHARTED = {
    "selection_rate": Message("Selection rate"),
    "true_positive_rate": Message("True positive rate"),
    "false_positive_rate": Message("False positive rate"),
}
PER_GROUP = (*RATES, "impact_ratio", "fisher_exact_p", "scoring_rate", "scoring_impact_ratio")
CONDITIONAL = ("demographic_disparity", "conditional_demographic_disparity")
BETWEEN = tuple(f"{name}_{part}" for name in inequality.INDICES for part in ("within", "between"))
MOST_CONDITIONS = 1_000
"""Legitimate columns may have so many combinations of values; a continuous one has to be put into ranges first."""


@dataclass(frozen=True, kw_only=True)
class Fairness:
    """Rates per group and gaps between groups, for each sensitive column and their intersections.

    `intersections` is the largest number of sensitive columns that are crossed with each other. `reference_group`
    names a group of a column as `COLUMN=GROUP`, one a column at most: differences from it are then measured too.
    `legitimate` names columns within whose values the groups' disparity is taken once more. The rates and gaps of a
    model are computed once more by Fairlearn; those of recorded decisions, which need no other package, with
    `cross_check`.
    """

    intersections: int = 2
    reference_group: tuple[str, ...] = ()
    legitimate: tuple[str, ...] = ()
    cross_check: bool = False

    requires: ClassVar = ("answers", "sensitive")
    multilabel: ClassVar = True
    measures: ClassVar = tuple(
        f"fairness.{name}"
        for name in (
            *PER_GROUP,
            *(f"{gap}_{kind}" for gap in GAPS for kind in ("difference", "ratio")),
            *(f"{rate}_difference_from_reference" for rate in REFERRED),
            "calibration_error_difference",
            *distances.DISTANCES,
            *inequality.INDICES,
            *BETWEEN,
            *CONDITIONAL,
            *regression.GAPS,
            *(f"{name}_difference" for name in regression.GAPS),
            "mean_outcome",
            "mean_outcome_difference",
        )
    )

    def __post_init__(self) -> None:
        """Refuse a depth under 1, and a reference group without its column."""
        if self.intersections < 1:
            raise InputError(f"intersections must be at least 1, got {self.intersections}; 1 means no crossing.")
        columns = [named.partition("=")[0] for named in self.reference_group]
        for named in self.reference_group:
            if not named.partition("=")[2]:
                raise InputError(f"reference_group must be COLUMN=GROUP, got {named!r}.")
        if len(set(columns)) != len(columns):
            raise InputError(f"reference_group names two groups of one column: {', '.join(self.reference_group)}.")

    def check(self, subject: Subject) -> None:
        """Refuse reference groups and legitimate columns that are not there, or that the task has no use for."""
        if subject.task.positive is None and (self.reference_group or self.legitimate):
            raise InputError(
                "reference_group and legitimate compare how often one of two classes is selected, which a "
                f"{subject.schema.task} task has not; leave them out."
            )
        self._reference(subject)
        self._check_legitimate(subject)

    def audit(self, subject: Subject) -> Evidence:
        """Compare whom the model selects, each part of the task, and predicted numbers: what the task has of these."""
        found = [
            self._compare_selection(subject),
            compare_parts(subject, self.intersections),
            compare_numbers(subject, self.intersections),
            compare_outcomes(subject.labelled, self.intersections),
        ]
        kinds = ("slices", "table", "slice_table", "facts")
        evidence = Evidence(
            measurements=[one for part in found for one in part.measurements],
            exhibits=sorted(
                (one for part in found for one in part.exhibits), key=lambda exhibit: kinds.index(exhibit.kind)
            ),
            notes=list(dict.fromkeys(note for part in found for note in part.notes)),
        )
        return beside_coverage(subject, evidence)

    def _compare_selection(self, subject: Subject) -> Evidence:
        """Count once over all sensitive columns, and read every breakdown off the table."""
        if subject.task.positive is None:
            return Evidence()
        reference = self._reference(subject)
        tables = Tables.of(subject)
        breakdowns = crossings(subject.sensitive, self.intersections)
        evidence = _Found(subject, [], [], [*_selected_means(subject), *subject.scored_note])
        evidence.measurements += tables.overall() + tables.without_labels()
        for done, columns in enumerate(breakdowns, 1):
            own = tables.by(columns)
            key = tuple(reference[column] for column in columns) if set(columns) <= set(reference) else None
            self._compare_groups(evidence, own, key)
            counts = own.decisions
            hidden = not_compared_note(columns, counts.groups, counts.sizes, subject.min_group)
            evidence.notes += [hidden] if hidden else []
            subject.progress(done / len(breakdowns), shown(columns))
        if self.cross_check or subject.audited.capability(Runnable) is not None:
            checks = [tables.by(columns).cross_check(evidence.measurements) for columns in breakdowns]
            whole_check = functools.reduce(cross_check.CrossCheck.plus, checks)
            if whole_check.compared:
                evidence.exhibits.append(cross_check.cross_check_facts(whole_check))
        return Evidence(measurements=evidence.measurements, exhibits=evidence.exhibits, notes=evidence.notes)

    def _compare_groups(self, evidence: _Found, tables: Tables, reference: tuple[str, ...] | None) -> None:
        """Measure a breakdown of two classes: rates, ratios and gaps of the decisions, and those that need labels."""
        subject, counts = evidence.subject, tables.decisions
        columns, level, min_group = counts.columns, subject.conf_level, subject.min_group
        own = tables.rates()
        own.append(tables.impact_ratios())
        own.append(impact_ratio.fisher_measurement(counts, reference=reference, min_group=min_group))
        scoring = _scoring_counts(subject, columns)
        if scoring is not None:
            own.append(impact_ratio.scoring_rate_measurement(scoring, level=level, min_group=min_group))
            own.append(impact_ratio.impact_ratio_measurement(scoring, of="scoring", level=level, min_group=min_group))
        if reference is not None:
            own += tables.differences(reference)
        if self.legitimate:
            conditioned = decision_counts(subject, (*columns, *self.legitimate))
            own.append(conditional.disparity_measurement(counts, (), level=level, min_group=min_group))
            own.append(
                conditional.disparity_measurement(conditioned, self.legitimate, level=level, min_group=min_group)
            )
        evidence.measurements += own + tables.gaps()
        evidence.measurements += _score_gaps(subject, columns) + tables.inequality()
        evidence.notes += [*tables.left_out(), *tables.degenerate(own)]
        by = shown(columns)
        made = {measurement.id for measurement in own}
        for rate, title in CHARTED.items():
            if f"fairness.{rate}" in made and (len(columns) == 1 or rate == "selection_rate"):
                evidence.exhibits.append(
                    SliceChart(
                        title=Message("{title} by {by}", title=title, by=by), measurement=f"fairness.{rate}", by=columns
                    )
                )
        first = not any(exhibit.kind == "table" for exhibit in evidence.exhibits)
        measured = {measurement.id.partition(".")[2]: measurement for measurement in own}
        evidence.exhibits.append(
            impact_ratio.impact_exhibit(counts, scoring, measured, explained=first, min_group=min_group)
        )
        evidence.exhibits.append(
            SliceTable(
                title=Message("All rates by {by}", by=by),
                measurements=tuple(measurement.id for measurement in own),
                by=columns,
            )
        )

    def _reference(self, subject: Subject) -> dict[str, str]:
        reference = dict(named.split("=", 1) for named in self.reference_group)
        for column, group in list(reference.items()):
            if column not in subject.sensitive:
                raise InputError(
                    f"reference_group: {column!r} is not a sensitive column{closest(column, subject.sensitive)}."
                )
            known = [key[0] for key in subject.group_codes((column,))[0]]
            reference[column] = known_as(group, known)
            if reference[column] not in known:
                raise InputError(f"reference_group: column {column} has no group {group!r}{closest(group, known)}.")
        return reference

    def _check_legitimate(self, subject: Subject) -> None:
        columns = [str(column) for column in subject.data.frame.columns]
        for column in self.legitimate:
            if column not in columns:
                raise InputError(f"legitimate column {column!r} is not in the data{closest(column, columns)}.")
            if column in subject.sensitive:
                raise InputError(f"legitimate column {column!r} is sensitive; a gap cannot be explained by itself.")
        if self.legitimate:
            count = len(subject.group_codes(self.legitimate)[0])
            if count > MOST_CONDITIONS:
                raise InputError(
                    f"the legitimate columns {', '.join(self.legitimate)} have {count:,} combinations of values, and "
                    f"at most {MOST_CONDITIONS:,} are compared; put continuous columns into ranges first."
                )


@dataclass
class _Found:
    """What is found out on the way."""

    subject: Subject
    measurements: list[Measurement]
    exhibits: list[Exhibit]
    notes: list[str]


def _selected_means(subject: Subject) -> list[str]:
    if subject.top_k is None:
        return subject.task.selected(subject.decision_columns)
    return [
        Message(
            '"Selected" means being among the {top_k:,} rows of the highest scores for {classes}.',
            top_k=subject.top_k,
            classes=subject.task.positive,
        )
    ]


def _scores(subject: Subject) -> NDArray[np.float64] | None:
    predictions = subject.predictions
    if predictions.ranking is not None:
        return predictions.ranking
    return None if predictions.class_probabilities is None else predictions.class_probabilities[:, -1]


def _scoring_counts(subject: Subject, columns: tuple[str, ...]) -> Counts | None:
    """Count which rows of each group score above the median of all; None without scores."""
    values = _scores(subject)
    if values is None:
        return None
    return decision_counts(subject, columns, impact_ratio.above_median(values, subject.sampling.weights))


def _score_gaps(subject: Subject, columns: tuple[str, ...]) -> list[Measurement]:
    """Measure how far apart the groups' scores lie, and, of the rows with a label, their calibration."""
    level, measurements = subject.conf_level, []
    values = _scores(subject)
    if values is not None:
        rows, breakdown = subject.scored_rows, _scored(subject, columns)
        measurements += distances.distance_measurements(values[rows], breakdown, level=level, seed=subject.seed)
    known = subject.labelled
    if known.predictions.class_probabilities is not None and len(known.labels):
        rows, breakdown = known.scored_rows, _scored(known, columns)
        measurements.append(
            distances.mean_gap_measurement(
                Quantity(
                    "fairness.calibration_error_difference",
                    "rate_difference",
                    "lower",
                    Message("highest minus lowest expected calibration error (Guo et al. 2017) of a group"),
                ),
                metric_statistic("calibration_error", len(known.schema.classes)),
                known.labels[rows],
                known.predictions.class_probabilities[rows],
                breakdown,
                level=level,
            )
        )
    return measurements


def _scored(subject: Subject, columns: tuple[str, ...]) -> Breakdown:
    """Return the groups of the rows that statistics of scores are taken over."""
    names, codes = subject.group_codes(columns)
    return Breakdown(columns, names, codes, subject.min_group, subject.sampling).take(subject.scored_rows)
