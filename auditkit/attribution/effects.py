"""How the decision moves with a column: accumulated local effects, principal reasons, and recourse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from auditkit.attribution.decision import Explained, Floats, Inputs


@dataclass(frozen=True, eq=False)
class LocalEffects:
    """The accumulated local effects of one numeric cell: `effect` and its standard error at each of `edges`."""

    edges: Floats
    effect: Floats
    standard_error: Floats


def accumulated_local_effects(explained: Explained, cell: int, *, bin_count: int = 20) -> LocalEffects | None:
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


def recourse(
    explained: Explained,
    candidates: Mapping[str, Inputs],
    *,
    changeable: Sequence[str],
    threshold: float,
    most_changes: int = 2,
    pair_candidate_count: int = 6,
) -> NDArray[np.int64]:
    """Return how many columns must change for each row's decision to reach `threshold`: (rows,), 0 where none suffices.

    Tried are all candidate encodings of one changeable column, then of pairs of the columns that help most alone, each
    with the values that help most alone (`pair_candidate_count` of them); so a 0 says that none was found, not that
    there is none.

    Args:
        explained: the rows whose decision lies under the threshold.
        candidates: for each column, the encoded cells (n, width) of the values it may take.
        changeable: the columns that a person can change.
        threshold: the decision's value from which on it is favourable.
        most_changes: 1 or 2.
        pair_candidate_count: values of each column that are tried in pairs.
    """
    needed = np.zeros(len(explained.inputs), dtype=np.int64)
    gains: dict[str, Floats] = {}
    for name in changeable:
        cells = explained.columns[name]
        options = candidates[name]
        reached = np.empty((len(explained.inputs), len(options)))
        for index, option in enumerate(options):
            moved = explained.inputs.copy()
            moved[:, cells] = option
            reached[:, index] = explained.values(moved)
        gains[name] = reached
        needed[(needed == 0) & (reached >= threshold).any(axis=1)] = 1
    if most_changes < 2:
        return needed
    best = {name: _best_options(gains[name], pair_candidate_count) for name in changeable}
    for first, second in combinations(changeable, 2):
        open_rows = np.flatnonzero(needed == 0)
        if len(open_rows) == 0:
            break
        part = explained.take(open_rows)
        found = np.zeros(len(open_rows), dtype=bool)
        for one in best[first][open_rows].T:
            moved = part.inputs.copy()
            moved[:, explained.columns[first]] = candidates[first][one]
            for other in best[second][open_rows].T:
                moved[:, explained.columns[second]] = candidates[second][other]
                found |= part.values(moved) >= threshold
        needed[open_rows[found]] = 2
    return needed


def _best_options(reached: Floats, count: int) -> NDArray[np.int64]:
    return np.asarray((-reached).argsort(axis=1, kind="stable")[:, :count])


def column_candidates(explained: Explained, *, most_values: int = 40) -> dict[str, Inputs]:
    """Return the encoded values (n, width) that each column takes in the data, at most `most_values`, evenly spread.

    Only values that occur are offered, so that no change leaves the data's categories and ranges.
    """
    candidates: dict[str, Inputs] = {}
    for name, cells in explained.columns.items():
        distinct = np.unique(explained.inputs[:, cells], axis=0)
        chosen = np.unique(np.linspace(0, len(distinct) - 1, min(most_values, len(distinct))).round().astype(int))
        candidates[name] = distinct[chosen]
    return candidates
