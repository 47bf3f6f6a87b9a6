"""Folders of images: listed by a metadata.csv, or sorted into one folder a class."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auditkit.budgets import IMAGE_BYTES, Budget
from auditkit.data.readers.arrays import IMAGE, cells_of
from auditkit.data.readers.base import DataSource, ReadOptions, ReadRows
from auditkit.data.readers.folders import METADATA, holds, listed
from auditkit.errors import DatasetError
from auditkit.files import read_bytes

IMAGE_FILE, PIXELS = Budget("bytes", 2**28, 2**32), Budget("pixels", 4096 * 4096, 2**27)
"""How large the file of one image may be, and the image."""

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""What Pillow may decode: formats that it reads by itself, and none that starts another program."""

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}


class ImageFolderReader:
    """A folder with a metadata.csv that names an image a row, or with a folder of images for each class."""

    def recognise(self, source: DataSource) -> bool:
        """Return whether it is a folder of one of the two kinds."""
        return source.is_folder and ((source.path / METADATA).is_file() or holds(source.name, source.path, SUFFIXES))

    def read(self, source: DataSource, options: ReadOptions) -> ReadRows:
        """Return a row for each image: `image`, an array, `file_name`, and what metadata.csv or its folder says.

        The arrays are uint8, (height, width) for grey images and (height, width, 3) for all others. The hash is over
        metadata.csv, or the names, and every image, row by row.
        """
        rows = listed(source.name, source.path, options.encoding, SUFFIXES, IMAGE)
        from PIL import Image

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow finds odd about the tags of a damaged file
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            images, hashes = _read_images(source.path, rows.files)
        frame = rows.frame.assign(**{IMAGE: cells_of(images)})
        return ReadRows(frame, notes=rows.notes, sha256=hashlib.sha256(rows.hashed + b"".join(hashes)).hexdigest())


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
