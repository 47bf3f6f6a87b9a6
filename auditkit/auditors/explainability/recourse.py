"""Recourse: the cheapest change of one or two columns that turns a decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.explainability.target_function import ExplanationInput, Floats, Inputs
from auditkit.schema.table import Feature

RARE = 0.01
"""A category held by a smaller share of the rows is no change that is offered."""

TRIED_AT_ONCE = 20_000
"""How many combinations are tried at a time, in the order of their costs."""

LOWEST, HIGHEST = 0.05, 0.95
"""Numbers are offered between these quantiles of the rows."""


@dataclass(frozen=True, eq=False)
class Options:
    """The values that a column may be changed to: their encoded `cells`, (options, width).

    For numbers `known`, (rows,), are the ascending values of the reference rows, in which a change is measured; for
    others it is empty.
    """

    cells: Inputs
    known: Floats

    def costs(self, held: Inputs) -> Floats:
        """Return what it costs to go from the cells `held`, (rows, width), to each option: (rows, options).

        A number costs the share of the reference rows that lie between (Ustun et al. 2019, arXiv:1809.06514, the
        percentile shift), any other change 1; what does not change costs 0.
        """
        if len(self.known):
            here, there = _percentiles(self.known, held[:, 0]), _percentiles(self.known, self.cells[:, 0])
            return np.asarray(np.abs(here[:, None] - there[None]))
        return np.asarray((held[:, None] != self.cells[None]).any(axis=2), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Recourse:
    """The change found for each row: its `cost`, (rows,), NaN where none was found, and the `changed` columns.

    `changed` is (rows, 2): positions among the changeable columns, -1 for none.
    """

    cost: Floats
    changed: NDArray[np.int64]

    @property
    def found(self) -> NDArray[np.bool_]:
        """Whether a change was found, (rows,)."""
        return np.isfinite(self.cost)


def options_of(feature: Feature, cells: Inputs, *, most: int = 40) -> Options:
    """Return what a column may be changed to, given its cells in the reference rows, (rows, width).

    Numbers: up to `most` that occur between the 5 % and the 95 % quantile, evenly spread over the rows. Others: the
    values that at least 1 % of the rows hold. Nothing is changed to a missing or an unlisted value.
    """
    present = cells[cells[:, -1] == 0] if feature.missing else cells
    if feature.kind == "categorical":
        present = present[present.any(axis=1)]
    if feature.kind in ("numeric", "date"):
        known = np.sort(present[:, 0]).astype(np.float64)
        levels = np.linspace(LOWEST, HIGHEST, most)
        chosen = np.unique(np.quantile(known, levels, method="inverted_cdf")) if len(known) else known
        offered = np.zeros((len(chosen), cells.shape[1]), dtype=np.float32)
        offered[:, 0] = chosen
        return Options(offered, known)
    distinct, counts = np.unique(present, axis=0, return_counts=True)
    return Options(distinct[counts >= RARE * len(cells)], np.zeros(0))


def find_recourse(
    explained: ExplanationInput,
    options: Mapping[str, Options],
    changeable: Sequence[str],
    *,
    threshold: float,
    pair_option_count: int = 8,
) -> Recourse:
    """Return the cheapest change of one or two columns that lifts each row's decision to `threshold`.

    All options of a column are tried alone, then every pair of columns: with up to `pair_option_count` options of each,
    evenly spread, and then with all combinations that cost less than the cheapest change so far. So no combination of
    the options is cheaper; a row without a change has none among them.
    """
    cost = np.full(len(explained.inputs), np.inf)
    changed = np.full((len(cost), 2), -1)
    every = {name: np.arange(len(options[name].cells)) for name in changeable}
    for place, name in enumerate(changeable):
        price = _cheapest(explained, options, {name: every[name]}, threshold)
        better = price < cost
        cost[better], changed[better, 0] = price[better], place
    few = {
        name: np.unique(np.linspace(0, len(held) - 1, min(pair_option_count, len(held))).round().astype(np.int64))
        for name, held in every.items()
    }
    for chosen in (few, every):
        for first, second in combinations(range(len(changeable)), 2):
            names = changeable[first], changeable[second]
            price = _cheaper(explained, options, {name: chosen[name] for name in names}, threshold, cost)
            better = price < cost
            cost[better], changed[better] = price[better], (first, second)
    return Recourse(np.where(np.isinf(cost), np.nan, cost), changed)


def _cheaper(
    explained: ExplanationInput,
    options: Mapping[str, Options],
    chosen: Mapping[str, NDArray[np.int64]],
    threshold: float,
    most: Floats,
) -> Floats:
    """Return the least cost of setting two columns, (rows,), of combinations cheaper than `most`; inf for none.

    The combinations are tried from the cheapest on, and no more of a row once one turns it.
    """
    (one, other), best = chosen, np.full(len(most), np.inf)
    prices = [options[name].costs(explained.inputs[:, explained.columns[name]])[:, chosen[name]] for name in chosen]
    total = prices[0][:, :, None] + prices[1][:, None, :]
    row, first, second = np.nonzero(total < most[:, None, None])
    order = np.argsort(total[row, first, second], kind="stable")
    for start in range(0, len(order), TRIED_AT_ONCE):
        part = order[start : start + TRIED_AT_ONCE]
        part = part[np.isinf(best[row[part]])]
        if not len(part):
            continue
        moved = explained.inputs[row[part]]
        moved[:, explained.columns[one]] = options[one].cells[chosen[one][first[part]]]
        moved[:, explained.columns[other]] = options[other].cells[chosen[other][second[part]]]
        turned = part[explained.values(moved, explained.predicted[row[part]]) >= threshold]
        np.minimum.at(best, row[turned], total[row[turned], first[turned], second[turned]])
    return best


def _cheapest(
    explained: ExplanationInput,
    options: Mapping[str, Options],
    chosen: Mapping[str, NDArray[np.int64]],
    threshold: float,
) -> Floats:
    """Return the least cost, (rows,), of setting the columns to any combination of the chosen options; inf for none."""
    names = list(chosen)
    grid = np.stack(np.meshgrid(*chosen.values(), indexing="ij"), axis=-1).reshape(-1, len(names))
    best = np.full(len(explained.inputs), np.inf)
    if not len(grid):
        return best
    prices = {name: options[name].costs(explained.inputs[:, explained.columns[name]]) for name in names}
    total = np.sum([prices[name][:, grid[:, place]] for place, name in enumerate(names)], axis=0)
    moved = np.repeat(explained.inputs[:, None], len(grid), axis=1)
    for place, name in enumerate(names):
        moved[:, :, explained.columns[name]] = options[name].cells[grid[:, place]]
    flat = moved.reshape(-1, moved.shape[2])
    reached = explained.values(flat, np.repeat(explained.predicted, len(grid))).reshape(len(best), -1) >= threshold
    return np.asarray(np.where(reached, total, np.inf).min(axis=1))


def _percentiles(known: Floats, values: NDArray[np.floating]) -> Floats:
    """Return the share of the known values, ascending, below each value, and half of those equal to it."""
    below = np.searchsorted(known, values, side="left") + np.searchsorted(known, values, side="right")
    return below / (2 * len(known))
