"""Log odds of labels under what a model says: the scale on which attacks compare how sure models are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def odds_of_classes(probabilities: Array, labels: NDArray[Any]) -> Array:
    """Return the log odds of the true label, (..., rows), of class probabilities (..., rows, classes).

    The complement is summed over the other classes, so that a probability close to 1 keeps its digits.

    >>> odds_of_classes(np.array([[0.2, 0.8], [0.5, 0.5]]), np.array([1, 0])).round(3).tolist()
    [1.386, 0.0]
    """
    tiny = np.finfo(np.float64).tiny
    true = np.take_along_axis(probabilities, np.broadcast_to(labels[:, None], (*probabilities.shape[:-1], 1)), axis=-1)
    others = probabilities.copy()
    np.put_along_axis(others, np.broadcast_to(labels[:, None], true.shape), 0.0, axis=-1)
    odds: Array = np.log(np.maximum(true[..., 0], tiny)) - np.log(np.maximum(others.sum(axis=-1), tiny))
    return odds


def odds_of_errors(errors: Array, deviation: float) -> Array:
    """Return the log odds of the likelihood of a regression's errors, (..., rows), for the attacks on probabilities.

    The likelihood is that of a normal error of the given deviation, over its largest: 1 for no error. The loss is then
    the squared error (Yeom et al. 2018), and ratios of likelihoods are those that minimising it assumes.

    >>> odds_of_errors(np.array([1.0, 2.0]), 1.0).round(3).tolist()
    [0.433, -1.855]
    """
    losses = np.maximum((errors / deviation) ** 2 / 2, np.finfo(np.float64).tiny)
    odds: Array = -losses - np.log(-np.expm1(-losses))
    return odds
