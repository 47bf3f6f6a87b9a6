"""Recordings that are longer than what a model reads at once: windows, how they are joined, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from recordings import LIBRARY, RATE, made_folder

from auditkit.budgets import Budget
from auditkit.data import audio as audio_arrays
from auditkit.data.audio import SILENCE
from auditkit.data.dataset import data_from_frame
from auditkit.errors import DatasetError
from auditkit.modalities.audio import FRAMES, silenced
from auditkit.models.formats import huggingface_audio
from auditkit.models.formats.huggingface_audio import joined, samples_read, window_starts
from auditkit.models.formats.opening import open_model
from auditkit.models.from_columns import Columns
from auditkit.models.model import Model
from auditkit.models.operations import operations_per_row

pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filter")

SECONDS = (0.2, 0.9, 2.5, 1.0, 2.5, 2.01)


def frame_of(seconds: tuple[float, ...] = SECONDS) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    waves = [rng.normal(scale=0.1, size=round(RATE * each)).astype(np.float32) for each in seconds]
    frame = pd.DataFrame({"sample_rate": [RATE] * len(waves), "label": ["high", "low"] * (len(waves) // 2)})
    frame["audio"] = pd.Series(waves, dtype=object)
    return frame


def opened(folder: Path, frame: pd.DataFrame) -> tuple[Model, np.ndarray]:
    rows = data_from_frame(frame)
    model = open_model(folder, columns=Columns(read_rows=lambda: rows, read_training=lambda: None, target="label"))
    return model, model.schema.encode(rows.frame)


def said(model: Model, waves: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        found: np.ndarray = model.module(torch.from_numpy(waves)).softmax(dim=1).numpy()
    return found


def by_hand(folder: Path, wave: np.ndarray, window: int) -> np.ndarray:
    """Return the mean of what transformers says of the windows of a recording, one call each."""
    network = LIBRARY.AutoModelForAudioClassification.from_pretrained(folder, local_files_only=True).eval()
    extractor = LIBRARY.AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
    starts = list(range(0, len(wave), window))
    if len(wave) > window:
        starts[-1] = len(wave) - window
    parts = [extractor([wave[s : s + window]], sampling_rate=RATE, return_tensors="pt") for s in starts]
    with torch.inference_mode():
        found: np.ndarray = torch.stack([network(**part).logits[0].softmax(0) for part in parts]).mean(0).numpy()
    return found


def test_windows_stand_one_behind_the_other_and_the_last_ends_with_the_recording() -> None:
    assert window_starts(10, 10) == window_starts(3, 10) == [0]
    assert window_starts(20, 10) == [0, 10]
    assert window_starts(21, 10) == [0, 10, 11]


def test_the_probabilities_of_windows_are_averaged() -> None:
    logits = torch.tensor([[0.0, 0.0], [0.9, 0.1], [0.3, 0.7]]).log()
    logits[0] = torch.tensor([5.0, 3.0])
    found = joined(logits, torch.tensor([1, 0, 0]), 2)
    assert found[0].softmax(0).tolist() == pytest.approx([0.6, 0.4])
    assert found[1].tolist() == [5.0, 3.0], "of one window the logits stay"
    numbers = joined(torch.tensor([[1.0], [4.0], [7.0]]), torch.tensor([0, 1, 1]), 2)
    assert numbers.tolist() == [[1.0], [5.5]], "a single output is no class"


@pytest.mark.parametrize(("kind", "window"), [("wav2vec2", 2 * RATE), ("whisper", RATE), ("ast", 5360)])
def test_long_recordings_get_the_mean_of_what_transformers_says_of_their_windows(
    kind: str, window: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AST cuts behind 32 frames of 400 samples, one every 160; Whisper behind its chunk of a second."""
    monkeypatch.setattr(huggingface_audio, "MOST_SECONDS", 2)
    folder, frame = made_folder(tmp_path / kind, kind), frame_of()
    model, waves = opened(folder, frame)
    assert model.module.window == window
    expected = np.stack([by_hand(folder, wave, window) for wave in frame["audio"]])
    assert said(model, waves) == pytest.approx(expected, abs=1e-5)
    monkeypatch.setattr(huggingface_audio, "SAMPLES_AT_ONCE", 1000)
    assert said(model, waves) == pytest.approx(expected, abs=1e-5), "whatever goes through at once"
    (note,) = model.notes
    count = sum(len(wave) > window for wave in frame["audio"])
    assert f"{count} of 6 recordings are longer than the {window / RATE:.4g} seconds" in note
    assert ("would read each recording as a whole" in note) == (kind == "wav2vec2")


def test_what_an_extractor_cuts_off_is_found_without_its_name(tmp_path: Path) -> None:
    extractors = {
        kind: LIBRARY.AutoFeatureExtractor.from_pretrained(made_folder(tmp_path / kind, kind))
        for kind in ("wav2vec2", "whisper", "ast")
    }
    assert samples_read(extractors["wav2vec2"], RATE, 3 * RATE) == 3 * RATE
    assert samples_read(extractors["whisper"], RATE, 3 * RATE) == RATE
    assert samples_read(extractors["ast"], RATE, 3 * RATE) == 400 + 31 * 160
    assert samples_read(extractors["ast"], RATE, 2000) == 2000, "shorter than the cut"
    assert samples_read(extractors["wav2vec2"], RATE, 100) == 100


def test_short_recordings_need_no_note(tmp_path: Path) -> None:
    model, _ = opened(made_folder(tmp_path / "net", "wav2vec2"), frame_of((0.2, 0.3)))
    assert not model.notes


def test_a_silenced_frame_of_the_last_window_changes_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_audio, "MOST_SECONDS", 1)
    model, waves = opened(made_folder(tmp_path / "net", "whisper"), frame_of((2.5, 2.5)))
    deleted = np.zeros((2, FRAMES), dtype=bool)
    deleted[0, -1] = True
    before, after = said(model, waves), said(model, silenced(waves, deleted))
    assert np.array_equal(before[1], after[1])
    assert not np.array_equal(before[0], after[0]), "a model that reads the first window alone would not notice"
    assert (np.abs(silenced(waves, deleted)[0, -RATE // 10 :]) == SILENCE).all()


def test_one_very_long_recording_among_many_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_arrays, "PADDED_BYTES", Budget("bytes of samples", 10_000, 10_000))
    with pytest.raises(DatasetError, match=r"'audio': [\d,]+ bytes of samples, and auditkit reads at most 10,000"):
        opened(made_folder(tmp_path / "net", "ast"), frame_of())


def test_what_a_recording_costs_grows_with_its_length(tmp_path: Path) -> None:
    """Beyond what torch counts, which leaves the feature extractor out."""
    model, waves = opened(made_folder(tmp_path / "net", "wav2vec2"), frame_of((0.5, 0.1)))
    rows = torch.from_numpy(waves)
    long, short, both = (operations_per_row(model.module, part) for part in (rows[:1], rows[1:], rows))
    assert short > 0.1 * RATE * huggingface_audio.UNCOUNTED
    assert long > 4 * short
    assert both == pytest.approx((long + short) / 2, rel=1e-6)
