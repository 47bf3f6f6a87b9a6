"""Numpy archives and folders of images: columns of numbers and texts, and one column of arrays."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.data.interned import check_header
from auditkit.data.readers.text import read_csv
from auditkit.errors import DatasetError, closest

METADATA = "metadata.csv"
FILE_NAME, IMAGE = "file_name", "image"
MAXIMUM_BYTES = 8 * 2**30
"""The most bytes of decoded arrays that one data set may hold."""

ZIP = b"PK\x03\x04"


def read_npz(name: str, path: Path) -> pd.DataFrame:
    """Return the arrays of an .npz file as columns, one row for each entry of their first axis.

    An array (rows,) is a column under its own name. `features` (rows, width) and `sensitive` (rows, width) give a
    column for each cell, named by the arrays `feature_names` and `sensitive_names`, or `feature_0`, `feature_1`, ...
    `features` with more axes is one column, `image`, of arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(member.file_size for member in archive.infolist())
        if claimed > MAXIMUM_BYTES:
            raise DatasetError(f"{name}: its arrays claim {claimed:,} bytes, and may have at most {MAXIMUM_BYTES:,}.")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError, NotImplementedError, RuntimeError) as error:
        raise DatasetError(
            f"{name}: damaged, or no .npz file: {error}; of a spreadsheet save the sheet as CSV."
        ) from error
    except (ValueError, KeyError, OverflowError, SyntaxError, TypeError) as error:
        raise DatasetError(
            f"{name}: holds more than plain arrays ({str(error).splitlines()[0] if str(error) else 'damaged'}); "
            "save numbers and texts, not objects."
        ) from error
    names = {key: arrays.pop(key) for key in ("feature_names", "sensitive_names") if key in arrays}
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
            columns[IMAGE] = _cells(list(array))
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


def read_image_folder(name: str, folder: Path, encoding: str) -> tuple[pd.DataFrame, str]:
    """Return the rows of a folder's metadata.csv with a column `image` of uint8 arrays, and the sha256 of it all.

    The column `file_name` names each row's image by its path inside the folder. The arrays are (height, width) for
    grey images and (height, width, 3) for all others. The hash is over metadata.csv and every image, row by row.
    """
    from PIL import Image, UnidentifiedImageError

    metadata = folder / METADATA
    if not metadata.is_file():
        raise DatasetError(f"{name}: Is a directory without a {METADATA}; pass a file, or a folder of images with one.")
    frame = read_csv(f"{name}/{METADATA}", metadata, encoding)
    if FILE_NAME not in frame.columns:
        raise DatasetError(
            f"{name}/{METADATA}: has no column {FILE_NAME!r}{closest(FILE_NAME, list(frame.columns))}; "
            "it names each row's image by its path inside the folder."
        )
    if IMAGE in frame.columns:
        raise DatasetError(f"{name}/{METADATA}: a column is called {IMAGE!r}, which the images themselves need.")
    digest = hashlib.sha256(metadata.read_bytes())
    images: list[NDArray[np.uint8]] = []
    held = 0
    for line, inside in zip(frame.index, frame[FILE_NAME], strict=True):
        where = f"{name}/{METADATA}, line {line}"
        parts = PurePosixPath(inside or "").parts
        if inside is None or not parts or ".." in parts or parts[0] == "/":
            raise DatasetError(f"{where}: {FILE_NAME} must be a path inside the folder, got {inside!r}.")
        try:
            raw = (folder / inside).read_bytes()
            digest.update(hashlib.sha256(raw).digest())
            with Image.open(folder / inside) as image:
                held += image.width * image.height * 3
                if held > MAXIMUM_BYTES:
                    raise DatasetError(
                        f"{where}: the images so far take more than {MAXIMUM_BYTES:,} bytes; shrink them."
                    )
                images.append(np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")))
        except UnidentifiedImageError as error:
            raise DatasetError(f"{where}: {inside} is no image that Pillow knows.") from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise DatasetError(f"{where}: {inside} claims too many pixels: {error}.") from error
        except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise DatasetError(f"{where}: {inside}: {reason.rstrip('.') if reason else 'damaged'}.") from error
    frame[IMAGE] = _cells(images)
    return frame, digest.hexdigest()


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


def _cells(arrays: list[NDArray[Any]]) -> NDArray[np.object_]:
    """Return an array of objects, one array a row (numpy would join arrays of one shape into a larger one)."""
    cells = np.empty(len(arrays), dtype=object)
    for place, array in enumerate(arrays):
        cells[place] = array
    return cells
