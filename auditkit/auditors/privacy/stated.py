"""The privacy that the audited model's own file claims: its ledger, once its epsilon is what its numbers give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from auditkit.auditors.privacy.stated_frontier import COSTS, checked_frontier, frontier_evidence
from auditkit.errors import NotRun
from auditkit.evidence.measurement import Evidence, Measurement, joined_evidence
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import OTHER_WEIGHTS, PrivatelyTrained, StatedTraining

if TYPE_CHECKING:
    from auditkit.engine.subject import Subject
    from auditkit.training.dp.accounting import Ledger

EPSILON, WITH_TUNING = "private_training.epsilon", "private_training.epsilon_with_tuning"


@dataclass(frozen=True, kw_only=True)
class PrivateTraining:
    """State the differential privacy that the audited model's own file claims, as its privacy ledger gives it.

    Epsilon is computed again from noise, sampling rate, steps and delta, and a ledger that states less stops the audit.
    Of weights that the ledger was not written for nothing is claimed. `frontier` is the frontier.json that the
    retraining of a Hugging Face folder wrote beside it: what each budget costs held-out rows or texts, by group.
    """

    frontier: str | None = None

    requires: ClassVar = ("private training",)
    measures: ClassVar = (EPSILON, WITH_TUNING, *(cost.id for cost in COSTS.values()))
    multilabel: ClassVar = True

    def check(self, subject: Subject) -> None:
        """Refuse a ledger that is not valid, or whose epsilon is not what its own numbers give."""
        found = subject.audited.capability(PrivatelyTrained)
        if found is not None:
            _ledger(subject, found.stated)
            if self.frontier is not None:
                checked_frontier(subject, self.frontier)

    def audit(self, subject: Subject) -> Evidence:
        """Return epsilon with the ledger as statements, or why the ledger claims nothing of these weights."""
        from auditkit.auditors.privacy.canary_audit import ledger_facts

        found = subject.audited.capability(PrivatelyTrained)
        if found is None:
            raise NotRun(subject.audited.lack(PrivatelyTrained))
        ledger = _ledger(subject, found.stated)
        if not found.stated.of_these_weights:
            return Evidence(measurements=epsilons(ledger, of_these_weights=False), notes=[_other_weights(ledger)])
        evidence = Evidence(
            measurements=epsilons(ledger, of_these_weights=True),
            exhibits=[ledger_facts(Message("the audited model"), ledger)],
            notes=_notes(subject, found.stated),
        )
        if self.frontier is None:
            return evidence
        return joined_evidence([evidence, frontier_evidence(subject, self.frontier)])


def epsilons(ledger: Ledger, *, of_these_weights: bool) -> list[Measurement]:
    """Return the claimed epsilon of a ledger, alone and with the earlier runs that it declares."""
    reason = None if of_these_weights else OTHER_WEIGHTS

    def measured(id: str, value: float, definition: str) -> Measurement:
        return Measurement(
            id=id,
            value=value if of_these_weights else None,
            unit="epsilon",
            better="lower",
            count=ledger.row_count,
            definition=definition,
            computed_by="Opacus",
            reason=reason,
        )

    together = "rdp" if ledger.tuning_runs else ledger.accountant
    return [
        measured(
            EPSILON,
            ledger.epsilon,
            Message(
                "differential privacy of the audited weights at delta {delta:.2g}, by their ledger and the "
                "{accountant} accountant (NIST SP 800-226)",
                delta=ledger.delta,
                accountant=ledger.accountant,
            ),
        ),
        measured(
            WITH_TUNING,
            ledger.epsilon_with_tuning,
            Message(
                "the budget of the training and of {tuning_runs} earlier runs that the ledger declares, by the "
                "{accountant} accountant (NIST SP 800-226)",
                tuning_runs=ledger.tuning_runs,
                accountant=together,
            ),
        ),
    ]


def _ledger(subject: Subject, stated: StatedTraining) -> Ledger:
    from auditkit.training.dp.accounting import read_ledger

    info = subject.audited.info
    return read_ledger(stated.ledger, f"model {'' if info is None else info.path or info.name}")


def _other_weights(ledger: Ledger) -> str:
    return Message(
        "A ledger beside the weights claims epsilon {epsilon:.4g} at delta {delta:.2g}. It was written for other "
        "weights: those that were opened have another sha256, or an adapter was merged into them.",
        epsilon=ledger.epsilon,
        delta=ledger.delta,
    )


def _notes(subject: Subject, stated: StatedTraining) -> Sequence[str]:
    """Return what the claim rests on beside its numbers, and whether the given training data are those of it."""
    notes = [
        Message(
            "Epsilon was computed again from the noise, sampling rate, steps and delta that the ledger states. That "
            "the training was run in this way is the word of whoever wrote the file; an attack by canaries tests it."
        )
    ]
    recorded: Any = stated.training.get("sha256")
    given = None if subject.training is None else subject.training.sha256
    if recorded and given and recorded != given:
        notes.append(
            Message(
                "The training data given here is not the data that the ledger is of: its sha256 differs from the one "
                "that the model's file states."
            )
        )
    return notes
