"""How decisions hold when inputs get worse: damages by strength, an attack along the gradient, and odd inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.auditors.robustness import statistics
from auditkit.auditors.robustness.corruption import Damage
from auditkit.auditors.robustness.evaluation import Sample, Tried, answer
from auditkit.auditors.robustness.images import IMAGE_DAMAGES, image_damages
from auditkit.auditors.robustness.out_of_distribution import odd_inputs
from auditkit.auditors.robustness.tables import TABLE_DAMAGES, numbers_of, table_damages
from auditkit.auditors.robustness.texts import TEXT_DAMAGES, text_damages
from auditkit.engine.sampling import sample_rows
from auditkit.engine.subject import Subject
from auditkit.errors import InputError, NotRun
from auditkit.evidence.measurement import (
    Curve,
    Evidence,
    Measurement,
    SliceChart,
)
from auditkit.evidence.messages import number

DAMAGES = (*TABLE_DAMAGES, *IMAGE_DAMAGES, *TEXT_DAMAGES)
IMAGE_ROWS = 500
"""At most so many images are damaged: each costs some hundred times what a row of a table does."""

SOURCE_ROWS = 100_000
"""Without training rows, the spread and the range of columns are those of at most so many audited rows."""

ATTACK_STRENGTHS = {"table": (0.05, 0.1, 0.25, 0.5, 1.0), "image": (0.01, 0.03, 0.1)}
ATTACK_STATED = {"table": 0.1, "image": 0.03}
ATTACK_AXIS = {"table": "largest change, in standard deviations", "image": "largest change, share of the range"}
ATTACK_SOURCE = "PGD of ten steps in the L-infinity norm (Madry et al. 2018, arXiv:1706.06083)"


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """How far accuracy and decisions hold when a seeded sample of `rows` rows is damaged or attacked, by strength.

    Of images at most 500 are damaged.
    """

    rows: int = 2000

    requires: ClassVar = ("model", "labels")
    multilabel: ClassVar = True
    measures: ClassVar = (
        *(f"robustness.{name}_{what}" for name in (*DAMAGES, "adversarial") for what in ("accuracy_loss", "flip_rate")),
        *(f"robustness.{name}_error_increase" for name in DAMAGES),
        "robustness.no_answer_rate",
        "robustness.odd_input_confidence",
        "robustness.calibration_error_under_noise",
    )

    def __post_init__(self) -> None:
        """Refuse a sample that means nothing."""
        if self.rows < 2:
            raise InputError(f"rows must be at least 2, got {self.rows}.")

    def audit(self, subject: Subject) -> Evidence:
        """Damage the sampled rows in every way that fits what they are, and compare the answers."""
        rows = sample_rows(subject, min(self.rows, IMAGE_ROWS) if subject.schema.kind == "image" else self.rows)
        inputs = subject.encode(rows)
        source = subject.training_inputs
        if source is None:
            source = subject.encode(sample_rows(subject, SOURCE_ROWS))
        before = answer(subject, inputs)
        tried = []
        damages = _damages(subject, rows, inputs, source)
        for done, damage in enumerate(damages):
            subject.progress(done / (len(damages) + 1), damage.title.lower())
            tried.append(Tried(damage, tuple(answer(subject, damage.at(strength)) for strength in damage.strengths)))
        subject.progress(len(damages) / (len(damages) + 1), "attack along the gradient")
        part = Sample(subject, rows, before)
        attacked = _attacked(part, inputs, source)
        odd = _odd(part, inputs, source)
        notes = [*part.notes(tried), *attacked.notes, *odd.notes]
        return Evidence(
            measurements=[*part.measured(tried), *attacked.measurements, *odd.measurements],
            exhibits=[part.table(tried), *part.curves(tried), *attacked.exhibits, *odd.exhibits, *part.by_group(tried)],
            notes=notes,
        )


def _damages(subject: Subject, rows: NDArray[np.int64], inputs: NDArray[Any], source: NDArray[Any]) -> list[Damage]:
    schema = subject.schema
    if schema.kind == "image":
        return image_damages(inputs, source, seed=subject.seed)
    if schema.kind == "table":
        return table_damages(schema, inputs, source, seed=subject.seed)
    name = schema.features[0].name
    column = subject.data.frame[name].iloc[rows]
    texts = [None if missing else str(text) for text, missing in zip(column, column.isna(), strict=True)]
    return text_damages(
        texts, lambda words: schema.encode(pd.DataFrame({name: np.array(words, dtype=object)})), seed=subject.seed
    )


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
                reason=str(why),
            )
            for what, unit in (("accuracy_loss", "rate_difference"), ("flip_rate", "rate"))
        ]
        return Evidence(measurements=measurements, notes=[f"No attack along the gradient was made: {why}."])


def _attack(part: Sample, inputs: NDArray[Any], source: NDArray[Any]) -> Evidence:
    from auditkit.auditors.robustness.adversarial import attack, margin_function

    subject = part.subject
    schema, level, kind = subject.schema, subject.conf_level, subject.schema.kind
    unit = np.zeros(inputs.shape[1:], dtype=np.float32)
    bounds: tuple[float, float] | None = None
    if part.of_numbers:
        raise NotRun("a regression makes no decision that an attack could turn")
    if kind == "text":
        raise NotRun("words are not numbers, so that no gradient says how to change them a little")
    if kind == "image":
        bounds = float(source.min()), float(source.max())
        unit[:] = bounds[1] - bounds[0]
    else:
        numbers = numbers_of(schema, source)
        unit[numbers.cells] = numbers.deviation
    if not unit.any():
        raise NotRun("no numeric column varies, so that there is nothing to change a little")
    strengths, stated = ATTACK_STRENGTHS[kind], ATTACK_STATED[kind]
    module = subject.model.module
    training = module.training
    module.to(subject.device).eval()
    try:
        found = attack(
            margin_function(module, subject.task),
            inputs,
            part.before.values.clip(0).astype(np.int64),
            unit=unit,
            strengths=strengths,
            bounds=bounds,
            seed=subject.seed,
            device=subject.device,
        )
    except (RuntimeError, NotImplementedError) as error:
        raise NotRun(f"the model gives no gradient: {str(error).strip().splitlines()[0]}") from error
    finally:
        module.to("cpu").train(training)
    at = strengths.index(stated)
    turned = found.ten_steps[at]
    after = part.before.values.copy()
    after[turned] = -1
    origin = f"{ATTACK_SOURCE}; {ATTACK_AXIS[kind]}: {stated:g}; a lower bound on what an attacker can do"
    measurements = part.compared("adversarial", part.errors(part.before) | turned, after, origin)
    curve = Curve(
        title="Attack along the gradient",
        note=(
            "An attacker who knows the model changes every number, or every pixel, by at most so much, to turn the "
            "decision. One step is FGSM, ten steps are PGD. A stronger attack may turn more."
        ),
        x_label=ATTACK_AXIS[kind],
        y_label="decisions turned",
        x_unit="rate" if kind == "image" else "number",
        y_unit="rate",
        lines=(
            statistics.share_line("ten steps (PGD)", strengths, list(found.ten_steps), level=level),
            statistics.share_line("one step (FGSM)", strengths, list(found.one_step), level=level),
        ),
    )
    notes = []
    if found.flat_count:
        notes.append(
            f"Of {len(inputs):,} attacked rows {found.flat_count:,} have a gradient of zero: the attack finds no "
            "direction there, which does not make them safe."
        )
    return Evidence(measurements=measurements, exhibits=[curve], notes=notes)


def _odd(part: Sample, inputs: NDArray[Any], source: NDArray[Any]) -> Evidence:
    """Measure how sure the model is of inputs that mean nothing."""
    subject, before = part.subject, part.before
    if part.of_numbers:
        return Evidence()
    if before.probabilities is None:
        return Evidence(notes=["The scores are no probabilities: confidence on odd inputs is left out."])
    confidences, notes = {}, []
    for kind, odd in odd_inputs(subject.schema, inputs, source, seed=subject.seed).items():
        answers = answer(subject, odd)
        assert answers.probabilities is not None
        answered = answers.given
        if answered.any():
            confidences[kind] = subject.task.sureness(answers.probabilities[answered])
        if not answered.all():
            notes.append(f"Odd inputs, {kind}: {int((~answered).sum()):,} of {len(odd):,} get no finite answer.")
    usual = float(np.nanmean(subject.task.sureness(before.probabilities)))
    measurement = statistics.odd_input_confidence(
        confidences, level=subject.conf_level, definition="mean probability of the likeliest class (Hein et al. 2019)"
    )
    chart = SliceChart(
        title="How sure the model is of inputs that mean nothing",
        note=(
            f"The mean probability of the likeliest class; of the audited rows as they are it is "
            f"{number(usual, 'rate')}. A model that is as sure of noise as of real inputs cannot warn anyone."
        ),
        measurement=measurement.id,
        by=("input",),
    )
    return Evidence(measurements=[measurement], exhibits=[chart] if measurement.slices else [], notes=notes)
