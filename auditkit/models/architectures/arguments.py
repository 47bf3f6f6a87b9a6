"""Bounds on what a card may ask of a network, so that building one from a file cannot be made to eat the machine."""

from __future__ import annotations

from collections.abc import Sequence

from auditkit.errors import ModelFileError

MAXIMUM_WIDTH = 1_000_000
MAXIMUM_DEPTH = 64


def require_width(architecture: str, *widths: object, what: str = "a width", most: int = MAXIMUM_WIDTH) -> None:
    """Raise ModelFileError unless every width is a whole number from 1 to `most`."""
    for width in widths:
        if isinstance(width, bool) or not isinstance(width, int) or not 1 <= width <= most:
            raise ModelFileError(f"architecture {architecture}: {what} must be from 1 to {most:,}, got {width!r}.")


def require_list(architecture: str, name: str, values: object, *, most: int = MAXIMUM_DEPTH) -> None:
    """Raise ModelFileError unless `values` is a list of at most `most` things."""
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) > most:
        raise ModelFileError(f"architecture {architecture}: {name} must list at most {most} widths.")


def require_dropout(architecture: str, dropout: object) -> None:
    """Raise ModelFileError unless `dropout` is a number of at least 0 and below 1."""
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ModelFileError(f"architecture {architecture}: dropout must be at least 0 and below 1, got {dropout!r}.")
