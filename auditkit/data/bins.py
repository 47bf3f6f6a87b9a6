"""Ranges of a continuous sensitive column, so that its groups can be compared: stated edges, or quantiles."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.data.values import numbers
from auditkit.errors import DatasetError, InputError

MAXIMUM_BINS = 100
Edges = tuple[float, ...]


def check_rule(column: str, rule: str) -> None:
    """Raise InputError where a rule is neither ascending edges, separated by commas, nor `quantiles:N`."""
    counted = re.fullmatch(r"quantiles:(\d{1,3})", rule)
    if counted:
        if not 2 <= int(counted[1]) <= MAXIMUM_BINS:
            raise InputError(f"bins: {column!r} needs from 2 to {MAXIMUM_BINS} quantiles, got {counted[1]}.")
        return
    try:
        edges = [float(part) for part in rule.split(",")]
    except ValueError:
        raise InputError(f"bins: {column!r} must have edges (25,45,65) or quantiles:N, got {rule!r}.") from None
    if not all(math.isfinite(edge) for edge in edges) or sorted(set(edges)) != edges or len(edges) >= MAXIMUM_BINS:
        raise InputError(
            f"bins: the edges of {column!r} must ascend, be finite and fewer than {MAXIMUM_BINS}, got {rule!r}."
        )


def _numbers(frame: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Return a column as float64, (rows,), NaN where missing.

    Raises:
        DatasetError: it holds something other than numbers; of dates it says what to do.
    """
    try:
        return numbers(frame, column)
    except DatasetError:
        try:
            numbers(frame, column, date=True)
        except DatasetError:
            pass
        else:
            raise DatasetError(
                f"bins are of numbers, and column {column!r} holds dates; add a column with the year or the age, and "
                "pass that to --sensitive and --bins."
            ) from None
        raise


def edges_of(frame: pd.DataFrame, column: str, rule: str) -> Edges:
    """Return the edges that a rule gives for a column of these rows.

    Raises:
        DatasetError: the column holds something other than numbers, or too few different ones for its quantiles.
    """
    if not rule.startswith("quantiles:"):
        return tuple(float(part) for part in rule.split(","))
    values = _numbers(frame, column)
    count = int(rule.removeprefix("quantiles:"))
    present = values[~np.isnan(values)]
    edges = np.unique(np.quantile(present, np.arange(1, count) / count)) if present.size else np.zeros(0)
    edges = edges[edges > present.min()] if present.size else edges
    if not edges.size:
        raise DatasetError(f"column {column!r} has too few different numbers for {count} quantiles; state its edges.")
    return tuple(edges.tolist())


def binned(frame: pd.DataFrame, column: str, edges: Sequence[float]) -> tuple[NDArray[np.int64], list[str]]:
    """Return each row's range, (rows,), -1 where the value is missing, and the ranges' names.

    A range holds its lower edge and not its upper one.

    >>> codes, names = binned(pd.DataFrame({"age": [24, 25, 70]}), "age", (25, 65))
    >>> [names[code] for code in codes]
    ['under 25', '25 to under 65', '65 and over']
    """
    values = _numbers(frame, column)
    shown = [f"{edge:.6g}" if float(f"{edge:.6g}") == edge else repr(edge) for edge in edges]
    names = [f"under {shown[0]}"]
    names += [f"{low} to under {high}" for low, high in itertools.pairwise(shown)]
    names.append(f"{shown[-1]} and over")
    codes = np.searchsorted(np.asarray(edges), values, side="right").astype(np.int64)
    codes[np.isnan(values)] = -1
    return codes, names
