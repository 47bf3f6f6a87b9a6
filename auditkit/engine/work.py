"""How much arithmetic an audit may spend: a budget of operations, so that one command and seed give one result.

A budget in seconds would give other numbers on another machine. `standard` is sized to end within about five minutes on
two cores, which do some 6e10 operations a second. Where torch does not do a model's arithmetic, nothing can be counted:
what a row costs is then measured, rounded so coarsely that it seldom differs, recorded, and taken as it is by a replay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from auditkit.errors import NotRun
from auditkit.evidence.messages import Message

Effort = Literal["quick", "standard", "thorough"]

UNIT: dict[Effort, float] = {"quick": 1e11, "standard": 1e12, "thorough": math.inf}
"""The operations that each share of the budget stands for."""

PREDICTIONS, EXPLANATION, CORRUPTIONS, SHADOWS, PRIVATE_TRAINING, SWAPS = 4.0, 5.0, 2.5, 4.0, 5.0, 1.0
"""The shares of the predictions and of each auditor that runs the model, in units."""

GRADIENT = 4
"""A forward and a backward pass take about as long as so many forward passes."""

OPERATIONS_A_SECOND = 6e10
"""What two cores do of a network's arithmetic in a second, about."""

LEAST_MEASURED, MEASURED_STEP = 1_000_000, 4
"""Measured operations of a row are so many, or four times as many, or sixteen, and so on: the next larger number."""

FEWEST_ROWS = 10
"""Fewer rows than this are not worth a number."""


@dataclass(frozen=True)
class Work:
    """What a row costs, and what may be spent: `operations` are those of one forward pass of one row.

    `measured` says that they are as many as take the time of a row.
    """

    effort: Effort = "thorough"
    operations: int = 1
    measured: bool = False

    def passes(self, share: float) -> float:
        """Return how many forward passes of a row a share of the budget pays for; infinite if thorough."""
        return share * UNIT[self.effort] / self.operations

    @classmethod
    def of_time(cls, effort: Effort, seconds: float, counted: int = 0) -> Work:
        """Return the work of a model of which a row takes so many seconds, and as many operations as were counted.

        >>> Work.of_time("standard", 50e-6).operations
        4000000
        """
        steps = math.ceil(math.log(max(1.0, seconds * OPERATIONS_A_SECOND / LEAST_MEASURED), MEASURED_STEP))
        return cls(effort, max(counted, LEAST_MEASURED * MEASURED_STEP**steps), measured=True)

    def predicted(self, wanted: int) -> int:
        """Return how many of the wanted rows are audited at all: ten at least."""
        return int(min(wanted, max(FEWEST_ROWS, self.passes(PREDICTIONS))))

    def rows(self, wanted: int, passes: float, share: float) -> int:
        """Return how many of the wanted rows may each go through the model so many times.

        Raises:
            NotRun: fewer than ten, where more are wanted.
        """
        allowed = self.passes(share) / passes
        if allowed >= wanted:
            return wanted
        if allowed < FEWEST_ROWS:
            raise self.too_dear(passes)
        return int(allowed)

    def too_dear(self, passes: float) -> NotRun:
        """Return why an auditor that takes each row through the model so many times does not run."""
        return NotRun(
            Message(
                "a row takes {operations:,} operations and would go through the model about {passes:,.0f} times, "
                "which exceeds the budget of the effort {effort}; pass --effort thorough",
                operations=self.operations,
                passes=passes,
                effort=self.effort,
            )
        )

    def limited(self, taken: int, wanted: int) -> list[str]:
        """Return the note that the effort, not the settings, limits an auditor to so many rows, if it does."""
        if taken >= wanted:
            return []
        return [
            Message(
                "The effort {effort} limits this auditor to {taken:,} of {wanted:,} rows, since one row takes "
                "{operations:,} operations; --effort thorough takes them all.",
                effort=self.effort,
                taken=taken,
                wanted=wanted,
                operations=self.operations,
            )
        ]
