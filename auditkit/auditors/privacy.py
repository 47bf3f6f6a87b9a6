"""What a differentially private model would cost, and whom: retraining under DP-SGD, judged beside the original."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import InputError, NotRun
from auditkit.evidence.counts import tally
from auditkit.evidence.measurement import (
    Column,
    Evidence,
    Exhibit,
    Facts,
    Measurement,
    Slice,
    SliceChart,
    Table,
)
from auditkit.metrics.disparity import gap_measurements
from auditkit.metrics.rates import rate_measurement
from auditkit.metrics.scores import accuracy_measurement, paired_difference_interval
from auditkit.subject.predict import Predictions, predict
from auditkit.subject.subject import Subject
from auditkit.training.private import Ledger, fit_private

ORIGINAL = "original"
GAPS = ("demographic_parity_difference", "equalized_odds_difference")
NIST = "NIST SP 800-226"


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """Retrain the same architecture from fresh weights with DP-SGD at each `epsilon`, and compare.

    `delta` of None takes the one that the ledger states; it must lie below 1 / training rows.
    """

    epsilon: tuple[float, ...] = (3.0,)
    delta: float | None = None

    requires: ClassVar = ("model", "training", "labels")
    measures: ClassVar = (
        "privacy.epsilon",
        "privacy.accuracy",
        "privacy.accuracy_loss",
        *(f"privacy.{gap}" for gap in GAPS),
    )

    def __post_init__(self) -> None:
        """Refuse an epsilon that no mechanism can have, and the same one twice."""
        if not self.epsilon:
            raise InputError("epsilon must name at least one value; pass --epsilon 3.")
        for value in self.epsilon:
            if not 0 < value < float("inf"):
                raise InputError(f"epsilon must be above 0 and finite, got {value}; pass --epsilon 3.")
        for smaller, larger in pairwise(sorted(self.epsilon)):
            if smaller == larger:
                raise InputError(f"epsilon {smaller} is given twice; name each value once.")

    def audit(self, subject: Subject) -> Evidence:
        """Retrain once per epsilon, predict the audited rows, and set the results side by side."""
        inputs, labels = subject.training_inputs, subject.training_labels
        if inputs is None or labels is None:
            raise NotRun("no training data; pass --train-dataset FILE")
        ledgers: dict[str, Ledger] = {}
        predictions: dict[str, Predictions] = {ORIGINAL: subject.predictions}
        for index, epsilon in enumerate(self.epsilon):
            name = f"epsilon {epsilon:g}"
            module = subject.model.fresh(subject.seed)

            def progress(fraction: float, what: str, index: int = index, name: str = name) -> None:
                subject.progress((index + fraction) / len(self.epsilon), f"{name}: {what}")

            ledgers[name] = fit_private(
                module,
                inputs,
                labels,
                epsilon=epsilon,
                delta=self.delta,
                seed=subject.seed,
                device=subject.device,
                progress=progress,
            )
            predictions[name] = predict(
                module,
                subject.inputs,
                output=subject.schema.output,
                class_count=len(subject.schema.classes),
                device=subject.device,
            )
        return Evidence(
            measurements=_measurements(subject, predictions, ledgers),
            exhibits=_exhibits(subject, predictions, ledgers),
            notes=_notes(subject, len(labels)),
        )


def _measurements(
    subject: Subject, predictions: dict[str, Predictions], ledgers: dict[str, Ledger]
) -> list[Measurement]:
    epsilon = Measurement(
        id="privacy.epsilon",
        by=("retraining",),
        unit="epsilon",
        better="lower",
        count=next(iter(ledgers.values())).row_count,
        slices=tuple(
            Slice(name=name, value=ledger.epsilon, count=ledger.row_count) for name, ledger in ledgers.items()
        ),
        source=f"{NIST}; Opacus {next(iter(ledgers.values())).accountant} accountant",
    )
    accuracy = _side_by_side(
        "privacy.accuracy",
        (),
        {
            name: accuracy_measurement(subject.labels, part.probabilities, level=subject.conf_level)
            for name, part in predictions.items()
        },
    )
    measurements = [epsilon, accuracy, _accuracy_loss(subject, predictions)]
    if subject.schema.task == "binary":
        for column in subject.sensitive:
            gaps = {name: _gaps(subject, part.labels, column) for name, part in predictions.items()}
            measurements += [
                _side_by_side(f"privacy.{gap}", (column,), {name: found[gap] for name, found in gaps.items()})
                for gap in GAPS
            ]
    return measurements


def _accuracy_loss(subject: Subject, predictions: dict[str, Predictions]) -> Measurement:
    right = {name: part.labels == subject.labels for name, part in predictions.items()}
    row_count = len(subject.labels)
    slices = []
    for name in list(predictions)[1:]:
        value, interval = paired_difference_interval(right[ORIGINAL], right[name], level=subject.conf_level)
        slices.append(Slice(name=name, value=value, count=row_count, interval=interval))
    return Measurement(
        id="privacy.accuracy_loss",
        by=("retraining",),
        unit="rate_difference",
        better="lower",
        count=row_count,
        slices=tuple(slices),
        source=f"{NIST}: utility against the non-private model",
    )


def _gaps(subject: Subject, predicted: NDArray[np.int64], column: str) -> dict[str, Measurement]:
    names, codes = subject.group_codes((column,))
    counts = tally((column,), names, codes, subject.labels, predicted, subject.schema.classes)
    found = gap_measurements(counts, prefix="privacy", level=subject.conf_level, min_group=subject.min_group)
    return {measurement.id.partition(".")[2]: measurement for measurement in found}


def _side_by_side(id: str, columns: tuple[str, ...], models: dict[str, Measurement]) -> Measurement:
    first = models[ORIGINAL]
    return Measurement(
        id=id,
        by=("retraining", *columns),
        unit=first.unit,
        better=first.better,
        count=first.count,
        slices=tuple(
            Slice(name=name, value=part.value, count=part.count, interval=part.interval, reason=part.reason)
            for name, part in models.items()
        ),
        source=f"{first.source}; {NIST}: utility and bias against the non-private model",
    )


def _exhibits(subject: Subject, predictions: dict[str, Predictions], ledgers: dict[str, Ledger]) -> list[Exhibit]:
    exhibits: list[Exhibit] = [
        SliceChart(
            title="Accuracy of the original and of the private retraining",
            measurement="privacy.accuracy",
            by=("retraining",),
        )
    ]
    for column in subject.sensitive:
        exhibits.append(_who_pays(subject, predictions, column))
    exhibits += [ledger_facts(name, ledger) for name, ledger in ledgers.items()]
    return exhibits


def ledger_facts(name: str, ledger: Ledger) -> Facts:
    """Return the ledger as statements a reader can check, with what the budget does not cover."""
    rows = (
        (
            "Guarantee",
            f"({ledger.epsilon:.4g}, {ledger.delta:.2g})-differential privacy ({ledger.accountant.upper()} accountant)",
        ),
        ("Planned with", f"epsilon at most {ledger.target_epsilon:g}; RDP accountant {ledger.epsilon_rdp:.4g}"),
        ("Mechanism", ledger.mechanism),
        ("Trust model", ledger.trust_model),
        ("Unit of privacy", ledger.unit_of_privacy),
        ("Contribution bound", ledger.contribution_bound),
        ("Neighbouring relation", ledger.neighbouring_relation),
        ("Rows n", f"{ledger.row_count:,} (1/n = {1 / ledger.row_count:.2g})"),
        ("Sampling", ledger.sampling),
        ("Expected batch", f"{ledger.expected_batch_size:,} rows"),
        ("Noise multiplier", f"{ledger.noise_multiplier:.4g}"),
        ("Clipping norm", f"{ledger.max_grad_norm:g}"),
        ("Steps", f"{ledger.steps:,} ({ledger.epochs} epochs)"),
        ("Initial weights", "fresh, drawn by seed; never those that saw the data without privacy"),
        ("Noise seed", ledger.seed_statement),
        ("Library", f"Opacus {ledger.opacus}, torch {ledger.torch}"),
        *(("Not covered", statement) for statement in ledger.not_covered),
    )
    return Facts(title=f"Privacy ledger, {name}", rows=rows)


def _who_pays(subject: Subject, predictions: dict[str, Predictions], column: str) -> Table:
    names, codes = subject.group_codes((column,))
    slices: dict[str, tuple[Slice, ...]] = {}
    for name, part in predictions.items():
        counts = tally((column,), names, codes, subject.labels, part.labels, subject.schema.classes)
        slices[name] = rate_measurement(
            counts, "accuracy", prefix="privacy", level=subject.conf_level, min_group=subject.min_group
        ).slices
    rows = []
    for parts in zip(*slices.values(), strict=True):
        values = [part.value for part in parts]
        losses = [None if values[0] is None or value is None else value - values[0] for value in values[1:]]
        rows.append((parts[0].name, float(parts[0].count), *values, *losses))
    return Table(
        title=f"Who pays for privacy: accuracy by {column}",
        note="The change is private minus original, in percentage points: negative where the group loses accuracy.",
        columns=(
            Column(name=column),
            Column(name="rows", unit="rows"),
            *(Column(name=name, unit="rate") for name in predictions),
            *(Column(name=f"change at {name}", unit="rate_difference") for name in list(predictions)[1:]),
        ),
        rows=tuple(rows),
    )


def _notes(subject: Subject, training_row_count: int) -> list[str]:
    notes = [
        f"Each private model was trained from fresh weights on {training_row_count:,} rows, once, "
        f"with seed {subject.seed}: the intervals cover the audited rows, not the luck of the training run.",
        "The budget covers the retrained weights only. The original model and this report were made from the same data "
        "without privacy, and this check does not test the claim by attack.",
    ]
    card = subject.model.card
    recorded = card.training.get("sha256") if card else None
    if recorded and subject.training is not None and recorded != subject.training.sha256:
        notes.append(
            "The training data given here is not the data that the model was trained on: its sha256 differs from the "
            "one in the model's card. The comparison with the original mixes two causes."
        )
    return notes
