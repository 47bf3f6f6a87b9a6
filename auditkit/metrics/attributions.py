"""Statistics over attributions: shares of a total and their intervals, as pure functions over arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from auditkit.metrics.replicates import replicates

Floats = NDArray[np.float64]


def sum_by_column(attributions: Floats, cells: dict[str, slice]) -> Floats:
    """Sum the attributions of a column's encoded cells (its one-hot and missing cells) per row.

    Args:
        attributions: (rows, cells).
        cells: for each column of the user's data, its cells.

    Returns:
        (rows, columns), in the order of `cells`.
    """
    return np.stack([attributions[:, part].sum(axis=1) for part in cells.values()], axis=1)


def ratio_replicates(numerators: Floats, denominators: Floats) -> tuple[float, ...]:
    """Return the ratio of the means of (rows,) each without each block of rows (`auditkit.metrics.replicates`)."""

    def ratio(rows: NDArray[np.intp]) -> float | None:
        total = float(denominators[rows].sum())
        return float(numerators[rows].sum()) / total if total > 0 else None

    return replicates(ratio, len(denominators))


def ratio_of_means(
    numerators: Floats, denominators: Floats, *, level: float, family_size: int = 1
) -> tuple[Floats, Floats, Floats]:
    """Return mean(numerators) / mean(denominators) per column, with its delta-method interval.

    For R = mean(a) / mean(t), var(R) is approximately var(a - R t) / (n mean(t)^2) (Cochran 1977, eq. 6.13).
    `family_size` > 1 widens the intervals so that that many hold at once (Bonferroni).

    Args:
        numerators: (rows, columns), not negative.
        denominators: (rows,), not negative, with a positive mean.
        level: confidence level in (0, 1).
        family_size: number of intervals that must hold together.

    Returns:
        value, low, high: (columns,) each; low is not below 0.

    >>> value, low, high = ratio_of_means(np.array([[1.0], [3.0]]), np.array([4.0, 4.0]), level=0.95)
    >>> float(value[0])
    0.5
    """
    total = denominators.mean()
    value = numerators.mean(axis=0) / total
    residuals = numerators - value * denominators[:, None]
    spread = residuals.std(axis=0, ddof=1) if len(residuals) > 1 else np.full(len(value), np.inf)
    z = norm.ppf(1 - (1 - level) / (2 * family_size))
    half = z * spread / (np.sqrt(len(residuals)) * total)
    return value, np.maximum(value - half, 0.0), value + half
