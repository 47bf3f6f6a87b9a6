"""The edit distance of tokens, beside a recursion that follows its definition."""

from __future__ import annotations

import functools

import numpy as np

from auditkit.auditors.memorisation.extraction import edit_distance


def by_definition(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    @functools.cache
    def distance(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        changed = distance(i - 1, j - 1) + (one[i - 1] != other[j - 1])
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, changed)

    return distance(len(one), len(other))


def test_edit_distances_follow_their_definition() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        one, other = (tuple(rng.integers(0, 3, rng.integers(0, 9)).tolist()) for _ in range(2))
        assert edit_distance(list(one), list(other)) == by_definition(one, other)
