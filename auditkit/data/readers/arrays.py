"""Numpy archives: columns of numbers and texts, and one column of arrays."""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Sequence
from typing import IO, Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.budgets import CELLS, COLUMNS, IMAGE_BYTES, ROWS, TEXT_BYTES, check_inflation
from auditkit.data.interned import check_header, shown
from auditkit.data.readers.base import DataSource, ReadOptions, ReadRows
from auditkit.errors import DatasetError

IMAGE = "image"
"""What the column of arrays with more than one axis a row is called."""

ZIP = b"PK\x03\x04"


class NpzReader:
    """Archives of `numpy.savez`."""

    def recognise(self, source: DataSource) -> bool:
        """Return whether it begins as a zip archive does; a log of Inspect in binary form is one too."""
        return source.head.startswith(ZIP) and not source.head[30:].startswith(b"_journal/")

    def read(self, source: DataSource, options: ReadOptions) -> ReadRows:
        """Return its rows."""
        return ReadRows(read_npz(source.name, source.file))


def read_npz(name: str, file: BinaryIO) -> pd.DataFrame:
    """Return the arrays of an .npz file as columns, one row for each entry of their first axis.

    An array (rows,) is a column under its own name. `features` (rows, width) and `sensitive` (rows, width) give a
    column for each cell, named by the arrays `feature_names` and `sensitive_names`, or `feature_0`, `feature_1`, ...
    `features` with more axes is one column, `image`, of arrays.
    """
    arrays = _arrays(name, file)
    names: dict[str, NDArray[Any]] = {
        key: arrays.pop(key) for key in ("feature_names", "sensitive_names") if key in arrays
    }
    columns: dict[str, Any] = {}
    for key, array in arrays.items():
        if array.ndim == 0:
            raise DatasetError(f"{name}: array {key!r} is a single value; every array needs one entry a row.")
        if array.ndim == 1:
            columns[key] = _values(name, key, array)
        elif array.ndim == 2 and key in ("features", "sensitive"):
            stem = "feature" if key == "features" else key
            titles = names.get(f"{stem}_names", np.array([f"{stem}_{place}" for place in range(array.shape[1])]))
            if titles.shape != (array.shape[1],):
                raise DatasetError(f"{name}: {stem}_names must name {array.shape[1]} columns, got {titles.shape}.")
            named = _values(name, f"{stem}_names", titles)
            columns |= {str(title): _values(name, key, array[:, place]) for place, title in enumerate(named)}
        elif key == "features":
            columns[IMAGE] = cells_of(list(array))
        else:
            raise DatasetError(
                f"{name}: array {key!r} has shape {array.shape}; only features may have more than one axis, "
                "and sensitive two."
            )
    check_header(name, list(columns))
    lengths = {key: len(column) for key, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise DatasetError(f"{name}: its arrays have different numbers of rows: {lengths}.")
    if set(lengths.values()) == {0}:
        raise DatasetError(f"{name}: has no rows.")
    return pd.DataFrame(columns, index=pd.RangeIndex(len(next(iter(columns.values()))), name="row"))


def _arrays(name: str, file: BinaryIO) -> dict[str, NDArray[Any]]:
    """Return the arrays of an archive by name; nothing of it is unpickled."""
    try:
        _check_sizes(name, file)
        with np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError, NotImplementedError, RuntimeError) as error:
        raise DatasetError(
            f"{name}: damaged, or no .npz file: {error}; of a spreadsheet save the sheet as CSV."
        ) from error
    except (ValueError, KeyError, OverflowError, SyntaxError, TypeError) as error:
        raise DatasetError(
            f"{name}: holds more than plain arrays ({str(error).splitlines()[0] if str(error) else 'damaged'}); "
            "save numbers and texts, not objects."
        ) from error


def array_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return the shape of a .npy file, whether it is stored column by column, and its type; read up to the numbers.

    Raises:
        ValueError: the file is damaged, or is none.
    """
    try:
        version = np.lib.format.read_magic(file)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_column, dtype = reader(file)
    except Exception as error:  # numpy parses the header as Python, and lets pass what that raises
        raise ValueError("the header of an array is damaged") from error
    if any(number < 0 for number in shape):
        raise ValueError("an array has a negative length")
    return shape, by_column, dtype


def _check_members(name: str, names: Sequence[str]) -> None:
    """Refuse an archive that holds other files than arrays: a spreadsheet, or data files that were packed."""
    if any(one.startswith("xl/") or one == "content.xml" for one in names):
        raise DatasetError(f"{name}: is a spreadsheet; save the sheet as CSV.")
    others = [one for one in names if not one.endswith(".npy")]
    if others:
        raise DatasetError(
            f"{name}: is a zip archive that holds {shown(others[0])}; unpack it, and pass the data file."
        )


def _check_sizes(name: str, file: BinaryIO) -> None:
    """Refuse an archive that describes more than may be read, before any array is made."""
    size = file.seek(0, os.SEEK_END)
    texts = cells = columns = 0
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _check_members(name, archive.namelist())
        COLUMNS.check(len(members), name, DatasetError)
        check_inflation(name, sum(member.file_size for member in members), size)
        IMAGE_BYTES.check(sum(member.file_size for member in members), name, DatasetError)
        for member in members:
            with archive.open(member) as head:
                shape, _, dtype = array_header(head)
            ROWS.check(shape[0] if shape else 0, name, DatasetError)
            columns += shape[1] if len(shape) == 2 else 1
            texts += math.prod(shape) * dtype.itemsize * (dtype.kind in "US")
            cells += math.prod(shape[:2]) if len(shape) <= 2 else shape[0]
    COLUMNS.check(columns, name, DatasetError)
    CELLS.check(cells, name, DatasetError)
    TEXT_BYTES.check(texts, name, DatasetError)
    file.seek(0)


def _values(name: str, key: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind in "US":
        texts = array.astype(str) if array.dtype.kind == "U" else np.char.decode(array, "utf-8")
        numbers = np.ascontiguousarray(texts).view(np.uint32) if texts.itemsize else np.zeros(0, np.uint32)
        if np.any((numbers > 0x10FFFF) | ((numbers >= 0xD800) & (numbers < 0xE000))):
            raise DatasetError(f"{name}: array {key!r} is damaged: it holds what is no character.")
        return texts.astype(object)
    if array.dtype.kind == "M":
        return array.astype("datetime64[us]")
    raise DatasetError(f"{name}: array {key!r} holds values of type {array.dtype}; save numbers, texts or dates.")


def cells_of(arrays: list[NDArray[Any]]) -> NDArray[np.object_]:
    """Return an array of objects, one array a row (numpy would join arrays of one shape into a larger one)."""
    cells = np.empty(len(arrays), dtype=object)
    for place, array in enumerate(arrays):
        cells[place] = array
    return cells
