"""Parquet and Arrow files, memory-mapped and read a batch of rows at a time into columns of their own small types."""

from __future__ import annotations

import io
import mmap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from auditkit.budgets import CELLS, COLUMNS, ROWS
from auditkit.data.interned import MISSING_WORDS, check_header
from auditkit.data.readers.base import DataSource, ReadOptions, ReadRows
from auditkit.errors import DatasetError
from auditkit.evidence.messages import Message

ROWS_AT_ONCE = 2**18
ALL_COLUMNS_ROWS = 2_000_000
"""Files with more rows than this are read without the columns that the audit does not name."""

PARQUET, ARROW = b"PAR1", b"ARROW1"
"""The first bytes of the two formats."""


class ColumnarReader:
    """Parquet and Arrow files."""

    def recognise(self, source: DataSource) -> bool:
        """Return whether it begins as one of the two formats does."""
        return source.head.startswith((PARQUET, ARROW))

    def read(self, source: DataSource, options: ReadOptions) -> ReadRows:
        """Return its rows, numbers and booleans with their types."""
        return ReadRows(*read_columnar(source.name, source.file, options.needed))


def read_columnar(name: str, file: BinaryIO, needed: Sequence[str] | None) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of a Parquet or Arrow file, and notes on columns that were not read.

    Numbers and booleans keep their type, texts become categories (stripped; an empty one and `?` are missing),
    dates become datetime64. Of a file with more than 2,000,000 rows only the columns `needed` are read.
    """
    try:
        with _opened(file) as (schema, row_count, batches):
            check_header(name, schema.names)
            if row_count == 0:
                raise DatasetError(f"{name}: has no rows.")
            COLUMNS.check(len(schema.names), name, DatasetError)
            ROWS.check(row_count, name, DatasetError)
            columns, notes = _chosen(schema, row_count, needed)
            CELLS.check(row_count * len(columns), name, DatasetError)
            for batch in batches(list(columns)):
                for column, gathered in columns.items():
                    gathered.add(batch.column(batch.schema.get_field_index(column)))
    except (pa.ArrowException, MemoryError, ValueError, KeyError, OverflowError, NotImplementedError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DatasetError(f"{name}: damaged, or no file that pyarrow reads: {first.rstrip('.')}.") from error
    except OSError as error:
        first = (str(error.strerror or error).splitlines() or ["cannot be read"])[0]
        raise DatasetError(f"{name}: {first.rstrip('.')}.") from error
    lengths = {gathered.row_count for gathered in columns.values()}
    if not columns:
        raise DatasetError(f"{name}: has no column that auditkit can read, or none that the audit names.")
    if len(lengths) != 1 or lengths == {0}:
        raise DatasetError(f"{name}: damaged: its columns differ in length, or are empty.")
    index = pd.RangeIndex(lengths.pop(), name="row")
    series: dict[str, Any] = {}
    for column in list(columns):
        series[column] = columns.pop(column).values()  # each is let go before the next is put together
    return pd.DataFrame(series, index=index, copy=False), notes


@contextmanager
def mapped(file: BinaryIO) -> Iterator[pa.BufferReader]:
    """Give an open file as Arrow reads it: its bytes where they are in memory, else mapped from its descriptor."""
    if isinstance(file, io.BytesIO):
        with pa.BufferReader(pa.py_buffer(file.getbuffer())) as source:
            yield source
        return
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view, pa.BufferReader(pa.py_buffer(view)) as source:
        yield source


Batches = Callable[[list[str]], Iterator[pa.RecordBatch]]


def _chosen(
    schema: pa.Schema, row_count: int, needed: Sequence[str] | None
) -> tuple[dict[str, _Numbers | _Words], list[str]]:
    """Return the columns that are read, empty yet, and notes on those that are not."""
    columns = {field.name: column for field in schema if (column := _column(field.type)) is not None}
    notes: list[str] = [
        Message(
            "Column {name} was not read: auditkit knows no use for values of type {type}.",
            name=field.name,
            type=str(field.type),
        )
        for field in schema
        if field.name not in columns
    ]
    if needed is None or row_count <= ALL_COLUMNS_ROWS:
        return columns, notes
    left_out = [column for column in columns if column not in needed]
    if left_out:
        notes.append(
            Message(
                "Of this file's {row_count:,} rows only the columns that the audit names were read; "
                "{left_out_count} others were not.",
                row_count=row_count,
                left_out_count=len(left_out),
            )
        )
    return {column: kind for column, kind in columns.items() if column in needed}, notes


@contextmanager
def _opened(file: BinaryIO) -> Iterator[tuple[pa.Schema, int, Batches]]:
    """Give a file's columns and types, its number of rows, and a function that reads named columns in batches."""
    with mapped(file) as source:
        if source.read(len(ARROW)) == ARROW:
            source.seek(0)
            reader = pa.ipc.open_file(source)
            count = sum(reader.get_batch(place).num_rows for place in range(reader.num_record_batches))

            def arrow_batches(names: list[str]) -> Iterator[pa.RecordBatch]:
                for place in range(reader.num_record_batches):
                    whole = reader.get_batch(place)
                    whole.validate(full=True)
                    for start in range(0, whole.num_rows, ROWS_AT_ONCE):
                        yield whole.slice(start, ROWS_AT_ONCE).select(names)

            yield reader.schema, count, arrow_batches
            return
        from pyarrow import parquet as pq

        source.seek(0)
        parquet = pq.ParquetFile(source)

        def parquet_batches(names: list[str]) -> Iterator[pa.RecordBatch]:
            texts = [field.name for field in parquet.schema_arrow if field.name in names and _is_text(field.type)]
            reader = pq.ParquetFile(source, read_dictionary=texts, pre_buffer=False)
            yield from reader.iter_batches(batch_size=ROWS_AT_ONCE, columns=names, use_threads=False)

        yield parquet.schema_arrow, parquet.metadata.num_rows, parquet_batches


class _Numbers:
    """A column of numbers, booleans or dates in numpy's type for them; missing ones have a mask, or NaN, or NaT."""

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self.row_count = 0
        self.parts: list[NDArray[Any]] = []
        self.masks: list[NDArray[np.bool_] | None] = []

    def add(self, values: pa.Array) -> None:
        missing = values.is_null().to_numpy(zero_copy_only=False) if values.null_count else None
        if self.dtype.kind == "M":
            part = values.cast(pa.timestamp("us")).to_numpy(zero_copy_only=False).astype(self.dtype)
        elif self.dtype.kind == "f":
            part = values.cast(pa.from_numpy_dtype(self.dtype)).to_numpy(zero_copy_only=False)
        else:
            filled = values if missing is None else values.fill_null(False if self.dtype.kind == "b" else 0)
            part = filled.to_numpy(zero_copy_only=False)
        # A copy: the array may point into the mapped file, or into a batch that is about to be let go.
        self.parts.append(np.array(part, dtype=self.dtype))
        self.masks.append(missing)
        self.row_count += len(values)

    def values(self) -> Any:
        together = np.concatenate(self.parts)
        sizes = [len(part) for part in self.parts]
        self.parts.clear()
        if self.dtype.kind in "fM" or all(mask is None for mask in self.masks):
            return together
        mask = np.concatenate(
            [np.zeros(size, bool) if mask is None else mask for mask, size in zip(self.masks, sizes, strict=True)]
        )
        if self.dtype.kind == "b":
            return pd.arrays.BooleanArray(together, mask)
        return pd.arrays.IntegerArray(together, mask)


class _Words:
    """A column of texts as codes into its distinct words."""

    def __init__(self) -> None:
        self.row_count = 0
        self.words: dict[str, int] = {}
        self.parts: list[NDArray[Any]] = []

    def add(self, values: pa.Array) -> None:
        encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
        encoded.validate(full=True)  # a damaged file can hold codes of words that are not in its dictionary
        known = [self._code(word) for word in encoded.dictionary.to_pylist()]
        codes = encoded.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
        lookup = np.array([*known, -1], dtype=np.int64)
        width = np.int8 if len(self.words) < 128 else np.int16 if len(self.words) < 2**15 else np.int32
        self.parts.append(lookup.astype(width)[codes])
        self.row_count += len(values)

    def values(self) -> Any:
        codes = np.concatenate(self.parts)
        self.parts.clear()
        return pd.Categorical.from_codes(codes, categories=pd.Index(list(self.words), dtype=object))

    def _code(self, word: str | None) -> int:
        stripped = "" if word is None else word.strip()
        return -1 if stripped in MISSING_WORDS else self.words.setdefault(stripped, len(self.words))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _column(kind: pa.DataType) -> _Numbers | _Words | None:
    """Return what gathers the values of an Arrow type, or None for a type that auditkit does not read."""
    if _is_text(kind) or (pa.types.is_dictionary(kind) and _is_text(kind.value_type)):
        return _Words()
    if pa.types.is_boolean(kind):
        return _Numbers("bool")
    if pa.types.is_integer(kind) or pa.types.is_float32(kind) or pa.types.is_float64(kind):
        return _Numbers(str(np.dtype(kind.to_pandas_dtype())))
    if pa.types.is_float16(kind) or pa.types.is_decimal(kind):
        return _Numbers("float64")
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return _Numbers("datetime64[us]")
    if pa.types.is_null(kind):
        return _Numbers("float64")
    return None
