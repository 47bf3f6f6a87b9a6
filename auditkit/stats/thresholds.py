"""What closing a gap costs: thresholds chosen for the best accuracy within an allowed gap, per group or shared.

With a threshold for each group the choice is Fairlearn's `ThresholdOptimizer` (Hardt, Price & Srebro 2016): on each
group's upper hull of accuracy over its selection (or true positive) rate, so that between two thresholds a coin of
known chance decides. Its optimum is found here for a whole row of allowed gaps at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import InputError

Constraint = Literal["demographic_parity", "equal_opportunity"]
"""Whose gap is closed: that of the selection rates, or that of the true positive rates."""

GRID_SIZE = 1000
"""Rates are searched in steps of a thousandth, as in ThresholdOptimizer."""

Codes = NDArray[np.int64]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Thresholds:
    """One rule a group: select from the score `certain` on, and from `possible` on with probability `chance`."""

    certain: Scores
    possible: Scores
    chance: Scores

    def decide(self, groups: Codes, scores: Scores, *, seed: int) -> Codes:
        """Return the decisions, 0 or 1, (rows,): the rows between the thresholds are drawn by `seed`."""
        coin = np.random.default_rng(seed).random(len(scores)) < self.chance[groups]
        selected = (scores >= self.certain[groups]) | ((scores >= self.possible[groups]) & coin)
        return selected.astype(np.int64)


@dataclass(frozen=True)
class Choice:
    """The best rule within an allowed gap, with the accuracy and the gap expected on the rows it was chosen on."""

    allowed_gap: float
    thresholds: Thresholds
    accuracy: float
    gap: float


def thresholds_per_group(
    groups: Codes, labels: Codes, scores: Scores, constraint: Constraint, allowed_gaps: Sequence[float]
) -> list[Choice]:
    """Return, for each allowed gap, the thresholds per group of the highest accuracy.

    Args:
        groups: the group of each row, from 0; every code must occur, with both labels.
        labels: 0 or 1, (rows,).
        scores: higher for likelier positives, (rows,).
        constraint: the rates whose largest difference is bounded.
        allowed_gaps: the bounds, each in [0, 1].

    Raises:
        InputError: a group with rows of one label only.
    """
    count = int(groups.max()) + 1
    share = np.bincount(groups, minlength=count) / len(groups)
    grid = np.linspace(0, 1, GRID_SIZE + 1)
    hulls = [_hull(labels[groups == group], scores[groups == group], constraint, group) for group in range(count)]
    curves = np.array([np.interp(grid, rates, accuracy) for rates, accuracy, _ in hulls])
    best = curves.argmax(axis=1)
    choices = []
    for allowed in allowed_gaps:
        width = int(np.floor(allowed * GRID_SIZE + 1e-9))
        starts = np.arange(GRID_SIZE + 1 - width)
        # Every curve is concave: within a window its best rate is the one nearest to its best of all.
        places = np.clip(best[:, None], starts, starts + width)
        totals = (share[:, None] * np.take_along_axis(curves, places, axis=1)).sum(axis=0)
        chosen = places[:, int(totals.argmax())]
        rates = grid[chosen]
        rules = [_between(rates[group], hulls[group]) for group in range(count)]
        choices.append(
            Choice(
                allowed_gap=float(allowed),
                thresholds=Thresholds(*(np.array(part) for part in zip(*rules, strict=True))),
                accuracy=float(totals.max()),
                gap=float(rates.max() - rates.min()),
            )
        )
    return choices


def shared_threshold(
    groups: Codes, labels: Codes, scores: Scores, constraint: Constraint, allowed_gaps: Sequence[float]
) -> list[Choice]:
    """Return, for each allowed gap, the one threshold of the highest accuracy; see `thresholds_per_group`.

    Selecting nobody leaves no gap, so there always is one.
    """
    count = int(groups.max()) + 1
    candidates = np.unique(np.quantile(scores, np.linspace(0, 1, GRID_SIZE + 1), method="inverted_cdf"))
    candidates = np.append(candidates, np.inf)
    selected, positive, rates = np.zeros(len(candidates)), np.zeros(len(candidates)), []
    for group in range(count):
        here = groups == group
        chosen = _at_least(scores[here], candidates)
        hits = _at_least(scores[here & (labels == 1)], candidates)
        selected, positive = selected + chosen, positive + hits
        whole = here.sum() if constraint == "demographic_parity" else (here & (labels == 1)).sum()
        rates.append((chosen if constraint == "demographic_parity" else hits) / whole)
    accuracy = (positive + (labels == 0).sum() - (selected - positive)) / len(labels)
    gaps = np.ptp(np.array(rates), axis=0)
    choices = []
    for allowed in allowed_gaps:
        place = int(np.where(gaps <= allowed + 1e-12, accuracy, -1.0).argmax())
        threshold = np.full(count, candidates[place])
        rule = Thresholds(threshold, threshold, np.zeros(count))
        choices.append(Choice(float(allowed), rule, float(accuracy[place]), float(gaps[place])))
    return choices


def _at_least(scores: Scores, thresholds: Scores) -> NDArray[np.int64]:
    """Return how many scores reach each threshold."""
    return np.asarray(len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left"))


_Hull = tuple[Scores, Scores, Scores]
"""The corners of an upper hull by ascending rate: rate, accuracy, threshold."""


def _hull(labels: Codes, scores: Scores, constraint: Constraint, group: int) -> _Hull:
    positives, rows = int(labels.sum()), len(labels)
    if not 0 < positives < rows:
        raise InputError(f"groups: group {group} has rows of one label only, so no threshold can be chosen for it.")
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), rows - 1)  # the last row of each distinct score
    selected = np.append(0, last + 1)
    hits = np.append(0, np.cumsum(labels[order])[last])
    threshold = np.append(np.inf, scores[order][last])
    accuracy = (hits + (rows - positives) - (selected - hits)) / rows
    rate = selected / rows if constraint == "demographic_parity" else hits / positives
    corners: list[int] = []
    for place in range(len(rate)):
        while corners and rate[place] == rate[corners[-1]] and accuracy[place] >= accuracy[corners[-1]]:
            corners.pop()
        if corners and rate[place] == rate[corners[-1]]:
            continue
        while len(corners) > 1 and _above(rate, accuracy, corners[-2], corners[-1], place):
            corners.pop()
        corners.append(place)
    return rate[corners], accuracy[corners], threshold[corners]


def _above(x: Scores, y: Scores, first: int, middle: int, last: int) -> bool:
    """Whether the line from first to last passes on or above the middle."""
    return bool((y[middle] - y[first]) * (x[last] - x[first]) <= (y[last] - y[first]) * (x[middle] - x[first]))


def _between(rate: float, hull: _Hull) -> tuple[float, float, float]:
    """Return (certain, possible, chance) of the point of a hull at this rate."""
    rates, _, thresholds = hull
    right = int(np.clip(np.searchsorted(rates, rate, side="left"), 1, len(rates) - 1))
    chance = (rate - rates[right - 1]) / (rates[right] - rates[right - 1])
    return float(thresholds[right - 1]), float(thresholds[right]), float(chance)
