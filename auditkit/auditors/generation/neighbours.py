"""Quality of generated rows by nearest neighbours: precision, recall, density, coverage, and a kernel distance.

Precision and recall: Kynkaanniemi et al. 2019 (arXiv:1904.06991). Density and coverage: Naeem et al. 2020
(arXiv:2002.09797). Kernel distance: the unbiased squared maximum mean discrepancy with a cubic polynomial kernel,
Binkowski et al. 2018 (arXiv:1801.01401).

All functions take rows of features, (rows, width), and hold blocks of at most `CELLS_AT_ONCE` distances in memory.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from auditkit.errors import InputError

Array = NDArray[np.float32]

NEIGHBOUR_COUNT = 5
"""The neighbour whose distance is the radius of a row's neighbourhood, as in Naeem et al. 2020."""

CELLS_AT_ONCE = 2**22
"""How many distances are held in memory at a time."""


class ManifoldMetrics(NamedTuple):
    """Four numbers that compare two sets of rows; higher is better.

    `precision` is the share of samples inside the neighbourhood of some real row, `recall` the share of real rows
    inside that of some sample, `density` the mean number of real neighbourhoods that a sample lies in, divided by the
    neighbour count (about 1 for equal distributions, and may exceed it), `coverage` the share of real rows whose
    neighbourhood holds a sample.
    """

    precision: float
    recall: float
    density: float
    coverage: float


class RealRows(NamedTuple):
    """Real rows with what is computed of them once: float32, (rows, width), and squared radii, (rows,)."""

    rows: torch.Tensor
    squared_radii: torch.Tensor


def real_rows(rows: Array, neighbour_count: int = NEIGHBOUR_COUNT) -> RealRows:
    """Return real rows with the radii of their neighbourhoods: the distance to the `neighbour_count`-th other row.

    Raises:
        InputError: fewer rows than a neighbourhood needs, or a value that is not finite.
    """
    tensor = _checked(rows, neighbour_count)
    return RealRows(tensor, squared_radii(tensor, neighbour_count))


class Neighbourhoods(NamedTuple):
    """What lies near what: the real neighbourhoods each sample lies in, and which real rows are near samples.

    `containing`, (samples,), counts real neighbourhoods; `recalled` says which real rows lie in the neighbourhood of a
    sample, `covered` which real neighbourhoods hold one, each (real rows,): recall and coverage by group are means.
    """

    containing: NDArray[np.int64]
    recalled: NDArray[np.bool_]
    covered: NDArray[np.bool_]
    neighbour_count: int

    @property
    def metrics(self) -> ManifoldMetrics:
        """Precision, recall, density and coverage."""
        return ManifoldMetrics(
            precision=float((self.containing > 0).mean()),
            recall=float(self.recalled.mean()),
            density=float(self.containing.mean()) / self.neighbour_count,
            coverage=float(self.covered.mean()),
        )


def neighbourhoods(real: RealRows, samples: Array, neighbour_count: int = NEIGHBOUR_COUNT) -> Neighbourhoods:
    """Return which of `samples`, (rows, width), and real rows lie in each other's neighbourhoods.

    Raises:
        InputError: fewer samples than a neighbourhood needs, another width, or a value that is not finite.
    """
    fake = _checked(samples, neighbour_count)
    if fake.shape[1] != real.rows.shape[1]:
        raise InputError(f"samples must have {real.rows.shape[1]} columns as the real rows have, got {fake.shape[1]}.")
    fake_radii = squared_radii(fake, neighbour_count)
    containing = torch.zeros(len(fake), dtype=torch.int64)
    recalled = torch.zeros(len(real.rows), dtype=torch.bool)
    covered = torch.zeros(len(real.rows), dtype=torch.bool)
    for block in _blocks(len(real.rows), len(fake)):
        distances = squared_distances(real.rows[block], fake)
        inside = distances <= real.squared_radii[block][:, None]
        containing += inside.sum(dim=0)
        covered[block] = inside.any(dim=1)
        recalled[block] = (distances <= fake_radii).any(dim=1)
    return Neighbourhoods(containing.numpy(), recalled.numpy(), covered.numpy(), neighbour_count)


def manifold_metrics(real: RealRows, samples: Array, neighbour_count: int = NEIGHBOUR_COUNT) -> ManifoldMetrics:
    """Return precision, recall, density and coverage of `samples`; see `neighbourhoods`."""
    return neighbourhoods(real, samples, neighbour_count).metrics


def kernel_distance(real: Array, samples: Array) -> float:
    """Return the unbiased squared maximum mean discrepancy with the kernel (x.y / width + 1)^3.

    0 in expectation for equal distributions, whatever the number of rows (it can come out slightly negative); higher
    is worse. Rows should be on a common scale, such as standardised features.
    """
    x, y = _checked(real, 1), _checked(samples, 1)
    n, m = len(x), len(y)
    own_x, own_y = (float(_cubed(rows.square().sum(dim=1) / rows.shape[1] + 1).double().sum()) for rows in (x, y))
    within_x, within_y, between = _kernel_sum(x, x), _kernel_sum(y, y), _kernel_sum(x, y)
    return (within_x - own_x) / (n * (n - 1)) + (within_y - own_y) / (m * (m - 1)) - 2 * between / (n * m)


def squared_radii(rows: torch.Tensor, neighbour_count: int) -> torch.Tensor:
    """Return the squared distance from each row to its `neighbour_count`-th nearest other row, (rows,)."""
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(algorithm="brute").fit(rows.numpy())
    distances, _ = nearest.kneighbors(n_neighbors=neighbour_count)  # without an argument a row is not its own
    return torch.from_numpy(distances[:, -1].astype(np.float32)).square()


def squared_distances(rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return squared Euclidean distances, float32, (rows, others), at least 0."""
    norms = rows.square().sum(dim=1, keepdim=True), others.square().sum(dim=1)
    return torch.addmm(norms[1], rows, others.T, alpha=-2).add_(norms[0]).clamp_(min=0)


def _kernel_sum(one: torch.Tensor, other: torch.Tensor) -> float:
    total = 0.0
    for block in _blocks(len(one), len(other)):
        kernel = torch.addmm(torch.ones(()), one[block], other.T, alpha=1 / one.shape[1])
        total += float(_cubed(kernel).sum(dim=1).double().sum())
    return total


def _cubed(values: torch.Tensor) -> torch.Tensor:
    return values * values * values


def _blocks(row_count: int, other_count: int) -> list[slice]:
    step = max(1, CELLS_AT_ONCE // max(1, other_count))
    return [slice(start, start + step) for start in range(0, row_count, step)]


def _checked(rows: Array, neighbour_count: int) -> torch.Tensor:
    array = np.ascontiguousarray(rows, dtype=np.float32)
    if array.ndim != 2 or len(array) <= neighbour_count:
        raise InputError(
            f"rows must be (rows, width) with more than {neighbour_count} rows, got shape {array.shape}; pass more."
        )
    if not np.isfinite(array).all():
        raise InputError("rows must be finite; a generator returned NaN or infinity.")
    return torch.from_numpy(array)
