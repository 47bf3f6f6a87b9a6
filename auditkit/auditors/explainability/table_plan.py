"""How the columns of a table are going to be explained: by which method, of which rows, within the budget."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import nn

from auditkit.auditors.explainability.gradients import enough_steps, has_gradient, integer_codes
from auditkit.auditors.explainability.methods import choose_method
from auditkit.auditors.explainability.recourse_report import RECOURSE_ROWS
from auditkit.auditors.explainability.rungs import COALITIONS
from auditkit.auditors.explainability.segments import layer_count
from auditkit.auditors.explainability.table_costs import Affordable, TableCost, affordable, options_tried
from auditkit.auditors.explainability.target_function import ExplanationInput, TargetFunction
from auditkit.engine.sampling import sample_rows
from auditkit.engine.subject import Subject
from auditkit.errors import NotRun
from auditkit.evidence.messages import Message

if TYPE_CHECKING:
    from auditkit.auditors.explainability.auditor import Explainability

OTHERS = 100
"""So many rows are drawn for methods that average over baselines, and for the check that other baselines agree."""

PROBED_ROWS = 256
"""So many rows tell whether the decision has a gradient, and which columns are integer codes."""


@dataclass(frozen=True, eq=False)
class TablePlan:
    """What is explained, how much of it is paid for, and notes on how that was chosen; `immutable` columns stay."""

    explained: ExplanationInput
    within: Affordable
    with_gradient: bool
    immutable: Collection[str]
    notes: Sequence[str]


def planned_table(subject: Subject, module: nn.Module, rows: NDArray[np.int64], settings: Explainability) -> TablePlan:
    """Return what is explained of `rows`, or of fewer where the budget asks for it, by the method asked for, or usual.

    Raises:
        ArithmeticError: the model's decision on a row is not finite.
        NotRun: the budget does not pay for the least, or no row's decision differs from that of the baseline.
    """
    source = subject.inputs if subject.training_inputs is None else subject.training_inputs
    given = _explanation_input(subject, module, rows, source)
    probe = given.take(np.linspace(0, len(rows) - 1, min(len(rows), PROBED_ROWS)).astype(np.int64))
    _check_change(probe)
    slopes, codes = has_gradient(probe), integer_codes(probe)
    columns = list(given.columns)
    method, notes = choose_method(
        settings.method, kind="table", module=module, has_gradient=slopes, column_count=len(columns), codes=codes
    )
    # No other text is offered to anybody.
    immutable = {*settings.immutable, *subject.schema.immutable, *subject.sensitive, *subject.schema.text_cells}
    searched = subject.task.positive is not None
    cost = TableCost(
        row_count=len(rows),
        column_count=len(columns),
        layer_count=layer_count(module),
        options=options_tried(subject.schema.features, {*columns} - immutable) if searched else (),
        with_gradient=slopes and not codes,
        codes=bool(codes or given.texts),
    )
    methods = [method, "kernel_shap"] if method == "shapley" and settings.method is None else [method]
    within = affordable(subject.work, methods, cost, RECOURSE_ROWS if searched else 0)
    wanted = min(settings.rows, len(subject.labels))
    taken = within.rung.rows(len(rows))
    if taken < len(rows):
        given = _explanation_input(subject, module, sample_rows(subject, taken), source)
    given = given.with_codes(codes, source)
    if within.method == "integrated_gradients":
        steps = enough_steps(given, tolerance=settings.tolerance, most_steps=within.steps)
        within = within.in_steps(steps, cost)
    return TablePlan(
        explained=given,
        within=within,
        with_gradient=cost.with_gradient,
        immutable=immutable,
        notes=[*notes, *subject.work.limited(taken, wanted), *_fewer_coalitions(subject, method, within, len(columns))],
    )


def passes_of_table(subject: Subject, module: nn.Module, rows: NDArray[np.int64], settings: Explainability) -> float:
    """Return how many passes the explanation of a table takes about."""
    return planned_table(subject, module, rows, settings).within.passes


def _fewer_coalitions(subject: Subject, method: str, within: Affordable, column_count: int) -> list[str]:
    """Say that Kernel SHAP stands in for exact Shapley values, or evaluates fewer coalitions than it usually does."""
    if within.method != "kernel_shap":
        return []
    count, usual = within.rung.coalitions_of(column_count), min(COALITIONS, 1 << column_count)
    if method == "shapley":
        return [
            Message(
                "Kernel SHAP of {count:,} coalitions explains the model: all {all:,} coalitions of each row exceed the "
                "budget of the effort {effort}.",
                count=count,
                all=1 << column_count,
                effort=subject.work.effort,
            )
        ]
    if count == usual:
        return []
    return [
        Message(
            "The effort {effort} limits Kernel SHAP to {count:,} coalitions of each row instead of {usual:,}; the "
            "stability says how far the attributions depend on which ones were drawn.",
            effort=subject.work.effort,
            count=count,
            usual=usual,
        )
    ]


def _explanation_input(
    subject: Subject, module: nn.Module, rows: NDArray[np.int64], source: NDArray[np.float32]
) -> ExplanationInput:
    """Return what is explained of `rows`; `source` are the rows that baselines are drawn from."""
    others = np.random.default_rng(subject.seed).choice(len(source), size=min(OTHERS, len(source)), replace=False)
    return ExplanationInput(
        decision=TargetFunction(module, subject.task),
        inputs=subject.inputs[rows],
        predicted=subject.task.explained(subject.predictions.take(rows)),
        baseline=subject.schema.mean_row(source),
        columns=subject.schema.column_slices(),
        device=subject.device,
        others=source[np.sort(others)],
        texts=tuple(subject.schema.text_cells),
        outputs=subject.task.width,
    )


def _check_change(given: ExplanationInput) -> None:
    """Raise ArithmeticError where a decision is not finite, and NotRun where none differs from the baseline's."""
    change = given.change()
    if not np.isfinite(change).all():
        raise ArithmeticError(
            f"{int((~np.isfinite(change)).sum())} of {len(change)} rows have a decision that is not finite"
        )
    if not change.any():
        raise NotRun(Message("the model's output does not change between the sampled rows and the baseline"))
