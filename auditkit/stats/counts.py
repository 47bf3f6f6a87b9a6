"""Counts: rows by group, label and prediction, from which every rate and every gap between groups is read."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import InputError
from auditkit.evidence.measurement import Group, shown
from auditkit.evidence.messages import Message
from auditkit.stats.sampling import SIMPLE, Cells, Sampling, joined_cells

ROWS_AT_ONCE = 2**20


@dataclass(frozen=True, eq=False)
class Counts:
    """How many rows each group has with each label and each prediction.

    `columns` are the columns that divide the rows into groups, `groups` the sorted keys of the groups that occur
    (one value a column), `classes` the names of labels and predictions alike, and `table` int64, (groups, labels,
    predictions). Tables of parts of the data add up to the table of the whole, whatever the parts. `sampled` are the
    rows themselves where they weigh differently or come in clusters: the table counts them all the same.

    >>> whole = tally(("sex",), (("F",), ("M",)), [0, 0, 1], [1, 0, 1], [1, 1, 0], ("no", "yes"))
    >>> whole.sizes
    array([2, 1])
    >>> whole.by(()).table.tolist()
    [[[0, 1], [1, 1]]]
    """

    columns: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    classes: tuple[str, ...]
    table: NDArray[np.int64]
    sampled: Cells | None = None

    def __post_init__(self) -> None:
        """Refuse a table that does not fit its names; the table itself becomes read-only."""
        shape = (len(self.groups), len(self.classes), len(self.classes))
        if self.table.shape != shape:
            raise InputError(f"table must have the shape {shape} of its names, got {self.table.shape}.")
        if list(self.groups) != sorted(set(self.groups)):
            raise InputError("groups must be sorted, each key once; make a table with tally().")
        if any(len(key) != len(self.columns) for key in self.groups):
            raise InputError(f"groups must have one value for each of {len(self.columns)} columns.")
        self.table.setflags(write=False)

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same names and the same numbers."""
        if not isinstance(other, Counts):
            return NotImplemented
        named = (self.columns, self.groups, self.classes) == (other.columns, other.groups, other.classes)
        return named and np.array_equal(self.table, other.table)

    __hash__ = None  # type: ignore[assignment]  # Python's way to say unhashable, which object's type does not foresee

    def __add__(self, other: Counts) -> Counts:
        """Return the table of both parts together; groups that only one of them has are kept.

        Raises:
            InputError: the two tables differ in columns or classes, or their rows have weights or clusters.
        """
        if not isinstance(other, Counts):
            return NotImplemented
        if self.sampled is not None or other.sampled is not None:
            raise InputError("tables of rows with weights or clusters cannot be added; tally all rows at once.")
        for what, mine, theirs in (("columns", self.columns, other.columns), ("classes", self.classes, other.classes)):
            if mine != theirs:
                raise InputError(f"{what} must agree to add two tables, got {mine} and {theirs}.")
        keys = self.groups + other.groups
        return _gather(self.columns, keys, self.classes, np.concatenate([self.table, other.table]))

    def group(self, position: int | np.integer[Any]) -> Group:
        """Return the group at a position of `groups`, with the columns that it is told by."""
        return Group(by=self.columns, key=self.groups[position])

    def by(self, columns: tuple[str, ...]) -> Counts:
        """Return the table over fewer columns, or the same in another order; () is one group of all rows.

        Raises:
            InputError: a column that this table is not divided by.
        """
        unknown = [column for column in columns if column not in self.columns]
        if unknown:
            raise InputError(f"column {unknown[0]!r} is not counted here; the table has {', '.join(self.columns)}.")
        places = [self.columns.index(column) for column in columns]
        keys = tuple(tuple(key[place] for place in places) for key in self.groups)
        return _gather(tuple(columns), keys, self.classes, self.table, self.sampled)

    def one_vs_rest(self, code: int) -> Counts:
        """Return the table of two classes, any other one and the class `code`: the last is the positive one."""
        table = np.zeros((len(self.groups), 2, 2), dtype=np.int64)
        table[:, 1, 1] = self.table[:, code, code]
        table[:, 1, 0] = self.table[:, code, :].sum(axis=1) - table[:, 1, 1]
        table[:, 0, 1] = self.table[:, :, code].sum(axis=1) - table[:, 1, 1]
        table[:, 0, 0] = self.sizes - table[:, 1, 1] - table[:, 1, 0] - table[:, 0, 1]
        sampled = self.sampled
        if sampled is not None:
            labels, predictions = np.divmod(sampled.cells, len(self.classes))
            cells = (labels == code) * 2 + (predictions == code)
            sampled = Cells(sampled.groups, cells.astype(np.int64), sampled.sampling)
        return Counts(self.columns, self.groups, ("any other", self.classes[code]), table, sampled)

    def sums(self) -> NDArray[np.float64]:
        """Return the sum of the rows' weights, where they have any: float64, (groups, labels, predictions)."""
        if self.sampled is None:
            return self.table.astype(np.float64)
        return self.sampled.sums(len(self.groups), len(self.classes) ** 2).reshape(self.table.shape)

    def total(self) -> NDArray[np.int64]:
        """Return the table over all groups: int64, (labels, predictions)."""
        total: NDArray[np.int64] = self.table.sum(axis=0)
        return total

    @functools.cached_property
    def sizes(self) -> NDArray[np.int64]:
        """The number of rows of each group: int64, (groups,)."""
        sizes: NDArray[np.int64] = self.table.sum(axis=(1, 2))
        return sizes


def tally(
    columns: tuple[str, ...],
    names: tuple[tuple[str, ...], ...],
    codes: NDArray[np.int64],
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    classes: tuple[str, ...],
    sampling: Sampling = SIMPLE,
) -> Counts:
    """Count rows by group, label and prediction.

    Args:
        columns: the columns that divide the rows.
        names: the key of each group code, one value a column; codes that do not occur are left out of the table.
        codes: the group of each row, (rows,).
        labels: the true class of each row, (rows,).
        predictions: the predicted class of each row, (rows,).
        classes: the name of each class code.
        sampling: the weights and the clusters of the rows, if they have any.

    Raises:
        InputError: arrays of different lengths, or a code outside its names.
    """
    group, label, prediction = (np.asarray(array) for array in (codes, labels, predictions))
    if not len(group) == len(label) == len(prediction):
        raise InputError(
            "codes, labels and predictions must have one value a row, "
            f"got {len(group):,}, {len(label):,} and {len(prediction):,}."
        )
    for what, array, size in (
        ("codes", group, len(names)),
        ("labels", label, len(classes)),
        ("predictions", prediction, len(classes)),
    ):
        if len(array) and (array.dtype.kind not in "iub" or array.min() < 0 or array.max() >= size):
            raise InputError(
                f"{what} must be integers from 0 to {size - 1}, got {array.dtype} from {array.min()} to {array.max()}."
            )
    width = len(classes)
    cell_counts = np.zeros(len(names) * width * width, dtype=np.int64)
    for start in range(0, len(group), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        cells = group[rows].astype(np.int64)
        for codes_of in (label, prediction):
            cells *= width
            cells += codes_of[rows]
        cell_counts += np.bincount(cells, minlength=len(cell_counts))
    table = cell_counts.reshape(len(names), width, width)
    present = np.flatnonzero(table.sum(axis=(1, 2)))
    keys = tuple(names[code] for code in present)
    sampled = None
    if not sampling.is_simple:
        places = np.zeros(len(names), dtype=np.int64)
        places[present] = np.arange(len(present))
        sampled = Cells(places[group], label.astype(np.int64) * width + prediction, sampling)
    return _gather(tuple(columns), keys, tuple(classes), table[present], sampled)


def _gather(
    columns: tuple[str, ...],
    keys: tuple[tuple[str, ...], ...],
    classes: tuple[str, ...],
    table: NDArray[np.int64],
    sampled: Cells | None = None,
) -> Counts:
    """Return the table with equal keys added up, and the keys sorted."""
    groups = tuple(sorted(set(keys)))
    place = {key: position for position, key in enumerate(groups)}
    places = np.array([place[key] for key in keys], dtype=np.int64)
    gathered = np.zeros((len(groups), *table.shape[1:]), dtype=np.int64)
    np.add.at(gathered, places, table)
    if sampled is not None:
        sampled = Cells(places[sampled.groups], sampled.cells, sampled.sampling)
    return Counts(columns, groups, classes, gathered, sampled)


def stacked(parts: Sequence[Counts], axis: str) -> Counts:
    """Return tables of two classes as one table whose last column, `axis`, is the name of each one's last class.

    >>> part = tally(("sex",), (("F",),), np.array([0, 0]), np.array([0, 1]), np.array([1, 1]), ("other", "yes"))
    >>> stacked([part], "class").groups
    (('F', 'yes'),)
    """
    pairs = sorted(
        ((*key, part.classes[-1]), group, code)
        for code, part in enumerate(parts)
        for group, key in enumerate(part.groups)
    )
    rows: list[Cells] = []
    for code, part in enumerate(parts):
        if part.sampled is not None:
            places = np.zeros(len(part.groups), dtype=np.int64)
            for position, (_, group, other) in enumerate(pairs):
                if other == code:
                    places[group] = position
            rows.append(Cells(places[part.sampled.groups], part.sampled.cells, part.sampled.sampling))
    return Counts(
        columns=(*parts[0].columns, axis),
        groups=tuple(key for key, _, _ in pairs),
        classes=("any other", "this class"),
        table=np.stack([parts[code].table[group] for _, group, code in pairs]),
        sampled=joined_cells(rows) if rows else None,
    )


def crossings(columns: Sequence[str], depth: int) -> list[tuple[str, ...]]:
    """Return the columns by themselves, and crossed with each other up to `depth` at a time.

    >>> crossings(("sex", "race"), 2)
    [('sex',), ('race',), ('sex', 'race')]
    """
    return [
        chosen for count in range(1, min(depth, len(columns)) + 1) for chosen in itertools.combinations(columns, count)
    ]


MISSING = "(missing)"
"""The value of a group whose rows have none: such groups are counted, and not compared with the others."""


def not_compared(
    sizes: NDArray[np.int64], min_group: int, groups: tuple[tuple[str, ...], ...] | None = None
) -> NDArray[np.bool_]:
    """Return which groups are counted and not compared: bool, (groups,).

    Those under `min_group` rows, which are too few to judge, and, by their keys in `groups`, those without a value in a
    column. No other group: a few rows never keep the rest from being measured and judged.

    >>> not_compared(np.array([500, 300, 40, 4]), 10)
    array([False, False, False,  True])
    >>> not_compared(np.array([500, 400, 30]), 10, (("F",), ("M",), ("(missing)",)))
    array([False, False,  True])
    """
    few: NDArray[np.bool_] = np.asarray(sizes) < min_group
    if groups is not None:
        few = np.logical_or(few, [MISSING in key for key in groups])
    return few


LISTED = 10
"""How many groups that are too few to judge a sentence names."""


def not_compared_note(
    columns: tuple[str, ...], groups: tuple[tuple[str, ...], ...], sizes: NDArray[np.int64], min_group: int
) -> str | None:
    """Return the sentence that says which groups of a breakdown are not compared, or None where all are.

    >>> not_compared_note(("race",), (("A",), ("B",), ("C",), ("D",)), np.array([500, 300, 4, 6]), 10)
    'By race, 2 of 4 groups have fewer than 10 rows, too few to judge: D (6), C (4).'
    """
    sizes = np.asarray(sizes)
    unknown = np.array([MISSING in key for key in groups], dtype=bool)
    few = (sizes < min_group) & ~unknown
    parts = []
    if few.any():
        order = sorted(np.flatnonzero(few), key=lambda place: (-int(sizes[place]), groups[place]))
        named = [f"{shown(groups[place])} ({int(sizes[place])})" for place in order[:LISTED]]
        more = Message(" and {n:,} more", n=len(order) - LISTED) if len(order) > LISTED else ""
        parts.append(
            Message.plural(
                "{n} of {count} groups has fewer than {min_group} rows, too few to judge: {listed}{more}",
                "{n} of {count} groups have fewer than {min_group} rows, too few to judge: {listed}{more}",
                int(few.sum()),
                count=int((~unknown).sum()),
                min_group=min_group,
                listed=", ".join(named),
                more=more,
            )
        )
    if unknown.any():
        parts.append(
            Message.plural(
                "{n:,} row without a value is counted and not compared; --compare-missing compares it",
                "{n:,} rows without a value are counted and not compared; --compare-missing compares them",
                int(sizes[unknown].sum()),
            )
        )
    if not parts:
        return None
    if len(parts) == 1:
        return Message("By {columns}, {what}.", columns=shown(columns), what=parts[0])
    return Message("By {columns}, {what}; {more}.", columns=shown(columns), what=parts[0], more=parts[1])
