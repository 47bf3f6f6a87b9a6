"""Attribute inference: whether a model helps to guess a hidden column of its training rows.

Yeom et al. 2018 (arXiv:1709.01604); that the guess must be compared with the same guess without the model: Jayaraman
& Evans 2022 (arXiv:2209.01292). The attacker knows everything of some training rows, and guesses the hidden column of
others. The same attacker guesses it of rows that the model never saw: what the model helps more with its own rows is
memory, and the rest is what it learned of people at large. Because the attacker is one and the same, nothing
remembered gives a difference of 0, whatever he learned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.measurement import Interval
from auditkit.evidence.messages import Message
from auditkit.stats.proxies import boosted_forest
from auditkit.stats.scores import paired_difference_interval

Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]

FITTED_ROWS, JUDGED_ROWS = 5_000, 20_000
"""How many rows at most an attacker learns from, and is judged on."""


class Gain(NamedTuple):
    """By how much more often a guess is right with the model, as a share of rows, with its interval and its rows."""

    value: float
    interval: Interval
    row_count: int


class Guesses(NamedTuple):
    """Which rows were guessed right, (rows,), without the model and with it, and the true groups of the rows."""

    without: Mask
    with_model: Mask
    groups: Codes

    def of_group(self, group: int, level: float) -> Gain:
        """Return the gain within one group."""
        rows = self.groups == group
        value, interval = paired_difference_interval(self.with_model[rows], self.without[rows], level=level)
        return Gain(value, interval, int(rows.sum()))

    def balanced(self, level: float) -> Gain:
        """Return the mean gain over the groups, each counted alike, so that always guessing the largest gains nothing.

        The interval is that of a sum of independent estimates (Zou & Donner 2008, MOVER).
        """
        gains = [self.of_group(int(group), level) for group in np.unique(self.groups)]
        value = sum(gain.value for gain in gains) / len(gains)
        down = math.hypot(*(gain.value - gain.interval.low for gain in gains)) / len(gains)
        up = math.hypot(*(gain.interval.high - gain.value for gain in gains)) / len(gains)
        method = Message("Bonett-Price in each group, MOVER over their mean")
        interval = Interval(low=max(value - down, -1.0), high=min(value + up, 1.0), level=level, method=method)
        return Gain(value, interval, len(self.groups))


class Attacked(NamedTuple):
    """What an attacker guessed of training rows and of rows that the model never saw, and from how many he learned."""

    members: Guesses
    others: Guesses
    fitted_count: int

    def memory(self, level: float) -> Gain:
        """Return the balanced gain on training rows minus that on others: 0 is right where nothing is remembered."""
        here, there = self.members.balanced(level), self.others.balanced(level)
        value = here.value - there.value
        down = math.hypot(here.value - here.interval.low, there.interval.high - there.value)
        up = math.hypot(here.interval.high - here.value, there.value - there.interval.low)
        method = Message("{method}, MOVER of the difference", method=here.interval.method)
        interval = Interval(low=max(value - down, -2.0), high=min(value + up, 2.0), level=level, method=method)
        return Gain(value, interval, here.row_count + there.row_count)


def attack_attribute(
    columns: Sequence[NDArray[Any]],
    ordered: Sequence[bool],
    answers: NDArray[np.float64],
    groups: Codes,
    member: Mask,
    *,
    seed: int = 0,
    min_group: int = 10,
) -> Attacked | None:
    """Guess the group of rows from their other columns, without and with the model's answers; None if groups are few.

    Boosted forests learn from half of the training rows, at most 5,000, and are judged on up to 20,000 others, and on
    as many rows that the model never saw. Groups count alike in learning. Only groups with `min_group` rows to learn
    from and to be judged on, of both kinds, are kept.

    Args:
        columns: the codes of each other column's values, from 0, or numbers, one array (rows,) for each column.
        ordered: whether a column's codes ascend with its values; others are taken as categories.
        answers: what the model says of each row, (rows, numbers).
        groups: the hidden column, codes from 0, (rows,).
        member: which rows the model was trained on, (rows,).
        seed: draws the rows that are learned from.
        min_group: the fewest rows of a group.
    """
    generator = np.random.default_rng(seed)
    own, unseen = (generator.permutation(np.flatnonzero(side)) for side in (member, ~member))
    learned, own = np.split(own, [min(FITTED_ROWS, len(own) // 2)])
    judged = [own[:JUDGED_ROWS], unseen[:JUDGED_ROWS]]
    size = int(groups.max(initial=0)) + 1
    fewest = np.min([np.bincount(groups[rows], minlength=size) for rows in (learned, *judged)], axis=0)
    kept = fewest >= min_group
    if kept.sum() < 2:
        return None
    matrix = np.column_stack([*(codes.astype(np.float64) for codes in columns), answers])
    rising = [*ordered, *(True for _ in range(answers.shape[1]))]
    known = len(columns)
    learned, own, unseen = (rows[kept[groups[rows]]] for rows in (learned, *judged))
    right = []
    for width in (known, matrix.shape[1]):
        forest = boosted_forest(rising[:width], seed=seed, balanced=True)
        forest.fit(matrix[learned, :width], groups[learned])
        right.append([forest.predict(matrix[part, :width]) == groups[part] for part in (own, unseen)])
    (without, without_unseen), (helped, helped_unseen) = right
    members, others = Guesses(without, helped, groups[own]), Guesses(without_unseen, helped_unseen, groups[unseen])
    return Attacked(members, others, len(learned))
