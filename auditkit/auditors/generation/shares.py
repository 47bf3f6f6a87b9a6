"""Shares of classes among generated rows, corrected for what a classifier confuses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize


def corrected_shares(
    seen: NDArray[np.int64], true: NDArray[np.int64], predicted: NDArray[np.int64], class_count: int
) -> NDArray[np.float64]:
    """Return the shares of classes that best explain what a classifier sees in generated rows, (classes,).

    A classifier that takes a tenth of the sevens for ones finds too many ones. Its confusion on real rows of known
    class, column-stochastic, maps true shares to those seen; the shares are the non-negative least-squares solution
    of that map, made to sum to 1 (Saerens et al. 2002 call the problem prior correction).

    Args:
        seen: the class seen in each generated row, (rows,).
        true: the class of each real row, (real rows,), of rows that the classifier was not trained on.
        predicted: the class seen in each real row, (real rows,).
        class_count: the number of classes; each must occur in `true`.

    >>> true = np.array([0] * 10 + [1] * 10)
    >>> predicted = np.array([0] * 8 + [1] * 2 + [1] * 10)  # a fifth of the zeros is seen as ones
    >>> corrected_shares(np.array([0] * 4 + [1] * 6), true, predicted, 2).round(3).tolist()
    [0.5, 0.5]
    """
    confusion = np.zeros((class_count, class_count))
    np.add.at(confusion, (predicted, true), 1.0)
    confusion /= confusion.sum(axis=0)
    observed = np.bincount(seen, minlength=class_count) / len(seen)
    shares, _ = optimize.nnls(confusion, observed)
    result: NDArray[np.float64] = shares / shares.sum()
    return result
