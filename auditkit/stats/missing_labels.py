"""Labels that are known for some rows only: whether that depends on something, and what the missing ones could change.

No assumption is made about the missing labels. The tests ask whether the rows with a label are a selection; the bounds
hold whatever the missing labels are (Manski 2003).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit.stats.hypergeometric import fisher_exact
from auditkit.stats.intervals import proportion_interval, simultaneous_level
from auditkit.stats.rates import rate

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def dependence(known: Ints, rows: Ints) -> float:
    """Return the p-value that a label is known equally often in every group.

    Each group is tested against the rest by Fisher's exact test, and the smallest p-value is multiplied by their number
    (Bonferroni), which holds for groups of any size.

    Args:
        known: how many rows of each group have a label, (groups,).
        rows: how many rows each group has, (groups,).

    >>> dependence(np.array([0, 50]), np.array([50, 50])) < 1e-6, dependence(np.array([25, 25]), np.array([50, 50]))
    (True, 1.0)
    """
    known, rows = np.asarray(known), np.asarray(rows)
    if len(rows) < 2 or not 0 < known.sum() < rows.sum():
        return 1.0
    tests = range(1 if len(rows) == 2 else len(rows))
    total, labelled = int(rows.sum()), int(known.sum())
    found = []
    for group in tests:
        inside, size = int(known[group]), int(rows[group])
        rest = labelled - inside, total - size - (labelled - inside)
        found.append(fisher_exact((inside, size - inside), rest))
    return min(1.0, min(found) * len(found))


def quarters(scores: Floats) -> Ints:
    """Return which quarter of the rows, in the order of their scores, each row is in: (rows,), equal scores together.

    >>> quarters(np.array([0.1, 0.2, 0.3, 0.4, 0.9, 0.9, 0.9, 0.9])).tolist()
    [0, 0, 1, 1, 2, 2, 2, 2]
    """
    edges = np.quantile(scores, [0.25, 0.5, 0.75])
    placed: Ints = np.searchsorted(edges, scores, side="left")
    _, codes = np.unique(placed, return_inverse=True)
    return codes.astype(np.int64)


@dataclass(frozen=True, eq=False)
class RateBounds:
    """The lowest and the highest that a rate of each group can be: successes and trials, each int64, (groups,)."""

    low: tuple[Ints, Ints]
    high: tuple[Ints, Ints]

    def values(self) -> tuple[Floats, Floats]:
        """Return both as rates, NaN where a group would have no trial."""
        with np.errstate(invalid="ignore", divide="ignore"):
            low, high = (np.asarray(hits / trials, dtype=np.float64) for hits, trials in (self.low, self.high))
        return low, high

    def limits(self, level: float) -> tuple[Floats, Floats]:
        """Return intervals of the extremes that hold for all groups at once: below the lowest, above the highest."""
        each = simultaneous_level(level, 2 * len(self.low[0]))
        low, _ = proportion_interval(*self.low, each)
        _, high = proportion_interval(*self.high, each)
        return np.asarray(low), np.asarray(high)


def rate_bounds(table: Ints, unlabelled: Ints, name: str) -> RateBounds:
    """Return the bounds of a rate of two classes, whatever the missing labels are.

    Args:
        table: rows with a label, (groups, labels, predictions).
        unlabelled: rows without one, (groups, predictions).
        name: one of `auditkit.stats.rates.RATES`.

    >>> table, unlabelled = np.array([[[40, 10], [10, 40]]]), np.array([[0, 20]])
    >>> [ends.round(3).tolist() for ends in rate_bounds(table, unlabelled, "accuracy").values()]
    [[0.667], [0.833]]
    """
    chosen = rate(name)
    hit, counted = np.array(chosen.successes), np.array(chosen.trials)
    hits, trials = (table * hit).sum(axis=(1, 2)), (table * counted).sum(axis=(1, 2))
    ends = []
    for best in (False, True):
        more_hits, more_trials = np.zeros_like(hits), np.zeros_like(trials)
        for decision in (0, 1):
            # What a row adds if its label is the one, or the other: a success, a failure, or nothing.
            adds = [(int(counted[label, decision]), int(hit[label, decision])) for label in (0, 1)]
            sign = [2 * success - 1 if trial else 0 for trial, success in adds]
            trial, success = adds[int(np.argmax(sign) if best else np.argmin(sign))]
            more_hits += unlabelled[:, decision] * success
            more_trials += unlabelled[:, decision] * trial
        ends.append((hits + more_hits, trials + more_trials))
    return RateBounds(ends[0], ends[1])


def gap_bounds(low: Floats, high: Floats) -> tuple[float, float]:
    """Return the least and the greatest that the largest difference between groups' rates can be.

    `low` and `high` are the bounds of each group's rate, (groups,); at least two groups.

    >>> gap_bounds(np.array([0.1, 0.5]), np.array([0.3, 0.6]))
    (0.2, 0.5)
    """
    count = len(low)
    apart = [(high[one] - low[other], low[one] - high[other]) for one in range(count) for other in range(count)
             if one != other]  # fmt: skip
    return float(max(0.0, round(max(least for _, least in apart), 12))), float(round(max(m for m, _ in apart), 12))


def ratio_bounds(low: Floats, high: Floats) -> tuple[float, float]:
    """Return the least and the greatest that the lowest rate of a group over the highest can be.

    `low` and `high` are the bounds of each group's rate, (groups,); at least two groups.

    >>> ratio_bounds(np.array([0.15, 0.5]), np.array([0.3, 0.6]))
    (0.25, 0.6)
    """
    least = float(low.min() / high.max()) if high.max() > 0 else 0.0
    greatest = float(high.min() / low.max()) if low.max() > 0 else 1.0
    return least, min(1.0, greatest)
