"""The tables that rates and gaps are read from: decisions over all rows, and decisions by label where one is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.fairness.cross_check import CrossCheck, cross_check
from auditkit.auditors.fairness.impact_ratio import impact_ratio_measurement, reference_measurement
from auditkit.engine.label_coverage import is_selective
from auditkit.engine.subject import Subject
from auditkit.engine.undecided import beside_undecided, undecided_counts
from auditkit.evidence.measurement import Better, Measurement, Unit, shown
from auditkit.evidence.messages import Message, title
from auditkit.stats import inequality
from auditkit.stats.counts import Counts, tally
from auditkit.stats.gaps import GAPS, OF_DECISIONS, OF_LABELS, gap_measurements, left_out_notes, one_cluster_notes
from auditkit.stats.jackknife import with_gap_replicates, with_rate_replicates
from auditkit.stats.missing_labels import Undecided, Unlabelled
from auditkit.stats.rates import RATES, overall_rate, rate, rate_measurement

KINDS: tuple[tuple[str, Unit, Better], ...] = (("difference", "rate_difference", "lower"), ("ratio", "ratio", "higher"))

REFERRED = ("selection_rate", "true_positive_rate", "false_positive_rate", "accuracy")
"""The rates whose differences from those of a reference group are measured."""

COMPARED = tuple(dict.fromkeys(name for rates in GAPS.values() for name in rates))
"""The rates that gaps are of."""

Replicated = Callable[..., list[Measurement]]


def needs_labels(name: str) -> bool:
    """Return whether a rate, a gap or an index of fairness needs labels, by its name."""
    if name in RATES:
        return RATES[name].needs_labels
    return name.rpartition("_")[0] not in OF_DECISIONS


def confusion_counts(subject: Subject, columns: tuple[str, ...]) -> Counts:
    """Tally labels and predictions over the groups of `columns`; every row of the subject must have a label."""
    names, codes = subject.group_codes(columns)
    decisions, classes = subject.predictions.labels, subject.schema.classes
    return tally(columns, names, codes, subject.labels, decisions, classes, subject.sampling)


def decision_counts(subject: Subject, columns: tuple[str, ...], other: NDArray[np.int64] | None = None) -> Counts:
    """Tally what was predicted of all rows, or `other` decisions, over the groups of `columns`.

    Labels are not told apart: all rows stand under the first one.
    """
    names, codes = subject.group_codes(columns)
    predictions = subject.predictions.labels if other is None else other
    return tally(columns, names, codes, np.zeros_like(codes), predictions, subject.schema.classes, subject.sampling)


@dataclass(frozen=True)
class Tables:
    """Two tables over the same columns, and the subject that they count.

    `decisions` counts all rows and tells no labels apart; `confusion` counts the rows with a label, None where there
    are none. `missing` has the rows with and without a label where those with one are a selection by decision, score or
    group, and `undecided` those with and without a decision where those with one are a selection by group; `unjudged`
    has the rows of `confusion` instead of those with a decision.
    """

    subject: Subject
    decisions: Counts
    confusion: Counts | None
    missing: Unlabelled | None = None
    undecided: Undecided | None = None
    unjudged: Undecided | None = None

    @classmethod
    def of(cls, subject: Subject) -> Tables:
        """Count once over all sensitive columns."""
        known = subject.labelled
        confusion = confusion_counts(known, subject.sensitive) if len(known.labels) else None
        missing, without = None, subject.unlabelled
        if confusion is not None and without is not None and is_selective(subject):
            missing = Unlabelled(confusion, decision_counts(without, subject.sensitive))
        decisions = decision_counts(subject, subject.sensitive)
        return cls(subject, decisions, confusion, missing, _undecided(subject), _unjudged(subject))

    def by(self, columns: tuple[str, ...]) -> Tables:
        """Return the tables over fewer columns; () counts all rows as one group."""
        confusion = None if self.confusion is None else self.confusion.by(columns)
        missing = None if self.missing is None else self.missing.by(columns)
        return dataclasses.replace(
            self,
            decisions=self.decisions.by(columns),
            confusion=confusion,
            missing=missing,
            undecided=None if self.undecided is None else self.undecided.by(columns),
            unjudged=None if self.unjudged is None else self.unjudged.by(columns),
        )

    def table_of(self, name: str) -> Counts | None:
        """Return the table that a rate is read from; None for a rate that needs labels where there are none."""
        return self.confusion if rate(name).needs_labels else self.decisions

    def overall(self) -> list[Measurement]:
        """Return the rates over all rows that can be used, and the inequality of errors, with their replicates."""
        level, whole = self.subject.conf_level, self.by(())
        found = []
        for name in RATES:
            table = whole.table_of(name)
            if table is not None and name != "accuracy":
                found.append(whole._bounded_rate(overall_rate(table, name, "fairness", level=level)))
        found = self._replicated(found, (), with_rate_replicates)
        if whole.confusion is not None:
            unequal = inequality.inequality_measurements(whole.confusion, level=level)
            found += self._replicated(unequal, (), with_gap_replicates, unequal=True)
        return found

    def rates(self) -> list[Measurement]:
        """Return every rate by group; of one column with its replicates."""
        level, min_group, columns = self.subject.conf_level, self.subject.min_group, self.decisions.columns
        found = []
        for name in RATES:
            table = self.table_of(name)
            if table is not None:
                found.append(self._bounded_rate(rate_measurement(table, name, level=level, min_group=min_group)))
        return self._replicated(found, columns, with_rate_replicates) if len(columns) == 1 else found

    def without_labels(self) -> list[Measurement]:
        """Return the gaps that need labels as what was not measured, with the reason, where no row has a label."""
        if self.confusion is not None:
            return []
        return [
            Measurement(
                id=f"fairness.{gap}_{kind}",
                unit=unit,
                better=better,
                count=0,
                definition=f"Fairlearn {gap}",
                reason=Message("no row has a label"),
            )
            for gap in OF_LABELS
            for kind, unit, better in KINDS
        ]

    def gaps(self) -> list[Measurement]:
        """Return every gap between the groups, with its replicates."""
        found = [self._bounded_gap(gap) for gap in self._gaps(self.decisions, OF_DECISIONS)]
        if self.confusion is not None:
            found += [self._bounded_gap(gap) for gap in self._gaps(self.confusion, OF_LABELS)]
        return self._replicated(found, self.decisions.columns, with_gap_replicates)

    def _bounded_gap(self, gap: Measurement) -> Measurement:
        """Return a gap with an interval that holds whatever the missing labels, or decisions, are, where that matters.

        A limit is judged by it: labels that are known for the approved alone cannot show that errors are equal.
        """
        rates = GAPS[_name(gap).rpartition("_")[0]]
        for missing in self._missing(rates[0]):
            gap = missing.gap(gap, rates, self.subject.conf_level, self.subject.min_group)
        return gap

    def _missing(self, name: str) -> list[Unlabelled]:
        """Return the tables that bound a rate, first those of missing labels, then those of missing decisions."""
        found = [self.missing, self.unjudged] if needs_labels(name) else [self.undecided]
        return [one for one in found if one is not None]

    def _bounded_rate(self, measurement: Measurement) -> Measurement:
        """Return a rate with intervals that hold whatever the missing labels, or decisions, are, where that matters."""
        name = _name(measurement)
        for missing in self._missing(name):
            measurement = missing.rate(measurement, name, self.subject.conf_level)
        return measurement

    def impact_ratios(self) -> Measurement:
        """Return each group's selection rate over the highest, whatever missing decisions are, where that matters."""
        level, min_group = self.subject.conf_level, self.subject.min_group
        found = impact_ratio_measurement(self.decisions, level=level, min_group=min_group)
        return found if self.undecided is None else self.undecided.ratios_to_highest(found, "selection_rate", level)

    def differences(self, reference: tuple[str, ...]) -> list[Measurement]:
        """Return each group's rates minus those of a reference group, whatever missing labels or decisions are."""
        level, min_group, found = self.subject.conf_level, self.subject.min_group, []
        for name in REFERRED:
            table = self.table_of(name)
            if table is not None:
                one = reference_measurement(table, name, reference, level=level, min_group=min_group)
                for missing in self._missing(name):
                    one = missing.differences(one, name, reference, level)
                found.append(one)
        return found

    def inequality(self) -> list[Measurement]:
        """Return the inequality of errors within and between the groups, with its replicates."""
        if self.confusion is None:
            return []
        level, min_group = self.subject.conf_level, self.subject.min_group
        found = inequality.inequality_measurements(self.confusion, level=level, min_group=min_group)
        return self._replicated(found, self.decisions.columns, with_gap_replicates, unequal=True)

    def left_out(self) -> list[str]:
        """Return the sentences that say which groups gaps leave out, and which those that need labels."""
        found = one_cluster_notes(self.decisions, self.subject.min_group)
        return found + ([] if self.confusion is None else left_out_notes(self.confusion, self.subject.min_group))

    def degenerate(self, rates: Sequence[Measurement]) -> list[str]:
        """Return the sentences that say which rates are 0 % or 100 % in every group of a column, and so show nothing.

        `rates` are those by group of one breakdown.
        """
        notes: list[str] = []
        if len(self.decisions.columns) > 1:
            return notes
        for value, text in ((0.0, "0 %"), (1.0, "100 %")):
            names = [
                title(one.id)
                for one in rates
                if _name(one) in COMPARED
                and {part.value for part in one.slices if part.value is not None} == {value}
                and sum(part.value is not None for part in one.slices) > 1
            ]
            if names:
                notes.append(
                    Message(
                        "By {columns}, {value} in every group: {names}. A gap of 0 between such rates is no evidence "
                        "of equal treatment: nothing was decided, or is known, otherwise.",
                        columns=shown(self.decisions.columns),
                        value=text,
                        names=names,
                    )
                )
        return notes

    def cross_check(self, measurements: Sequence[Measurement]) -> CrossCheck:
        """Compare rates and gaps with Fairlearn's, each on the rows that it was measured on."""
        of_labels = [one for one in measurements if needs_labels(_name(one))]
        found = cross_check(self.decisions, [one for one in measurements if not needs_labels(_name(one))])
        return found if self.confusion is None else found.plus(cross_check(self.confusion, of_labels))

    def _replicated(
        self, found: Sequence[Measurement], columns: tuple[str, ...], add: Replicated, *, unequal: bool = False
    ) -> list[Measurement]:
        """Return measurements with their replicates, each over the rows that it was measured on.

        Those of `unequal`, indices of inequality, take no weights or clusters.
        """
        done: dict[str, Measurement] = {}
        for subject, labels in ((self.subject, False), (self.subject.labelled, True)):
            own = [one for one in found if needs_labels(_name(one)) is labels]
            if own:
                names, codes = subject.group_codes(columns) if columns else (((),), np.zeros_like(subject.labels))
                told = subject.labels if labels else np.zeros_like(subject.labels)
                given = own, names, codes, told, subject.predictions.labels, self.subject.min_group
                added = add(*given) if unequal else add(*given, subject.sampling)
                done |= {one.id: one for one in added}
        return [done[one.id] for one in found]

    def _gaps(self, table: Counts, gaps: Sequence[str]) -> list[Measurement]:
        return gap_measurements(table, gaps=gaps, level=self.subject.conf_level, min_group=self.subject.min_group)


def _undecided(subject: Subject) -> Undecided | None:
    """Return the rows with and without a decision where those with one are a selection by group."""
    others = undecided_counts(subject, subject.sensitive, subject.schema.classes)
    return None if others is None else Undecided(decision_counts(beside_undecided(subject), subject.sensitive), others)


def _unjudged(subject: Subject) -> Undecided | None:
    """Return the rows with a decision and a label, and those without a decision, as `_undecided`."""
    others, whole = undecided_counts(subject, subject.sensitive, subject.schema.classes), beside_undecided(subject)
    if others is None or not len(whole.labelled.labels):
        return None
    confusion, without = confusion_counts(whole.labelled, subject.sensitive), whole.unlabelled
    if without is None or not is_selective(subject):
        return Undecided(confusion, others)
    return Undecided(confusion, others, Unlabelled(confusion, decision_counts(without, subject.sensitive)))


def _name(measurement: Measurement) -> str:
    return measurement.id.partition(".")[2]
