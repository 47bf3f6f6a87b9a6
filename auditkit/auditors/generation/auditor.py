"""The generation auditor: quality of generated rows beside its ceiling, overall, by class and by group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from auditkit.errors import InputError

if TYPE_CHECKING:
    from auditkit.engine.subject import Subject
    from auditkit.evidence.measurement import Evidence

QUALITIES = ("precision", "recall", "density", "coverage")
FEWEST_ROWS = 100


@dataclass(frozen=True, kw_only=True)
class Generation:
    """How good generated rows are beside real ones that the generator never saw, for whom, and what they leave out.

    `rows` is the largest number of real rows and of samples in a set, `sample_sets` how many fresh sets are drawn. With
    `epsilon` the generator is also retrained with differential privacy at each, and compared in the same way.
    """

    rows: int = 2000
    sample_sets: int = 10
    epsilon: tuple[float, ...] = ()

    requires: ClassVar = ("generation",)
    measures: ClassVar = (
        *(f"generation.{name}" for name in QUALITIES),
        *(f"generation.{name}_shortfall" for name in QUALITIES),
        "generation.kernel_distance",
        "generation.class_share_difference",
        "generation.class_share_ratio",
        "generation.class_diversity_ratio",
        "generation.private_epsilon",
        "generation.private_precision",
        "generation.private_recall",
        "generation.private_coverage",
        "generation.private_near_copy_excess",
    )

    def __post_init__(self) -> None:
        """Refuse too few rows or sets."""
        if self.rows < FEWEST_ROWS:
            raise InputError(f"rows must be at least {FEWEST_ROWS}, got {self.rows}; pass 2000.")
        if self.sample_sets < 10:
            raise InputError(f"sample_sets must be at least 10, got {self.sample_sets}: fewer give no interval.")
        if self.epsilon:
            from auditkit.training.dp.accounting import require_epsilon

            for value in self.epsilon:
                require_epsilon(value)

    def audit(self, subject: Subject) -> Evidence:
        """Draw fresh sets of samples and hold them against real rows.

        Raises:
            NotRun: fewer than 100 unseen rows, and as many others, are there to compare with.
        """
        from auditkit.auditors.generation.quality import quality_evidence

        return quality_evidence(subject, row_count=self.rows, set_count=self.sample_sets, epsilons=self.epsilon)
