"""Recordings: samples in time; noise, lower volume, clipping and lost high frequencies; frames that can be silenced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.data.audio import SILENCE
from auditkit.errors import NotRun
from auditkit.evidence.messages import Message
from auditkit.modalities.base import Corruption, Reach, Segments
from auditkit.schema.schema import Schema

Waves = NDArray[np.float32]
"""Recordings, (rows, samples): 0 behind the end of each, `SILENCE` where it is silent."""

FRAMES = 20
"""Into so many frames of equal length each recording is cut, whatever its own length."""

BANDS, WINDOW = 32, 512
"""So many bands of frequency, of windows of so many samples, say how alike recordings are."""

OUTSIDE = 20

AUDIO_CORRUPTIONS = ("sound_noise", "quieter", "clipping", "low_pass")
"""The names of what `audio_corruptions` returns, in its order."""


def lengths_of(waves: Waves) -> NDArray[np.int64]:
    """Return how many samples each recording has: int64, (rows,).

    >>> lengths_of(np.array([[0.5, 0.1, 0.0], [0.0, 0.0, 0.0]], dtype=np.float32))
    array([2, 0])
    """
    sounding = waves != 0
    return np.where(sounding.any(axis=1), waves.shape[1] - sounding[:, ::-1].argmax(axis=1), 0).astype(np.int64)


def silenced(waves: Waves, deleted: NDArray[np.bool_]) -> Waves:
    """Return recordings without the frames of a mask, (rows, FRAMES), which are silent."""
    found = waves.copy()
    for row, length in enumerate(lengths_of(waves)):
        frame = np.arange(length) * FRAMES // max(int(length), 1)
        found[row, :length][deleted[row, frame]] = SILENCE
    return found


def _within(waves: Waves, changed: NDArray[Any]) -> Waves:
    """Return changed recordings whose ends are those of `waves`."""
    kept = np.where(changed == 0, SILENCE, changed)
    return np.where(waves == 0, np.float32(0), kept).astype(np.float32)


def low_passed(waves: Waves, share: float) -> Waves:
    """Return recordings without the upper share of their frequencies, each filtered over its own length."""
    found = waves.copy()
    for row, length in enumerate(lengths_of(waves)):
        spectrum = np.fft.rfft(waves[row, :length].astype(np.float64))
        spectrum[max(1, round(len(spectrum) * (1 - share))) :] = 0
        found[row, :length] = np.fft.irfft(spectrum, int(length)) if length else 0
    return _within(waves, found)


def audio_corruptions(waves: Waves, *, seed: int) -> list[Corruption]:
    """Return the corruptions of recordings."""
    rng = np.random.default_rng((seed, 23))
    counts = np.maximum(lengths_of(waves), 1)
    loudness = np.sqrt((waves.astype(np.float64) ** 2).sum(axis=1) / counts).astype(np.float32)[:, None]
    peak = np.abs(waves).max(axis=1, keepdims=True)
    noise = rng.standard_normal(waves.shape, dtype=np.float32)
    return [
        Corruption(
            "sound_noise",
            Message("Noise in the recording"),
            Message("White noise is added; its standard deviation is a share of the recording's root mean square."),
            Message("share of the loudness"),
            lambda strength: _within(waves, waves + np.float32(strength) * loudness * noise),
            strengths=(0.1, 0.25, 0.5, 1.0),
            stated=0.25,
        ),
        Corruption(
            "quieter",
            Message("Quieter"),
            Message("All samples of a recording are multiplied by what is left of the volume."),
            Message("share of the volume lost"),
            lambda strength: _within(waves, waves * np.float32(1 - strength)),
            strengths=(0.25, 0.5, 0.75, 0.9),
            stated=0.5,
        ),
        Corruption(
            "clipping",
            Message("Clipping"),
            Message(
                "What is louder than a share of the recording's peak is cut off, as an overdriven microphone does."
            ),
            Message("share of the peak cut off"),
            lambda strength: _within(waves, np.clip(waves, -peak * (1 - strength), peak * (1 - strength))),
            strengths=(0.25, 0.5, 0.75, 0.9),
            stated=0.5,
        ),
        Corruption(
            "low_pass",
            Message("High frequencies lost"),
            Message("The upper share of all frequencies is removed, as a telephone does."),
            Message("share of the frequencies removed"),
            lambda strength: low_passed(waves, strength),
            strengths=(0.25, 0.5, 0.75, 0.9),
            stated=0.5,
        ),
    ]


def band_levels(wave: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean and the spread over time of a recording's level in each band, in bel: (2 * BANDS,)."""
    padded = np.pad(wave, (0, -len(wave) % WINDOW if len(wave) else WINDOW))
    power = np.abs(np.fft.rfft(padded.reshape(-1, WINDOW) * np.hanning(WINDOW), axis=1)[:, : WINDOW // 2]) ** 2
    levels = np.log10(power.reshape(len(power), BANDS, -1).mean(axis=2) + 1e-6)
    return np.concatenate([levels.mean(axis=0), levels.std(axis=0)])


@dataclass(frozen=True)
class Audio:
    """Recordings at one sample rate, (rows, samples)."""

    schema: Schema

    name: ClassVar[str] = "audio"
    corruption_names: ClassVar[tuple[str, ...]] = AUDIO_CORRUPTIONS
    dear: ClassVar[bool] = True
    columnar: ClassVar[bool] = False
    explained_as: ClassVar[str] = "segments"
    compared_by: ClassVar[Message] = Message("by their levels in {bands} bands of frequency", bands=BANDS)
    texts: ClassVar[None] = None
    architecture: ClassVar[str] = "mlp"
    fit_settings: ClassVar[Mapping[str, Any]] = {}

    def encode(self, frame: pd.DataFrame) -> Waves:
        """Return samples, float32, (rows, samples)."""
        return self.schema.encode(frame)

    def blank(self, count: int) -> Waves:
        """Return silent recordings, float32, (count, samples)."""
        return np.full((count, self.schema.input_width), SILENCE, dtype=np.float32)

    def comparable(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Return the mean and the spread over time of the levels in each band."""
        waves = self.encode(frame)
        rows = zip(waves, lengths_of(waves), strict=True)
        return np.stack([band_levels(wave[:length]) for wave, length in rows])

    def segments(self, inputs: Waves, source: Waves) -> Segments:
        """Return frames, in order of time; a deleted one is silent."""
        names = tuple(f"{100 * place // FRAMES}-{100 * (place + 1) // FRAMES} %" for place in range(FRAMES))
        return Segments(np.full(len(inputs), FRAMES), FRAMES, silenced, names, Message("the recording's length"))

    def corruptions(self, frame: pd.DataFrame, inputs: Waves, source: Waves, *, seed: int) -> list[Corruption]:
        """Return noise, a lower volume, clipping, and lost high frequencies."""
        return audio_corruptions(inputs, seed=seed)

    def out_of_distribution(self, inputs: Waves, source: Waves, *, seed: int) -> dict[str, Waves]:
        """Return white noise as loud as the recordings, and silence."""
        rng = np.random.default_rng((seed, 31))
        sounding = source[source != 0]
        loudness = np.float32(np.sqrt(np.mean(sounding.astype(np.float64) ** 2))) if sounding.size else np.float32(1)
        noise = loudness * rng.standard_normal((OUTSIDE, inputs.shape[1]), dtype=np.float32)
        return {"white noise": np.where(noise == 0, SILENCE, noise), "silence": self.blank(1)}

    def reach(self, source: Waves) -> Reach:
        """Raise NotRun: the features that networks read are computed of the samples without a gradient."""
        raise NotRun(Message("the model reads features of a recording, through which no gradient reaches its samples"))
