"""Quality of generated rows by nearest neighbours: precision, recall, density, coverage, and a kernel distance.

Precision and recall: Kynkaanniemi et al. 2019 (arXiv:1904.06991). Density and coverage: Naeem et al. 2020
(arXiv:2002.09797). Kernel distance: the unbiased squared maximum mean discrepancy with a cubic polynomial kernel,
Binkowski et al. 2018 (arXiv:1801.01401). Authenticity: Alaa et al. 2022 (arXiv:2102.08921).

All functions take rows of features, (rows, width), and hold blocks of at most `CELLS_AT_ONCE` distances in memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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


def manifold_metrics(real: RealRows, samples: Array, neighbour_count: int = NEIGHBOUR_COUNT) -> ManifoldMetrics:
    """Return precision, recall, density and coverage of `samples`, (rows, width), against real rows.

    Raises:
        InputError: fewer samples than a neighbourhood needs, another width, or a value that is not finite.
    """
    fake = _checked(samples, neighbour_count)
    if fake.shape[1] != real.rows.shape[1]:
        raise InputError(f"samples must have {real.rows.shape[1]} columns as the real rows have, got {fake.shape[1]}.")
    fake_radii = squared_radii(fake, neighbour_count)
    inside_count = torch.zeros(len(fake))
    recalled = torch.zeros(len(real.rows), dtype=torch.bool)
    covered = torch.zeros(len(real.rows), dtype=torch.bool)
    for block in _blocks(len(real.rows), len(fake)):
        distances = squared_distances(real.rows[block], fake)
        inside = distances <= real.squared_radii[block][:, None]
        inside_count += inside.sum(dim=0)
        covered[block] = inside.any(dim=1)
        recalled[block] = (distances <= fake_radii).any(dim=1)
    return ManifoldMetrics(
        precision=float((inside_count > 0).double().mean()),
        recall=float(recalled.double().mean()),
        density=float(inside_count.double().mean()) / neighbour_count,
        coverage=float(covered.double().mean()),
    )


def covered_rows(real: RealRows, samples: Array) -> NDArray[np.bool_]:
    """Return which real rows have a sample in their neighbourhood, (rows,): coverage by group is its mean."""
    nearest, _ = nearest_rows(real.rows, _checked(samples, 1))
    return (nearest <= real.squared_radii).numpy()


def authentic_samples(training: Array, samples: Array) -> NDArray[np.bool_]:
    """Return which samples are farther from their nearest training row than that row is from its own neighbour.

    The share of such samples has no ideal value of its own: hold it against that of unseen real rows (Alaa et al.
    2022, section 3).
    """
    known = _checked(training, 1)
    radii = squared_radii(known, 1)
    nearest, position = nearest_rows(_checked(samples, 1), known)
    return (nearest > radii[position]).numpy()


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
    distances, _ = _nearest(rows).kneighbors(n_neighbors=neighbour_count)  # without an argument a row is not its own
    return torch.from_numpy(distances[:, -1].astype(np.float32)).square()


def nearest_rows(rows: torch.Tensor, others: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the squared distance from each row to the nearest of `others`, and that one's position."""
    distances, positions = _nearest(others).kneighbors(rows.numpy(), n_neighbors=1)
    return torch.from_numpy(distances[:, 0].astype(np.float32)).square(), torch.from_numpy(positions[:, 0])


def _nearest(rows: torch.Tensor) -> Any:
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(algorithm="brute").fit(rows.numpy())


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
