"""Images as arrays: a column of arrays, or one column a pixel, to (rows, channels, height, width)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.data.dataset import origin
from auditkit.errors import DatasetError, InputError

Shape = tuple[int, int, int]
"""Channels, height, width."""

MAXIMUM_PIXELS = 4096 * 4096


def image_shape(words: str) -> Shape:
    """Return channels, height and width as `HEIGHTxWIDTH`, or `HEIGHTxWIDTHxCHANNELS`, says them.

    Raises:
        InputError: it is said in another way.

    >>> image_shape("28x28"), image_shape("32x24x3")
    ((1, 28, 28), (3, 32, 24))
    """
    match = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})(?:x([1-9]\d?))?", words.strip())
    if match is None:
        raise InputError(
            f"an image's shape is HEIGHTxWIDTH, or HEIGHTxWIDTHxCHANNELS, got {words!r}; pass --image 28x28."
        )
    height, width, channels = match.groups()
    return int(channels or 1), int(height), int(width)


def holds_images(column: pd.Series[Any]) -> bool:
    """Tell whether the first value of a column that is not missing is an array."""
    return column.dtype == object and isinstance(
        next((value for value in column if value is not None), None), np.ndarray
    )


def shape_of_images(frame: pd.DataFrame, name: str) -> Shape:
    """Return the shape that all images of a column have.

    Raises:
        DatasetError: an image is missing or has another shape than the first; its row is named.
    """
    shape: Shape | None = None
    for row, value in enumerate(frame[name]):
        if not isinstance(value, np.ndarray) or value.ndim not in (2, 3):
            raise DatasetError(f"column {name!r}, {origin(frame, row)}: holds no image; leave the row out.")
        height, width, *channels = value.shape
        this = (channels[0] if channels else 1, height, width)
        if shape is not None and this != shape:
            raise DatasetError(
                f"column {name!r}, {origin(frame, row)}: the image has shape {_shape_text(this)}, the first one "
                f"{_shape_text(shape)}; bring all images to one size."
            )
        shape = this
    if shape is None:
        raise DatasetError(f"column {name!r} holds no image.")
    return shape


def resized(frame: pd.DataFrame, name: str, shape: Shape, resize: tuple[int, ...], resample: str) -> pd.DataFrame:
    """Return the column of images alone, each brought to a shape: resized by Pillow, then its middle taken.

    One number of `resize` is the length of the shorter side, two are height and width. Grey images get three equal
    channels, and colours become grey, as the shape asks.

    Raises:
        DatasetError: a row holds no image of bytes.
    """
    found = np.empty(len(frame), dtype=object)
    for row, value in enumerate(frame[name]):
        if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim not in (2, 3):
            raise DatasetError(
                f"column {name!r}, {origin(frame, row)}: holds no image of bytes, which could be resized."
            )
        found[row] = _resized(value, shape, resize, resample)
    return pd.DataFrame({name: found}, index=frame.index)


def _resized(pixels: NDArray[np.uint8], shape: Shape, resize: tuple[int, ...], resample: str) -> NDArray[np.uint8]:
    from PIL import Image

    channels, height, width = shape
    image = Image.fromarray(pixels if pixels.ndim == 2 or pixels.shape[2] > 1 else pixels[:, :, 0])
    if channels in (1, 3):
        image = image.convert("L" if channels == 1 else "RGB")
    if len(resize) == 2:
        size = resize[1], resize[0]
    else:
        shorter = min(image.size)
        size = resize[0] * image.width // shorter, resize[0] * image.height // shorter
    image = image.resize(size, Image.Resampling[resample.upper()])
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return np.asarray(image.crop((left, top, left + width, top + height)))


def pixels(frame: pd.DataFrame, name: str, columns: Sequence[str], shape: Shape) -> NDArray[np.float32]:
    """Return images as they are stored, float32, (rows, channels, height, width).

    With `columns`, each holds one pixel: row by row from the top left, the channels of a pixel side by side. Without,
    the column `name` holds arrays, (height, width) or (height, width, channels).

    Raises:
        DatasetError: a pixel is missing or no finite number, or an image has another shape.
    """
    channels, height, width = shape
    if columns:
        flat = _numbers(frame, columns)
    else:
        flat = np.empty((len(frame), height * width * channels), dtype=np.float32)
        for row, value in enumerate(frame[name]):
            fits = isinstance(value, np.ndarray) and value.shape in ((height, width, channels), (height, width))
            if not fits or value.size != flat.shape[1]:
                found = f"an image of shape {value.shape}" if isinstance(value, np.ndarray) else "no image"
                raise DatasetError(
                    f"column {name!r}, {origin(frame, row)}: holds {found}, but the model reads {_shape_text(shape)}."
                )
            flat[row] = value.reshape(-1)
    images = flat.reshape(len(frame), height, width, channels).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images)


def _numbers(frame: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.float32]:
    cells = frame[list(columns)].to_numpy()
    try:
        with np.errstate(over="ignore"):
            read = cells.astype(np.float32)
    except (TypeError, ValueError):
        read = np.array([[_number(cell) for cell in row] for row in cells], dtype=np.float32)
    wrong = ~np.isfinite(read)
    if wrong.any():
        row, place = (int(index[0]) for index in wrong.nonzero())
        raise DatasetError(
            f"column {columns[place]!r}, {origin(frame, row)}: a pixel must be a finite number, "
            f"got {cells[row, place]!r}."
        )
    return read


def _number(cell: object) -> float:
    try:
        return float(cell)  # type: ignore[arg-type]  # what is no number raises, and is marked
    except (TypeError, ValueError):
        return float("nan")


def _shape_text(shape: Shape) -> str:
    channels, height, width = shape
    return f"{height}x{width}" + (f"x{channels}" if channels > 1 else "")
