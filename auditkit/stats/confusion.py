"""Numbers of a whole confusion table, accuracy to Matthews correlation, with intervals that hold in small ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.messages import Message
from auditkit.stats.estimates import Bound, Estimate, absent
from auditkit.stats.intervals import mid_p, needs_exact, normal_quantile, proportion_interval

Table = NDArray[np.int64]

ROWS_AT_ONCE = 2**20


def confusion_table(labels: NDArray[np.int64], decisions: NDArray[np.int64], classes: int) -> Table:
    """Return how many rows have each label and each decision: int64, (labels, decisions)."""
    table = np.zeros(classes * classes, dtype=np.int64)
    for start in range(0, len(labels), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        table += np.bincount(labels[rows] * classes + decisions[rows], minlength=len(table))
    return table.reshape(classes, classes)


def accuracy(table: Table, levels: Sequence[float]) -> Estimate:
    """Return the share of rows whose decision is the label: 1 is ideal. Wilson, or Clopper-Pearson."""
    right, rows = int(np.trace(table)), int(table.sum())
    bounds = []
    for level in levels:
        low, high = proportion_interval(right, rows, level)
        method = Message("Clopper-Pearson") if needs_exact(right, rows, level) else "Wilson"
        bounds.append((float(low), float(high), method))
    return Estimate(right / rows, tuple(bounds), one_record=1 / rows)


def balanced_accuracy(table: Table, levels: Sequence[float]) -> Estimate:
    """Return the mean over the classes of the share of their rows that is decided right: 1 is ideal.

    Undefined where a class has no rows. The interval adds the squares of the distances to the mid-P limits of each
    class's share (Zou & Donner 2008, MOVER).
    """
    rows, right, classes = table.sum(axis=1), np.diag(table), len(table)
    if not rows.all():
        return Estimate(reason=absent(rows))
    recall = right / rows
    value = float(np.mean(recall))
    bounds = []
    for level in levels:
        low, high = mid_p(right, rows, level)
        down, up = np.linalg.norm(recall - low) / classes, np.linalg.norm(high - recall) / classes
        bounds.append((value - float(down), value + float(up), Message("MOVER with mid-P limits of weight 0.6")))
    return Estimate(value, tuple(bounds), one_record=1 / (classes * int(rows.min())))


def f1(table: Table, levels: Sequence[float]) -> Estimate:
    """Return the F1 score of the positive class, with more classes the mean of each class's (macro): 1 is ideal.

    F1 is 2 J / (1 + J), where J is the share of true positives among the rows that are positive by label or by
    decision: a rate of so many trials, and so are its limits. A macro mean lies between the means of the limits.
    Undefined where a class occurs neither as label nor as decision (scikit-learn says 0).
    """
    own = np.diag(table)
    either = table.sum(axis=0) + table.sum(axis=1) - own
    if len(table) == 2:
        own, either = own[1:], either[1:]
    if not either.all():
        return Estimate(
            reason=Message("no rows with a positive label or decision")
            if len(own) == 1
            else Message("a class has no rows")
        )
    value = float((2 * own / (own + either)).mean())
    bounds: list[Bound | None] = []
    for level in levels:
        low, high = proportion_interval(own, either, level)
        exact = needs_exact(own, either, level).any()
        method = (Message("Clopper-Pearson") if exact else "Wilson") + Message(" of the Jaccard index")
        method += Message(", means of the classes' limits") if len(own) > 1 else ""
        bounds.append((float((2 * low / (1 + low)).mean()), float((2 * high / (1 + high)).mean()), method))
    touched = min(len(own), 2)  # by another decision on one row
    return Estimate(value, tuple(bounds), one_record=2 * touched / (len(own) * int(either.min())))


def matthews_correlation(table: Table, levels: Sequence[float]) -> Estimate:
    """Return the Matthews correlation of label and decision (Gorodkin's for more than two classes): 1 is ideal.

    The delta method, with one row added to each cell, as it is and on Fisher's scale, the two joined: each alone
    covers too little where the other does not. Undefined where all labels, or all decisions, are of one class
    (scikit-learn says 0).
    """
    if (table.sum(axis=0) > 0).sum() < 2 or (table.sum(axis=1) > 0).sum() < 2:
        one_label = (table.sum(axis=1) > 0).sum() < 2
        return Estimate(
            reason=Message("all labels are of one class") if one_label else Message("all decisions are of one class")
        )
    if not levels:
        return Estimate(_correlation_and_spreads(table / table.sum())[0])
    value, _ = _correlation(table / table.sum())
    added = (table + 1) / (table + 1).sum()
    centre, slope = _correlation(added)
    variance = ((added * slope**2).sum() - (added * slope).sum() ** 2) / table.sum()
    bounds: list[Bound | None] = []
    for level in levels:
        half = normal_quantile(level) * np.sqrt(variance)
        scaled = np.arctanh(centre) + np.array([-1, 1]) * half / (1 - centre**2)
        low, high = min(centre - half, float(np.tanh(scaled[0]))), max(centre + half, float(np.tanh(scaled[1])))
        method = Message("delta method with one row a cell, joined with Fisher's scale")
        bounds.append((float(max(min(low, value), -1)), float(min(max(high, value), 1)), method))
    return Estimate(value, tuple(bounds))


def _correlation(shares: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Return the correlation of a table of shares, and its derivative by each cell."""
    value, label_spread, decision_spread = _correlation_and_spreads(shares)
    by_label, by_decision = shares.sum(axis=1), shares.sum(axis=0)
    scale = np.sqrt(label_spread * decision_spread)
    slope = (np.eye(len(shares)) - by_decision[:, None] - by_label[None, :]) / scale
    slope += value * (by_label[:, None] / label_spread + by_decision[None, :] / decision_spread)
    return value, slope


def _correlation_and_spreads(shares: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the correlation of a table of shares, and how spread out its labels and its decisions are."""
    by_label, by_decision = shares.sum(axis=1), shares.sum(axis=0)
    covariance = np.trace(shares) - by_label @ by_decision
    label_spread, decision_spread = 1 - by_label @ by_label, 1 - by_decision @ by_decision
    return float(covariance / np.sqrt(label_spread * decision_spread)), float(label_spread), float(decision_spread)
