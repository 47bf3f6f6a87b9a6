"""How much of an explanation of a table is made: all that auditkit would like, or as much as the budget pays for."""

from __future__ import annotations

from dataclasses import dataclass

from auditkit.auditors.explainability.statistics import scaled

COALITIONS = 1024
"""Kernel SHAP usually evaluates so many coalitions of each row."""

COALITIONS_A_COLUMN = 4
"""Kernel SHAP evaluates so many coalitions for each column at least: its regression has one coefficient for each."""

PASSES_AT_ONCE = 2**18
"""Passes through the model that one repetition of an explanation may take: a dear method is checked on fewer rows."""

MOST_ROWS, FEWEST_ROWS, COMPARED_ROWS = 500, 30, 200


@dataclass(frozen=True)
class Rung:
    """The `share` of the usual rows that are explained and checked, ten at least, and how dear each of them is.

    Kernel SHAP evaluates `coalitions` of a row. The stability is that over `baselines` drawn baselines, the sensitivity
    the worst of so many `moves`.
    """

    share: float = 1.0
    coalitions: int = COALITIONS
    baselines: int = 30
    moves: int = 10

    @property
    def exact(self) -> bool:
        """Whether all coalitions are evaluated where there are few enough columns: few rows are not worth it."""
        return self.share >= 0.25

    def coalitions_of(self, column_count: int) -> int:
        """Return how many coalitions of so many columns Kernel SHAP evaluates."""
        return min(COALITIONS, 1 << column_count, max(self.coalitions, COALITIONS_A_COLUMN * column_count))

    def rows(self, usual: int) -> int:
        """Return how many rows are taken where so many usually are."""
        return scaled(usual, self.share)

    def checked_rows(self, passes: int) -> int:
        """Return on how many rows a method is repeated that takes a row so often through the model."""
        return self.rows(max(FEWEST_ROWS, min(MOST_ROWS, PASSES_AT_ONCE // passes)))


LADDER = (
    Rung(),
    Rung(0.5),
    Rung(0.25),
    Rung(0.1),
    Rung(0.1, 512, 15),
    Rung(0.05, 512, 10, 5),
    Rung(0.05, 256, 10, 5),
    Rung(0.02, 256, 10, 5),
    Rung(0.01, 128, 5, 3),
    Rung(0.005, 128, 5, 3),
    Rung(0.005, 64, 5, 3),
)
"""From all that auditkit would do to the least that is worth a number."""
