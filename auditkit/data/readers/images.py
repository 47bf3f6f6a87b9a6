"""Folders of images: listed by a metadata.csv, or sorted into one folder a class."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.budgets import DATA_BYTES, IMAGE_BYTES, Budget
from auditkit.data.readers.arrays import IMAGE, cells_of
from auditkit.data.readers.base import DataSource, ReadOptions, ReadRows
from auditkit.data.readers.text import read_csv
from auditkit.errors import DatasetError, closest
from auditkit.files import read_bytes

IMAGE_FILE, PIXELS = Budget("bytes", 2**28, 2**32), Budget("pixels", 4096 * 4096, 2**27)
"""How large the file of one image may be, and the image."""

METADATA = "metadata.csv"
FILE_NAME, LABEL = "file_name", "label"
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""What Pillow may decode: formats that it reads by itself, and none that starts another program."""

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}


class ImageFolderReader:
    """A folder with a metadata.csv that names an image a row, or with a folder of images for each class."""

    def recognise(self, source: DataSource) -> bool:
        """Return whether it is a folder of one of the two kinds."""
        return source.is_folder and ((source.path / METADATA).is_file() or len(_classes(source.path)) > 1)

    def read(self, source: DataSource, options: ReadOptions) -> ReadRows:
        """Return a row for each image: `image`, an array, `file_name`, and what metadata.csv or its folder says."""
        if (source.path / METADATA).is_file():
            frame, sha256 = read_image_folder(source.name, source.path, options.encoding)
            return ReadRows(frame, sha256=sha256)
        frame, sha256 = read_class_folders(source.name, source.path)
        classes = sorted(set(frame[LABEL]))
        listed = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
        note = f"Column {LABEL} is the folder of each image: {len(classes)} classes, {listed}."
        return ReadRows(frame, notes=(note,), sha256=sha256)


def read_class_folders(name: str, folder: Path) -> tuple[pd.DataFrame, str]:
    """Return the images of `folder/class/name.jpg` with columns `file_name`, `label` and `image`, and their sha256.

    The images are sorted by their path. A folder or a file whose name begins with a dot is left out.
    """
    files = [
        f"{label}/{path.name}"
        for label in _classes(folder)
        for path in sorted((folder / label).iterdir())
        if _is_image(path)
    ]
    frame = pd.DataFrame(
        {FILE_NAME: files, LABEL: [file.partition("/")[0] for file in files]},
        index=pd.RangeIndex(len(files), name="row"),
        dtype=object,
    )
    images, hashes = _read_images(folder, [(f"{name}, {file}", file) for file in files])
    frame[IMAGE] = cells_of(images)
    return frame, hashlib.sha256("".join(files).encode() + b"".join(hashes)).hexdigest()


def _classes(folder: Path) -> list[str]:
    """Return the names of the folders that hold images, sorted."""
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and any(_is_image(file) for file in path.iterdir())
    )


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def read_image_folder(name: str, folder: Path, encoding: str) -> tuple[pd.DataFrame, str]:
    """Return the rows of a folder's metadata.csv with a column `image` of uint8 arrays, and the sha256 of it all.

    The column `file_name` names each row's image by its path inside the folder. The arrays are (height, width) for
    grey images and (height, width, 3) for all others. The hash is over metadata.csv and every image, row by row.
    """
    listing = read_bytes(folder / METADATA, f"{name}/{METADATA}", budget=DATA_BYTES, within=folder, error=DatasetError)
    frame = read_csv(f"{name}/{METADATA}", io.BytesIO(listing), encoding)
    if FILE_NAME not in frame.columns:
        raise DatasetError(
            f"{name}/{METADATA}: has no column {FILE_NAME!r}{closest(FILE_NAME, list(frame.columns))}; "
            "it names each row's image by its path inside the folder."
        )
    if IMAGE in frame.columns:
        raise DatasetError(f"{name}/{METADATA}: a column is called {IMAGE!r}, which the images themselves need.")
    listed = []
    for line, inside in zip(frame.index, frame[FILE_NAME], strict=True):
        where = f"{name}/{METADATA}, line {line}"
        parts = PurePosixPath(inside or "").parts
        if inside is None or not parts or ".." in parts or parts[0] == "/":
            raise DatasetError(f"{where}: {FILE_NAME} must be a path inside the folder, got {inside!r}.")
        listed.append((where, str(inside)))
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow finds odd about the tags of a damaged file
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        images, hashes = _read_images(folder, listed)
    frame[IMAGE] = cells_of(images)
    return frame, hashlib.sha256(listing + b"".join(hashes)).hexdigest()


def _read_images(folder: Path, listed: list[tuple[str, str]]) -> tuple[list[NDArray[np.uint8]], list[bytes]]:
    """Return the images that are listed by where they are named and their path, and the hash of each."""
    from PIL import Image, UnidentifiedImageError

    images: list[NDArray[np.uint8]] = []
    hashes: list[bytes] = []
    held = 0
    for where, inside in listed:
        try:
            raw = read_bytes(
                folder / inside, f"{where}: {inside}", budget=IMAGE_FILE, within=folder, error=DatasetError
            )
            hashes.append(hashlib.sha256(raw).digest())
            with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
                PIXELS.check(image.width * image.height, f"{where}: {inside}", DatasetError)
                held += image.width * image.height * 3
                IMAGE_BYTES.check(held, f"{where}: the images so far", DatasetError)
                images.append(np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")))
        except UnidentifiedImageError as error:
            raise DatasetError(f"{where}: {inside} is no image that Pillow knows.") from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise DatasetError(f"{where}: {inside} claims too many pixels: {error}.") from error
        except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise DatasetError(f"{where}: {inside}: {reason.rstrip('.') if reason else 'damaged'}.") from error
    return images, hashes
