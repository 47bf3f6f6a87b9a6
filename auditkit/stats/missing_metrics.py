"""The labels that rows without one could have such that a metric is the highest, or the lowest, possible.

No other labels give a higher, or lower, value: every function here is exact, in n log n at most, and
`tests/stats/test_missing_metrics.py` holds it against all labellings of small tables. Where no such labels can be
found quickly there is no bound: the average precision, the calibration slope, F1 of several classes, and the area under
the ROC curve and the calibration error of weighted rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.stats.calibration import BIN_COUNT, confidence
from auditkit.stats.ranking import average_ranks

Codes = NDArray[np.int64]
Marks = NDArray[np.bool_]

OF_TWO_CLASSES = ("balanced_accuracy", "f1_score", "matthews_correlation", "roc_auc")
UNWEIGHTED = ("roc_auc", "calibration_error")


def is_bounded(name: str, class_count: int, *, weighted: bool) -> bool:
    """Return whether the extremes of a metric are known for so many classes, and for rows with weights."""
    if name not in EXTREMES or class_count < 2:
        return False
    return not (class_count > 2 and name in OF_TWO_CLASSES) and not (weighted and name in UNWEIGHTED)


def extreme_labels(name: str, labels: Codes, given: NDArray[Any], known: Marks, *, highest: bool) -> Codes:
    """Return the labels of all rows, (rows,), with the missing ones such that a metric is the highest or lowest.

    Args:
        name: one of `EXTREMES`.
        labels: class codes, (rows,); those of rows that are not `known` mean nothing.
        given: decisions, (rows,), or probabilities, (rows, classes), as the metric takes them.
        known: which rows have a label, (rows,).
        highest: whether the value is to be the highest.
    """
    filled = labels.copy()
    if not known.all():
        filled[~known] = EXTREMES[name](labels, given, known, highest)
    return filled


def _as_decided(labels: Codes, decisions: NDArray[Any], known: Marks, highest: bool) -> Codes:
    """Return the labels that make all decisions right, or all of two classes wrong.

    With the decisions fixed, each of accuracy, balanced accuracy, F1 and Matthews' correlation of two classes rises
    when the label of a row becomes what was decided, whatever the other labels are.
    """
    own = decisions[~known].astype(np.int64)
    return own if highest else 1 - own


def _of_losses(worst_first: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[..., Codes]:
    """Return the function of the labels whose row losses are the largest or smallest: losses, (rows, classes)."""

    def labelled(labels: Codes, probabilities: NDArray[Any], known: Marks, highest: bool) -> Codes:
        losses = worst_first(probabilities[~known])
        return np.asarray(losses.argmax(axis=1) if highest else losses.argmin(axis=1), dtype=np.int64)

    return labelled


def _of_area(labels: Codes, order: NDArray[Any], known: Marks, highest: bool) -> Codes:
    """Return the labels of the largest or smallest area under the ROC curve.

    The area is a sum of the positive rows' midranks, which do not depend on the labels, over the pairs of rows: for a
    number of positive rows it is largest where these are the rows of the highest scores. Every number is tried.
    """
    ranks = average_ranks(order[:, 1])
    missing = np.flatnonzero(~known)
    sorted_ = missing[np.argsort(ranks[missing], kind="stable")[:: -1 if highest else 1]]
    positive = known & (labels == 1)
    count = int(positive.sum()) + np.arange(len(missing) + 1)
    sums = ranks[positive].sum() + np.concatenate([[0.0], np.cumsum(ranks[sorted_])])
    pairs = count * (len(labels) - count)
    with np.errstate(invalid="ignore", divide="ignore"):
        areas = (sums - count * (count + 1) / 2) / pairs
    areas[pairs == 0] = -np.inf if highest else np.inf  # one class has no area
    chosen = int(areas.argmax() if highest else areas.argmin())
    filled = np.zeros(len(labels), dtype=np.int64)
    filled[sorted_[:chosen]] = 1
    return filled[missing]


def _of_calibration(labels: Codes, probabilities: NDArray[Any], known: Marks, highest: bool) -> Codes:
    """Return the labels of the largest or smallest expected calibration error, bin by bin.

    In a bin the number of outcomes that is farthest from the sum of the probabilities is the least or the greatest
    possible one, and the one that is nearest is the sum rounded, within these ends.
    """
    outcomes, promised = confidence(np.where(known, labels, -1), probabilities)
    bins = np.searchsorted(np.linspace(0, 1, BIN_COUNT + 1)[1:-1], promised)
    filled = np.zeros(len(labels), dtype=bool)
    for code in np.unique(bins[~known]):
        inside = bins == code
        missing = np.flatnonzero(inside & ~known)
        lacking = float(promised[inside].sum()) - int((outcomes & known)[inside].sum())
        wanted = int(np.clip(np.round(lacking), 0, len(missing)))
        if highest:
            wanted = len(missing) if abs(len(missing) - lacking) > abs(lacking) else 0
        filled[missing[:wanted]] = True
    if probabilities.shape[1] == 2:
        return filled[~known].astype(np.int64)
    likeliest = probabilities.argmax(axis=1)
    return np.asarray(np.where(filled, likeliest, (likeliest + 1) % probabilities.shape[1])[~known], dtype=np.int64)


EXTREMES: dict[str, Callable[..., Codes]] = {
    "balanced_accuracy": _as_decided,
    "f1_score": _as_decided,
    "matthews_correlation": _as_decided,
    "roc_auc": _of_area,
    "log_loss": _of_losses(lambda probabilities: -probabilities),
    "brier_score": _of_losses(lambda probabilities: -probabilities),
    "calibration_error": _of_calibration,
}
"""The metrics with exact bounds, each with the function of the labels of the rows without one."""
