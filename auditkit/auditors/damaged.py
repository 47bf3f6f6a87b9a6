"""A sample of rows before and after damages: the model's answers, and what they cost, as measurements and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import ModelFileError
from auditkit.evidence.counts import group_name
from auditkit.evidence.measurement import Column, Curve, Exhibit, Measurement, SliceTable, Table
from auditkit.evidence.sentences import number
from auditkit.metrics import robustness, scores
from auditkit.metrics.estimates import Breakdown, Estimate, measure, shown_rows
from auditkit.perturbation.damage import Damage
from auditkit.subject.predict import predict
from auditkit.subject.subject import Subject

NO_ANSWER = -1
NOISES = ("numeric_noise", "pixel_noise")


@dataclass(frozen=True, eq=False)
class Answers:
    """What the model decides, int64, (rows,), -1 where it gives no finite answer, and its probabilities, if any."""

    codes: NDArray[np.int64]
    probabilities: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class Tried:
    """A damage, and the model's answers at each of its strengths."""

    damage: Damage
    answers: tuple[Answers, ...]

    @property
    def stated(self) -> Answers:
        """The answers at the strength at which single numbers are reported."""
        return self.answers[self.damage.strengths.index(self.damage.stated)]


def answer(subject: Subject, inputs: NDArray[Any]) -> Answers:
    """Return the answers to encoded inputs; where some are not finite, or refused, the rest is found by halves."""
    schema = subject.schema
    try:
        found = predict(subject.model.module, inputs, schema, device=subject.device)
    except ModelFileError:
        if len(inputs) == 1:
            probabilities = None if schema.output == "score" else np.full((1, len(schema.classes)), np.nan)
            return Answers(np.full(1, NO_ANSWER), probabilities)
        halves = [answer(subject, half) for half in np.array_split(inputs, 2)]
        parts = [half.probabilities for half in halves if half.probabilities is not None]
        return Answers(np.concatenate([half.codes for half in halves]), np.concatenate(parts) if parts else None)
    return Answers(found.labels, found.class_probabilities)


@dataclass(frozen=True, eq=False)
class Sample:
    """The rows that are damaged, and the answers to them as they are."""

    subject: Subject
    rows: NDArray[np.int64]
    before: Answers

    @property
    def labels(self) -> NDArray[np.int64]:
        return self.subject.labels[self.rows]

    def right(self, answers: Answers) -> NDArray[np.bool_]:
        return np.asarray(answers.codes == self.labels)

    def breakdowns(self) -> Iterator[Breakdown]:
        yield Breakdown()
        for column in self.subject.sensitive:
            names, codes = self.subject.group_codes((column,))
            yield Breakdown((column,), names, codes[self.rows].astype(np.int64), self.subject.min_group)

    def groups(self) -> dict[str, NDArray[np.intp]]:
        """Return the rows of each group that may be shown, by its name and column."""
        return {
            f"{group_name(key)} ({breakdown.columns[0]})": rows
            for breakdown in self.breakdowns()
            if breakdown.columns
            for key, rows in shown_rows(breakdown, len(self.rows)).items()
        }

    def notes(self) -> list[str]:
        subject = self.subject
        notes = []
        if len(self.rows) < len(subject.labels):
            notes.append(
                f"A seeded sample of {len(self.rows):,} of {len(subject.labels):,} rows was damaged, drawn with seed "
                f"{subject.seed}."
            )
        if subject.top_k is not None:
            notes.append("Decisions here are those from the model's own threshold on, not the rows of highest scores.")
        return notes

    def pair(
        self, name: str, right: NDArray[np.bool_], codes: NDArray[np.int64], breakdown: Breakdown, source: str
    ) -> list[Measurement]:
        """Return what is lost and what changes, from whether answers are right afterwards, and what they are."""
        level = self.subject.conf_level
        before = self.right(self.before)
        return [
            robustness.accuracy_loss_measurement(name, before, right, breakdown, level=level, source=source),
            robustness.flip_rate_measurement(name, self.before.codes, codes, breakdown, level=level, source=source),
        ]

    def measured(self, tried: Sequence[Tried]) -> list[Measurement]:
        measurements = []
        for one in tried:
            right = self.right(one.stated)
            for breakdown in self.breakdowns():
                measurements += self.pair(one.damage.name, right, one.stated.codes, breakdown, _source(one.damage))
            if one.damage.name in NOISES and one.stated.probabilities is not None:
                measurements += self.calibration(one)
        lost = np.any([one.stated.codes == NO_ANSWER for one in tried], axis=0)
        if tried:
            measurements.append(
                measure(
                    "robustness.no_answer_rate",
                    lambda chosen, _, levels: robustness.share(chosen, levels),
                    lost,
                    lost,
                    Breakdown(),
                    self.subject.conf_level,
                    unit="rate",
                    better="lower",
                    source="rows without a finite answer under at least one damage at its stated strength",
                )
            )
        return measurements

    def calibration(self, noise: Tried) -> list[Measurement]:
        answered = noise.stated.codes != NO_ANSWER
        probabilities = noise.stated.probabilities
        if probabilities is None or not answered.any():
            return []
        return [
            measure(
                "robustness.calibration_error_under_noise",
                scores.calibration_error,
                self.labels[answered],
                probabilities[answered],
                Breakdown(),
                self.subject.conf_level,
                unit="rate_difference",
                better="lower",
                source=f"Guo et al. 2017 (arXiv:1706.04599): 15 bins; {_source(noise.damage)}",
            )
        ]

    def table(self, tried: Sequence[Tried]) -> Table:
        level = self.subject.conf_level
        before, groups = self.right(self.before), self.groups()
        lines: list[tuple[str | float | None, ...]] = []
        for one in tried:
            right = self.right(one.stated)
            lost = robustness.accuracy_loss(before, right, (level,))
            changed = robustness.flip_rate(self.before.codes, one.stated.codes, ())
            cells = (one.damage.title, one.damage.said(), changed.value, lost.value, _limits(lost))
            worst: tuple[str | None, float | None] = None, None
            if groups:
                line, named = robustness.worst_group_line("", (0.0,), before, [right], groups, level=level)
                worst = named[0], line.y[1]
            lines.append((*cells, *worst))
        columns = (
            Column(name="What is damaged"),
            Column(name="Strength"),
            Column(name="Decisions changed", unit="rate"),
            Column(name="Accuracy lost", unit="rate_difference"),
            Column(name=f"{level * 100:g} % CI"),
            Column(name="Worst group"),
            Column(name="Accuracy lost there", unit="rate_difference"),
        )
        kept = columns if groups else columns[:5]
        return Table(
            title="What damaged inputs cost",
            note=(
                f"Accuracy on the {len(before):,} rows as they are is {number(float(before.mean()), 'rate')}. Each "
                "damage at its stated strength; the curves show the others."
                + (" The worst group is the one whose loss is surely the largest." if groups else "")
            ),
            columns=kept,
            rows=tuple(line[: len(kept)] for line in lines),
        )

    def curves(self, tried: Sequence[Tried]) -> list[Exhibit]:
        level, groups, before = self.subject.conf_level, self.groups(), self.right(self.before)
        curves: list[Exhibit] = []
        for one in tried:
            after = [self.right(answers) for answers in one.answers]
            lines = [robustness.loss_line("all rows", one.damage.strengths, before, after, level=level)]
            if groups:
                worst, _ = robustness.worst_group_line(
                    "worst group", one.damage.strengths, before, after, groups, level=level
                )
                lines.append(worst)
            curves.append(
                Curve(
                    title=one.damage.title,
                    note=one.damage.means,
                    x_label=one.damage.axis,
                    y_label="accuracy lost",
                    x_unit=one.damage.unit,
                    y_unit="rate_difference",
                    lines=tuple(lines),
                )
            )
        return curves

    def by_group(self, tried: Sequence[Tried]) -> list[Exhibit]:
        return [
            SliceTable(
                title=f"Accuracy lost by {column}",
                measurements=tuple(f"robustness.{one.damage.name}_accuracy_loss" for one in tried),
                by=(column,),
            )
            for column in self.subject.sensitive
            if tried
        ]


def _limits(estimate: Estimate) -> str | None:
    bound = estimate.bounds[0]
    return None if bound is None else f"{bound[0] * 100:z.1f} to {bound[1] * 100:z.1f}"


def _source(damage: Damage) -> str:
    return f"{damage.title.lower()} of strength {damage.said()} ({damage.axis}) on a seeded sample, paired by row"


def unanswered_notes(tried: Sequence[Tried]) -> list[str]:
    return [
        f"{one.damage.title}, strength {one.damage.said(strength)}: to {count:,} rows the model gives no "
        "finite answer; they count as changed and as wrong."
        for one in tried
        for strength, answers in zip(one.damage.strengths, one.answers, strict=True)
        if (count := int((answers.codes == NO_ANSWER).sum()))
    ]
