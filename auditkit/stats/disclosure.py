"""What a table of synthetic records gives away about the people whose records it was made from.

Three attacks of Giomi, Boenisch, Wehmeyer & Tasnádi 2022 (arXiv:2211.10459), written from the paper's formulas:
singling out a person, linking two parts of a record, and guessing a column. Each is made against training records, and
against records of the same population that the generator never saw. What succeeds against both is knowledge of people
at large; the rest is the risk that the synthetic records bring to those whose records were used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.measurement import Interval
from auditkit.evidence.messages import Message
from auditkit.stats.intervals import donner_zou

Mask = NDArray[np.bool_]

PREDICATES, MOST_TRIES, PREDICATE_COLUMNS = 2_000, 20_000, 3
ROWS_AT_ONCE = 100
TIED = 1e-5
"""Distances that differ by less are equal: sums in another order may differ by so much."""
CLOSE = 0.05
"""A number is guessed where the guess is at most this share of the column's range away."""


class Records(NamedTuple):
    """Rows of mixed columns as numbers: (rows, columns); `is_number` says which columns are ordered, (columns,).

    A category is a code that all tables share, a missing value a category of its own, or below all numbers.
    """

    values: NDArray[np.float64]
    is_number: Mask

    def part(self, rows: NDArray[np.int64]) -> Records:
        """Return some of the rows."""
        return self._replace(values=self.values[rows])


class Attack(NamedTuple):
    """How often an attack succeeds: on training records, and on unseen ones."""

    hits: int
    tries: int
    control_hits: int
    control_tries: int


class Risk(NamedTuple):
    """The share of what unseen records resist that training records give away, with its interval."""

    value: float
    interval: Interval


def risk(attack: Attack, level: float) -> Risk:
    """Return `(success - control) / (1 - control)`: 0 where training records are as safe as unseen ones, 1 at most.

    It is 1 minus a ratio of two shares of failures, and has that ratio's interval. The two shares are of different
    records. Below 0 is chance: the interval says how far.

    >>> risk(Attack(30, 100, 30, 100), 0.95).value
    0.0
    """
    failures, control_failures = attack.tries - attack.hits, attack.control_tries - attack.control_hits
    method = Message("Donner-Zou with mid-P limits")
    if control_failures == 0:  # nothing is left that the synthetic records could give away
        return Risk(0.0, Interval(low=-1.0, high=1.0, level=level, method=method))
    ratio = (failures / attack.tries) / (control_failures / attack.control_tries)
    low, high = donner_zou(failures, attack.tries, control_failures, attack.control_tries, level)
    value = max(-1.0, 1 - ratio)
    ends = max(-1.0, min(1 - float(high), value)), min(1.0, max(1 - float(low), value))
    return Risk(value, Interval(low=ends[0], high=ends[1], level=level, method=method))


def singling_out(synthetic: Records, training: Records, unseen: Records, *, seed: int) -> Attack:
    """Single people out by three columns: predicates that hold for one synthetic record, tried on real ones.

    A predicate asks for a category, or for numbers at or beyond the one of a synthetic record, in three random columns.
    It succeeds where it holds for exactly one record. How often that happens by chance depends on the number of
    records, so that as many training records as unseen ones are tried.
    """
    rng = np.random.default_rng(seed)
    size = min(len(training.values), len(unseen.values))
    tables = [table.part(rng.permutation(len(table.values))[:size].astype(np.int64)) for table in (training, unseen)]
    middle = np.median(synthetic.values, axis=0)
    columns = synthetic.values.shape[1]
    found: set[tuple[object, ...]] = set()
    hits = [0, 0]
    for _ in range(MOST_TRIES):
        if len(found) == PREDICATES:
            break
        chosen = rng.choice(columns, size=min(PREDICATE_COLUMNS, columns), replace=False)
        row = synthetic.values[rng.integers(len(synthetic.values))]
        predicate = (*sorted(chosen.tolist()), *row[np.sort(chosen)].tolist())
        if predicate in found or _matches(synthetic, row, chosen, middle) != 1:
            continue
        found.add(predicate)
        for place, table in enumerate(tables):
            hits[place] += _matches(table, row, chosen, middle) == 1
    return Attack(hits[0], len(found), hits[1], len(found))


def _matches(
    records: Records, row: NDArray[np.float64], columns: NDArray[np.int64], middle: NDArray[np.float64]
) -> int:
    """Return how many records a predicate holds for."""
    holds = np.ones(len(records.values), dtype=bool)
    for column in columns:
        values = records.values[:, column]
        if not records.is_number[column]:
            holds &= values == row[column]
        elif row[column] > middle[column]:
            holds &= values >= row[column]
        else:
            holds &= values <= row[column]
    return int(holds.sum())


def linkability(synthetic: Records, training: Records, unseen: Records, *, seed: int) -> Attack:
    """Link two halves of a record: of the synthetic records nearest to each half, exactly one is nearest to both."""
    order = np.random.default_rng(seed).permutation(synthetic.values.shape[1])
    halves = np.array_split(order, 2)

    def linked(targets: Records) -> Mask:
        parts = []
        for distances in _distances(targets, synthetic):
            apart = [distances[columns].sum(axis=0) for columns in halves]
            nearest = [part <= part.min(axis=1, keepdims=True) + TIED for part in apart]
            parts.append((nearest[0] & nearest[1]).sum(axis=1) == 1)
        return np.concatenate(parts)

    return _attack(linked(training), linked(unseen))


def inference(synthetic: Records, training: Records, unseen: Records) -> list[Attack]:
    """Guess each column of a record from all the others: the value of the nearest synthetic record, by column."""
    reach = np.where(synthetic.is_number, CLOSE * _ranges(synthetic), 0.0)

    def guessed(targets: Records) -> Mask:
        parts, at = [], 0
        for distances in _distances(targets, synthetic):
            whole = distances.sum(axis=0)
            truth = targets.values[at : at + whole.shape[0]]
            at += whole.shape[0]
            rights = []
            for column, own in enumerate(distances):
                guess = synthetic.values[(whole - own).argmin(axis=1), column]
                rights.append(np.abs(guess - truth[:, column]) <= reach[column])
            parts.append(np.stack(rights, axis=1))
        return np.concatenate(parts)

    mine, others = guessed(training), guessed(unseen)
    return [_attack(mine[:, column], others[:, column]) for column in range(mine.shape[1])]


def _ranges(records: Records) -> NDArray[np.float64]:
    """Return the range of each column's numbers, without its outermost hundredths; 1 where all are the same."""
    low, high = np.percentile(records.values, [1, 99], axis=0)
    wide: NDArray[np.float64] = np.where(high > low, high - low, 1.0)
    return wide


def _distances(targets: Records, synthetic: Records) -> Iterator[NDArray[np.float32]]:
    """Yield distances by column, (columns, targets, synthetic rows), some targets at a time: Gower's (1971).

    Categories are 0 or 1 apart, numbers by their difference as a share of the column's range, at most 1.
    """
    ranges = _ranges(synthetic)
    for start in range(0, len(targets.values), ROWS_AT_ONCE):
        part = targets.values[start : start + ROWS_AT_ONCE]
        yield np.stack(
            [
                np.minimum(np.abs(part[:, [column]] - synthetic.values[:, column]) / ranges[column], 1.0)
                if ordered
                else part[:, [column]] != synthetic.values[:, column]
                for column, ordered in enumerate(synthetic.is_number)
            ]
        ).astype(np.float32)


def _attack(hits: Mask, control: Mask) -> Attack:
    return Attack(int(hits.sum()), len(hits), int(control.sum()), len(control))


def as_records(
    tables: Sequence[Sequence[NDArray[np.float64] | Sequence[str]]],
) -> list[Records]:
    """Return tables of the same columns as records; a column is numbers (NaN where missing) or words, in each table.

    Categories have one code in all tables; a missing number is one step below the smallest.
    """
    columns: list[list[NDArray[np.float64]]] = []
    is_number = []
    for parts in zip(*tables, strict=True):
        ordered = all(isinstance(part, np.ndarray) for part in parts)
        is_number.append(ordered)
        if ordered:
            numbers = [np.asarray(part, dtype=np.float64) for part in parts]
            every = np.concatenate(numbers)
            lowest = np.nanmin(every) - 1 if not np.isnan(every).all() else 0.0
            columns.append([np.where(np.isnan(part), lowest, part) for part in numbers])
            continue
        words = [[f"{value:g}" if isinstance(value, float) else str(value) for value in part] for part in parts]
        codes = {word: float(code) for code, word in enumerate(sorted({word for part in words for word in part}))}
        columns.append([np.array([codes[word] for word in part]) for part in words])
    mask = np.array(is_number, dtype=bool)
    return [Records(np.column_stack([column[place] for column in columns]), mask) for place in range(len(tables))]
