"""Counting a Parquet file of any length, a batch of rows at a time: the memory does not grow with the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from auditkit.budgets import DATA_BYTES
from auditkit.data.readers.columnar import mapped
from auditkit.errors import DatasetError, closest
from auditkit.files import opened
from auditkit.stats.counts import MISSING, Counts, tally

ROWS_AT_ONCE = 2**20


def tally_parquet(
    path: str | Path,
    columns: Sequence[str],
    *,
    label: str,
    prediction: str,
    classes: tuple[str, ...] = ("0", "1"),
    progress: Callable[[int], None] = lambda row_count: None,
) -> Counts:
    """Count the rows of a Parquet file by group, label and prediction, in constant memory.

    The result is that of `tally` over all rows at once. A missing value of a group column is a group of its own,
    `(missing)`.

    Args:
        path: the file.
        columns: the columns that divide the rows into groups.
        label: the column of the true class: its code from 0, or its name.
        prediction: the column of the predicted class, likewise.
        classes: the names of the classes.
        progress: called with the number of rows counted so far.

    Raises:
        DatasetError: no such file or column, or a label or prediction that is none of the classes.
    """
    with opened(path, f"dataset {path}", budget=DATA_BYTES, error=DatasetError) as raw, mapped(raw) as source:
        return _tally(source, path, columns, label, prediction, classes, progress)


def _tally(
    source: pa.BufferReader,
    path: str | Path,
    columns: Sequence[str],
    label: str,
    prediction: str,
    classes: tuple[str, ...],
    progress: Callable[[int], None],
) -> Counts:
    try:
        known = pq.read_schema(source).names
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"dataset {path}: {str(error).splitlines()[0].rstrip('.')}.") from error
    source.seek(0)
    for name in (*columns, label, prediction):
        if name not in known:
            raise DatasetError(f"dataset {path}: has no column {name!r}{closest(name, known)}.")
    # Buffering ahead keeps every byte that was read until the end: memory that grows with the file.
    file = pq.ParquetFile(source, read_dictionary=[*columns], pre_buffer=False)
    total: Counts | None = None
    done = 0
    for batch in file.iter_batches(ROWS_AT_ONCE, columns=[*columns, label, prediction]):
        part = _tally_batch(batch, tuple(columns), label, prediction, classes, path)
        total = part if total is None else total + part
        done += batch.num_rows
        progress(done)
    if total is None:
        raise DatasetError(f"dataset {path}: has no rows.")
    return total


def _tally_batch(
    batch: pa.RecordBatch,
    columns: tuple[str, ...],
    label: str,
    prediction: str,
    classes: tuple[str, ...],
    path: str | Path,
) -> Counts:
    combined = np.zeros(batch.num_rows, dtype=np.int32)
    words: list[list[str]] = []
    for name in columns:
        codes, values = _dictionary(batch.column(name))
        combined *= len(values)
        combined += codes
        words.append(values)
    sizes = [len(values) for values in words]
    # Only cells that occur are named: the product of many columns' sizes may be large.
    found = np.flatnonzero(np.bincount(combined, minlength=int(np.prod(sizes))))
    position: NDArray[Any] = np.zeros(int(np.prod(sizes)), dtype=np.int32)
    position[found] = np.arange(len(found), dtype=np.int32)
    places = np.unravel_index(found, sizes)
    names = tuple(
        tuple(values[place[index]] for place, values in zip(places, words, strict=True)) for index in range(len(found))
    )
    labels, predictions = (_classes(batch.column(name), classes, name, path) for name in (label, prediction))
    return tally(columns, names, position[combined], labels, predictions, classes)


def _dictionary(column: pa.Array) -> tuple[NDArray[np.int32], list[str]]:
    """Return codes, and the text of each code; the last one is for missing values."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    words = [str(value) for value in column.dictionary.to_pylist()]
    indices = column.indices
    if indices.null_count:
        indices = indices.fill_null(len(words))
    return indices.to_numpy(zero_copy_only=False).astype(np.int32, copy=False), [*words, MISSING]


def _classes(column: pa.Array, classes: tuple[str, ...], name: str, path: str | Path) -> NDArray[np.int64]:
    """Return the class code of each row."""
    if column.null_count:
        raise DatasetError(f"dataset {path}: column {name!r} has missing values; leave those rows out first.")
    if pa.types.is_integer(column.type):
        codes = np.asarray(column.to_numpy())
        outside = codes[(codes < 0) | (codes >= len(classes))]
        if outside.size:
            raise DatasetError(
                f"dataset {path}: column {name!r}: '{outside[0]}' is none of the classes {classes}, nor a code of one."
            )
        return codes
    numbers, words = _dictionary(column)
    unknown = [word for word in words[:-1] if word not in classes]
    if unknown:
        raise DatasetError(f"dataset {path}: column {name!r}: {unknown[0]!r} is none of the classes {classes}.")
    return np.array([*(classes.index(word) for word in words[:-1]), -1])[numbers]
