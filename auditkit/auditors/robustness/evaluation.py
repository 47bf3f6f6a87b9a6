"""A sample of rows before and after corruptions: the model's answers and what they cost, measured and drawn."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.robustness import statistics
from auditkit.engine.subject import Subject
from auditkit.errors import ModelFileError
from auditkit.evidence.measurement import Column, Curve, Exhibit, Group, Measurement, SliceTable, Table, Unit, shown
from auditkit.evidence.messages import Message, number
from auditkit.modalities.base import Corruption
from auditkit.models.predict import NotFiniteError, predict
from auditkit.schema.schema import Labels, has_label
from auditkit.stats import scores
from auditkit.stats.calibration import BIN_COUNT
from auditkit.stats.estimates import Breakdown, Estimate, Quantity, measure, shown_rows
from auditkit.tasks.base import Predictions, Rows

NOISES = ("numeric_noise", "pixel_noise")


@dataclass(frozen=True, eq=False)
class RobustPredictions:
    """What the model says: predictions as in `Predictions.labels`, and its probabilities, if any.

    Where it gives no finite answer, `given` is False, a code is -1 and a number NaN.
    """

    values: Labels
    probabilities: NDArray[np.float64] | None

    @property
    def given(self) -> NDArray[np.bool_]:
        """Whether there is an answer: (rows,)."""
        return has_label(self.values)

    def take(self, rows: NDArray[Any]) -> RobustPredictions:
        """Return the answers to some of the rows."""
        return RobustPredictions(self.values[rows], None if self.probabilities is None else self.probabilities[rows])


@dataclass(frozen=True, eq=False)
class CorruptionResult:
    """A corruption, and the model's answers at each of its strengths."""

    corruption: Corruption
    answers: tuple[RobustPredictions, ...]

    @property
    def stated(self) -> RobustPredictions:
        """The answers at the strength at which single numbers are reported."""
        return self.answers[self.corruption.strengths.index(self.corruption.stated)]


def answer(subject: Subject, inputs: NDArray[Any]) -> RobustPredictions:
    """Return the answers to encoded inputs: of rows without a finite one, or that the model refuses, none.

    Which rows are not finite is known after one pass; those that the model refuses are found by halves.
    """
    try:
        found = predict(subject.model.module, inputs, subject.schema, device=subject.device)
    except NotFiniteError as error:
        finite = np.setdiff1d(np.arange(len(inputs)), error.rows)
        parts = [answer(subject, inputs[finite])] if finite.size else []
        order = np.argsort(np.concatenate([finite, error.rows]))
        return _joined([*parts, _unanswered(subject, len(error.rows))]).take(order)
    except ModelFileError:
        if len(inputs) == 1:
            return _unanswered(subject, 1)
        return _joined([answer(subject, half) for half in np.array_split(inputs, 2)])
    return RobustPredictions(found.labels, found.class_probabilities)


def _unanswered(subject: Subject, count: int) -> RobustPredictions:
    nothing = subject.task.unanswered()
    return RobustPredictions(nothing.labels, nothing.class_probabilities).take(np.zeros(count, dtype=np.int64))


def _joined(parts: Sequence[RobustPredictions]) -> RobustPredictions:
    probabilities = [part.probabilities for part in parts if part.probabilities is not None]
    return RobustPredictions(
        np.concatenate([part.values for part in parts]), np.concatenate(probabilities) if probabilities else None
    )


@dataclass(frozen=True, eq=False)
class Sample:
    """The rows that are corrupted, and the answers to them as they are."""

    subject: Subject
    rows: NDArray[np.int64]
    before: RobustPredictions

    @property
    def of_numbers(self) -> bool:
        """Whether answers are numbers that are off by some distance, and no decisions."""
        return self.subject.task.numbers(self.judged(self.before).predictions) is not None

    @functools.cached_property
    def has_labels(self) -> bool:
        """Whether some rows have a label; else answers are held against those to the rows as they are."""
        return bool(self.subject.has_labels[self.rows].any())

    @functools.cached_property
    def held(self) -> NDArray[np.int64]:
        """The places, in `rows`, of the rows whose errors are known: those with a label, or all where none has one."""
        known = self.subject.has_labels[self.rows]
        return np.flatnonzero(known if self.has_labels else np.ones(len(self.rows), dtype=bool))

    @property
    def labels(self) -> Labels:
        """What answers are held against, of the rows that are `held`: their labels, or the answers before."""
        given = self.subject.labels[self.rows] if self.has_labels else self.before.values
        held: Labels = given[self.held]
        return held

    def errors(self, answers: RobustPredictions) -> statistics.Errors:
        """Return what answers to the `held` rows cost: whether they are wrong, or in a regression how far off."""
        return self.subject.task.errors(self.judged(answers))

    def judged(self, answers: RobustPredictions) -> Rows:
        """Return the `held` rows with these answers for predictions."""
        part = answers.take(self.held)
        return Rows(self.labels, Predictions(part.values, part.probabilities))

    def breakdowns(self) -> Iterator[Breakdown]:
        """Yield all rows, then the groups of each sensitive column."""
        yield Breakdown()
        for column in self.subject.sensitive:
            names, codes = self.subject.group_codes((column,))
            yield Breakdown((column,), names, codes[self.rows].astype(np.int64), self.subject.min_group)

    def held_part(self, breakdown: Breakdown) -> Breakdown:
        """Return a breakdown of the rows as one of the `held` ones."""
        codes = None if breakdown.codes is None else breakdown.codes[self.held]
        return dataclasses.replace(breakdown, codes=codes)

    def groups(self) -> dict[Group, NDArray[np.intp]]:
        """Return the places, among the `held` rows, of each group that may be shown."""
        return {
            Group(by=breakdown.columns, key=key): rows
            for breakdown in map(self.held_part, self.breakdowns())
            if breakdown.columns
            for key, rows in shown_rows(breakdown, len(self.held)).items()
        }

    def notes(self, tried: Sequence[CorruptionResult]) -> list[str]:
        """Say which rows are corrupted, and at which strengths the model gives some of them no finite answer."""
        subject = self.subject
        notes: list[str] = []
        if len(self.rows) < len(subject.labels):
            notes.append(
                Message(
                    "A random sample of {rows_count:,} of {labels_count:,} records was corrupted (seed {seed}).",
                    rows_count=len(self.rows),
                    labels_count=len(subject.labels),
                    seed=subject.seed,
                )
            )
        if subject.top_k is not None:
            notes.append(
                Message("Decisions here are those from the model's own threshold on, not the rows of highest scores.")
            )
        left = (
            Message("they are left out of the mean")
            if self.of_numbers
            else Message("they count as changed and as wrong")
        )
        for one in tried:
            for strength, answers in zip(one.corruption.strengths, one.answers, strict=True):
                if count := int((~answers.given).sum()):
                    notes.append(
                        Message(
                            "{title}, strength {said}: to {count:,} rows the model gives no finite answer; {left}.",
                            title=one.corruption.title,
                            said=one.corruption.said(strength),
                            count=count,
                            left=left,
                        )
                    )
        return notes

    def compared(self, name: str, errors: statistics.Errors, values: Labels, definition: str) -> Iterator[Measurement]:
        """Yield what is lost and what changes, overall and by group, from the errors and the answers afterwards."""
        level, before = self.subject.conf_level, self.errors(self.before)
        for groups in self.breakdowns():
            if self.has_labels:
                yield statistics.added_error_measurement(
                    name, before, errors, self.held_part(groups), level=level, definition=definition
                )
            if not self.of_numbers:
                yield statistics.flip_rate_measurement(
                    name, self.before.values, values, groups, level=level, definition=definition
                )

    def measured(self, tried: Sequence[CorruptionResult]) -> Iterator[Measurement]:
        """Yield the numbers of every corruption at its stated strength."""
        for one in tried:
            yield from self.compared(
                one.corruption.name, self.errors(one.stated), one.stated.values, _source(one.corruption)
            )
            if one.corruption.name in NOISES and one.stated.given.any() and self.has_labels:
                yield from self._calibration(one)
        if tried:
            lost = ~np.all([one.stated.given for one in tried], axis=0)
            yield measure(
                Quantity(
                    "robustness.no_answer_rate",
                    "rate",
                    "lower",
                    Message("rows without a finite answer under at least one corruption at its stated strength"),
                ),
                lambda chosen, _, levels: statistics.share(chosen, levels),
                lost,
                lost,
                Breakdown(),
                self.subject.conf_level,
            )

    def _calibration(self, noise: CorruptionResult) -> Iterator[Measurement]:
        given = np.flatnonzero(noise.stated.given[self.held])
        calibrated = self.subject.task.calibrated(self.judged(noise.stated).take(given))
        if calibrated is None:
            return
        definition = Message(
            "Guo et al. 2017 (arXiv:1706.04599): {bins} bins; {what}", bins=BIN_COUNT, what=_source(noise.corruption)
        )
        quantity = Quantity("robustness.calibration_error_under_noise", "rate_difference", "lower", definition)
        yield measure(quantity, scores.calibration_error, *calibrated, Breakdown(), self.subject.conf_level)

    def table(self, tried: Sequence[CorruptionResult]) -> Table:
        """Return a row a corruption: what it changes and what it costs at its stated strength, and the worst group."""
        level, before, groups = self.subject.conf_level, self.errors(self.before), self.groups()
        lines: list[tuple[str | float | None, ...]] = []
        for one in tried:
            errors = self.errors(one.stated)
            added = statistics.added_error(before, errors, (level,))
            line: list[str | float | None] = [one.corruption.title, one.corruption.said()]
            if not self.of_numbers and self.has_labels:
                line.append(statistics.flip_rate(self.before.values, one.stated.values, ()).value)
            line += [added.value, _limits(added, self._unit)]
            if groups:
                group, there = statistics.worst_group(before, errors, groups, level=level)
                line += [f"{group.text} ({shown(group.by)})", there.value]
            lines.append(tuple(line))
        columns = [Column(name=Message("Corruption")), Column(name=Message("Strength"))]
        if not self.of_numbers and self.has_labels:
            columns.append(Column(name=Message("Decisions changed"), unit="rate"))
        columns += [
            Column(name=self._added, unit=self._unit),
            Column(name=Message("{value:g} % CI", value=level * 100)),
        ]
        if groups:
            columns += [
                Column(name=Message("Worst group")),
                Column(name=Message("{added}, worst group", added=self._added), unit=self._unit),
            ]
        as_they_are = float(np.nanmean(before))
        usual = (
            Message("No row has a label: answers are compared with those to the rows as they are.")
            if not self.has_labels
            else Message(
                "Mean absolute error on the {before_count:,} original records: {value}.",
                before_count=len(before),
                value=number(as_they_are, "number"),
            )
            if self.of_numbers
            else Message(
                "Accuracy on the {before_count:,} original records: {value}.",
                before_count=len(before),
                value=number(1 - as_they_are, "rate"),
            )
        )
        return Table(
            title=Message("Effect of corrupted inputs"),
            note=Message(
                "{usual} Each corruption at its stated strength; the curves show other strengths.", usual=usual
            )
            + (Message(" The worst group is the one whose loss has the highest lower bound.") if groups else ""),
            columns=tuple(columns),
            rows=tuple(lines),
        )

    @property
    def _added(self) -> str:
        if not self.has_labels:
            return Message("Prediction moved by") if self.of_numbers else Message("Decisions changed")
        return Message("Error added") if self.of_numbers else Message("Accuracy lost")

    @property
    def _unit(self) -> Unit:
        return "number" if self.of_numbers else "rate_difference"

    def curves(self, tried: Sequence[CorruptionResult]) -> list[Exhibit]:
        """Return a curve a corruption: what is lost by its strength, of all rows and of the worst group."""
        level, groups, before = self.subject.conf_level, self.groups(), self.errors(self.before)
        curves: list[Exhibit] = []
        for one in tried:
            strengths, after = one.corruption.strengths, [self.errors(answers) for answers in one.answers]
            lines = [statistics.added_line(Message("all rows"), strengths, before, after, level=level)]
            if groups:
                lines.append(
                    statistics.worst_group_line(Message("worst group"), strengths, before, after, groups, level=level)
                )
            curves.append(
                Curve(
                    title=one.corruption.title,
                    note=one.corruption.means,
                    x_label=one.corruption.axis,
                    y_label=self._added,
                    x_unit=one.corruption.unit,
                    y_unit=self._unit,
                    lines=tuple(lines),
                )
            )
        return curves

    def by_group(self, tried: Sequence[CorruptionResult]) -> list[Exhibit]:
        """Return a table a sensitive column: what every corruption costs each of its groups."""
        if self.of_numbers and not self.has_labels:
            return []
        what = "error_increase" if self.of_numbers else "accuracy_loss" if self.has_labels else "flip_rate"
        return [
            SliceTable(
                title=Message("{added} by {column}", added=self._added, column=column),
                measurements=tuple(f"robustness.{one.corruption.name}_{what}" for one in tried),
                by=(column,),
            )
            for column in self.subject.sensitive
            if tried
        ]


def _limits(estimate: Estimate, unit: Unit) -> str | None:
    bound = estimate.bounds[0] if estimate.bounds else None
    if bound is None:
        return None
    low, high = (f"{end * 100:z.1f}" if unit == "rate_difference" else number(end, unit) for end in bound[:2])
    return Message("{low} to {high}", low=low, high=high)


def _source(corruption: Corruption) -> str:
    return Message(
        "{corruption} of strength {strength} ({axis}) on a seeded sample, paired by row",
        corruption=corruption.title,
        strength=corruption.said(),
        axis=corruption.axis,
    )
