"""Recordings: their ends and silences, frames that are silenced, corruptions, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from auditkit.data.audio import RATE, SILENCE, resampled
from auditkit.errors import DatasetError, NotRun
from auditkit.modalities.audio import AUDIO_CORRUPTIONS, FRAMES, Audio, lengths_of
from auditkit.modalities.base import every_corruption, modality_for
from auditkit.schema.schema import Schema
from auditkit.schema.table import Feature

FEATURE = Feature(name="audio", kind="audio", sample_rate=1000, samples=400)
SCHEMA = Schema(features=(FEATURE,), target="y", task="binary", classes=("a", "b"))


def tone(hertz: float, seconds: float, rate: int) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate).astype(np.float32)


def frame_of(*recordings: tuple[np.ndarray, int]) -> pd.DataFrame:
    frame = pd.DataFrame({RATE: [rate for _, rate in recordings]})
    frame["audio"] = pd.Series([samples for samples, _ in recordings], dtype=object)
    return frame


def test_recordings_of_several_lengths_and_rates_become_rows() -> None:
    silent = np.zeros(100, dtype=np.float32)
    waves = modality_for(SCHEMA).encode(
        frame_of((tone(50, 0.4, 1000), 1000), (silent, 1000), (tone(50, 0.2, 4000), 4000))
    )
    assert waves.shape == (3, 400)
    assert lengths_of(waves).tolist() == [400, 100, 200], "silence is not the end"
    assert np.allclose(waves[0], tone(50, 0.4, 1000), atol=1e-29)
    assert np.allclose(waves[2, 20:180], tone(50, 0.2, 1000)[20:180], atol=0.02), "resampled, away from its ends"


def test_resampling_keeps_a_low_tone_and_removes_what_would_alias() -> None:
    assert np.abs(resampled(tone(700, 1, 4000), 4000, 1000)[50:-50]).max() < 0.01
    kept = resampled(tone(100, 1, 4000), 4000, 1000)[50:-50]
    assert np.allclose(kept, tone(100, 1, 1000)[50:-50], atol=0.02)


@pytest.mark.parametrize(
    ("samples", "rate", "said"),
    [
        (np.zeros((4, 2), dtype=np.float32), 1000, "holds no recording"),
        (np.array([0.1, np.nan], dtype=np.float32), 1000, "NaN or infinite"),
        (np.zeros(401, dtype=np.float32), 1000, r"lasts 0\.40 seconds.*at most 0\.40; cut it into parts"),
        (np.zeros(4, dtype=np.float32), 0, "must be a whole number from 1 to 384,000, got 0"),
    ],
)
def test_what_is_no_recording_is_refused(samples: np.ndarray, rate: int, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        SCHEMA.encode(frame_of((samples, rate)))


@pytest.fixture
def waves() -> np.ndarray:
    rng = np.random.default_rng(0)
    recordings = [(tone(30 + 10 * row, 0.1 + 0.05 * row, 1000), 1000) for row in range(6)]
    encoded: np.ndarray = SCHEMA.encode(frame_of(*recordings))
    return encoded * rng.uniform(0.5, 1, (6, 1)).astype(np.float32)


def test_a_deleted_frame_is_silent_and_all_others_stay(waves: np.ndarray) -> None:
    segments = Audio(SCHEMA).segments(waves, waves)
    assert segments.names[:2] == ("0-5 %", "5-10 %")
    mask = np.zeros((len(waves), FRAMES), dtype=bool)
    assert np.array_equal(segments.delete(waves, mask), waves)
    mask[3, 2] = True
    found = segments.delete(waves, mask)
    length = int(lengths_of(waves)[3])
    first, last = 2 * length // FRAMES, 3 * length // FRAMES
    changed = np.flatnonzero(found[3] != waves[3])
    assert set(changed) <= set(range(first, last + 1))
    assert (found[3, first + 1 : last] == SILENCE).all()
    assert np.array_equal(np.delete(found, 3, axis=0), np.delete(waves, 3, axis=0))
    everything = segments.delete(waves, np.ones_like(mask))
    assert np.array_equal(lengths_of(everything), lengths_of(waves))
    assert np.abs(everything).max() == SILENCE


def test_corruptions_do_what_they_say(waves: np.ndarray) -> None:
    found = {one.name: one for one in Audio(SCHEMA).corruptions(pd.DataFrame(), waves, waves, seed=1)}
    assert tuple(found) == AUDIO_CORRUPTIONS
    assert set(AUDIO_CORRUPTIONS) <= set(every_corruption())
    for one in found.values():
        assert np.array_equal(lengths_of(one.at(one.stated)), lengths_of(waves)), one.name
        assert np.allclose(one.at(0.0), waves, atol=1e-6), "no strength, no change"
    assert np.allclose(found["quieter"].at(0.75), waves / 4, atol=1e-7)
    assert np.abs(found["clipping"].at(0.5)).max(axis=1) == pytest.approx(np.abs(waves).max(axis=1) / 2)
    row, length = 5, int(lengths_of(waves)[5])
    noise = (found["sound_noise"].at(0.5) - waves)[row, :length]
    assert noise.std() == pytest.approx(0.5 * np.sqrt((waves[row, :length] ** 2).mean()), rel=0.2)
    spectrum = np.abs(np.fft.rfft(found["low_pass"].at(0.9)[row, :length]))
    assert spectrum[round(0.1 * len(spectrum)) + 1 :].max() < 1e-3 * np.abs(np.fft.rfft(waves[row, :length])).max()


def test_alike_recordings_are_near_and_nothing_is_attacked(waves: np.ndarray) -> None:
    frame = frame_of((tone(50, 0.4, 1000), 1000), (tone(52, 0.4, 1000), 1000), (tone(400, 0.4, 1000), 1000))
    one, other, far = Audio(SCHEMA).comparable(frame)
    assert np.linalg.norm(one - other) < np.linalg.norm(one - far) / 2
    with pytest.raises(NotRun, match="no gradient reaches its samples"):
        Audio(SCHEMA).reach(waves)
    outside = Audio(SCHEMA).out_of_distribution(waves, waves, seed=0)
    assert np.abs(outside["silence"]).max() == SILENCE
