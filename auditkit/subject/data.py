"""Data sets: a CSV file, or a frame from memory, as columns of values with missing ones marked."""

from __future__ import annotations

import collections
import contextlib
import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.errors import DatasetError

MISSING_WORDS = frozenset({"", "?"})
"""The texts that stand for a missing value in every column. "NA" and "None" do not: they may name a group."""


@dataclass(frozen=True, eq=False)
class Data:
    """Rows with named columns.

    The index of `frame` says where each row came from, for error messages: the line of the file (index name
    `line`), or the position in a frame from memory (index name `row`). `path` and `sha256` are None for the latter.
    """

    frame: pd.DataFrame
    path: str | None
    sha256: str | None

    @property
    def name(self) -> str:
        """How messages call this data set."""
        return f"dataset {self.path}" if self.path is not None else "dataset (frame)"


def read_data(path: str | Path, *, encoding: str = "utf-8") -> Data:
    """Read a comma-separated file, plain or gzipped, every column as text, missing values as None.

    The first line names the columns. Whitespace around a value is dropped; an empty value and `?` are missing.
    Blank lines are skipped.

    Raises:
        DatasetError: no such file, not text, not in this encoding, empty, no rows, a column without a name or
            with the name of another, or a row that is longer or shorter than the header (its line is named).
    """
    name = f"dataset {path}"
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise DatasetError(f"{name}: {error.strerror or error}.") from error
    sha256 = hashlib.sha256(raw).hexdigest()
    if raw.startswith(b"\x1f\x8b"):
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise DatasetError(f"{name}: damaged gzip file: {error}.") from error
    header, rows, lines = _parse(name, _decode(name, raw, encoding))
    columns = [_clean(column) for column in zip(*rows, strict=True)]
    frame = pd.DataFrame(dict(enumerate(columns)), index=pd.Index(lines, name="line"), dtype=object)
    frame.columns = pd.Index(header)
    return Data(frame=frame, path=str(path), sha256=sha256)


def data_from_frame(frame: pd.DataFrame) -> Data:
    """Return a data set of the columns of a frame from memory; its index is ignored, its values stay typed.

    Raises:
        DatasetError: the frame has no rows, no columns, or two columns of one name.
    """
    if not isinstance(frame, pd.DataFrame):
        raise DatasetError(f"dataset: must be a pandas DataFrame, got {type(frame).__name__}.")
    if isinstance(frame.columns, pd.MultiIndex):
        raise DatasetError("dataset (frame): its columns have several levels; flatten them into plain names.")
    header = [str(column) for column in frame.columns]
    _check_header("dataset (frame)", header)
    if frame.empty:
        raise DatasetError("dataset (frame): has no rows.")
    plain = frame.set_axis(pd.RangeIndex(len(frame), name="row"), axis="index").set_axis(
        pd.Index(header), axis="columns"
    )
    return Data(frame=plain, path=None, sha256=None)


def factorize(column: pd.Series[Any]) -> tuple[NDArray[np.int64], list[str]]:
    """Return codes (rows,) into the sorted distinct texts of a column, -1 where the value is missing.

    Numbers are written without a trailing `.0`, so that a frame and its CSV file give the same texts.

    >>> factorize(pd.Series(["b", " a", None, "?", "b"], dtype=object))
    (array([ 1,  0, -1, -1,  1]), ['a', 'b'])
    """
    codes, distinct = pd.factorize(column)
    texts = [_text(value) for value in distinct]
    words = sorted(set(texts) - MISSING_WORDS)
    position = {word: code for code, word in enumerate(words)}
    lookup = np.array([*(position.get(text, -1) for text in texts), -1], dtype=np.int64)
    return lookup[codes], words


@contextlib.contextmanager
def naming(data: Data) -> Iterator[None]:
    """Put the data set's name before the message of a DatasetError: the schema does not know whose frame it reads."""
    try:
        yield
    except DatasetError as error:
        raise DatasetError(f"{data.name}: {error}") from error


def origin(frame: pd.DataFrame, row: int) -> str:
    """Return where a row came from, in words: `line 17` of a file, or `row 15` of a frame.

    >>> origin(pd.DataFrame({"a": [1, 2]}, index=pd.Index([2, 5], name="line")), 1)
    'line 5'
    """
    return f"{frame.index.name or 'row'} {frame.index[row]}"


def shown(value: object) -> str:
    """Return a value quoted for a message: on one line, at most 60 characters."""
    text = repr(str(value))
    return text if len(text) <= 60 else text[:56] + "...'"


def _text(value: object) -> str:
    if isinstance(value, float | np.floating) and float(value).is_integer() and abs(float(value)) < 2**53:
        return str(int(value))
    return str(value).strip()


def _decode(name: str, raw: bytes, encoding: str) -> str:
    if not raw:
        raise DatasetError(f"{name}: the file is empty.")
    # Spreadsheets put a byte order mark before UTF-8 text; it is no part of the first column's name.
    codec = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
    try:
        text = raw.decode(codec)
    except LookupError as error:
        raise DatasetError(
            f"{name}: encoding {encoding!r} is unknown; pass --encoding latin-1, for instance."
        ) from error
    except UnicodeError as error:
        where = f" at byte {error.start:,}" if isinstance(error, UnicodeDecodeError) else ""
        raise DatasetError(
            f"{name}: not {encoding} text{where}; if it is a CSV file, name its encoding, such as --encoding latin-1."
        ) from error
    if "\0" in text:
        raise DatasetError(f"{name}: not a text file: it holds NUL bytes; auditkit reads CSV, plain or gzipped.")
    return text


def _parse(name: str, text: str) -> tuple[list[str], list[list[str]], list[int]]:
    """Split the text into the header, the rows, and the line on which each row begins."""
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    begins = 1
    try:
        for row in reader:
            if not row or (len(row) == 1 and not row[0].strip()):
                pass
            elif not header:
                header = [column.strip() for column in row]
                _check_header(name, header)
            elif len(row) != len(header):
                raise DatasetError(
                    f"{name}: line {begins} has {len(row)} values, but the header names {len(header)} columns; "
                    "quote values that hold a comma."
                )
            else:
                rows.append(row)
                lines.append(begins)
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DatasetError(f"{name}: line {begins}: not comma-separated text: {error}.") from error
    if not header:
        raise DatasetError(f"{name}: the file is empty.")
    if not rows:
        raise DatasetError(f"{name}: has a header and no rows.")
    return header, rows, lines


def _check_header(name: str, header: Sequence[str]) -> None:
    if not header:
        raise DatasetError(f"{name}: has no columns.")
    if len(header) == 1 and any(separator in header[0] for separator in ";\t|"):
        raise DatasetError(f"{name}: the header {shown(header[0])} has no comma; auditkit reads comma-separated text.")
    for position, column in enumerate(header, start=1):
        if not column:
            raise DatasetError(
                f"{name}: column {position} has no name; name it, or write the file without its index "
                "(in pandas: to_csv(path, index=False))."
            )
    twice = [column for column, count in collections.Counter(header).items() if count > 1]
    if twice:
        raise DatasetError(f"{name}: two columns are called {shown(twice[0])}; rename or remove one.")


def _clean(values: Iterable[str]) -> NDArray[np.object_]:
    """Strip the texts of one column and mark the missing ones, by its distinct texts: few, where rows are many."""
    codes, distinct = pd.factorize(np.array(list(values), dtype=object))
    stripped = [text.strip() for text in distinct]
    words = np.array([None if text in MISSING_WORDS else text for text in stripped], dtype=object)
    cleaned: NDArray[np.object_] = words[codes]
    return cleaned
