"""What a damage is: one way in which inputs get worse, by strength."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from auditkit.evidence.measurement import Unit

SHARES = (0.05, 0.1, 0.2, 0.35, 0.5)
"""Strengths of what happens to a share of all values."""


@dataclass(frozen=True, eq=False)
class Damage:
    """One way in which the inputs of a model get worse.

    `name` is the part of a measurement's id, `title` what a reader calls it, `means` the sentence that says what is
    done, and `axis` what `strengths`, ascending and in `unit`, measure. `at` returns the damaged inputs: the random
    draws are the same for every strength, so that a stronger damage goes further the same way. `stated` is the
    strength at which a single number is reported.
    """

    name: str
    title: str
    means: str
    axis: str
    at: Callable[[float], NDArray[Any]]
    unit: Unit = "rate"
    strengths: tuple[float, ...] = SHARES
    stated: float = 0.1

    def said(self, strength: float | None = None) -> str:
        """Return a strength, by default the stated one, in words."""
        value = self.stated if strength is None else strength
        return f"{value * 100:g} %" if self.unit == "rate" else f"{value:g}"
