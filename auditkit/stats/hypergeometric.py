"""Exact tests of counts whose totals are given: the hypergeometric distribution, and Fisher's test of two groups.

`scipy.stats` has the same; importing it takes longer than auditing a few thousand decisions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TIED = 1e-9
"""Outcomes whose probabilities differ by no more than this share are equally likely: they are rounded differently."""


def upper_tail(count: int, total: int, marked: int, drawn: int) -> float:
    """Return the probability that at least `count` of `drawn` rows are marked, if `marked` of all `total` rows are.

    >>> round(upper_tail(4, 10, 5, 4), 6)  # 5 of 210 draws
    0.02381
    """
    first, probabilities = _distribution(total, marked, drawn)
    return float(min(probabilities[max(count - first, 0) :].sum(), 1.0))


def fisher_exact(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Return the two-sided p-value of Fisher's exact test that two groups have one rate.

    Args:
        first: how many rows of the first group are selected, and how many are not.
        second: the same of the second group.

    >>> round(fisher_exact((8, 2), (1, 5)), 6)
    0.034965
    """
    drawn, marked = sum(first), first[0] + second[0]
    lowest, probabilities = _distribution(drawn + sum(second), marked, drawn)
    observed = probabilities[first[0] - lowest]
    return float(min(probabilities[probabilities <= observed * (1 + TIED)].sum(), 1.0))


def _distribution(total: int, marked: int, drawn: int) -> tuple[int, NDArray[np.float64]]:
    """Return the fewest marked rows that can be drawn, and the probability of each number from there on."""
    low, high = max(0, drawn + marked - total), min(marked, drawn)
    counts = np.arange(low, high, dtype=np.float64)
    ratios = np.log((marked - counts) * (drawn - counts)) - np.log((counts + 1) * (total - marked - drawn + counts + 1))
    # Summed from the likeliest count outwards: the errors of rounding are as small as the sums there.
    mode = int(np.searchsorted(-ratios, 0.0))
    logarithms = np.concatenate([-np.cumsum(ratios[:mode][::-1])[::-1], [0.0], np.cumsum(ratios[mode:])])
    probabilities = np.exp(logarithms)
    return low, probabilities / probabilities.sum()
