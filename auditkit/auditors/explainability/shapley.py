"""Shapley values over the columns of the user's data: exact for few columns, else by one shared regression."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import InputError

if TYPE_CHECKING:
    from auditkit.auditors.explainability.target_function import ExplanationInput, Floats

MOST_COLUMNS = 14
"""The most columns whose 2^14 coalitions are all evaluated."""


def every_coalition(column_count: int) -> NDArray[np.bool_]:
    """Return all coalitions (2^columns, columns); row k holds the binary digits of k."""
    codes = np.arange(2**column_count)[:, None]
    return np.asarray((codes >> np.arange(column_count)) & 1 == 1)


def exact_shapley(explained: ExplanationInput) -> Floats:
    """Return the exact Shapley values of the columns against the baseline: (rows, columns).

    phi_j = sum over S without j of |S|! (d - |S| - 1)! / d! (v(S + j) - v(S)) (Shapley 1953), for v the decision with
    the columns of S known and the others at the baseline. All coalitions are evaluated in batched forward passes.

    Raises:
        InputError: more than 14 columns.
    """
    count = len(explained.columns)
    if count > MOST_COLUMNS:
        raise InputError(f"exact Shapley values take at most {MOST_COLUMNS} columns, got {count}; use kernel_shap.")
    coalitions = every_coalition(count)
    values = explained.coalition_values(coalitions)
    sizes = coalitions.sum(axis=1)
    weight = np.array([math.factorial(s) * math.factorial(count - s - 1) / math.factorial(count) for s in range(count)])
    # v(S + j) - v(S) for S without j puts +weight(|S|) on S + j and -weight(|S|) on S.
    coefficients = np.where(coalitions, weight[np.maximum(sizes - 1, 0)][:, None], 0.0)
    coefficients -= np.where(~coalitions, weight[np.minimum(sizes, count - 1)][:, None], 0.0)
    return np.asarray(values @ coefficients)


def shapley_interactions(explained: ExplanationInput, players: Sequence[int]) -> Floats:
    """Return the Shapley interaction index of every pair of `players`: (rows, pairs), pairs as `combinations` has them.

    I_ij = sum over S without i and j of |S|! (k - |S| - 2)! / (k - 1)! (v(S + ij) - v(S + i) - v(S + j) + v(S))
    (Grabisch & Roubens 1999), where the players of S are known, the others at the baseline, and the columns that do
    not play are as they are. 0 for a pair whose effects add up; for x_i x_j against 0 it is the product.
    """
    count = len(players)
    known = every_coalition(count)
    coalitions = np.ones((len(known), len(explained.columns)), dtype=bool)
    coalitions[:, list(players)] = known
    values = explained.coalition_values(coalitions)
    orders = math.factorial(count - 1)
    weight = np.array([math.factorial(s) * math.factorial(count - s - 2) / orders for s in range(count - 1)])
    coefficients = []
    for one, other in combinations(range(count), 2):
        left = known.sum(axis=1) - known[:, one] - known[:, other]
        coefficients.append(np.where(known[:, one] == known[:, other], 1, -1) * weight[left])
    return np.asarray(values @ np.array(coefficients).T)


def kernel_shap(explained: ExplanationInput, *, coalition_count: int, seed: int) -> Floats:
    """Return Shapley values by weighted least squares over one coalition design shared by all rows: (rows, columns).

    Lundberg & Lee 2017 (arXiv:1705.07874, theorem 2). With a design of all coalitions the values are exact; in any
    case the values of a row sum to its change of the decision.
    """
    count = len(explained.columns)
    if count < 2:
        return explained.change()[:, None]
    coalitions, weights = shared_design(count, coalition_count, np.random.default_rng(seed))
    ends = np.array([[False] * count, [True] * count])
    values = explained.coalition_values(np.concatenate([ends, coalitions]))
    start, change = values[:, :1], values[:, 1] - values[:, 0]
    # The constraint sum(phi) = change takes the last column out of the regression.
    design = coalitions[:, :-1].astype(float) - coalitions[:, -1:]
    weighted = design.T * weights
    target = values[:, 2:] - start - change[:, None] * coalitions[:, -1]
    solution = np.linalg.lstsq(weighted @ design, weighted @ target.T, rcond=None)[0].T
    return np.concatenate([solution, (change - solution.sum(axis=1))[:, None]], axis=1)


def shared_design(
    column_count: int, coalition_count: int, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], Floats]:
    """Return about `coalition_count` coalitions (n, columns) and their weights (n,) by the Shapley kernel.

    Sizes are taken from both ends, where the kernel is heaviest: all coalitions of a size and of its complement while
    a random draw would not do better, each with its exact weight (d - 1) / (C(d, s) s (d - s)); the rest of the weight
    goes to pairs of a coalition and its complement, drawn at random (Covert & Lee 2021, arXiv:2012.01536).
    """
    blocks: list[NDArray[np.bool_]] = []
    weights: list[Floats] = []
    left = coalition_count
    sizes = list(range(1, column_count // 2 + 1))

    def members(size: int) -> list[int]:
        return sorted({size, column_count - size})

    def number(size: int) -> int:
        return math.comb(column_count, size) * len(members(size))

    while sizes:
        size = sizes[0]
        kernel = [_kernel(column_count, each) * len(members(each)) for each in sizes]
        # Where not all fits, a size is worth listing whole only if a draw would take as many of it.
        if left < sum(map(number, sizes)) and left * kernel[0] / sum(kernel) < number(size):
            break
        for each in members(size):
            block = np.zeros((math.comb(column_count, each), column_count), dtype=bool)
            for row, chosen in enumerate(combinations(range(column_count), each)):
                block[row, list(chosen)] = True
            blocks.append(block)
            weights.append(np.full(len(block), _kernel(column_count, each) / len(block)))
        left -= number(size)
        sizes.pop(0)
    if sizes and left >= 2:
        drawn = rng.choice(sizes, size=left // 2, p=np.array(kernel) / sum(kernel))
        half = rng.random((len(drawn), column_count)).argsort(axis=1).argsort(axis=1) < drawn[:, None]
        block, repeats = np.unique(np.concatenate([half, ~half]), axis=0, return_counts=True)
        blocks.append(block)
        weights.append(sum(kernel) * repeats / repeats.sum())
    return np.concatenate(blocks), np.concatenate(weights)


def _kernel(column_count: int, size: int) -> float:
    """Return the kernel's weight of all coalitions of one size together."""
    return (column_count - 1) / (size * (column_count - size))
