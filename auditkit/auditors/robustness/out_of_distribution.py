"""Inputs that no model was made for: noise in the shape of an input, nothing at all, and values far off."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.robustness.tables import numbers_of
from auditkit.schema.schema import Schema
from auditkit.schema.text import FIRST_WORD, PADDING, UNKNOWN

ROWS = 200
FAR = 100.0
"""Far off is so many standard deviations away."""


def odd_inputs(
    schema: Schema, rows: NDArray[Any], source: NDArray[Any], *, seed: int
) -> dict[str, NDArray[np.float32] | NDArray[np.int64]]:
    """Return encoded inputs that mean nothing, by what they are.

    `rows` are encoded inputs of the audited data, whose form is kept; `source` those whose spread is the model's world.
    """
    rng = np.random.default_rng((seed, 31))
    if schema.kind == "text":
        length, vocabulary = rows.shape[1], len(schema.features[0].vocabulary)
        nothing = np.full((1, length), PADDING, dtype=np.int64)
        padding = rows[rng.integers(0, len(rows), ROWS)] == PADDING
        drawn = rng.integers(FIRST_WORD, FIRST_WORD + vocabulary, (ROWS, length))
        return {
            "random words": np.where(padding, PADDING, drawn).astype(np.int64),
            "unknown words": np.where(padding, PADDING, UNKNOWN).astype(np.int64),
            "an empty text": nothing,
        }
    if schema.kind == "image":
        low, high = float(source.min()), float(source.max())
        shape = rows.shape[1:]
        return {
            "random pixels": rng.uniform(low, high, (ROWS, *shape)).astype(np.float32),
            "an image all dark": np.full((1, *shape), low, dtype=np.float32),
            "an image all bright": np.full((1, *shape), high, dtype=np.float32),
        }
    return _odd_rows(schema, rows, source, rng)


def _odd_rows(
    schema: Schema, rows: NDArray[np.float32], source: NDArray[np.float32], rng: np.random.Generator
) -> dict[str, NDArray[np.float32] | NDArray[np.int64]]:
    numbers = numbers_of(schema, source)
    noise = np.zeros((ROWS, rows.shape[1]), dtype=np.float32)
    nothing = np.zeros((1, rows.shape[1]), dtype=np.float32)
    centre = source[:, numbers.cells].mean(axis=0, dtype=np.float64)
    spread = 3 * numbers.deviation
    noise[:, numbers.cells] = (centre + spread * rng.standard_normal((ROWS, len(numbers.cells)))).astype(np.float32)
    for feature, cells in zip(schema.features, schema.column_slices().values(), strict=True):
        if feature.kind == "categorical":
            noise[np.arange(ROWS), cells.start + rng.integers(0, len(feature.categories), ROWS)] = 1
        elif feature.kind == "boolean":
            noise[:, cells.start] = rng.integers(0, 2, ROWS)
        if feature.missing:
            nothing[:, cells.stop - 1] = 1
    odd: dict[str, NDArray[np.float32] | NDArray[np.int64]] = {"random values": noise}
    if len(numbers.cells):
        far = rows[rng.integers(0, len(rows), ROWS)].copy()
        sides = rng.choice([-1.0, 1.0], (ROWS, len(numbers.cells)))
        far[:, numbers.cells] += (FAR * sides * numbers.deviation).astype(np.float32)
        odd["numbers far off"] = far
    return {**odd, "every value missing": nothing}
