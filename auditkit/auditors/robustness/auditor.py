"""How decisions hold when inputs get worse: corruptions, an attack along the gradient, out-of-distribution inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.robustness import statistics
from auditkit.auditors.robustness.contexts import CONTEXT_CHANGES, check_synonyms, read_synonyms
from auditkit.auditors.robustness.evaluation import CorruptionResult, Sample, answer
from auditkit.engine.label_coverage import beside_coverage
from auditkit.engine.sampling import sample_rows
from auditkit.engine.subject import Subject
from auditkit.engine.work import CORRUPTIONS, GRADIENT
from auditkit.errors import InputError, NotRun
from auditkit.evidence.measurement import (
    Curve,
    Evidence,
    Measurement,
    SliceChart,
)
from auditkit.evidence.messages import Message, number, reason_of
from auditkit.modalities.base import Reach, every_corruption
from auditkit.models.capabilities import Differentiable, LanguageModel

if TYPE_CHECKING:
    from auditkit.auditors.robustness.adversarial import Attack

DEAR_ROWS = 500
"""At most so many rows are corrupted where each costs some hundred times what a row of a table does."""

FEW_ROWS = 20
"""So many rows tell in how many ways rows are corrupted."""

ODD_PASSES = 20
"""An input that means nothing costs one pass, and may take a twentieth of the budget."""

SOURCE_ROWS = 100_000
"""Without training rows, the spread and the range of columns are those of at most so many audited rows."""

ATTACK_SOURCE = Message("PGD of ten steps in the L-infinity norm (Madry et al. 2018, arXiv:1706.06083)")


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """How far accuracy and decisions hold when a seeded sample of `rows` rows is corrupted or attacked, by strength.

    Of images at most 500 are corrupted. Of a language model the beginnings of texts are: `synonyms` are words with a
    synonym each (or a TOML file of them), `prefixes` stand before a text, and with `answers` it is measured which of
    these the model prefers behind the whole text.
    """

    rows: int = 2000
    synonyms: Mapping[str, str] = field(default_factory=dict)
    prefixes: tuple[str, ...] = ("Here is a text:",)
    answers: tuple[str, ...] = ()

    requires: ClassVar = ("predictions or language", "model")
    read_from_file: ClassVar = {"synonyms": read_synonyms}
    multilabel: ClassVar = True
    measures: ClassVar = (
        *(
            f"robustness.{name}_{what}"
            for name in (*every_corruption(), "adversarial")
            for what in ("accuracy_loss", "flip_rate")
        ),
        *(f"robustness.{name}_error_increase" for name in every_corruption()),
        *(f"robustness.{name}_bits_per_byte_increase" for name in CONTEXT_CHANGES),
        *(f"robustness.{name}_flip_rate" for name in CONTEXT_CHANGES if name not in every_corruption()),
        "robustness.no_answer_rate",
        "robustness.odd_input_confidence",
        "robustness.calibration_error_under_noise",
    )

    def __post_init__(self) -> None:
        """Refuse a sample that means nothing."""
        if self.rows < 2:
            raise InputError(f"rows must be at least 2, got {self.rows}.")
        check_synonyms(self.synonyms)
        if len(self.answers) == 1 or not all(answer.strip() for answer in self.answers):
            raise InputError(f"answers must be two texts or more, got {list(self.answers)!r}; leave it out for none.")

    def passes(self, subject: Subject) -> float:
        """Return how many forward passes of a row it makes about, by the rows that `audit` takes.

        Raises:
            NotRun: the budget does not pay for ten rows.
        """
        if subject.audited.capability(LanguageModel) is not None:
            from auditkit.auditors.robustness.language import passes_of_text

            each = passes_of_text(self)
            return each * subject.work.rows(min(self.rows, len(subject.labels)), each, CORRUPTIONS)
        each = passes_of_row(subject)
        return each * subject.work.rows(self._wanted(subject), each, CORRUPTIONS)

    def _wanted(self, subject: Subject) -> int:
        return min(self.rows, DEAR_ROWS if subject.modality.dear else self.rows, len(subject.labels))

    def audit(self, subject: Subject) -> Evidence:
        """Corruption the sampled rows in every way that fits what they are, and compare the answers."""
        if subject.audited.capability(LanguageModel) is not None:
            from auditkit.auditors.robustness.language import language_evidence

            return language_evidence(subject, self)
        modality = subject.modality
        wanted = self._wanted(subject)
        rows = sample_rows(subject, subject.work.rows(wanted, passes_of_row(subject), CORRUPTIONS))
        inputs = subject.encode(rows)
        source = subject.training_inputs
        if source is None:
            source = subject.encode(sample_rows(subject, SOURCE_ROWS))
        before = answer(subject, inputs)
        tried = []
        corruptions = modality.corruptions(subject.data.frame.iloc[rows], inputs, source, seed=subject.seed)
        for done, corruption in enumerate(corruptions):
            subject.progress(done / (len(corruptions) + 1), corruption.title.lower())
            tried.append(
                CorruptionResult(
                    corruption, tuple(answer(subject, corruption.at(strength)) for strength in corruption.strengths)
                )
            )
        subject.progress(len(corruptions) / (len(corruptions) + 1), Message("attack along the gradient"))
        part = Sample(subject, rows, before)
        attacked = _attacked(part, inputs, source)
        odd = _odd(part, inputs, source)
        notes = [*part.notes(tried), *subject.work.limited(len(rows), wanted), *attacked.notes, *odd.notes]
        evidence = Evidence(
            measurements=[*part.measured(tried), *attacked.measurements, *odd.measurements],
            exhibits=[part.table(tried), *part.curves(tried), *attacked.exhibits, *odd.exhibits, *part.by_group(tried)],
            notes=notes,
        )
        return beside_coverage(subject, evidence)


def passes_of_row(subject: Subject) -> int:
    """Return how often a row goes through the model: as it is, corrupted at every strength, and attacked, at most."""
    few = sample_rows(subject, FEW_ROWS)
    inputs = subject.encode(few)
    corruptions = subject.modality.corruptions(subject.data.frame.iloc[few], inputs, inputs, seed=subject.seed)
    passes = 1 + sum(len(corruption.strengths) for corruption in corruptions)
    if subject.audited.capability(Differentiable) is None or subject.task.numbers(subject.predictions) is not None:
        return passes
    try:
        strengths = subject.modality.reach(inputs).strengths
    except NotRun:
        return passes
    from auditkit.auditors.robustness.adversarial import STEPS

    return passes + GRADIENT + len(strengths) * (1 + GRADIENT * (STEPS + 1))


def _attacked(part: Sample, inputs: NDArray[Any], source: NDArray[Any]) -> Evidence:
    """Attack along the gradient, where there is one; else say why not."""
    try:
        return _attack(part, inputs, source)
    except NotRun as why:
        measurements = [
            Measurement(
                id=f"robustness.adversarial_{what}",
                unit=unit,
                better="lower",
                count=0,
                definition=ATTACK_SOURCE,
                reason=reason_of(why),
            )
            for what, unit in (("accuracy_loss", "rate_difference"), ("flip_rate", "rate"))
        ]
        return Evidence(
            measurements=measurements,
            notes=[Message("No attack along the gradient was made: {why}.", why=reason_of(why))],
        )


def _attack(part: Sample, inputs: NDArray[Any], source: NDArray[Any]) -> Evidence:
    level = part.subject.conf_level
    if part.of_numbers:
        raise NotRun(Message("a regression makes no decision that an attack could turn"))
    reach = part.subject.modality.reach(source)
    found = _follow_gradient(part, inputs, reach)
    at = reach.strengths.index(reach.stated)
    turned = found.ten_steps[at]
    after = part.before.values.copy()
    after[turned] = -1
    origin = Message(
        "{attack}; {axis}: {strength:g}; a lower bound on what an attacker can do",
        attack=ATTACK_SOURCE,
        axis=reach.axis,
        strength=reach.stated,
    )
    measurements = part.compared("adversarial", part.errors(part.before) | turned[part.held], after, origin)
    curve = Curve(
        title=Message("Attack along the gradient"),
        note=(
            Message(
                "An attacker who knows the model changes every number, or every pixel, by at most so much, "
                "to turn the decision. One step is FGSM, ten steps are PGD. A stronger attack may turn more."
            )
        ),
        x_label=reach.axis,
        y_label=Message("decisions turned"),
        x_unit=reach.axis_unit,
        y_unit="rate",
        lines=(
            statistics.share_line(Message("ten steps (PGD)"), reach.strengths, list(found.ten_steps), level=level),
            statistics.share_line(Message("one step (FGSM)"), reach.strengths, list(found.one_step), level=level),
        ),
    )
    notes = []
    if found.flat_count:
        notes.append(
            Message(
                "Of {inputs_count:,} attacked rows {flat_count:,} have a gradient of zero: the attack finds "
                "no direction there, which does not make them safe.",
                inputs_count=len(inputs),
                flat_count=found.flat_count,
            )
        )
    return Evidence(measurements=measurements, exhibits=[curve], notes=notes)


def _follow_gradient(part: Sample, inputs: NDArray[Any], reach: Reach) -> Attack:
    """Attack the rows on the device of the audit; afterwards the model is in its mode again, and on the CPU.

    Raises:
        NotRun: the model gives no gradient.
    """
    from auditkit.auditors.robustness.adversarial import attack, margin_function

    subject = part.subject
    module = subject.model.module
    training = module.training
    module.to(subject.device).eval()
    try:
        return attack(
            margin_function(module, subject.task),
            inputs,
            part.before.values.clip(0).astype(np.int64),
            unit=reach.unit,
            strengths=reach.strengths,
            bounds=reach.bounds,
            seed=subject.seed,
            device=subject.device,
        )
    except (RuntimeError, NotImplementedError) as error:
        raise NotRun(
            Message("the model gives no gradient: {value}", value=str(error).strip().splitlines()[0])
        ) from error
    finally:
        module.to("cpu").train(training)


def _odd(part: Sample, inputs: NDArray[Any], source: NDArray[Any]) -> Evidence:
    """Measure how sure the model is of inputs that mean nothing."""
    subject, before = part.subject, part.before
    if part.of_numbers:
        return Evidence()
    if before.probabilities is None:
        return Evidence(
            notes=[Message("The scores are no probabilities: confidence in out-of-distribution inputs is left out.")]
        )
    confidences, notes = {}, []
    for kind, odd in subject.modality.out_of_distribution(inputs, source, seed=subject.seed).items():
        answers = answer(subject, odd[: subject.work.rows(len(odd), ODD_PASSES, CORRUPTIONS)])
        assert answers.probabilities is not None
        answered = answers.given
        if answered.any():
            confidences[kind] = subject.task.sureness(answers.probabilities[answered])
        if not answered.all():
            notes.append(
                Message(
                    "Out-of-distribution inputs, {kind}: {count:,} of {odd_count:,} get no finite answer.",
                    kind=kind,
                    count=int((~answered).sum()),
                    odd_count=len(odd),
                )
            )
    usual = float(np.nanmean(subject.task.sureness(before.probabilities)))
    measurement = statistics.odd_input_confidence(
        confidences,
        level=subject.conf_level,
        definition=Message("mean probability of the likeliest class (Hein et al. 2019)"),
    )
    chart = SliceChart(
        title=Message("How sure the model is of inputs that mean nothing"),
        note=(
            Message(
                "The mean probability of the likeliest class; of the audited rows as they are it is {value}. "
                "A model that is as sure of noise as of real inputs cannot warn anyone.",
                value=number(usual, "rate"),
            )
        ),
        measurement=measurement.id,
        by=("input",),
    )
    return Evidence(measurements=[measurement], exhibits=[chart] if measurement.slices else [], notes=notes)
