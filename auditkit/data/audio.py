"""Recordings as arrays: a column of samples and one of their sample rates, to (rows, samples)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.budgets import Budget
from auditkit.data.dataset import origin
from auditkit.errors import DatasetError

RATE = "sample_rate"
"""The column of the sample rates of recordings, in samples a second."""

SILENCE = np.float32(1e-30)
"""A sample of a recording that is silent: 0 is what stands behind the end of a recording."""

MAXIMUM_SAMPLES = 2**25
"""Of one recording, about 35 minutes at 16,000 a second."""

MAXIMUM_RATE = 384_000

PADDED_BYTES = Budget("bytes of samples, each recording as long as the longest", 8 * 2**30, 256 * 2**30)
"""Of recordings that are encoded together; those that are longer than others are best cut into parts."""


def waves(frame: pd.DataFrame, name: str, sample_rate: int, length: int) -> NDArray[np.float32]:
    """Return recordings at one sample rate, float32, (rows, length), 0 behind the end of each.

    A silent sample is `SILENCE`, which no network tells from 0.

    Raises:
        DatasetError: a row holds no recording, one that is longer, or one without a sample rate; or all of them, each
            as long as the longest, need too much memory.
    """
    PADDED_BYTES.check(4 * len(frame) * length, f"column {name!r}", DatasetError)
    found = np.zeros((len(frame), length), dtype=np.float32)
    for row, (value, rate) in enumerate(zip(frame[name], frame[RATE], strict=True)):
        samples = resampled(_recording(frame, name, row, value), _rate(frame, row, rate), sample_rate)
        if len(samples) > length:
            raise DatasetError(
                f"column {name!r}, {origin(frame, row)}: lasts {len(samples) / sample_rate:.2f} seconds, and the model "
                f"reads at most {length / sample_rate:.2f}; cut it into parts."
            )
        found[row, : len(samples)] = np.where(samples == 0, SILENCE, samples)
    return found


def sample_counts(frame: pd.DataFrame, name: str, sample_rate: int) -> NDArray[np.int64]:
    """Return how many samples each recording has at a sample rate: int64, (rows,)."""
    counts = [
        math.ceil(len(_recording(frame, name, row, value)) * sample_rate / _rate(frame, row, rate))
        for row, (value, rate) in enumerate(zip(frame[name], frame[RATE], strict=True))
    ]
    return np.array(counts, dtype=np.int64)


def resampled(samples: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    """Return a recording at another sample rate: a polyphase filter of SciPy, which removes what would alias."""
    if rate == wanted:
        return samples
    from scipy.signal import resample_poly

    common = math.gcd(rate, wanted)
    return np.asarray(resample_poly(samples, wanted // common, rate // common), dtype=np.float32)


def _recording(frame: pd.DataFrame, name: str, row: int, value: Any) -> NDArray[np.float32]:
    if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind != "f" or not len(value):
        raise DatasetError(
            f"column {name!r}, {origin(frame, row)}: holds no recording, an array of samples; leave the row out."
        )
    if not np.isfinite(value).all():
        raise DatasetError(f"column {name!r}, {origin(frame, row)}: a sample is NaN or infinite; leave the row out.")
    return value


def _rate(frame: pd.DataFrame, row: int, value: Any) -> int:
    whole = isinstance(value, int | np.integer) or (isinstance(value, float) and value.is_integer())
    if not whole or not 1 <= value <= MAXIMUM_RATE:
        raise DatasetError(
            f"column {RATE!r}, {origin(frame, row)}: must be a whole number from 1 to {MAXIMUM_RATE:,}, got {value!r}."
        )
    return int(value)
