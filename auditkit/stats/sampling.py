"""How rows came into a data set: the weight of each, and the cluster that it belongs to.

Rates of such rows are given as those of independent rows with the same variance (Korn & Graubard 1998), so that every
interval of a rate, of a gap and of a ratio holds for them too. `auditkit.stats.clustered` has the same for estimates
that carry the influence of each row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.stats.clustered import FEWEST_HOLDING, design_freedom
from auditkit.stats.weighted import check_weights, effective_sample_size

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sampling:
    """The weight of each row, float64, (rows,), and the code of its cluster, int64, (rows,).

    `weights` is None where all rows count alike, `clusters` where every row stands alone. A sample with neither is
    *simple*.
    """

    weights: Floats | None = None
    clusters: Codes | None = None

    @property
    def is_simple(self) -> bool:
        """Whether rows count alike and are independent of each other."""
        return self.weights is None and self.clusters is None

    def take(self, rows: NDArray[Any] | slice) -> Sampling:
        """Return the weights and clusters of some of the rows."""
        if self.is_simple:
            return self
        return Sampling(
            None if self.weights is None else self.weights[rows],
            None if self.clusters is None else self.clusters[rows],
        )

    def repeated(self, times: int) -> Sampling:
        """Return the sampling of all rows, `times` one after another."""
        return Sampling(
            None if self.weights is None else np.tile(self.weights, times),
            None if self.clusters is None else np.tile(self.clusters, times),
        )

    def weights_of(self, row_count: int) -> Floats:
        """Return the weight of each of so many rows; ones where they count alike."""
        return np.ones(row_count) if self.weights is None else self.weights

    def is_one_cluster(self, row_count: int) -> bool:
        """Return whether so many rows are all of one cluster, which shows nothing of how far clusters lie apart."""
        clusters = self.clusters
        return clusters is not None and row_count > 1 and bool((clusters == clusters[0]).all())

    def units_of(self, row_count: int) -> Codes:
        """Return the independent unit that each of so many rows belongs to: its cluster, or itself."""
        return np.arange(row_count) if self.clusters is None else self.clusters


SIMPLE = Sampling()


def sampling_of(weights: Floats | None, clusters: Codes | None) -> Sampling:
    """Return the sampling of rows; equal weights, and clusters of one row each, are none.

    Raises:
        InputError: a weight that is not a positive number.
    """
    if weights is not None:
        weights = check_weights(weights, len(weights))
        weights = np.ldexp(weights, -int(np.frexp(weights.max())[1]))  # exact, and no sum of them overflows
        weights = None if (weights == weights[0]).all() else weights
    if clusters is not None:
        _, clusters, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
        clusters = None if (sizes == 1).all() else clusters
    return Sampling(weights, clusters)


def joined_sampling(parts: list[Sampling]) -> Sampling:
    """Return the sampling of several parts of the same rows, one after another."""
    weights = [part.weights for part in parts if part.weights is not None]
    clusters = [part.clusters for part in parts if part.clusters is not None]
    return Sampling(np.concatenate(weights) if weights else None, np.concatenate(clusters) if clusters else None)


def effective_rows(sampling: Sampling, row_count: int) -> float:
    """Return how many equal rows know as much as these by their weights (Kish 1965)."""
    return float(row_count) if sampling.weights is None else effective_sample_size(sampling.weights)


@dataclass(frozen=True, eq=False)
class Cells:
    """The rows of a table of counts: the group and the cell of each, (rows,), and how they were sampled.

    A cell is `label * classes + prediction`.
    """

    groups: Codes
    cells: Codes
    sampling: Sampling

    def sums(self, group_count: int, cell_count: int) -> Floats:
        """Return the sum of the weights of each group and cell: float64, (groups, cells)."""
        weights = self.sampling.weights_of(len(self.cells))
        flat = np.bincount(self.groups * cell_count + self.cells, weights, minlength=group_count * cell_count)
        return np.asarray(flat, dtype=np.float64).reshape(group_count, cell_count)


def joined_cells(parts: list[Cells]) -> Cells:
    """Return the rows of several tables of the same rows, one table after another."""
    return Cells(
        np.concatenate([part.groups for part in parts]),
        np.concatenate([part.cells for part in parts]),
        parts[0].sampling.repeated(len(parts)),
    )


@dataclass(frozen=True, eq=False)
class EffectiveRates:
    """A rate of each group as one of independent rows: float64, (groups,); NaN where a group has none of its rows.

    `trials` is the number of independent rows with the same variance, `freedom` the degrees of freedom with which the
    design effect is known, and `units` the number of clusters. `related` is the correlation of the groups' estimates,
    (groups, groups), which is 0 unless a cluster holds rows of both.
    """

    values: Floats
    trials: Floats
    freedom: Floats
    units: Codes
    related: Floats


def effective_rates(
    cells: Cells, group_count: int, successes: NDArray[np.int64], trials: NDArray[np.int64]
) -> EffectiveRates:
    """Return the rate of each group by the linearised variance of rows that weigh differently or come in clusters.

    `successes` and `trials` mark the cells that a rate counts, (cells,). The variance of a rate adds up the squares of
    the clusters' summed influences. The effective number of rows is that of independent rows with this variance, at
    most Kish's by weights alone, or, with clusters, the rows themselves. Where fewer than 10 clusters hold the rarer
    outcome they tell little of the variance, and nothing where none does: then it is at most Kish's number of clusters.
    """
    counted = trials.astype(bool)[cells.cells]
    groups, hits = cells.groups[counted], successes.astype(bool)[cells.cells[counted]]
    weights = cells.sampling.weights_of(len(cells.cells))[counted]
    units = cells.sampling.units_of(len(cells.cells))[counted]
    total = np.bincount(groups, weights, group_count)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.bincount(groups, weights * hits, group_count) / total
        keys, place = np.unique(units * group_count + groups, return_inverse=True)
        of_unit, owner = keys // max(group_count, 1), keys % max(group_count, 1)
        summed, held = np.bincount(place, weights), np.bincount(place, weights * hits)
        influence = (held - values[owner] * summed) / total[owner]
        unit_count = np.bincount(owner, minlength=group_count)
        spread = unit_count / np.maximum(unit_count - 1, 1)
        variance = np.bincount(owner, influence**2, group_count) * spread
        rarer = np.where(values[owner] <= 0.5, held, summed - held) > 1e-12 * summed
        holding = np.bincount(owner, rarer, group_count)
        of_units = total**2 / np.bincount(owner, summed**2, group_count)
        rows = np.bincount(groups, minlength=group_count)
        most = rows if cells.sampling.clusters is not None else total**2 / np.bincount(groups, weights**2, group_count)
        seen = np.minimum(values * (1 - values) / variance, most)
        effective = np.where(holding >= FEWEST_HOLDING, seen, np.minimum(seen, of_units))
        effective = np.where(variance > 0, effective, of_units)
    related = np.eye(group_count)
    if cells.sampling.clusters is not None:
        related = _related(influence, of_unit, owner, unit_count)
    freedom = design_freedom(values, influence, owner, unit_count)
    return EffectiveRates(values, effective, freedom, unit_count, related)


def _related(influence: Floats, units: Codes, groups: Codes, unit_count: Codes) -> Floats:
    """Return the correlation of the groups' estimates, (groups, groups), from the influence of each unit and group."""
    from scipy.sparse import coo_matrix

    count = len(unit_count)
    _, units = np.unique(units, return_inverse=True)
    table = coo_matrix(
        (np.nan_to_num(influence), (units, groups)), shape=(int(units.max(initial=0)) + 1, count)
    ).tocsr()
    shared = (table.T @ table).toarray()
    more = np.maximum(unit_count[:, None], unit_count[None, :])
    shared *= more / np.maximum(more - 1, 1)
    own = np.sqrt(np.diag(shared))
    product = own[:, None] * own[None, :]
    found: Floats = np.clip(np.divide(shared, product, out=np.zeros_like(shared), where=product > 0), -1, 1)
    return found
