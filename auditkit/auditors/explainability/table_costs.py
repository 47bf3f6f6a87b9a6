"""How many rows of a table are explained and checked: as many as auditkit would like, or as the budget pays for."""

from __future__ import annotations

from auditkit.auditors.explainability.effects_report import INTERACTION_ROWS, PLAYERS
from auditkit.auditors.explainability.methods import METHODS
from auditkit.auditors.explainability.methods_table import passes_of
from auditkit.auditors.explainability.recourse_report import RECOURSE_ROWS
from auditkit.auditors.explainability.shapley import MOST_COLUMNS
from auditkit.auditors.explainability.statistics import scaled
from auditkit.engine.work import EXPLANATION, Work

PASSES_AT_ONCE = 2**18
"""Passes through the model that one repetition of an explanation may take: a dear method is checked on fewer rows."""

MOST_ROWS, FEWEST_ROWS, COMPARED_ROWS = 500, 30, 200
BASELINES = 30
PERTURBATIONS = 10
LAYERS = 5
"""So many layers are taken to be shuffled, one after another, where the cost is estimated."""

SHARES = (1.0, 0.5, 0.25, 0.1, 0.05, 0.02, 0.01, 0.005)
"""The shares of the usual rows, of explanations and of checks, of which the first that the budget pays for is taken."""


def checked_rows(passes: int, share: float) -> int:
    """Return on how many rows a method is repeated that takes a row so often through the model."""
    return scaled(max(FEWEST_ROWS, min(MOST_ROWS, PASSES_AT_ONCE // passes)), share)


def affordable_share(work: Work, method: str, *, column_count: int, row_count: int) -> float:
    """Return the share of the usual rows that the budget pays for.

    Raises:
        NotRun: it does not pay for the least.
    """
    for share in SHARES:
        rows = scaled(row_count, share)
        passes = _total_passes(method, column_count, rows=rows, share=share)
        if passes <= work.passes(EXPLANATION):
            return share
    raise work.too_dear(passes / rows)


def _total_passes(method: str, column_count: int, *, rows: int, share: float) -> int:
    """Return how many forward passes an explanation of so many rows takes about, its trust checks included."""
    passes = passes_of(method, column_count)
    by_coalitions = "shapley" if column_count <= MOST_COLUMNS else "kernel_shap"
    second = passes_of("permutation" if METHODS[method].reads == "outputs" else by_coalitions, column_count)
    checked, compared = checked_rows(passes, share), scaled(COMPARED_ROWS, share)
    own = checked * (PERTURBATIONS + 2) + min(checked, compared) * BASELINES + scaled(FEWEST_ROWS, share) * LAYERS
    # A row is moved by all options of each column, and by a grid of 64 of each pair of columns.
    changes = 40 * column_count + 32 * column_count * column_count
    return (
        rows * (passes + 60 + 4 * column_count)
        + own * passes
        + compared * second
        + scaled(INTERACTION_ROWS, share) * (1 << PLAYERS)
        + scaled(RECOURSE_ROWS, share) * changes
    )
