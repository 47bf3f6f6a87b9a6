"""How much arithmetic an audit may spend: a budget of operations, so that one command and seed give one result.

A budget in seconds would give other numbers on another machine. `standard` is sized to end within about five minutes on
two cores, which do some 6e10 operations a second.
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

FEWEST_ROWS = 10
"""Fewer rows than this are not worth a number."""


@dataclass(frozen=True)
class Work:
    """What a row costs, and what may be spent: `operations` are those of one forward pass of one row."""

    effort: Effort = "thorough"
    operations: int = 1

    def passes(self, share: float) -> float:
        """Return how many forward passes of a row a share of the budget pays for; infinite if thorough."""
        return share * UNIT[self.effort] / self.operations

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
