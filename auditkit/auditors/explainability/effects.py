"""How the decision moves with a column: accumulated local effects, and the principal reasons of a decision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.explainability.target_function import ExplanationInput, Floats


@dataclass(frozen=True, eq=False)
class LocalEffects:
    """The accumulated local effects of one numeric cell: `effect` and its standard error at each of `edges`."""

    edges: Floats
    effect: Floats
    standard_error: Floats


def accumulated_local_effects(explained: ExplanationInput, cell: int, *, bin_count: int = 20) -> LocalEffects | None:
    """Return how the decision moves with one numeric cell, other cells staying as they are; None for a constant cell.

    Within each quantile bin the mean difference of the decision between the bin's edges, accumulated and centred
    (Apley & Zhu 2020, arXiv:1612.08468, eq. 15-16). Unlike partial dependence it never leaves the data's support by
    more than a bin. The standard error accumulates those of the bins' means.
    """
    values = explained.inputs[:, cell].astype(np.float64)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bin_count + 1)))
    if len(edges) < 2:
        return None
    bins = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, len(edges) - 2)
    ends = []
    for side in (0, 1):
        moved = explained.inputs.copy()
        moved[:, cell] = edges[bins + side]
        ends.append(explained.values(moved))
    difference = ends[1] - ends[0]
    counts = np.bincount(bins, minlength=len(edges) - 1)
    total = np.maximum(counts, 1)
    mean = np.bincount(bins, difference, minlength=len(counts)) / total
    square = np.bincount(bins, difference**2, minlength=len(counts)) / total
    variance = np.where(counts > 1, (square - mean**2) / np.maximum(counts - 1, 1), 0.0)
    effect = np.concatenate([[0.0], np.cumsum(mean)])
    middle = (effect[:-1] + effect[1:]) / 2
    centre = float((middle * counts).sum() / counts.sum())
    error = np.sqrt(np.concatenate([[0.0], np.cumsum(np.maximum(variance, 0.0))]))
    return LocalEffects(edges=edges, effect=effect - centre, standard_error=error)


def principal_reasons(attributions: Floats, *, reason_count: int = 4) -> NDArray[np.bool_]:
    """Return, per row, the columns that cost most: (rows, columns), True for at most `reason_count` a row.

    `attributions` are those of the positive decision against the average approved row; only columns with a negative
    part count (12 CFR 1002.9(b)(2): the specific principal reasons, of factors actually scored).

    >>> principal_reasons(np.array([[-3.0, 1.0, -1.0]]), reason_count=1)
    array([[ True, False, False]])
    """
    order = attributions.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    return (order < reason_count) & (attributions < 0)
