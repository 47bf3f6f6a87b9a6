"""What the audited model gives away about its training rows: membership, with shadow models, and sensitive values."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.privacy import membership
from auditkit.auditors.privacy.attribute_inference import (
    ADVANTAGE,
    CONTROL,
    MEMORY,
    Confidence,
    attribute_inference,
)
from auditkit.auditors.privacy.membership_report import (
    AUC,
    EXPOSED,
    RATES,
    SHUFFLED,
    SPLIT,
    Attack,
    attack_scores,
    controls_table,
    split_control,
)
from auditkit.auditors.privacy.memorisation import COPIES, EXACT, EXCESS, copies_of_training_rows, sample_rows
from auditkit.engine.subject import Subject
from auditkit.engine.work import GRADIENT, SHADOWS
from auditkit.errors import NotRun
from auditkit.evidence.breakdowns import OF_AUDITORS
from auditkit.evidence.measurement import Evidence, Exhibit, Facts, Measurement, SliceChart
from auditkit.evidence.messages import Message, reason_of
from auditkit.models.capabilities import SelfFitting
from auditkit.models.predict import predict
from auditkit.progress import part_of
from auditkit.schema.schema import Labels, Schema
from auditkit.stats.counts import not_compared_note
from auditkit.stats.shadows import require_pairs
from auditkit.tasks.base import Task, task_for

if TYPE_CHECKING:
    import torch
    from torch import nn

    from auditkit.auditors.privacy.shadow_models import Recipe, Shadows
    from auditkit.models.model import Model
    from auditkit.tasks.objectives import Objective

GroupedRows = tuple[tuple[str, ...], tuple[tuple[str, ...], ...], NDArray[np.int64]]
"""Columns, the names of their groups, and every row's group."""

Mask = NDArray[np.bool_]

UNKNOWN_EPOCHS, REFITTED_PASSES = 30, 10
"""How many epochs are reckoned with where the card does not say, and how often a model that trains itself reads a row.
"""

FEWEST_ROWS = 100
"""The fewest rows of each side that an attack is made on."""


@dataclass(frozen=True, kw_only=True)
class Leakage:
    """Whether training rows can be told from audited ones (membership inference), and their sensitive values guessed.

    `shadows` models of the same architecture are trained on halves of all rows, fewer if the effort of the audit does
    not allow so many; 0 leaves only the LOSS attack, which underestimates. Where the request names samples of a
    generator that was trained on the same rows, copies of these are looked for among them.
    """

    shadows: int = 8

    requires: ClassVar = ("predictions", "model", "training", "labels")
    measures: ClassVar = (AUC, *RATES, EXPOSED, SPLIT, SHUFFLED, ADVANTAGE, CONTROL, MEMORY, EXACT, COPIES, EXCESS)

    def __post_init__(self) -> None:
        """Refuse an odd number of shadows."""
        if self.shadows:
            require_pairs(self.shadows)

    def check(self, subject: Subject) -> None:
        """Refuse samples that cannot be read as the audited rows are."""
        if subject.samples is not None:
            sample_rows(subject, subject.samples)

    def passes(self, subject: Subject) -> float:
        """Return how many forward passes of a row it makes about."""
        recipe, rows = recipe_of(subject.model), len(subject.labels)
        rows += 0 if subject.training is None else len(subject.training.frame)
        each = _passes(UNKNOWN_EPOCHS if recipe is None else recipe.epochs)
        return rows + min(self.shadows * each * rows, subject.work.passes(SHADOWS))

    def audit(self, subject: Subject) -> Evidence:
        """Attack the model by each method, over all rows, by class and by sensitive column."""
        training_inputs, training_labels = subject.training_inputs, subject.training_labels
        if training_inputs is None or training_labels is None:
            raise NotRun(Message("no training data"), remedy="--train-dataset FILE")
        inputs = np.concatenate([training_inputs, subject.inputs])
        labels = subject.task.learnt(np.concatenate([training_labels, subject.labels]))
        member = np.arange(len(labels)) < len(training_labels)
        once = membership.unique_rows(inputs, labels)
        if min(int((once & member).sum()), int((once & ~member).sum())) < FEWEST_ROWS:
            raise NotRun(
                Message(
                    "fewer than {fewest_rows} rows that occur once are left on a side, of {count:,} training and "
                    "{count_2:,} audited rows; the audited rows must not be the training rows",
                    fewest_rows=FEWEST_ROWS,
                    count=member.sum(),
                    count_2=(~member).sum(),
                )
            )
        objective = subject.task.objective()
        trained = predict(
            subject.model.module,
            training_inputs,
            subject.schema,
            device=subject.device,
        )
        said = np.concatenate([subject.task.answers(part) for part in (trained, subject.predictions)])
        shadows, recipe, reason = self._shadows(subject, inputs, labels, objective)
        subject.progress(0.9, "attacking")
        confidence = _confidence(subject.task, said, labels, unseen=once & ~member)
        target = confidence(said[once], labels[once])
        references = None if shadows is None else confidence(shadows.probabilities[:, once], labels[once])
        inside = None if shadows is None else shadows.inside[:, once]
        attack = Attack(member[once], attack_scores(target, member[once], references, inside), subject.conf_level)
        notes = _notes(subject, once, member, shadows, self.shadows, reason)
        measurements = [*attack.measurements(), attack.exposed(), attack.shuffled(subject.seed)]
        if references is not None and inside is not None and len(references) > 2:
            split = split_control(attack, references, inside)
            measurements.append(split)
            notes += _control_notes(split)
        exhibits: list[Exhibit] = [attack.curve(), controls_table(measurements, attack)]
        breakdowns = _breakdowns(subject, labels, notes)
        for by, names, codes in breakdowns:
            measurements += attack.by_group(by, names, codes[once], subject.min_group)
            hidden = not_compared_note(by, names, attack.sizes(codes[once], len(names)), subject.min_group)
            notes += [hidden] if hidden else []
            exhibits.append(
                SliceChart(title=Message("Exposure to the attack by {by}", by=by[0]), measurement=AUC, by=by)
            )
        if shadows is not None and recipe is not None:
            exhibits.append(_how(shadows, recipe, subject))
        hidden_columns = [(by[0], names, codes) for by, names, codes in breakdowns if by[0] in subject.sensitive]
        more = [attribute_inference(subject, hidden_columns, said, confidence, labels, member, once)]
        if subject.samples is not None and subject.training is not None:
            more.append(copies_of_training_rows(subject, subject.samples, subject.training.frame))
        for part in more:
            measurements += part.measurements
            exhibits += part.exhibits
            notes += part.notes
        return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)

    def _shadows(
        self, subject: Subject, inputs: NDArray[Any], labels: Labels, objective: Objective
    ) -> tuple[Shadows | None, Recipe | None, str]:
        """Return the shadows and how they were trained, or the reason why there are none."""
        from auditkit.auditors.privacy.shadow_models import Plan, Recipe, train_shadows
        from auditkit.training.fit import FitSettings, fit

        if not self.shadows:
            return None, None, Message("none were asked for")
        own = subject.model.capability(SelfFitting)
        recipe = recipe_of(subject.model)
        try:
            if own is not None:
                count = self._affordable(subject, len(labels), REFITTED_PASSES)
                return self._refitted(subject, own, inputs, labels, count), None, ""
            module = subject.model.fresh(subject.seed)
            count = self._affordable(subject, len(labels), _passes(UNKNOWN_EPOCHS if recipe is None else recipe.epochs))
        except NotRun as why:
            return None, None, reason_of(why)
        inputs = subject.model.network_inputs(inputs)
        if recipe is None:
            half = np.random.default_rng(subject.seed).permutation(len(labels))[: len(labels) // 2]
            record = fit(
                module,
                inputs[half],
                labels[half],
                FitSettings(seed=subject.seed),
                device=subject.device,
                objective=objective,
                progress=part_of(subject.progress, 0, 0.1, "how long to train: "),
            )
            recipe = Recipe(record.best_epoch)
            count = self._affordable(subject, len(labels), _passes(recipe.epochs))
        shadows = train_shadows(
            subject.model.fresh,
            inputs,
            labels,
            recipe,
            Plan(count, subject.seed),
            executor=subject.executor,
            objective=objective,
            progress=part_of(subject.progress, 0.1, 0.9),
        )
        return shadows, recipe, ""

    def _affordable(self, subject: Subject, row_count: int, passes: float) -> int:
        """Return how many shadows the budget pays for, an even number, where each takes so many passes a row.

        Raises:
            NotRun: not even two.
        """
        allowed = subject.work.passes(SHADOWS) / (row_count * passes)
        if allowed < 2:
            raise subject.work.too_dear(2 * passes)
        return int(min(self.shadows, allowed)) // 2 * 2

    def _refitted(
        self, subject: Subject, own: SelfFitting, inputs: NDArray[Any], labels: Labels, count: int
    ) -> Shadows:
        """Return the shadows of a model that trains itself."""
        from auditkit.auditors.privacy.shadow_models import Plan, fit_shadows

        return fit_shadows(
            own.refit,
            functools.partial(_answers, inputs, subject.schema),
            inputs,
            labels,
            Plan(count, subject.seed),
            executor=subject.executor,
            progress=part_of(subject.progress, 0.0, 0.9),
        )


def _answers(inputs: NDArray[Any], schema: Schema, module: nn.Module, device: torch.device) -> NDArray[np.float64]:
    """Return what a model says of encoded rows, (rows, answers)."""
    return task_for(schema).answers(predict(module, inputs, schema, device=device))


def _passes(epochs: int) -> float:
    """Return how often a row goes through a shadow model: half of all rows train it, and all are scored by it."""
    return GRADIENT * epochs / 2 + 1


def _confidence(task: Task, said: NDArray[np.float64], labels: Labels, *, unseen: Mask) -> Confidence:
    """Return the function from answers, (..., rows, answers), and labels to the log odds that the attacks take."""
    usual = task.usual_error(said[unseen], labels[unseen])
    return lambda given, known: task.odds(given, known, usual)


def recipe_of(model: Model) -> Recipe | None:
    """Return how the card says the model was trained, None if it does not say it all."""
    from auditkit.auditors.privacy.shadow_models import Recipe

    said: Mapping[str, Any] = model.card.training if model.card else {}
    epochs, batch_size = said.get("best_epoch"), said.get("batch_size")
    learning_rate, weight_decay = said.get("learning_rate"), said.get("weight_decay")
    if not (isinstance(epochs, int) and isinstance(batch_size, int) and 1 <= epochs <= 1000 and batch_size >= 1):
        return None
    if not (isinstance(learning_rate, float) and isinstance(weight_decay, float)):
        return None
    if not (0 < learning_rate < 10 and 0 <= weight_decay < 10):
        return None
    return Recipe(epochs, batch_size, learning_rate, weight_decay)


def _breakdowns(subject: Subject, labels: Labels, notes: list[str]) -> list[GroupedRows]:
    """Return the class and every sensitive column that both data sets have: names, and codes of all rows."""
    classes = tuple((name,) for name in subject.task.classes)
    found: list[GroupedRows] = [(("class",), classes, labels)] if classes else []
    own = OF_AUDITORS["leakage"] | {by[0] for by, _, _ in found}
    for column in subject.sensitive:
        if column in own:
            notes.append(
                Message(
                    "The column {column} has the name of a breakdown of this auditor: who is exposed is not compared "
                    "by it. Rename the column to compare its groups.",
                    column=column,
                )
            )
            continue
        if subject.training is None or column not in subject.training.frame.columns:
            notes.append(
                Message(
                    "The training data have no column {column}: who is exposed is not compared by it.", column=column
                )
            )
            continue
        parts = [subject.coded(frame, column) for frame in (subject.training.frame, subject.data.frame)]
        texts = [
            np.array([*words, subject.missing_group], dtype=object)[np.asarray(codes, dtype=np.int64)]
            for codes, words in parts
        ]
        words, codes = np.unique(np.concatenate(texts).astype(str), return_inverse=True)
        found.append(((column,), tuple((str(word),) for word in words), codes.astype(np.int64)))
    return found


def _how(shadows: Shadows, recipe: Recipe, subject: Subject) -> Facts:
    count = len(shadows.inside)
    way = Message("as one batched ensemble") if shadows.batched else Message("one after the other")
    return Facts(
        title=Message("How the shadow models were made"),
        rows=(
            (
                Message("Shadow models"),
                Message("{count}, of the audited architecture, with fresh weights, {way}", count=count, way=way),
            ),
            (
                Message("Each saw"),
                Message("a random half of all {shape:,} training and audited rows", shape=shadows.inside.shape[1]),
            ),
            (
                Message("Recipe"),
                Message(
                    "AdamW, {epochs:g} epochs, batches of {batch_size:g}, learning rate {learning_rate:g}, "
                    "weight decay {weight_decay:g}",
                    epochs=recipe.epochs,
                    batch_size=recipe.batch_size,
                    learning_rate=recipe.learning_rate,
                    weight_decay=recipe.weight_decay,
                ),
            ),
            (
                Message("Recipe from"),
                Message("the model's card") if recipe_of(subject.model) else Message("auditkit's own trainer"),
            ),
            (Message("Cost"), Message("{seconds:.0f} seconds", seconds=shadows.seconds)),
        ),
    )


def _notes(subject: Subject, once: Mask, member: Mask, shadows: Shadows | None, asked: int, reason: str) -> list[str]:
    repeated = int((~once).sum())
    notes: list[str] = [
        Message(
            "The attack distinguishes {count:,} training records from {count_2:,} audited ones. It "
            "leaves out {repeated:,} records whose contents occur more than once in the two sets "
            "together.",
            count=(once & member).sum(),
            count_2=(once & ~member).sum(),
            repeated=repeated,
        ),
        Message(
            "Training records that were only used to decide when to stop count as members; this "
            "understates memorisation."
        ),
    ]
    if subject.task.odds_note is not None:
        notes.append(subject.task.odds_note)
    notes += _provenance_notes(subject)
    if shadows is None:
        notes.append(
            Message(
                "No shadow models ({reason}): only the LOSS attack was made, which finds a fraction of what "
                "attacks with shadow models find. A low number here is no evidence of privacy.",
                reason=reason,
            )
        )
    elif len(shadows.inside) < asked:
        notes.append(
            Message(
                "{inside_count} of {asked} shadow models were trained: more would exceed the budget of the effort "
                "{effort}. More shadows make the attacks stronger.",
                inside_count=len(shadows.inside),
                asked=asked,
                effort=subject.work.effort,
            )
        )
    card = subject.model.card
    if card is not None and card.ledger is not None:
        notes.append(
            Message(
                "The model was trained with differential privacy, the shadow models without: weaker "
                "references, which understate what it gives away."
            )
        )
    return notes


def _control_notes(split: Measurement) -> list[str]:
    """Return a note where the attack also works on models that saw a random half of both sets."""
    if split.interval is None or split.interval.low <= 0.5 <= split.interval.high:
        return []
    note = Message(
        "The control fails: on models that saw a random half of both, the attack still tells "
        "training rows from audited ones. The two sets differ by themselves, and these numbers mix "
        "that with memory."
    )
    return [note]


def _provenance_notes(subject: Subject) -> list[str]:
    """Return what speaks for or against these rows being those that the model was trained on."""
    notes: list[str] = []
    trained_on = None if subject.training is None else subject.model.was_trained_on(subject.training.sha256)
    if trained_on is False:
        notes.append(
            Message(
                "The training data given here is not the data that the model was trained on: its sha256 "
                "differs from the one in the model's card. An attack on the wrong rows finds nothing, and "
                "that proves nothing."
            )
        )
    elif trained_on is None:
        notes.append(
            Message(
                "Nothing but the word of whoever runs this audit says that the training data are those of "
                "the model; an attack on the wrong rows finds nothing, and that proves nothing."
            )
        )
    return notes
