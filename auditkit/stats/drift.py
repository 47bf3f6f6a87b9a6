"""How far the distribution of a column has moved between two samples, with an interval and a test."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.messages import Message

FEWEST_EXPECTED = 5
"""Categories with fewer expected rows than this in a sample are taken together for the test."""


class Drift(NamedTuple):
    """A distance between two distributions from 0 (the same) to 1, and the p-value of there being none.

    `kind` names the distance; `sizes` are the rows of the samples, `categories` their number of categories.
    """

    distance: float
    p_value: float
    kind: str
    sizes: tuple[int, int]
    categories: int = 0


def numeric_drift(first: NDArray[np.float64], second: NDArray[np.float64]) -> Drift:
    """Return the Kolmogorov-Smirnov distance of two samples of numbers; a missing value (NaN) is below all others.

    >>> numeric_drift(np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 4.0, 5.0, 6.0])).distance
    0.5
    """
    from scipy import stats

    lowest, other = (np.where(np.isnan(part), -np.inf, part) for part in (first, second))
    found = stats.ks_2samp(lowest, other, method="asymp")
    return Drift(float(found.statistic), float(found.pvalue), Message("Kolmogorov-Smirnov"), (len(first), len(second)))


def categorical_drift(first: NDArray[np.int64], second: NDArray[np.int64]) -> Drift:
    """Return the total variation distance of two samples counted by category, with a chi-squared test.

    It is the share of rows that would have to change category to make the samples alike.

    >>> categorical_drift(np.array([50, 50]), np.array([80, 20])).distance
    0.3
    """
    from scipy import stats

    table = np.stack([first, second]).astype(np.float64)
    table = table[:, table.sum(axis=0) > 0]
    rows = table.sum(axis=1)
    distance = float(np.abs(table[0] / rows[0] - table[1] / rows[1]).sum() / 2)
    expected = table.sum(axis=0) * rows.min() / rows.sum()
    rare = expected < FEWEST_EXPECTED
    pooled = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)]) if rare.any() else table
    pooled = pooled[:, pooled.sum(axis=0) > 0]
    p_value = 1.0
    if pooled.shape[1] > 1:
        p_value = float(stats.chi2_contingency(pooled, correction=False).pvalue)
    return Drift(round(distance, 15), p_value, Message("total variation"), (int(rows[0]), int(rows[1])), table.shape[1])


def drift_interval(drift: Drift, level: float) -> tuple[float, float]:
    """Return an interval of the distance between the two populations, which holds for any distributions.

    Each sample's own distance from its population is bounded with half of the error: by Dvoretzky, Kiefer, Wolfowitz
    and Massart for Kolmogorov-Smirnov, by McDiarmid around its largest expectation for total variation.
    """
    error = 1 - level
    reach = 0.0
    for size in drift.sizes:
        if drift.kind == "Kolmogorov-Smirnov":
            reach += float(np.sqrt(np.log(4 / error) / (2 * size)))
        else:
            reach += float(np.sqrt((drift.categories - 1) / size) + np.sqrt(2 * np.log(2 / error) / size)) / 2
    return max(drift.distance - reach, 0.0), min(drift.distance + reach, 1.0)


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p-values corrected for their number, so that below `a` at most a share `a` of families errs (Holm 1979).

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * np.arange(count, 0, -1))
    corrected = np.empty(count)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected
