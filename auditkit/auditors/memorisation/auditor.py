"""The memorisation auditor: copies of training rows among the rows that a generator draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from auditkit.errors import InputError

if TYPE_CHECKING:
    from auditkit.engine.subject import Subject
    from auditkit.evidence.measurement import Evidence


@dataclass(frozen=True, kw_only=True)
class Memorisation:
    """Whether generated rows are copies of training rows, beside rows of the same population that it never saw.

    `samples` is how many rows are drawn.
    """

    samples: int = 2000

    requires: ClassVar = ("samples", "training")
    measures: ClassVar = (
        "memorisation.exact_copy_share",
        "memorisation.near_copy_share",
        "memorisation.near_copy_excess",
        "memorisation.authenticity_shortfall",
    )

    def __post_init__(self) -> None:
        """Refuse too few samples."""
        if self.samples < 100:
            raise InputError(f"samples must be at least 100, got {self.samples}; pass 2000.")

    def audit(self, subject: Subject) -> Evidence:
        """Draw samples, and hold them against training rows and unseen rows."""
        from auditkit.auditors.memorisation.copies import copies_evidence

        return copies_evidence(subject, self.samples)
