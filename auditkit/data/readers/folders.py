"""Folders of files, one a row: listed by a metadata.csv, or sorted into one folder a class."""

from __future__ import annotations

import io
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from auditkit.budgets import DATA_BYTES
from auditkit.data.readers.text import read_csv
from auditkit.errors import DatasetError, closest
from auditkit.files import opened, read_bytes

METADATA = "metadata.csv"
FILE_NAME, LABEL = "file_name", "label"
LOOKED_AT = 2**16
"""So many bytes of a listing say what kind of files it lists."""


@dataclass(frozen=True)
class Listed:
    """The rows of a folder without their files: the frame, where each row is named, its path, and hashed bytes."""

    frame: pd.DataFrame
    files: list[tuple[str, str]]
    hashed: bytes
    notes: tuple[str, ...] = ()


def holds(name: str, folder: Path, suffixes: Set[str]) -> bool:
    """Return whether files of some suffixes are what a folder's rows are: those that the listing begins with."""
    if (folder / METADATA).is_file():
        title = f"{name}/{METADATA}"
        with opened(folder / METADATA, title, budget=DATA_BYTES, within=folder, error=DatasetError) as listing:
            head = listing.read(LOOKED_AT).replace(b"\0", b"").lower()  # a text in UTF-16 has zeros between its letters
        return any(suffix.encode() in head for suffix in suffixes)
    return len(classes_in(folder, suffixes)) > 1


def classes_in(folder: Path, suffixes: Set[str]) -> list[str]:
    """Return the names of the folders that hold files of some suffixes, sorted."""
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and any(_is_file(file, suffixes) for file in path.iterdir())
    )


def listed(name: str, folder: Path, encoding: str, suffixes: Set[str], column: str) -> Listed:
    """Return the rows of a folder, to which the files themselves will be added as `column`.

    A metadata.csv gives a row each, its column `file_name` the path inside the folder. Else each file of
    `folder/class/name` is a row, with `file_name` and `label`, sorted; names that begin with a dot are left out.

    Raises:
        DatasetError: metadata.csv cannot be read, or names what lies outside of the folder.
    """
    if (folder / METADATA).is_file():
        return _of_metadata(name, folder, encoding, column)
    classes = classes_in(folder, suffixes)
    files = [
        f"{label}/{path.name}"
        for label in classes
        for path in sorted((folder / label).iterdir())
        if _is_file(path, suffixes)
    ]
    frame = pd.DataFrame(
        {FILE_NAME: files, LABEL: [file.partition("/")[0] for file in files]},
        index=pd.RangeIndex(len(files), name="row"),
        dtype=object,
    )
    shown = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
    kind = "image" if column == "image" else "file"
    note = f"Column {LABEL} is the folder of each {kind}: {len(classes)} classes, {shown}."
    return Listed(frame, [(f"{name}, {file}", file) for file in files], "".join(files).encode(), (note,))


def _of_metadata(name: str, folder: Path, encoding: str, column: str) -> Listed:
    listing = read_bytes(folder / METADATA, f"{name}/{METADATA}", budget=DATA_BYTES, within=folder, error=DatasetError)
    frame = read_csv(f"{name}/{METADATA}", io.BytesIO(listing), encoding)
    if FILE_NAME not in frame.columns:
        raise DatasetError(
            f"{name}/{METADATA}: has no column {FILE_NAME!r}{closest(FILE_NAME, list(frame.columns))}; "
            f"it names each row's {column} by its path inside the folder."
        )
    if column in frame.columns:
        raise DatasetError(f"{name}/{METADATA}: a column is called {column!r}, which the {column}s themselves need.")
    files = []
    for line, inside in zip(frame.index, frame[FILE_NAME], strict=True):
        where = f"{name}/{METADATA}, line {line}"
        parts = PurePosixPath(inside or "").parts
        if inside is None or not parts or ".." in parts or parts[0] == "/":
            raise DatasetError(f"{where}: {FILE_NAME} must be a path inside the folder, got {inside!r}.")
        files.append((where, str(inside)))
    return Listed(frame, files, listing)


def _is_file(path: Path, suffixes: Set[str]) -> bool:
    return path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
