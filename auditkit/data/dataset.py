"""Data sets: files of many formats, or a frame from memory, as columns of values with missing ones marked."""

from __future__ import annotations

import contextlib
import glob
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from auditkit import plugins
from auditkit.budgets import DATA_BYTES
from auditkit.data.interned import MISSING_WORDS, check_header
from auditkit.data.readers.base import HEAD_BYTES, DataSource, Reader, ReadOptions, Scores
from auditkit.errors import DatasetError, closest
from auditkit.evidence.messages import Message
from auditkit.files import digest, opened

SHARED_FROM = 10_000
"""From this many rows on it pays to look whether rows share their objects."""


@dataclass(frozen=True, eq=False)
class Data:
    """Rows with named columns.

    The index of `frame` says where each row came from, for error messages: the line of a text file (index name
    `line`), or the position in another file or in a frame from memory (index name `row`); over several files both
    the file and that. `path` and `sha256` are None for a frame from memory. `notes` says what was not read;
    `scores`, of a log of an evaluation, where its scores stand.
    """

    frame: pd.DataFrame
    path: str | None
    sha256: str | None
    notes: tuple[str, ...] = ()
    scores: Scores | None = None

    @property
    def name(self) -> str:
        """How messages call this data set."""
        return f"dataset {self.path}" if self.path is not None else "dataset (frame)"


def read_data(
    path: str | Path, *, encoding: str = "utf-8", needed: Sequence[str] | None = None, index: bool = False
) -> Data:
    """Read a data set: CSV or JSON Lines, plain or gzipped; Parquet; Arrow; .npz; a folder of images; or several.

    The format is told by the content; only JSON Lines by its name (`.jsonl`, `.ndjson`). In text files every column
    is text, whitespace around a value is dropped, and an empty value and `?` are missing (None). A path with `*`,
    `?` or `[` that names no file is a pattern: the rows of all files that match it, sorted by name, follow one another.
    Of Parquet and Arrow files with over 2,000,000 rows only the columns `needed` are read, if it names any.
    With `index` a first column of a CSV file may lack a name, as a data frame's index does; else that is refused.

    Raises:
        DatasetError: no such file, not in this encoding, damaged, empty, no rows, a column without a name or with
            the name of another, or a row that is longer or shorter than the header (its line is named).
    """
    files = [Path(path)]
    if any(sign in str(path) for sign in "*?[") and not files[0].exists():
        files = [Path(found) for found in sorted(glob.glob(str(path), recursive=True)) if not Path(found).is_dir()]
        if not files:
            raise DatasetError(f"dataset {path}: no file matches this pattern.")
    parts = [_read_file(file, ReadOptions(encoding, needed, index)) for file in files]
    return parts[0] if len(parts) == 1 else _joined(str(path), parts)


def _read_file(path: Path, options: ReadOptions) -> Data:
    name = f"dataset {path}"
    if path.is_dir():
        source = DataSource(path, b"", is_folder=True)
        rows = reader_of(source).read(source, options)
        return Data(frame=rows.frame, path=str(path), sha256=rows.sha256, notes=tuple(rows.notes))
    with opened(path, name, budget=DATA_BYTES, error=DatasetError) as file:
        source = DataSource(path, file.read(HEAD_BYTES), is_folder=False, file=file)
        sha256 = digest(file)
        rows = reader_of(source).read(source, options)
    return Data(rows.frame, str(path), rows.sha256 or sha256, tuple(rows.notes), rows.scores)


def reader_of(source: DataSource) -> Reader:
    """Return the installed reader that recognises a source; of a file that none does, the one of CSV.

    Raises:
        DatasetError: it is a folder that no reader recognises.
    """
    for point in plugins.installed("readers").values():
        reader: Reader = point.load()()
        if reader.recognise(source):
            return reader
    if source.is_folder:
        raise DatasetError(
            f"{source.name}: is a folder without images or recordings; pass a file, a folder with a metadata.csv that "
            "names one a row, or a folder with one folder of them for each class."
        )
    fallback: Reader = plugins.load("readers", "csv")()
    return fallback


def _joined(pattern: str, parts: Sequence[Data]) -> Data:
    """Return the rows of several files with the same columns, in any order of these, as one data set."""
    header = list(parts[0].frame.columns)
    for part in parts[1:]:
        for absent, owner, other in (
            (set(header) - set(part.frame.columns), parts[0], part),
            (set(part.frame.columns) - set(header), part, parts[0]),
        ):
            if absent:
                column = sorted(absent)[0]
                raise DatasetError(
                    f"{other.name}: has no column {column!r}, which {owner.path} has"
                    f"{closest(column, list(other.frame.columns))}; files of one pattern need the same columns."
                )
    frame = pd.concat(
        [part.frame[header] for part in parts],
        keys=[str(part.path) for part in parts],
        names=["file", str(parts[0].frame.index.name)],
    )
    digest = hashlib.sha256("".join(str(part.sha256) for part in parts).encode()).hexdigest()
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    return Data(
        frame=frame,
        path=pattern,
        sha256=digest,
        notes=(Message("{parts_count} files match the pattern.", parts_count=len(parts)), *notes),
        scores=parts[0].scores if len({part.scores for part in parts}) == 1 else None,
    )


def as_data(rows: Data | pd.DataFrame | str | Path, *, encoding: str = "utf-8") -> Data:
    """Return rows that a caller has as a DataFrame or in a file as a data set; a data set as it is.

    Raises:
        DatasetError: as `read_data` and `data_from_frame`.
    """
    if isinstance(rows, Data):
        return rows
    return read_data(rows, encoding=encoding) if isinstance(rows, str | Path) else data_from_frame(rows)


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
    check_header("dataset (frame)", header)
    if frame.empty:
        raise DatasetError("dataset (frame): has no rows.")
    plain = frame.set_axis(pd.RangeIndex(len(frame), name="row"), axis="index").set_axis(
        pd.Index(header), axis="columns"
    )
    return Data(frame=plain, path=None, sha256=None)


def factorize(column: pd.Series[Any]) -> tuple[NDArray[np.int64], list[str]]:
    """Return codes (rows,) into the sorted distinct texts of a column, -1 where the value is missing.

    Numbers are written without a trailing `.0`, so that a frame and its CSV file give the same texts; dates without
    a time of midnight. The codes are of the smallest integer type that holds the number of texts.

    >>> codes, words = factorize(pd.Series(["b", " a", None, "?", "b"], dtype=object))
    >>> codes.tolist(), words
    ([1, 0, -1, -1, 1], ['a', 'b'])
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, found = column.cat.codes.to_numpy(), column.cat.categories
        sizes = np.bincount(codes + 1, minlength=len(found) + 1)[1:]  # the first is of missing values
        distinct = [value if count else "" for value, count in zip(found, sizes, strict=True)]
    else:
        in_arrow = isinstance(column.dtype, pd.StringDtype) and column.dtype.storage == "pyarrow"
        faster = _factorize_arrow if in_arrow else _factorize_objects if column.dtype == object else pd.factorize
        codes, found = (faster if len(column) >= SHARED_FROM else pd.factorize)(column)
        distinct = list(found)
    texts = [_text(value) for value in distinct]
    words = sorted(set(texts) - MISSING_WORDS)
    position = {word: code for code, word in enumerate(words)}
    lookup = np.array([*(position.get(text, -1) for text in texts), -1], dtype=np.min_scalar_type(-len(words) - 1))
    return lookup.take(codes, mode="wrap"), words


def _factorize_objects(column: pd.Series[Any]) -> tuple[NDArray[np.int64], pd.Index[Any]]:
    """Return what `pd.factorize` does, in a fifth of the time where rows share their objects.

    Readers of files keep one object for each different text. Objects are told apart by their address first, and only
    the different ones by their value.
    """
    codes: NDArray[np.int64]
    values = np.ascontiguousarray(column.to_numpy())
    addresses = np.frombuffer(values, dtype=np.intp)
    if len(np.unique(addresses[:: len(addresses) // SHARED_FROM])) > SHARED_FROM // 10:
        return pd.factorize(column)
    codes, found = pd.factorize(addresses)
    first = np.empty(len(found), dtype=np.intp)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    code_of_object, distinct = pd.factorize(pd.Series(values[first], dtype=object))
    return code_of_object.take(codes), distinct


def _factorize_arrow(column: pd.Series[Any]) -> tuple[NDArray[np.int64], pd.Index[Any]]:
    """Return what `pd.factorize` does, in two thirds of the time where texts repeat.

    Most are looked up among those of a sample; only the others are told apart by a table that grows.
    """
    codes: NDArray[np.int64]
    texts = pa.chunked_array(pa.array(column.array))
    known = pc.unique(texts.take(np.arange(0, len(texts), len(texts) // SHARED_FROM))).drop_null()
    if len(known) > SHARED_FROM // 10:
        return pd.factorize(column)
    places = pc.index_in(texts, value_set=known)
    if not places.null_count:
        return places.to_numpy(), pd.Index(known.to_pylist(), dtype=object)
    codes = places.fill_null(-1).to_numpy().copy()
    unseen = np.flatnonzero(codes < 0)
    others, found = pd.factorize(column.iloc[unseen])
    codes[unseen] = np.where(others < 0, -1, others + len(known))
    return codes, pd.Index([*known.to_pylist(), *found], dtype=object)


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
    if frame.index.nlevels > 1:
        file, place = frame.index[row]
        return f"{file}, {frame.index.names[1]} {place}"
    return f"{frame.index.name or 'row'} {frame.index[row]}"


def _text(value: object) -> str:
    if isinstance(value, float | np.floating) and float(value).is_integer() and abs(float(value)) < 2**53:
        return str(int(value))
    if isinstance(value, pd.Timestamp):
        return value.isoformat(sep=" ").removesuffix(" 00:00:00")
    return str(value).strip()
