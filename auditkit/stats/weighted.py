"""Weighted estimates by their influence: rates, means, and areas under the ROC curve, of rows that weigh differently.

An estimate carries the influence of each row, its first-order (Taylor-linearised) share in the estimate's error
(Binder 1983; Lumley & Scott 2017). Differences of estimates have the differences of influences; their variances, with
rows or with whole clusters as the independent units, are in `auditkit.stats.clustered`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Weighted:
    """An estimate, the influence of each row on it, (rows,), and which rows it rests on.

    The influences sum to 0, and are 0 for rows that the estimate does not rest on.
    """

    value: float
    influence: Floats
    rows: NDArray[np.bool_]

    @property
    def row_count(self) -> int:
        """Return the number of rows that the estimate rests on."""
        return int(self.rows.sum())


def effective_sample_size(weights: Floats) -> float:
    """Return how many equal rows know as much as these (Kish 1965): the square of the sum over the sum of squares.

    >>> effective_sample_size(np.array([1.0, 1.0, 2.0]))
    2.6666666666666665
    """
    checked = check_weights(weights, len(weights))
    return float(checked.sum() ** 2 / (checked**2).sum())


def check_weights(weights: Floats | None, row_count: int) -> Floats:
    """Return the weights as float64, ones where there are none.

    Raises:
        InputError: another number of weights than rows, or a weight that is not a positive number.
    """
    if weights is None:
        return np.ones(row_count)
    found = np.asarray(weights, dtype=np.float64)
    if found.shape != (row_count,):
        raise InputError(f"weights must be one a row, {row_count:,}, got {len(found):,}.")
    wrong = ~(np.isfinite(found) & (found > 0))
    if wrong.any():
        raise InputError(
            f"weights must be positive numbers: {int(wrong.sum()):,} of {row_count:,} are zero, negative or missing; "
            "leave out those rows."
        )
    return found


def weighted_mean(values: Floats, weights: Floats | None = None, rows: NDArray[np.bool_] | None = None) -> Weighted:
    """Return the weighted mean of values, or of 0 and 1 the weighted rate, over the rows that are marked.

    >>> rate = weighted_mean(np.array([1.0, 0.0, 0.0]), np.array([2.0, 1.0, 1.0]))
    >>> rate.value, rate.influence.tolist()
    (0.5, [0.25, -0.125, -0.125])
    """
    given = np.asarray(values, dtype=np.float64)
    marked = np.ones(len(given), dtype=bool) if rows is None else np.asarray(rows, dtype=bool)
    counted = np.where(marked, check_weights(weights, len(given)), 0.0)
    total = counted.sum()
    if total == 0:
        raise InputError("rows must mark at least 1 row; a mean of no rows is undefined.")
    value = float((counted * np.where(marked, given, 0.0)).sum() / total)
    return Weighted(value, np.where(marked, counted * (np.where(marked, given, 0.0) - value) / total, 0.0), marked)


def weighted_roc_auc(
    positive: NDArray[np.bool_], scores: Floats, weights: Floats | None = None, rows: NDArray[np.bool_] | None = None
) -> Weighted:
    """Return the area under the ROC curve, each pair of rows counted by the product of its weights, ties half.

    The influence of a row is that of its placement among the other class (DeLong, DeLong & Clarke-Pearson 1988). Both
    classes must occur among the marked rows.
    """
    marked = np.ones(len(scores), dtype=bool) if rows is None else np.asarray(rows, dtype=bool)
    counted = check_weights(weights, len(scores))
    above, below = marked & positive, marked & ~positive
    if not above.any() or not below.any():
        raise InputError("positive must mark some of the rows and leave some; one class has no area under a curve.")
    placement = np.zeros(len(scores))
    placement[above] = _weight_below(scores[above], scores[below], counted[below])
    placement[below] = 1 - _weight_below(scores[below], scores[above], counted[above])
    value = float((counted[above] * placement[above]).sum() / counted[above].sum())
    influence = np.zeros(len(scores))
    for own in (above, below):
        influence[own] = counted[own] * (placement[own] - value) / counted[own].sum()
    return Weighted(value, influence, marked)


def _weight_below(scores: Floats, others: Floats, weights: Floats) -> Floats:
    """Return the share of the others' weight below each score, ties half."""
    order = np.argsort(others, kind="stable")
    heap = np.append(0.0, np.cumsum(weights[order]))
    ordered = others[order]
    below = heap[np.searchsorted(ordered, scores, side="left")]
    reached = heap[np.searchsorted(ordered, scores, side="right")]
    return np.asarray((below + reached) / 2 / heap[-1], dtype=np.float64)


def least_weighted_class(estimate: Weighted, positive: NDArray[np.bool_], weights: Floats | None = None) -> float:
    """Return the effective number of rows of the rarer class, which an area under the ROC curve depends on most."""
    counted = check_weights(weights, len(positive))
    classes = (estimate.rows & positive, estimate.rows & ~positive)
    return min(effective_sample_size(counted[own]) for own in classes)
