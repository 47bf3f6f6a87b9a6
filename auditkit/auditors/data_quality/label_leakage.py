"""How well one column alone predicts the label: near certainty means that the column gives the label away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auditkit.stats.estimates import Estimate
from auditkit.stats.ranking import RocAuc, average_ranks, macro_roc_auc, roc_auc
from auditkit.stats.regression import REGRESSION_METRICS

BIN_COUNT = 64
"""Numbers are put into this many quantiles."""


def binned_codes(values: NDArray[np.float64], bin_count: int = BIN_COUNT) -> NDArray[np.int64]:
    """Return the quantile that each number falls into, (rows,), from 1; 0 where it is missing.

    Up to `bin_count` different numbers keep a code each.
    """
    present = values[~np.isnan(values)]
    distinct = np.unique(present)
    edges = (
        distinct if len(distinct) <= bin_count else np.unique(np.quantile(present, np.arange(bin_count) / bin_count))
    )
    codes = np.searchsorted(edges, values, side="right")
    codes[np.isnan(values)] = 0
    return codes


def out_of_half(
    codes: NDArray[np.int64], labels: NDArray[np.int64], class_count: int, *, seed: int = 0
) -> NDArray[np.float64]:
    """Return the share of each class among the rows with the same code in the other half of the rows.

    (rows, classes). The halves are drawn with `seed`, so that no row's own label counts for it: a column of ids, in
    which every code occurs once, predicts nothing. One row of the overall shares is added to every code's.
    """
    half = np.random.default_rng(seed).permutation(len(labels)) % 2
    probabilities = np.empty((len(labels), class_count))
    for mine in (0, 1):
        learn, apply = half != mine, half == mine
        size = int(codes.max()) + 1 if len(codes) else 0
        table = np.bincount(codes[learn] * class_count + labels[learn], minlength=size * class_count)
        table = table.reshape(size, class_count)
        prior = (table.sum(axis=0) + 1 / class_count) / (table.sum() + 1)
        shares = (table + prior) / (table.sum(axis=1, keepdims=True) + 1)
        probabilities[apply] = shares[codes[apply]]
    return probabilities


def single_column_auc(
    codes: NDArray[np.int64], labels: NDArray[np.int64], class_count: int, *, seed: int = 0
) -> RocAuc | None:
    """Return the area under the ROC curve of a column alone, by `out_of_half`; None where a class has under 2 rows.

    With more than two classes the mean over each class against the rest. 0.5 is chance, 1 gives the label away.
    """
    if np.bincount(labels, minlength=class_count).min() < 2:
        return None
    probabilities = out_of_half(codes, labels, class_count, seed=seed)
    if class_count == 2:
        return roc_auc(labels == 1, probabilities[:, 1])
    return macro_roc_auc(labels, probabilities)


def single_column_r2(
    codes: NDArray[np.int64], labels: NDArray[np.float64], levels: Sequence[float], *, seed: int = 0
) -> Estimate:
    """Return the R2 of the labels' ranks as a column alone predicts them, with an interval for each of `levels`.

    A row's prediction is the mean rank of the rows with the same code in the other half of the rows, with one row of
    the overall mean added. Ranks, so that a copy of the label on another scale, or with a long tail, is found as well:
    0 is chance, 1 gives the label away. Undefined where all labels are alike.
    """
    ranks = average_ranks(labels) / len(labels)
    half = np.random.default_rng(seed).permutation(len(labels)) % 2
    predicted = np.empty(len(labels))
    size = int(codes.max()) + 1 if len(codes) else 0
    for mine in (0, 1):
        learn, apply = half != mine, half == mine
        sums = np.bincount(codes[learn], weights=ranks[learn], minlength=size)
        means = (sums + ranks[learn].mean()) / (np.bincount(codes[learn], minlength=size) + 1)
        predicted[apply] = means[codes[apply]]
    return REGRESSION_METRICS["r2"].statistic(ranks, predicted, levels)
