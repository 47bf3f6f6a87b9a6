"""Every column as a few named groups of rows, whatever it holds: what searches over all columns start from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.data.bins import binned
from auditkit.data.dataset import factorize
from auditkit.data.values import numbers
from auditkit.errors import DatasetError

MAXIMUM_VALUES = 100
"""A column of more different texts than this (an id, free text) says little by its values, and is left out."""


@dataclass(frozen=True, eq=False)
class GroupedColumn:
    """A column's groups: `codes`, (rows,), from 0, into `phrases`, each readable alone (`age under 28`).

    `ordered` says that the codes ascend with the numbers that the column holds.
    """

    name: str
    phrases: tuple[str, ...]
    codes: NDArray[np.int64]
    ordered: bool


def grouped_columns(
    frame: pd.DataFrame, *, leave_out: Collection[str] = (), quantiles: int = 5
) -> tuple[list[GroupedColumn], list[str]]:
    """Return the columns of a frame as groups, and the names of those that are left out.

    Numbers of more than `quantiles` different values are put into that many quantiles, or fewer where one value is
    frequent; other columns have a group for each value. A missing value is a group of its own. Columns of a single
    group, and those of over 100 different texts, are left out.

    >>> found, _ = grouped_columns(pd.DataFrame({"age": range(20, 70), "sex": ["F", "M"] * 25}))
    >>> found[0].phrases[:2], found[1].phrases
    (('age under 29', 'age 29 to under 39'), ('sex = F', 'sex = M'))
    """
    found, omitted = [], []
    for name in frame.columns:
        if name in leave_out:
            continue
        group = _grouped(frame, str(name), quantiles)
        if group is None:
            omitted.append(str(name))
        elif len(group.phrases) > 1:
            found.append(group)
    return found, omitted


def _grouped(frame: pd.DataFrame, name: str, quantiles: int) -> GroupedColumn | None:
    try:
        values = numbers(frame, name)
    except (DatasetError, TypeError, ValueError):  # text, dates, or arrays
        return _by_value(frame, name)
    present = values[~np.isnan(values)]
    distinct = np.unique(present)
    if len(distinct) <= quantiles:
        return _by_value(frame, name)
    edges = np.unique(np.quantile(present, np.arange(1, quantiles) / quantiles, method="inverted_cdf"))
    edges = edges[edges > distinct[0]]
    if not edges.size:  # most rows hold the lowest value
        edges = distinct[1:2]
    codes, ranges = binned(frame, name, edges.tolist())
    return _compact(name, codes, [f"{name} {words}" for words in ranges], ordered=True)


def _by_value(frame: pd.DataFrame, name: str) -> GroupedColumn | None:
    try:
        codes, words = factorize(frame[name])
    except TypeError:  # values that cannot be told apart, such as arrays
        return None
    if len(words) > MAXIMUM_VALUES:
        return None
    return _compact(name, codes, [f"{name} = {word}" for word in words], ordered=False)


def _compact(name: str, codes: NDArray[np.int64], phrases: list[str], *, ordered: bool) -> GroupedColumn:
    """Give missing values a group, and leave out groups without rows."""
    codes = np.where(codes < 0, len(phrases), codes)
    phrases = [*phrases, f"{name} missing"]
    present = np.flatnonzero(np.bincount(codes, minlength=len(phrases)))
    position = np.full(len(phrases), -1)
    position[present] = np.arange(len(present))
    return GroupedColumn(name, tuple(phrases[place] for place in present), position[codes], ordered)
