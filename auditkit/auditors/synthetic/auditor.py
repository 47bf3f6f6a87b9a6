"""The synthetic auditor: a table of generated records beside real ones that the generator saw, and others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from auditkit.errors import InputError
from auditkit.evidence.measurement import Evidence

if TYPE_CHECKING:
    from auditkit.engine.subject import Subject

FEWEST_ROWS = 100

RISKS = ("synthetic.singling_out_risk", "synthetic.linkability_risk", "synthetic.inference_risk")
COPIES = ("memorisation.near_copy_excess",)
"""What a limit on anything but a risk depends on: copies are as good as real records."""


@dataclass(frozen=True, kw_only=True)
class Synthetic:
    """How like real records synthetic ones are, what a model learns from them, and what they give away.

    `rows` is the largest number of training and of unseen records that are attacked.
    """

    rows: int = 5000

    requires: ClassVar = ("synthetic records", "training")
    measures: ClassVar = (
        "synthetic.column_distance",
        "synthetic.association_error",
        "synthetic.train_on_synthetic_accuracy",
        "synthetic.train_on_real_accuracy",
        "synthetic.train_on_synthetic_accuracy_loss",
        "synthetic.singling_out_risk",
        "synthetic.linkability_risk",
        "synthetic.inference_risk",
    )

    def __post_init__(self) -> None:
        """Refuse too few rows."""
        if self.rows < FEWEST_ROWS:
            raise InputError(f"rows must be at least {FEWEST_ROWS}, got {self.rows}; pass 5000.")

    def audit(self, subject: Subject) -> Evidence:
        """Hold the synthetic records against training records and unseen ones."""
        from auditkit.auditors.synthetic.disclosure import disclosure_evidence
        from auditkit.auditors.synthetic.likeness import likeness_evidence
        from auditkit.auditors.synthetic.tables import tables_of
        from auditkit.auditors.synthetic.usefulness import usefulness_evidence

        tables = tables_of(subject)
        parts = [
            likeness_evidence(subject, tables),
            usefulness_evidence(subject, tables),
            disclosure_evidence(subject, tables, self.rows),
        ]
        return Evidence(
            measurements=[
                one if one.id in RISKS else one.model_copy(update={"only_with": COPIES})
                for part in parts
                for one in part.measurements
            ],
            exhibits=[one for part in parts for one in part.exhibits],
            notes=[one for part in parts for one in part.notes],
        )
