"""How an image processor of Hugging Face makes pixels of a column of images."""

from __future__ import annotations

from typing import Any

from auditkit.errors import ModelFileError
from auditkit.schema.table import Feature

RESAMPLE: dict[Any, Any] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of the ways to resize."""


def image_feature(processor: dict[str, Any], column: str, channels: int, name: str) -> Feature:
    """Return how an image processor of transformers makes pixels of a column of images.

    Raises:
        ModelFileError: it does what a schema cannot say.
    """
    size = processor.get("size") or {}
    if isinstance(size, int):
        size = {"shortest_edge": size}
    resizes = processor.get("do_resize", True)
    sides = tuple(size[key] for key in ("height", "width") if key in size) or (size.get("shortest_edge"),)
    crop = processor.get("crop_size") if processor.get("do_center_crop") else None
    crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
    shape = (crop["height"], crop["width"]) if crop else sides if len(sides) == 2 else sides * 2
    method = RESAMPLE.get(processor.get("resample", 2))
    numbers = [*shape, *(sides if resizes else ())]
    if method is None or not all(isinstance(number, int) and 0 < number <= 4096 for number in numbers):
        raise ModelFileError(f"{name}: its sizes {size} are not understood; pass --preprocess with its transform.")
    whole = 1 / float(processor.get("rescale_factor") or 1 / 255) if processor.get("do_rescale", True) else 1.0
    normalised = processor.get("do_normalize", True)
    means = processor.get("image_mean") if normalised else [0.0]
    deviations = processor.get("image_std") if normalised else [1.0]
    return Feature(
        name=column,
        kind="image",
        shape=(channels, *shape),
        resize=sides if resizes else (),
        resample=method,
        means=tuple(float(part) * whole for part in _each(means or [0.5], channels)),
        scales=tuple(float(part) * whole for part in _each(deviations or [0.5], channels)),
    )


def _each(given: Any, channels: int) -> list[float]:
    numbers = list(given) if isinstance(given, list | tuple) else [given]
    return numbers * channels if len(numbers) == 1 else numbers
