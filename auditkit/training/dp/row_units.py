"""Rows of one person together as the unit of privacy of a classifier, and their mean loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from auditkit.schema.schema import Labels, each_label, without_labels
from auditkit.tasks.objectives import Objective, Output

MOST_ROWS = 16
"""The rows that a unit of several contributes at most: the first ones."""


class RowUnits(NamedTuple):
    """Rows by unit: `inputs`, (units, rows, ...), and `labels`, (units, rows), and how many rows the bound cut off.

    A unit of fewer rows than others has its first row again in the places that are left, with a label that is none.
    """

    inputs: NDArray[Any]
    labels: Labels
    cut_count: int


def row_units(inputs: NDArray[Any], labels: Labels, owners: NDArray[np.int64]) -> RowUnits:
    """Return rows, (rows, ...), and their labels, (rows,), by the number of the unit that each belongs to, (rows,)."""
    order = np.argsort(owners, kind="stable")
    own = np.split(order, np.flatnonzero(np.diff(owners[order])) + 1)
    most = min(MOST_ROWS, max(map(len, own)))
    places = np.array([[*rows[:most], *[rows[0]] * (most - len(rows))] for rows in own])
    known = np.arange(most) < np.array([[len(rows)] for rows in own])
    cut_count = sum(max(0, len(rows) - most) for rows in own)
    return RowUnits(inputs[places], without_labels(labels[places], known), cut_count)


@dataclass(frozen=True)
class MeanRowLoss:
    """The mean loss of the rows of a unit by the objective of a task.

    Labels are (units, rows), of which some are none. Outputs are (units, numbers), those of one row after another.
    """

    of_row: Objective

    @property
    def output(self) -> Output:
        """What the network returns for each row."""
        return self.of_row.output

    def targets(self, labels: Labels) -> NDArray[Any]:
        """Return labels as the loss of a row takes them."""
        return self.of_row.targets(labels)

    def strata(self, labels: Labels) -> NDArray[Any]:
        """Return one class for all units."""
        return np.zeros(len(labels))

    def require_labels(self, labels: Labels) -> None:
        """Raise DatasetError for labels of rows that cannot be learnt."""
        self.of_row.require_labels(labels[each_label(labels)])

    def require_outputs(self, outputs: torch.Tensor, labels: Labels) -> None:
        """Raise for outputs of rows that cannot be held against the labels."""
        self.of_row.require_outputs(_by_row(outputs, labels.shape[1]), labels[each_label(labels)])

    def losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of each unit's rows that have a label, (units,)."""
        known = ~targets.isnan() if targets.is_floating_point() else targets >= 0
        learnt = torch.where(known, targets, torch.zeros_like(targets))
        losses = self.of_row.losses(_by_row(outputs, targets.shape[1]), learnt.flatten()).view(known.shape)
        return (losses * known).sum(dim=1) / known.sum(dim=1)

    def scores(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return the outputs of each unit's rows, one behind the other, (units, numbers)."""
        return outputs.double()

    def batch(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both as they are."""
        return inputs, targets


def _by_row(outputs: torch.Tensor, row_count: int) -> torch.Tensor:
    """Return the outputs of units, (units, rows * numbers), as those of their rows, (units * rows, numbers)."""
    return outputs.reshape(len(outputs) * row_count, -1)
