"""CSV and JSON Lines, plain or gzipped, read in parts: columns of text, and the line on which each row begins."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, TextIO

import numpy as np
import pandas as pd

from auditkit.budgets import CELLS, COLUMNS, ROWS, check_inflation, check_sparseness
from auditkit.data.interned import TextColumn, check_header, shown
from auditkit.data.readers.other_formats import check_no_json, check_text
from auditkit.documents import parse_json
from auditkit.errors import DatasetError

ROWS_AT_ONCE = 65_536
BYTES_AT_ONCE = 2**20
MAXIMUM_LINE = 2**26
"""The most characters of a line: a few bytes of gzip can hold a line of any length."""

INDEX = "(index)"
"""What a data frame's index is called where it was written as a column without a name."""

GZIP = b"\x1f\x8b"


def read_csv(name: str, file: BinaryIO, encoding: str, *, index: bool = False) -> pd.DataFrame:
    """Return the rows of a comma-separated file whose first line names the columns; `name` is for messages.

    With `index` a first column without a name is called `INDEX`.
    """
    check_no_json(name, file)
    with _text(name, file, encoding) as lines:
        return _frame_of_csv(name, lines, index=index)


def read_jsonl(name: str, file: BinaryIO, encoding: str) -> pd.DataFrame:
    """Return the rows of a file with one JSON object a line; a key that a line lacks is missing there.

    Numbers are kept as they are written, true and false become those words, null is missing.
    """
    with _text(name, file, encoding) as lines:
        return _frame_of_jsonl(name, lines)


def json_objects(name: str, file: BinaryIO, encoding: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each line that is not blank, and its JSON object, with values as they are."""
    with _text(name, file, encoding) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    value = parse_json(line, unique_keys=True)
                except ValueError as error:
                    raise DatasetError(f"{name}: line {number}: not a JSON object: {error}.") from error
                if not isinstance(value, dict):
                    raise DatasetError(f"{name}: line {number}: must be a JSON object.")
                yield number, value


def _frame_of_csv(name: str, file: Iterator[str], *, index: bool) -> pd.DataFrame:
    reader = csv.reader(file, skipinitialspace=True, strict=True)
    header: list[str] = []
    columns: list[TextColumn] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    begins = 1
    try:
        for row in reader:
            if not row or (len(row) == 1 and not row[0].strip()):
                pass
            elif not header:
                header = [column.strip() for column in row]
                COLUMNS.check(len(header), name, DatasetError)
                if index and not header[0]:
                    header[0] = INDEX
                check_header(name, header)
                columns = [TextColumn() for _ in header]
            elif len(row) != len(header):
                raise DatasetError(
                    f"{name}: line {begins} has {len(row)} values, but the header names {len(header)} columns; "
                    "quote values that hold a comma."
                )
            else:
                rows.append(row)
                lines.append(begins)
                if len(rows) == ROWS_AT_ONCE:
                    _flush(columns, rows)
                    _check_size(name, len(lines), len(columns))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DatasetError(f"{name}: line {begins}: not comma-separated text: {error}.") from error
    if not header:
        raise DatasetError(f"{name}: the file is empty.")
    if not lines:
        raise DatasetError(f"{name}: has a header and no rows.")
    _flush(columns, rows)
    return _frame(header, columns, lines)


def _check_size(name: str, row_count: int, column_count: int) -> None:
    ROWS.check(row_count, name, DatasetError)
    CELLS.check(row_count * column_count, name, DatasetError)


def _flush(columns: list[TextColumn], rows: list[list[str]]) -> None:
    for column, values in zip(columns, zip(*rows, strict=True), strict=bool(rows)):
        column.add(values)
    rows.clear()


def _frame_of_jsonl(name: str, file: Iterator[str]) -> pd.DataFrame:
    table = _Objects(name)
    for number, line in enumerate(file, start=1):
        if line.strip():
            table.add(number, line)
    table.flush()
    if not table.lines:
        raise DatasetError(f"{name}: the file is empty.")
    names = [key.strip() for key in table.columns]
    check_header(name, names)
    return _frame(names, list(table.columns.values()), table.lines)


@dataclass
class _Objects:
    """JSON objects, one a line, as a table: its columns, the values that wait to be added to them, and its lines."""

    name: str
    columns: dict[str, TextColumn] = field(default_factory=dict)
    waiting: dict[str, list[str | None]] = field(default_factory=dict)
    lines: list[int] = field(default_factory=list)
    waiting_count: int = 0
    read: int = 0

    def add(self, number: int, line: str) -> None:
        """Add the object of a line; keys that it lacks are missing."""
        for key, value in _json_object(self.name, number, line).items():
            if key not in self.columns:
                COLUMNS.check(len(self.columns) + 1, self.name, DatasetError)
                self.columns[key] = TextColumn()
                self.columns[key].add_missing(len(self.lines) - self.waiting_count)
                self.waiting[key] = [None] * self.waiting_count
            self.waiting[key].append(_json_text(self.name, number, key, value))
        self.lines.append(number)
        self.waiting_count += 1
        self.read += len(line)
        check_sparseness(self.name, len(self.lines) * len(self.columns), self.read)
        for values in self.waiting.values():
            if len(values) < self.waiting_count:
                values.append(None)
        if self.waiting_count == ROWS_AT_ONCE:
            self.flush()
            _check_size(self.name, len(self.lines), len(self.columns))

    def flush(self) -> None:
        """Add the waiting values to the columns."""
        for key, values in self.waiting.items():
            self.columns[key].add(values)
            values.clear()
        self.waiting_count = 0


def _json_object(name: str, number: int, line: str) -> dict[str, object]:
    try:
        value = parse_json(line, unique_keys=True, parse_number=str)
    except ValueError as error:
        raise DatasetError(f"{name}: line {number}: not a JSON object: {error}.") from error
    if not isinstance(value, dict):
        raise DatasetError(f"{name}: line {number}: must be a JSON object, such as {{'age': 39}}.")
    return value


def _json_text(name: str, number: int, key: str, value: object) -> str | None:
    if isinstance(value, dict | list):
        raise DatasetError(
            f"{name}: line {number}, {shown(key)}: holds a nested value; write one column for each part."
        )
    return value if isinstance(value, str) or value is None else str(value).lower()


def _frame(header: list[str], columns: list[TextColumn], lines: list[int]) -> pd.DataFrame:
    index = pd.Index(np.array(lines, dtype=np.int64), name="line")
    frame = pd.DataFrame({place: column.values() for place, column in enumerate(columns)}, index=index, dtype=object)
    frame.columns = pd.Index(header)
    return frame


@contextmanager
def _text(name: str, raw: BinaryIO, encoding: str) -> Iterator[Iterator[str]]:
    """Give the lines of a text file, decoded and decompressed as they are asked for; its faults as DatasetErrors."""
    # Spreadsheets put a byte order mark before UTF-8 text; it is no part of the first column's name.
    codec = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
    try:
        codecs.lookup(codec)
    except LookupError as error:
        raise DatasetError(
            f"{name}: encoding {encoding!r} is unknown; pass --encoding latin-1, for instance."
        ) from error
    try:
        start = raw.read(2)
        raw.seek(0)
        if not start:
            raise DatasetError(f"{name}: the file is empty.")
        check_text(name, raw, encoding)
        if start == GZIP:
            _check_gzip(name, raw)
        plain = gzip.GzipFile(fileobj=raw) if start == GZIP else raw
        file = io.TextIOWrapper(plain, encoding=codec, newline="")
        try:
            yield _lines(name, file)
        finally:
            file.detach()
    except UnicodeError as error:
        where = _undecodable(raw, codec)
        raise DatasetError(
            f"{name}: not {encoding} text{where}; if it is a CSV file, name its encoding, such as --encoding latin-1."
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DatasetError(f"{name}: damaged gzip file: {error}.") from error
    except OSError as error:
        raise DatasetError(f"{name}: {error.strerror or error}.") from error


def _check_gzip(name: str, raw: BinaryIO) -> None:
    """Count what a gzip file holds before its lines are read: a thousand times faster than to find out by reading."""
    size, inflated, rows = raw.seek(0, os.SEEK_END), 0, 0
    raw.seek(0)
    plain = gzip.GzipFile(fileobj=raw)
    while part := plain.read(BYTES_AT_ONCE):
        inflated, rows = inflated + len(part), rows + part.count(b"\n")
        check_inflation(name, inflated, size)
        ROWS.check(rows - 1, name, DatasetError)
    raw.seek(0)


def _lines(name: str, file: TextIO) -> Iterator[str]:
    for line in iter(partial(file.readline, MAXIMUM_LINE + 1), ""):
        if len(line) > MAXIMUM_LINE:
            raise DatasetError(
                f"{name}: a line has more than {MAXIMUM_LINE:,} characters; a data file has one row a line."
            )
        if "\0" in line:
            raise DatasetError(
                f"{name}: not a text file: it holds NUL bytes; auditkit reads CSV, JSON Lines, Parquet, Arrow and npz."
            )
        yield line


def _undecodable(raw: BinaryIO, codec: str) -> str:
    """Return where the first byte is that the codec does not know, which a decoder of parts cannot tell."""
    decoder, done, waiting = codecs.getincrementaldecoder(codec)(), 0, 0
    try:
        raw.seek(0)
        plain = gzip.GzipFile(fileobj=raw) if raw.read(2) == GZIP else raw
        raw.seek(0)
        # Part by part: what is compressed may be larger than the memory.
        while part := plain.read(BYTES_AT_ONCE):
            decoder.decode(part)
            done, waiting = done + len(part), len(decoder.getstate()[0])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return f" at byte {done - waiting + error.start:,}"
    except (UnicodeError, OSError, EOFError, zlib.error):
        pass
    return ""
