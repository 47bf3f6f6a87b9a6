"""Rows as hashes, columns as codes and as missing or not: what checks of the data themselves start from."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.data.dataset import factorize
from auditkit.data.image import holds_images
from auditkit.data.values import days, is_typed, number

ROWS_AT_ONCE = 2**18


def row_hashes(frame: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.uint64]:
    """Return a hash of each row over some columns: uint64, (rows,).

    Equal rows have equal hashes whether they come from text or from typed columns (1, 1.0 and "1" are the same
    value), and the order of the columns counts.
    """
    hashes = np.zeros(len(frame), dtype=np.uint64)
    for name in columns:
        column = frame[name]
        if _is_number(column):
            for start in range(0, len(frame), ROWS_AT_ONCE):
                rows = slice(start, start + ROWS_AT_ONCE)
                _mix(hashes[rows], _hash_numbers(_as_numbers(column.iloc[rows])))
        elif holds_images(column):
            digests = [hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in column]
            _mix(hashes, np.frombuffer(b"".join(digests), dtype=np.uint64))
        else:
            codes, words = factorize(column)
            read = [number(word) for word in words]
            if any(math.isinf(value) for value in read):
                hashed = pd.util.hash_array(np.array(words, dtype=object))
            else:
                hashed = _hash_numbers(np.array(read, dtype=np.float64))
            lookup = np.append(hashed.astype(np.uint64), _hash_numbers(np.array([np.nan])))
            for start in range(0, len(frame), ROWS_AT_ONCE):
                rows = slice(start, start + ROWS_AT_ONCE)
                _mix(hashes[rows], lookup[codes[rows]])
    return hashes


def missing_rows(frame: pd.DataFrame, name: str) -> NDArray[np.bool_]:
    """Return which rows have no value in a column; in a column of numbers also those with a word such as NA."""
    column = frame[name]
    if _is_number(column) or holds_images(column):
        missing: NDArray[np.bool_] = column.isna().to_numpy()
        return missing
    codes, words = factorize(column)
    read = [number(word) for word in words]
    numeric = any(math.isfinite(value) for value in read) and not any(math.isinf(value) for value in read)
    lookup = np.array([*(numeric and math.isnan(value) for value in read), True])
    found: NDArray[np.bool_] = lookup[codes]
    return found


def column_values(frame: pd.DataFrame, name: str) -> NDArray[np.float64] | tuple[NDArray[np.int64], list[str]] | None:
    """Return a column as numbers, NaN where missing, or as codes into its texts, -1 where missing; None for images."""
    column = frame[name]
    if holds_images(column):
        return None
    if _is_number(column):
        return _as_numbers(column)
    codes, words = factorize(column)
    read = np.array([*(number(word) for word in words), np.nan])
    if words and not np.isinf(read).any() and np.isfinite(read).any():
        return read[codes]
    return codes, words


def _is_number(column: pd.Series[Any]) -> bool:
    return is_typed(column) or pd.api.types.is_datetime64_any_dtype(column.dtype)


def _as_numbers(column: pd.Series[Any]) -> NDArray[np.float64]:
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return days(column)
    return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)


def _hash_numbers(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    canonical = np.where(np.isnan(values), np.nan, values + 0.0)  # one NaN, and no negative zero
    return pd.util.hash_array(canonical).astype(np.uint64)


def _mix(hashes: NDArray[np.uint64], more: NDArray[np.uint64]) -> None:
    """Fold one column's hashes into the rows', in place (Boost's hash_combine)."""
    with np.errstate(over="ignore"):
        hashes ^= more + np.uint64(0x9E3779B97F4A7C15) + (hashes << np.uint64(6)) + (hashes >> np.uint64(2))
