"""The language auditor: perplexity, bits per byte and calibration of a language model, overall and by group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from auditkit.errors import InputError

if TYPE_CHECKING:
    from auditkit.engine.subject import Subject
    from auditkit.evidence.measurement import Evidence


@dataclass(frozen=True, kw_only=True)
class Language:
    """How well a language model predicts the tokens of texts, for whom worse, and whether its probabilities hold.

    `intersections` is the largest number of sensitive columns that are crossed with each other.
    """

    intersections: int = 2

    requires: ClassVar = ("language",)
    measures: ClassVar = (
        "language.bits_per_byte",
        "language.bits_per_byte_difference",
        "language.perplexity",
        "language.calibration_error",
        "language.calibration_error_difference",
    )

    def __post_init__(self) -> None:
        """Refuse a depth under 1."""
        if self.intersections < 1:
            raise InputError(f"intersections must be at least 1, got {self.intersections}; 1 means no crossing.")

    def passes(self, subject: Subject) -> float:
        """Return how often a text goes through the model: once."""
        return float(len(subject.labels))

    def audit(self, subject: Subject) -> Evidence:
        """Score every text, and measure overall, and by the sensitive columns and their intersections.

        Raises:
            NotRun: no text has a token whose probability is known.
        """
        from auditkit.auditors.language.evidence import language_evidence

        return language_evidence(subject, self.intersections)
