"""How much of the explanation of a table the budget of an audit pays for, counted in forward passes of a row."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from auditkit.auditors.explainability.effects_report import CURVE_COUNT, INTERACTION_ROWS, PLAYERS
from auditkit.auditors.explainability.gradients import BASELINES, MOST_STEPS, POINTS_A_BASELINE, STEP_ROWS
from auditkit.auditors.explainability.methods_table import SHUFFLES
from auditkit.auditors.explainability.rungs import COMPARED_ROWS, FEWEST_ROWS, LADDER, Rung
from auditkit.auditors.explainability.table_checks import (
    FEW_COLUMNS_DRAWS,
    FEWEST_RANKED,
    INFIDELITY_SETS,
    second_method,
)
from auditkit.engine.work import EXPLANATION, GRADIENT, Work
from auditkit.schema.table import Feature

USUAL_STEPS = 64
"""The steps of integrated gradients that most networks over columns need."""

OF_RECOURSE = 0.2
"""The share of the budget that is kept for the search of recourse, which takes what the explanation leaves."""

FEWEST_RECOURSE = 10
"""Recourse of fewer rows is not worth a number."""

AS_CAPTUM = 5
"""So many rows are explained once more by Captum, at most."""


@dataclass(frozen=True)
class TableCost:
    """What decides how dear the explanation of a table is.

    There are `row_count` rows of `column_count` columns, and the network has `layer_count` layers with weights of their
    own. `options` says how many values recourse would try of each changeable column, empty where it is not searched.
    `with_gradient` and `codes` (or texts) decide by which other method the attributions are checked.
    """

    row_count: int
    column_count: int
    layer_count: int
    options: tuple[int, ...] = ()
    with_gradient: bool = False
    codes: bool = False

    def passes_of(self, method: str, rung: Rung, steps: int = USUAL_STEPS) -> int:
        """Return how often a method takes a row through the model, a slope counted as `GRADIENT` passes."""
        columns = self.column_count
        passes: dict[str, int] = {
            "integrated_gradients": GRADIENT * steps,
            "kernel_shap": rung.coalitions_of(columns) + 2,
            "gradient_shap": GRADIENT * BASELINES * POINTS_A_BASELINE,
            "permutation": SHUFFLES * columns + 1,
            "deep_lift": GRADIENT,
            "shapley": 1 << columns,
            "feature_ablation": columns + 1,
        }
        return passes[method]

    def passes(self, method: str, rung: Rung, steps: int = USUAL_STEPS) -> int:
        """Return how many passes an explanation takes about, its checks included and the search of recourse not."""
        columns, own = self.column_count, self.passes_of(method, rung, steps)
        rows = rung.rows(self.row_count)
        checked, compared = min(rows, rung.checked_rows(own)), min(rows, rung.rows(COMPARED_ROWS))
        few = columns < FEWEST_RANKED
        draws = 0 if self.layer_count == 0 else FEW_COLUMNS_DRAWS if few else 1
        by_layer = 0 if few or self.layer_count < 2 else self.layer_count
        baselines = 1 if method in ("permutation", "gradient_shap") else rung.baselines
        # The decision before and after, sets for the infidelity, and a curve to each side of some columns.
        once = 4 + INFIDELITY_SETS + 2 * min(CURVE_COUNT, columns) + (4 * columns + 8 if columns > 1 else 0)
        reasons = own if self.options and method != "permutation" else columns + 1 if self.options else 0
        second = second_method(method, rung, column_count=columns, with_gradient=self.with_gradient, codes=self.codes)
        search = 2 * GRADIENT * steps * min(rows, STEP_ROWS) if method == "integrated_gradients" else 0
        return (
            rows * (own + once) + rows * reasons // 2 + search
            + checked * own * (rung.moves + 1 + draws)
            + min(checked, compared) * own * baselines
            + compared * self.passes_of(second, rung)
            + min(rows, rung.rows(FEWEST_ROWS)) * own * by_layer
            + (min(rows, rung.rows(INTERACTION_ROWS)) << min(PLAYERS, columns) if columns > 1 else 0)
            + min(rows, AS_CAPTUM) * own
        )  # fmt: skip

    @property
    def changes(self) -> int:
        """How many changes of one or two columns recourse tries of a row, about."""
        few = [min(8, count) for count in self.options]
        return sum(self.options) + sum(one * other for one, other in itertools.combinations(few, 2))


@dataclass(frozen=True)
class Affordable:
    """What the budget pays for: a method, how much of it, in how many `steps`, rows of recourse, and all passes, about.

    `steps` are the most of integrated gradients until it is known how many are enough.
    """

    method: str
    rung: Rung
    steps: int
    recourse_rows: int
    passes: int

    def in_steps(self, steps: int, cost: TableCost) -> Affordable:
        """Return the same in so many steps, which are enough."""
        more = cost.passes(self.method, self.rung, steps) - cost.passes(self.method, self.rung)
        return replace(self, steps=steps, passes=self.passes + more)


def affordable(work: Work, methods: Sequence[str], cost: TableCost, recourse_rows: int) -> Affordable:
    """Return the most that the budget pays for of the first of the methods that is worth it.

    A method that is not the last is taken only where a fair share of the rows can be explained by it. `recourse_rows`
    are the most rows whose recourse is searched.

    Raises:
        NotRun: the budget does not pay for the least of the last.
    """
    budget = work.passes(EXPLANATION)
    kept = OF_RECOURSE * budget if cost.options else 0.0
    for method in methods:
        rungs = LADDER if method == methods[-1] else [rung for rung in LADDER if rung.exact]
        for rung in rungs:
            passes = cost.passes(method, rung)
            if passes <= budget - kept:
                steps = USUAL_STEPS
                while steps < MOST_STEPS and cost.passes(method, rung, 2 * steps) <= budget - kept:
                    steps *= 2
                searched = _searched(cost, min(recourse_rows, rung.rows(recourse_rows)), budget - passes)
                return Affordable(method, rung, steps, searched, passes + searched * cost.changes)
    least = LADDER[-1]
    raise work.too_dear(cost.passes(methods[-1], least) / least.rows(cost.row_count))


def _searched(cost: TableCost, wanted: int, left: float) -> int:
    """Return of how many rows recourse is searched with the passes that are left, 0 where too few for a number."""
    if cost.changes == 0:
        return wanted
    found = int(min(wanted, left / cost.changes))
    return found if found >= min(wanted, FEWEST_RECOURSE) else 0


def options_tried(features: Collection[Feature], changeable: Collection[str], most: int = 40) -> tuple[int, ...]:
    """Return how many values recourse tries of each changeable column, at most."""
    return tuple(
        most if feature.kind in ("numeric", "date") else max(2, len(feature.categories))
        for feature in features
        if feature.name in changeable
    )
