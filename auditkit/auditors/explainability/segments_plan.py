"""How rows that are cut into segments are going to be explained: by which method, how many, within the budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.explainability.methods import METHODS
from auditkit.auditors.explainability.segments import SegmentedRows, layer_count
from auditkit.auditors.explainability.target_function import Floats
from auditkit.auditors.explainability.trials import LADDER, Cost, Trials, choose_trials
from auditkit.engine.subject import Subject


@dataclass(frozen=True, eq=False)
class SegmentPlan:
    """What is explained of rows, by which method: `chosen` are positions among the rows, `parts` those chosen.

    `steps` are those of integrated gradients, and `passes` says how often a row goes through the model, about. A method
    that is no explanation takes every row once, and is not checked in `trials`.
    """

    method: str
    notes: Sequence[str]
    parts: SegmentedRows
    chosen: NDArray[np.int64]
    trials: Trials
    steps: int
    passes: int


def planned_segments(
    subject: Subject,
    choice: tuple[str, Sequence[str]],
    parts: SegmentedRows,
    change: Floats,
    sums: Callable[[SegmentedRows, int], Floats],
    *,
    other_baselines: bool = False,
) -> SegmentPlan:
    """Return what the budget pays for of a method, the `choice` of `choose_method`.

    `change` says how far each decision moves when all parts are deleted, (rows,); `sums` returns what the attributions
    of rows sum to in so many steps, (rows,). `other_baselines` says whether the stability is checked.

    Raises:
        NotRun: the budget does not pay for the least.
    """
    method, notes = choice
    count = len(parts.inputs)
    if not METHODS[method].explanation:
        return SegmentPlan(method, notes, parts, np.arange(count), LADDER[0], 1, count)

    def missed(few: NDArray[np.int64], steps: int) -> Floats:
        return sums(parts.take(few), steps) - change[few]

    cost = Cost(method, count, int(parts.counts.max(initial=1)), layer_count(parts.decision.network), other_baselines)
    in_steps = METHODS[method].complete and METHODS[method].reads != "outputs"
    trials, chosen, steps = choose_trials(subject.work, cost, missed if in_steps else None, change, seed=subject.seed)
    notes = [*notes, *subject.work.limited(len(chosen), count)]
    return SegmentPlan(method, notes, parts.take(chosen), chosen, trials, steps, cost.passes(trials, steps))
