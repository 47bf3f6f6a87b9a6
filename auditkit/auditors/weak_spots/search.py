"""Weak spots: the slices of one or two columns where a model errs most, found on one half, confirmed on the other.

A search over thousands of slices always finds bad ones. So the rows are halved by a seed: one half proposes a few
slices, the other, which the search has not seen, decides by exact tests with Holm's correction. Where the errors
fall on rows at random, something is reported in at most 1 - `level` of searches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import InputError
from auditkit.progress import Progress, silent
from auditkit.stats.drift import holm
from auditkit.stats.hypergeometric import upper_tail
from auditkit.stats.intervals import normal_quantile

CANDIDATES = 20
"""How many slices at most the first half proposes: the family of tests on the second."""

OVERLAP = 0.5
"""No two proposed slices of one column, and no two of two, share more than this part of the smaller one's rows."""

PAIRED_COLUMNS = 40
"""How many columns at most are crossed in pairs: those with the worst slices of their own."""

Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]


class WeakSpot(NamedTuple):
    """A proposed slice: `where` holds (column, code) once or twice; counts of errors and rows in each half."""

    where: tuple[tuple[int, int], ...]
    found_error_count: int
    found_row_count: int
    error_count: int
    row_count: int
    p_value: float
    """Of the one-sided exact test on the confirming half, after Holm's correction over all proposed slices."""


class Search(NamedTuple):
    """What a search did: slices looked at, and those proposed, worst first in the confirming half.

    `error_count` and `row_count` are those of the whole confirming half, whose rows are `confirming`.
    """

    slice_count: int
    proposed: tuple[WeakSpot, ...]
    error_count: int
    row_count: int
    confirming: NDArray[np.int64]

    def confirmed(self, level: float) -> list[WeakSpot]:
        """The proposed slices whose corrected p-value is under 1 - `level`."""
        return [spot for spot in self.proposed if spot.p_value < 1 - level]


def search_weak_spots(
    columns: Sequence[Codes],
    errors: Mask,
    *,
    seed: int = 0,
    min_group: int = 10,
    progress: Progress = silent,
) -> Search:
    """Search for the slices with the highest error rates.

    The first half proposes up to 20 slices of at least `min_group` rows with an error rate above the overall one,
    by the lower limit of Wilson's interval at 99 % (which weighs the rate against the number of rows). A slice of two
    columns must have that limit above the rates of both its columns alone: else its second column adds nothing.
    Slices that share over half of the smaller one's rows with one of as many columns already proposed are left out.

    Args:
        columns: the group of each row, from 0, one array (rows,) for each column.
        errors: whether the model errs, (rows,).
        seed: draws the halves.
        min_group: the fewest rows of a slice, in each half.
        progress: told how far the search is.

    Raises:
        InputError: columns and errors of different lengths.
    """
    errors = np.asarray(errors, dtype=bool)
    if any(len(codes) != len(errors) for codes in columns):
        raise InputError(f"columns must have one code for each of the {len(errors):,} rows of errors.")
    order = np.random.default_rng(seed).permutation(len(errors))
    first, second = order[: len(order) // 2], order[len(order) // 2 :]
    sizes = [int(codes.max()) + 1 if len(codes) else 0 for codes in columns]
    halves = [codes[first].astype(np.int32) for codes in columns]
    slice_count, chosen = _propose(halves, sizes, errors[first], min_group, progress)
    spots = []
    total, wrong = len(second), int(errors[second].sum())
    for where, found_errors, found_rows in chosen:
        inside = np.ones(total, dtype=bool)
        for column, code in where:
            inside &= columns[column][second] == code
        rows, here = int(inside.sum()), int((inside & errors[second]).sum())
        # Given the rows of the slice, errors that fall at random are hypergeometric: exact at any count.
        p_value = upper_tail(here, total, wrong, rows) if rows >= min_group else 1.0
        spots.append(WeakSpot(where, found_errors, found_rows, here, rows, p_value))
    corrected = holm(np.array([spot.p_value for spot in spots])).tolist()
    spots = [spot._replace(p_value=p) for spot, p in zip(spots, corrected, strict=True)]
    spots.sort(key=lambda spot: -spot.error_count / max(spot.row_count, 1))
    return Search(slice_count, tuple(spots), wrong, total, second)


_Slices = dict[tuple[int, ...], tuple[NDArray[np.int64], NDArray[np.int64]]]
"""Rows and errors of every cell, by column or pair of columns; a pair's cell is code * size of the second + code."""


def _propose(
    columns: list[NDArray[np.int32]],
    sizes: list[int],
    errors: Mask,
    min_group: int,
    progress: Progress,
) -> tuple[int, list[tuple[tuple[tuple[int, int], ...], int, int]]]:
    """Return how many slices were looked at, and those proposed: where, errors, rows."""
    if not errors.any() or not columns:
        return 0, []
    overall = errors.mean()
    wrong = np.flatnonzero(errors)
    slices: _Slices = {}
    scores: dict[tuple[int, ...], NDArray[np.float64]] = {}

    def count(key: tuple[int, ...]) -> None:
        cells, width = _cells(columns, sizes, key)
        rows = np.bincount(cells, minlength=width)
        bad = np.bincount(cells[wrong], minlength=width)
        slices[key], scores[key] = (rows, bad), _score(rows, bad, min_group, overall)
        if len(key) == 2:
            alone = [slices[(column,)][1] / np.maximum(slices[(column,)][0], 1) for column in key]
            scores[key][scores[key] <= np.maximum.outer(*alone).ravel()] = -np.inf

    for column in range(len(columns)):
        count((column,))
    crossed = sorted(range(len(columns)), key=lambda column: -scores[(column,)].max())[:PAIRED_COLUMNS]
    pairs = list(combinations(sorted(crossed), 2))
    for done, pair in enumerate(pairs):
        count(pair)
        progress((done + 1) / len(pairs), "looking at pairs of columns")
    slice_count = int(sum((rows >= min_group).sum() for rows, _ in slices.values()))
    chosen: list[tuple[tuple[tuple[int, int], ...], int, int]] = []
    while len(chosen) < CANDIDATES:
        key = max(scores, key=lambda key: scores[key].max())
        cell = int(scores[key].argmax())
        if scores[key][cell] == -np.inf:
            break
        rows, bad = slices[key]
        where = ((key[0], cell),) if len(key) == 1 else tuple(zip(key, divmod(cell, sizes[key[1]]), strict=True))
        chosen.append((where, int(bad[cell]), int(rows[cell])))
        inside = np.flatnonzero(_cells(columns, sizes, key)[0] == cell)
        alike = {other: score for other, score in scores.items() if len(other) == len(key)}
        for other, shared in _shared(columns, sizes, alike, inside):
            smaller = np.minimum(slices[other][0], rows[cell])
            scores[other][shared > OVERLAP * smaller] = -np.inf
    return slice_count, chosen


def _cells(columns: list[NDArray[np.int32]], sizes: list[int], key: tuple[int, ...]) -> tuple[NDArray[np.int32], int]:
    if len(key) == 1:
        return columns[key[0]], sizes[key[0]]
    return columns[key[0]] * np.int32(sizes[key[1]]) + columns[key[1]], sizes[key[0]] * sizes[key[1]]


def _shared(
    columns: list[NDArray[np.int32]],
    sizes: list[int],
    scores: dict[tuple[int, ...], NDArray[np.float64]],
    inside: NDArray[np.intp],
) -> Iterator[tuple[tuple[int, ...], NDArray[np.int64]]]:
    """Yield how many of the rows `inside` each cell holds, where any of its kind could still be proposed."""
    within = [codes[inside] for codes in columns]
    for key, score in scores.items():
        if score.max() > -np.inf:
            cells, width = _cells(within, sizes, key)
            yield key, np.bincount(cells, minlength=width)


def _score(rows: NDArray[np.int64], bad: NDArray[np.int64], min_group: int, overall: float) -> NDArray[np.float64]:
    """Return the lower Wilson limit at 99 % of each cell's error rate, -inf where it cannot be proposed."""
    z, n = normal_quantile(0.99), np.maximum(rows, 1)
    rate = bad / n
    low = (rate + z * z / (2 * n) - z * np.sqrt(rate * (1 - rate) / n + (z / (2 * n)) ** 2)) / (1 + z * z / n)
    return np.where((rows >= max(min_group, 1)) & (rate > overall), low, -np.inf)
