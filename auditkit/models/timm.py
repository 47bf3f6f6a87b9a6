"""Networks of timm, where it is installed: built by name, with the transform that each was trained with."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from typing import Any

from auditkit.errors import InputError
from auditkit.models.factory import TIMM, build_network
from auditkit.schema.table import Feature


def is_of_timm(architecture: str | None) -> bool:
    """Return whether an architecture is written `timm:NAME`."""
    return architecture is not None and architecture.partition(":")[0] == TIMM


def image_feature(architecture: str, arguments: Mapping[str, Any] | None, column: str) -> Feature:
    """Return how images of a column reach a network of timm: resized, its middle taken, and scaled, as timm says.

    Raises:
        InputError: timm resizes in a way that a schema cannot express.
    """
    network = build_network(architecture, dict(arguments or {}))
    settings = importlib.import_module("timm.data").resolve_model_data_config(network)
    channels, height, width = settings["input_size"]
    share, mode = float(settings.get("crop_pct") or 1.0), settings.get("crop_mode") or "center"
    if mode not in ("center", "squash") or (mode == "center" and height != width):
        raise InputError(f"{architecture}: its images are cut by {mode!r}; pass a --schema of the images.")
    sides = (height,) if mode == "center" else (height, width)
    return Feature(
        name=column,
        kind="image",
        shape=(channels, height, width),
        resize=tuple(math.floor(side / share) for side in sides),
        resample=settings["interpolation"],
        means=tuple(255 * float(part) for part in settings["mean"]),
        scales=tuple(255 * float(part) for part in settings["std"]),
    )
