"""What is explained: one number a row, and the columns whose cells it is computed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.tasks.base import Task

Inputs = NDArray[np.float32]
Floats = NDArray[np.float64]
Decision = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Maps encoded rows (n, cells) and which output of each is explained (n,) to one number a row (n,)."""

ROWS_AT_ONCE = 65_536

OUTPUTS_AT_ONCE = 2**21
"""How many numbers a network returns at a time: more do not stay in a processor's cache."""
"""Rows of one forward pass: large enough to keep the cores busy, small enough for their caches."""


@dataclass(frozen=True, eq=False)
class ExplanationInput:
    """A decision over a sample of rows: what every attribution method here is given.

    `inputs` are encoded rows (rows, cells), `predicted` which output of each is explained (rows,), `baseline` the
    encoded row (cells,) that stands for "nothing known", and `columns` the cells of each column of the user's data.
    `others` are rows (n, cells) that stand for it too: methods that average over baselines draw from them. `codes` are
    the columns of integer codes that the decision looks up (`gradients.integer_codes`), `texts` those of whole texts,
    whose baseline is the empty text. `outputs` is how many numbers the network returns a row: with many, fewer rows go
    through it at a time.
    """

    decision: Decision
    inputs: Inputs
    predicted: NDArray[np.int64]
    baseline: Inputs
    columns: Mapping[str, slice]
    device: torch.device
    others: Inputs
    codes: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    outputs: int = 1

    def values(self, inputs: Inputs, predicted: NDArray[np.int64] | None = None) -> Floats:
        """Return the decision's value for encoded rows (n, cells) -> (n,), in batches."""
        classes = self.predicted if predicted is None else predicted
        parts, at_once = [], self.at_most(ROWS_AT_ONCE)
        with torch.no_grad():
            for start in range(0, len(inputs), at_once):
                rows = torch.from_numpy(inputs[start : start + at_once]).to(self.device)
                chosen = torch.from_numpy(classes[start : start + at_once]).to(self.device)
                parts.append(self.decision(rows, chosen).double().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros(0)

    def at_most(self, rows: int) -> int:
        """Return how many rows go through the network at a time: `rows`, or as many as give `OUTPUTS_AT_ONCE`."""
        return max(1, min(rows, OUTPUTS_AT_ONCE // max(1, self.outputs)))

    def change(self) -> Floats:
        """Return how far the decision moves from the baseline to each row: (rows,)."""
        return self.values(self.inputs) - self.values(np.broadcast_to(self.baseline, self.inputs.shape).copy())

    def column_masks(self, coalitions: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Widen coalitions of columns (n, columns) to masks of cells (n, cells)."""
        widths = [part.stop - part.start for part in self.columns.values()]
        return np.repeat(coalitions, widths, axis=1)

    def coalition_values(self, coalitions: NDArray[np.bool_]) -> Floats:
        """Return the decision with only a coalition's columns known: (rows, coalitions).

        The cells of the other columns are those of the baseline.
        """
        masks = self.column_masks(coalitions)
        result = np.empty((len(self.inputs), len(coalitions)))
        at_once = max(1, ROWS_AT_ONCE // len(coalitions))
        for start in range(0, len(self.inputs), at_once):
            rows = self.inputs[start : start + at_once]
            mixed = np.where(masks[None], rows[:, None], self.baseline).reshape(-1, rows.shape[1])
            classes = np.repeat(self.predicted[start : start + at_once], len(coalitions))
            result[start : start + at_once] = self.values(mixed, classes).reshape(len(rows), -1)
        return result

    def varying(self) -> tuple[str, ...]:
        """Return the columns that differ from the baseline in some row: all others have an attribution of 0."""
        differs = (self.inputs != self.baseline).any(axis=0)
        return tuple(name for name, cells in self.columns.items() if differs[cells].any())

    def with_codes(self, codes: tuple[str, ...], source: Inputs) -> ExplanationInput:
        """Return the same with `codes` as integer codes: the baseline holds the most frequent one of `source`.

        A mean of codes, as the baseline of other columns is, would be no code. `source` is (n, cells).
        """
        baseline = self.baseline.copy()
        for name in codes:
            values, counts = np.unique(source[:, self.columns[name]], return_counts=True)
            baseline[self.columns[name]] = values[counts.argmax()]
        return replace(self, codes=codes, baseline=baseline)

    def take(self, rows: NDArray[np.int64]) -> ExplanationInput:
        """Return the same decision over some of the rows."""
        return replace(self, inputs=self.inputs[rows], predicted=self.predicted[rows])


class TargetFunction(nn.Module):
    """The number that a task explains of each row, as a module of inputs (rows, ...) and explained outputs (rows,)."""

    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__()
        self.network = network
        self.task = task

    def forward(self, inputs: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
        """Return what is explained of each row, (rows,)."""
        return self.task.target(self.network(inputs).reshape(len(inputs), -1), predicted)
