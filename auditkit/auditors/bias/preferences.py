"""What log-probabilities of sentences say: which of two is preferred, by how much, and which answer is chosen.

Arrays in, numbers out. Log-probabilities are natural logarithms (nats).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from auditkit.auditors.bias.association import detectable
from auditkit.stats import clustered
from auditkit.stats.intervals import proportion_interval
from auditkit.stats.weighted import Weighted, weighted_mean

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Ends = tuple[float, float]

FEWEST_UNITS = 10
"""Of fewer pairs, or templates, nothing is estimated."""


TIE = 1e-4
"""Log-probabilities that differ by less, in nats, differ by no more than rounding does."""


class Scored(NamedTuple):
    """A text's scored tokens: their ids and their log-probabilities, both (tokens,)."""

    ids: Sequence[int]
    log_probabilities: Floats


def whole_difference(first: Scored, second: Scored) -> float:
    """Return how much more probable the first text is than the second as a whole, in nats."""
    return float(first.log_probabilities.sum() - second.log_probabilities.sum())


def shared_difference(first: Scored, second: Scored) -> float:
    """Return how much more probable the tokens that both texts share are in the first than in the second, in nats.

    The tokens in which the texts differ condition the others and are not scored themselves, so that a rare word does
    not decide (Nangia et al. 2020). 0 where no token is shared.
    """
    blocks = difflib.SequenceMatcher(None, list(first.ids), list(second.ids), autojunk=False).get_matching_blocks()
    total = 0.0
    for begin, other, size in blocks:
        total += float(first.log_probabilities[begin : begin + size].sum())
        total -= float(second.log_probabilities[other : other + size].sum())
    return total


def decided(differences: Floats) -> NDArray[np.bool_]:
    """Return which pairs differ by more than rounding does: (pairs,)."""
    found: NDArray[np.bool_] = np.abs(differences) >= TIE
    return found


class Estimated(NamedTuple):
    """A mean or a rate with the ends of its interval for each level; None where there is none."""

    value: float
    ends: tuple[Ends | None, ...]


def unit_count(count: int, clusters: Codes | None) -> int:
    """Return the number of independent units: clusters, or where there are none, values."""
    return count if clusters is None else len(np.unique(clusters))


def estimated_rate(truths: NDArray[np.bool_], clusters: Codes | None, levels: Sequence[float]) -> Estimated:
    """Return the share of truths, (rows,), with intervals over the clusters, (rows,), or over rows: at least 10."""
    value = float(truths.mean())
    ends: list[Ends | None] = []
    for level in levels:
        if clusters is None:
            low, high = proportion_interval(int(truths.sum()), len(truths), level)
            ends.append((float(low), float(high)))
        else:
            ends.append(clustered.rate_interval(weighted_mean(truths.astype(np.float64)), level, clusters))
    return Estimated(value, tuple(ends))


def estimated_mean(values: Floats, clusters: Codes | None, levels: Sequence[float]) -> Estimated:
    """Return the mean of values, (rows,), with intervals over the clusters, or over rows; none where all are alike."""
    mean = weighted_mean(values)
    ends = tuple(clustered.mean_interval(mean, level, clusters) for level in levels)
    return Estimated(mean.value, ends)


def detectable_mean(values: Floats, clusters: Codes | None, level: float) -> float | None:
    """Return the true mean from which on an interval of this level excludes 0 in 80 % of samples of this size."""
    units = unit_count(len(values), clusters)
    mean = weighted_mean(values)
    return detectable(math.sqrt(clustered.covariance(mean, mean, clusters)), units - 1, level)


def detectable_difference(one: Weighted, other: Weighted, clusters: Codes, level: float) -> float | None:
    """Return the true difference of two rates from which on an interval of this level excludes 0 in 80 % of samples.

    None where neither rate varies, which tells nothing of the spread.
    """
    variance = (
        clustered.covariance(one, one, clusters)
        + clustered.covariance(other, other, clusters)
        - 2 * clustered.covariance(one, other, clusters)
    )
    return detectable(math.sqrt(variance), len(np.unique(clusters)) - 1, level) if variance > 0 else None


def detectable_share(units: int, level: float) -> float:
    """Return how far from one half a share of independent units must lie to be told from it in 80 % of samples."""
    return float(special.ndtri((1 + level) / 2) + special.ndtri(0.8)) * math.sqrt(0.25 / units)


def excess(values: Floats, floor: Floats, levels: Sequence[float]) -> tuple[float, tuple[Ends, ...]]:
    """Return the mean of values minus that of the floor, one value a template, with Welch's intervals.

    Where neither varies there is nothing to judge by: the values must not all be alike.
    """
    parts = [(part.var(ddof=1) / len(part), len(part) - 1) for part in (values, floor)]
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / own for part, own in parts)
    value = float(values.mean() - floor.mean())
    halves = [float(special.stdtrit(freedom, (1 + level) / 2)) * math.sqrt(variance) for level in levels]
    return value, tuple((value - half, value + half) for half in halves)


def of_templates(values: Floats, clusters: Codes) -> Floats:
    """Return the mean of the values of each cluster: (clusters,)."""
    sizes = np.bincount(clusters)
    means: Floats = np.bincount(clusters, weights=values)[sizes > 0] / sizes[sizes > 0]
    return means
