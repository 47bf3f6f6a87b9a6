"""What a differentially private model would cost, and whom: retraining under DP-SGD, judged beside the original."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from numpy.typing import NDArray

from auditkit.auditors.privacy.canary_audit import (
    AUDITED,
    BLACK_BOX,
    EXCESS,
    Tested,
    attack_claim,
    claim_measurements,
    claims_table,
    ledger_facts,
    weak_test_notes,
)
from auditkit.auditors.privacy.comparison import MEASURED_GAPS, ORIGINAL, Runs, budgets_of, exhibits_of, measurements_of
from auditkit.auditors.privacy.comparison_regression import MEASURED, exhibits_of_numbers, measurements_of_numbers
from auditkit.engine.subject import Subject
from auditkit.engine.work import GRADIENT, PRIVATE_TRAINING
from auditkit.errors import InputError, NotRun
from auditkit.evidence.measurement import Evidence
from auditkit.evidence.messages import Message
from auditkit.models.predict import predict
from auditkit.progress import Progress, part_of
from auditkit.schema.schema import Labels, Schema
from auditkit.tasks.base import Predictions
from auditkit.training.dp.accounting import Ledger, require_epsilon, require_tuning_runs
from auditkit.training.dp.settings import Clipping, require_clipping

if TYPE_CHECKING:
    from torch import nn

    from auditkit.tasks.objectives import Objective
    from auditkit.training.dp.plan import PrivateSettings


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """Retrain the same architecture from fresh weights with DP-SGD at each `epsilon`, and compare.

    `delta` of None takes the one that the ledger states; it must lie below 1 / training rows. With `seeds` of three
    or more each retraining is repeated, and the intervals cover the luck of training too. To test the claim, each
    retraining is made once more with that many `canaries` in it; 0 leaves the claim untested. `clipping` of auto takes
    the fastest way that is right for the network. `tuning_runs` is how many earlier private runs on these rows, at
    most as costly as the dearest here, led to these settings.
    """

    epsilon: tuple[float, ...] = (3.0,)
    delta: float | None = None
    seeds: int = 1
    canaries: int = 0
    clipping: Clipping = "auto"
    tuning_runs: int = 0

    requires: ClassVar = ("predictions", "model", "training", "labels", "refitting")
    measures: ClassVar = (
        "privacy.epsilon",
        "privacy.epsilon_of_all_runs",
        "privacy.accuracy",
        "privacy.accuracy_loss",
        "privacy.calibration_error",
        AUDITED,
        BLACK_BOX,
        EXCESS,
        *MEASURED_GAPS,
        *(f"privacy.{name}" for name in MEASURED),
    )

    def __post_init__(self) -> None:
        """Refuse an epsilon that no mechanism can have, and the same one twice."""
        if not self.epsilon:
            raise InputError("epsilon must name at least one value; pass --epsilon 3.")
        for value in self.epsilon:
            require_epsilon(value)
        for smaller, larger in itertools.pairwise(sorted(self.epsilon)):
            if smaller == larger:
                raise InputError(f"epsilon {smaller} is given twice; name each value once.")
        require_clipping(self.clipping)
        if self.seeds not in range(1, 101):
            raise InputError(f"seeds must be from 1 to 100, got {self.seeds}; pass --seeds 3.")
        if self.canaries and self.canaries not in range(10, 10_001):
            raise InputError(f"canaries must be 0 or from 10 to 10,000, got {self.canaries}; pass --canaries 1000.")
        require_tuning_runs(self.tuning_runs)

    def passes(self, subject: Subject) -> float:
        """Return how many forward passes of a row it makes about."""
        return self._row_passes * (0 if subject.training is None else len(subject.training.frame))

    @property
    def _row_passes(self) -> int:
        from auditkit.training.dp.plan import PrivateSettings

        return GRADIENT * PrivateSettings.epochs * len(self.epsilon) * (self.seeds + bool(self.canaries))

    def audit(self, subject: Subject) -> Evidence:
        """Retrain at each epsilon, predict the audited rows, and set the results side by side."""
        from auditkit.training.dp.dp_sgd import disclosed
        from auditkit.training.dp.plan import PrivateSettings

        inputs, labels = subject.training_inputs, subject.training_labels
        if inputs is None or labels is None:
            raise NotRun(Message("no training data"), remedy="--train-dataset FILE")
        labels = subject.task.learnt(labels)
        inputs, audited = (subject.model.network_inputs(rows) for rows in (inputs, subject.inputs))
        objective = subject.task.objective()
        if subject.work.passes(PRIVATE_TRAINING) < self._row_passes * len(labels):
            raise subject.work.too_dear(self._row_passes)
        begun = Message("fresh, drawn by seed; never those that saw the data without privacy")
        disclosure = disclosed(subject.model, begun)
        ledgers: dict[str, list[Ledger]] = {}
        runs: Runs = {ORIGINAL: [subject.predictions]}
        retrained = self.seeds / (self.seeds + bool(self.canaries))
        retraining, testing = part_of(subject.progress, 0, retrained), part_of(subject.progress, retrained, 1)
        asked = list(itertools.product(self.epsilon, range(self.seeds)))
        names = [Message("epsilon {epsilon:g}", epsilon=epsilon) for epsilon, _ in asked]
        shards = (
            Retraining(
                subject.model.fresh(subject.seed + seed),
                PrivateSettings(
                    epsilon=epsilon,
                    delta=self.delta,
                    seed=subject.seed + seed,
                    clipping=self.clipping,
                    tuning_runs=self.tuning_runs,
                    disclosure=disclosure,
                ),
            )
            for epsilon, seed in asked
        )
        work = functools.partial(retrain_and_predict, (inputs, labels, audited), objective, subject.schema)

        def told(place: int) -> Progress:
            return part_of(retraining, place / len(asked), (place + 1) / len(asked), f"{names[place]}: ")

        for name, (ledger, predictions) in zip(names, subject.executor.map(work, shards, told), strict=True):
            ledgers.setdefault(name, []).append(ledger)
            runs.setdefault(name, []).append(subject.selected(predictions))
        tested = self._test_claims(subject, (inputs, labels), ledgers, testing)
        targets = {name: parts[0].target_epsilon for name, parts in ledgers.items()}
        worth = [*measurements_of(subject, runs), *measurements_of_numbers(subject, runs)]
        all_runs = [*itertools.chain(*ledgers.values()), *(part.ledger for part in tested.values())]
        budgets = budgets_of(ledgers, all_runs)
        exhibits = [*exhibits_of(subject, runs, targets, worth), *exhibits_of_numbers(subject, runs, targets, worth)]
        exhibits += [ledger_facts(name, parts[0], all_runs) for name, parts in ledgers.items()]
        if tested:
            exhibits.append(claims_table(tested, subject.conf_level))
        notes = _notes(subject, len(labels), self.seeds, tested=bool(self.canaries), several=len(all_runs) > 1)
        return Evidence(
            measurements=[*budgets, *worth, *(claim_measurements(tested) if tested else ())],
            exhibits=exhibits,
            notes=[*notes, *weak_test_notes(tested)],
        )

    def _test_claims(
        self, subject: Subject, rows: tuple[NDArray[Any], Labels], ledgers: dict[str, list[Ledger]], progress: Progress
    ) -> dict[str, Tested]:
        """Attack what the ledger of each budget claims; nothing where no canaries are asked for."""
        if not self.canaries:
            return {}
        return {
            name: attack_claim(
                subject,
                *rows,
                subject.task.objective(),
                parts[0],
                canary_count=self.canaries,
                bound_count=2 * len(ledgers),
                progress=part_of(progress, index / len(ledgers), (index + 1) / len(ledgers)),
            )
            for index, (name, parts) in enumerate(ledgers.items())
        }


class Retraining(NamedTuple):
    """One private retraining: a network with fresh weights, and how it is trained."""

    module: nn.Module
    settings: PrivateSettings


def retrain_and_predict(
    rows: tuple[NDArray[Any], Labels, NDArray[Any]],
    objective: Objective,
    schema: Schema,
    shard: Retraining,
    device: str,
    progress: Progress,
) -> tuple[Ledger, Predictions]:
    """Train a network with privacy; return its ledger, and what it says of the audited rows.

    `rows` are the inputs and labels that it learns from, and the audited inputs.
    """
    import torch

    from auditkit.training.dp.dp_sgd import fit_private

    inputs, labels, audited = rows
    place = torch.device(device)
    ledger = fit_private(
        shard.module, inputs, labels, shard.settings, device=place, objective=objective, progress=progress
    )
    return ledger, predict(shard.module, audited, schema, device=place)


def _notes(subject: Subject, training_row_count: int, seeds: int, *, tested: bool, several: bool) -> list[str]:
    from auditkit.models.formats.exported import program_in

    luck = Message(
        "once, with seed {seed}: the intervals reflect the audited records, not the randomness of the training run.",
        seed=subject.seed,
    )
    if seeds > 1:
        luck = Message(
            "{seeds} times, with seeds {seed} to {value}: numbers are means over the runs, and the "
            "intervals cover the audited rows and the luck of training.",
            seeds=seeds,
            seed=subject.seed,
            value=subject.seed + seeds - 1,
        )
    notes: list[str] = [
        Message(
            "Each private model was trained from fresh weights on {training_row_count:,} rows, ",
            training_row_count=training_row_count,
        )
        + luck,
        Message(
            "The budget covers the retrained weights only. The original model and this report were made "
            "from the same data without privacy."
        ),
        Message(
            "The planted canaries test the noise, the sampling and the count of steps of the training "
            "as it runs here, behind the clipping of each row's gradient. The mislabelled rows pass "
            "through the clipping, and test it weakly; auditkit's own tests test it against a loop over "
            "rows."
        )
        if tested
        else Message("The claim was computed, but not tested by an attack; pass --canaries 1000 to test it."),
    ]
    if several:
        notes.append(
            Message(
                "Each ledger is of one model. Whoever is given several of them, or their numbers, learns "
                "more: the line “All trainings together” of the ledger bounds all trainings of this report, "
                "with canaries and without, and the earlier runs that were declared."
            )
        )
    program = program_in(subject.model.module)
    if program is not None:
        notes += program.training_notes
    if subject.training is not None and subject.model.was_trained_on(subject.training.sha256) is False:
        notes.append(
            Message(
                "The training data given here is not the data that the model was trained on: its sha256 "
                "differs from the one in the model's card. The comparison with the original mixes two causes."
            )
        )
    return notes
