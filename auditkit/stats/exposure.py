"""How much a model prefers the true code of a secret to all other codes: exposure, exactly, with its p-value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]


def rank_p_values(log_probabilities: Floats, codes: NDArray[np.int64]) -> Floats:
    """Return the rank of each secret's code among all codes over their number: float64, (secrets,).

    `log_probabilities` are (secrets, codes). The rank counts the codes that are at least as likely, itself included. A
    code that was drawn uniformly, and never read by the model, has a rank that is uniform, so that this is a p-value;
    minus its binary logarithm is the exposure (Carlini et al. 2019), which is computed here over all codes.

    >>> rank_p_values(np.array([[0.0, -1.0, -2.0, -3.0]]), np.array([1]))
    array([0.5])
    """
    own = np.take_along_axis(log_probabilities, codes[:, None], axis=1)
    found: Floats = (log_probabilities >= own).mean(axis=1)
    return found


def combined_p_value(p_values: Floats) -> float:
    """Return the p-value of several independent ones by the product of all (Fisher 1925): of no secret being known.

    Minus the logarithm of the product is the mean exposure times their number, so that this is the p-value of the mean
    exposure.

    >>> round(combined_p_value(np.array([0.5])), 6)
    0.5
    """
    return float(special.gammaincc(len(p_values), float(-np.log(p_values).sum())))


def bounded_mean_interval(values: Floats, highest: float, level: float) -> tuple[float, float]:
    """Return an interval of the mean of values from 0 to `highest` that holds for any distribution (Anderson 1969).

    By the Dvoretzky-Kiefer-Wolfowitz band with Massart's constant: it has no width of 0 where all values are alike.

    >>> low, high = bounded_mean_interval(np.full(20, 10.0), 10.0, 0.95)
    >>> round(low, 2), high
    (6.96, 10.0)
    """
    ordered = np.sort(values)
    band = float(np.sqrt(np.log(2 / (1 - level)) / (2 * len(values))))
    below = np.arange(len(values) + 1) / len(values)
    steps = np.diff(np.concatenate([[0.0], ordered, [highest]]))
    low = float((steps * (1 - np.minimum(below + band, 1.0))).sum())
    high = float((steps * (1 - np.maximum(below - band, 0.0))).sum())
    return low, min(high, highest)
