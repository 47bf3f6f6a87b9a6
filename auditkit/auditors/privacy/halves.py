"""Which rows each shadow model sees: one half of all rows, and its twin the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import InputError


def require_pairs(model_count: int) -> None:
    """Raise InputError unless shadow models can be trained in pairs."""
    if model_count < 2 or model_count % 2:
        raise InputError(f"shadows must be an even number of at least 2, got {model_count}; pass 8, or 0 for none.")


def halves(row_count: int, model_count: int, seed: int) -> NDArray[np.bool_]:
    """Return which rows each model sees, (models, rows): a random half, and for every second model the other half.

    Raises:
        InputError: the number of models is odd or below 2.
    """
    require_pairs(model_count)
    generator = np.random.default_rng(seed)
    inside = np.zeros((model_count, row_count), dtype=bool)
    for first in range(0, model_count, 2):
        inside[first, generator.permutation(row_count)[: row_count // 2]] = True
        inside[first + 1] = ~inside[first]
    return inside
