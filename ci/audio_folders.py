"""Folders of recordings read by the real soundfile, and audio classifiers of transformers over them: `make extras`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import transformers
from recordings import RATE, made_folder

import auditkit
from auditkit.budgets import Budget
from auditkit.data.dataset import read_data
from auditkit.data.readers import audio
from auditkit.errors import DatasetError, ModelFileError
from auditkit.models.formats.opening import open_model
from auditkit.models.from_columns import Columns

pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filter")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones of two heights in noise: WAV and FLAC, mono and stereo, at several sample rates and lengths."""
    rng = np.random.default_rng(0)
    place = tmp_path_factory.mktemp("recordings")
    for label, hertz in (("high", 900.0), ("low", 200.0)):
        (place / label).mkdir()
        for number in range(16):
            rate = (8000, 16000)[number % 2]
            time = np.arange(int((0.2, 0.25)[number % 4 // 2] * rate)) / rate
            wave = 0.5 * np.sin(2 * np.pi * hertz * time) + 0.05 * rng.normal(size=len(time))
            channels = np.stack([wave, wave], axis=1) if number % 5 == 0 else wave
            soundfile.write(place / label / f"{number:02}.{('wav', 'flac')[number % 3 == 0]}", channels, rate)
    return place


def trained(place: Path, recordings: Path) -> Path:
    """Train the network of a folder on the recordings, and save it again."""
    network = transformers.AutoModelForAudioClassification.from_pretrained(place, local_files_only=True)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(place, local_files_only=True)
    rows = [soundfile.read(path, always_2d=True) for path in sorted(recordings.glob("*/*"))]
    waves = [(wave.mean(axis=1)[:: rate // RATE]).astype(np.float32) for wave, rate in rows]
    batch = extractor(waves, sampling_rate=RATE, padding=True, return_tensors="pt")
    labels = torch.tensor([0] * 16 + [1] * 16)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        network(**batch, labels=labels).loss.backward()
        optimizer.step()
    network.eval().save_pretrained(place)
    return place


def opened(folder: Path, recordings: Path) -> tuple[auditkit.Model, np.ndarray]:
    rows = read_data(recordings)
    model = open_model(folder, columns=Columns(read_rows=lambda: rows, read_training=lambda: None, target="label"))
    return model, model.schema.encode(rows.frame)


@pytest.mark.parametrize("kind", ["wav2vec2", "ast", "whisper"])
def test_each_recording_gets_what_transformers_says_of_it_alone(kind: str, tmp_path: Path, recordings: Path) -> None:
    folder = made_folder(tmp_path / kind, kind)
    model, encoded = opened(folder, recordings)
    assert model.schema.classes == ("high", "low")
    with torch.inference_mode():
        said = model.module(torch.from_numpy(encoded)).numpy()
    network = transformers.AutoModelForAudioClassification.from_pretrained(folder, local_files_only=True).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
    for row, path in enumerate(sorted(recordings.glob("*/*"))):
        wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
        if rate != RATE:
            continue  # resampled, which its own test covers
        with torch.inference_mode():
            alone = network(**extractor([wave.mean(axis=1)], sampling_rate=RATE, return_tensors="pt")).logits[0]
        assert said[row] == pytest.approx(alone.numpy(), abs=1e-5), path.name


def test_a_trained_classifier_of_recordings_is_audited(tmp_path: Path, recordings: Path) -> None:
    folder = trained(made_folder(tmp_path / "net", "ast"), recordings)
    report = auditkit.audit(folder, str(recordings), target="label")
    errors = [(one.auditor, one.error) for one in report.outcomes if one.error is not None]
    assert not errors
    accuracy = report["performance.accuracy"]
    assert accuracy.value is not None
    assert accuracy.value > 0.9
    measured = {one.id: one for outcome in report.outcomes for one in outcome.measurements}
    for name in ("sound_noise", "quieter", "clipping", "low_pass"):
        assert measured[f"robustness.{name}_flip_rate"].value is not None
    share = measured["explainability.attribution_share"]
    assert share.by == ("segment",)
    assert sum(part.value or 0 for part in share.slices) == pytest.approx(1, abs=1e-6)
    assert report.subject.model is not None
    assert report.subject.model.kind == "Hugging Face"


def test_a_listing_names_recordings_and_groups(tmp_path: Path, recordings: Path) -> None:
    place = tmp_path / "listed"
    place.mkdir()
    (place / "a.wav").write_bytes(next((recordings / "high").glob("*.wav")).read_bytes())
    (place / "metadata.csv").write_text("file_name,label,accent\na.wav,high,x\n", encoding="utf-16")
    with pytest.raises(DatasetError, match="--encoding"):
        read_data(place)
    (place / "metadata.csv").write_text("file_name,label,accent\na.wav,high,x\n")
    frame = read_data(place).frame
    assert list(frame.columns) == ["file_name", "label", "accent", "audio", "sample_rate"]
    assert frame["audio"][frame.index[0]].dtype == np.float32


def test_what_is_no_recording_is_one_line(tmp_path: Path, recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = next((recordings / "high").glob("*.wav")).read_bytes()
    flac = next((recordings / "high").glob("*.flac")).read_bytes()
    for raw, said in (
        (b"", "is no WAV, FLAC, OGG file"),
        (b"MThd" + sound[4:], "is no WAV, FLAC, OGG file"),
        (sound[:30], "cannot be read"),
        (b"RIFF" + b"\xff" * 60, "cannot be read"),
        (flac[:60], "cannot be read|holds no samples"),
        (sound[:44], "holds no samples"),
    ):
        with pytest.raises(DatasetError, match=said):
            audio.decoded("a.wav", raw)
    monkeypatch.setattr(audio, "SAMPLES", Budget("samples", 100, 100))
    with pytest.raises(DatasetError, match=r"a\.wav: [\d,]+ samples, and auditkit reads at most 100"):
        audio.decoded("a.wav", sound)
    link = tmp_path / "linked" / "high"
    link.mkdir(parents=True)
    (tmp_path / "linked" / "low").mkdir()
    (link / "a.wav").symlink_to(next((recordings / "high").glob("*.wav")))
    (tmp_path / "linked/low/b.wav").write_bytes(sound)
    with pytest.raises(DatasetError, match=r"link|outside"):
        read_data(tmp_path / "linked")


def test_hostile_and_unfit_folders_are_refused(tmp_path: Path, recordings: Path) -> None:
    folder = made_folder(tmp_path / "net", "whisper")
    description = json.loads((folder / "preprocessor_config.json").read_text())
    for change, said in (
        ({"auto_map": {"AutoFeatureExtractor": "evil.Extractor"}}, "names code of its own"),
        ({"sampling_rate": "8000"}, "sampling_rate must be a whole number"),
        ({"chunk_length": 10**12}, "chunk_length must be at most 10,000,000"),
        ({"feature_extractor_type": "NoSuch"}, "cannot open its feature extractor"),
    ):
        (folder / "preprocessor_config.json").write_text(json.dumps({**description, **change}))
        with pytest.raises(ModelFileError, match=said):
            opened(folder, recordings)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelFileError, match="save its feature extractor with save_pretrained"):
        opened(folder, recordings)


def test_long_recordings_are_read_in_windows_and_explained(tmp_path: Path) -> None:
    rng, rate = np.random.default_rng(2), 400  # of 8,000 samples a second, a row would exceed the budget of `quick`
    for label, hertz in (("high", 90.0), ("low", 20.0)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(6):
            time = np.arange((31 + number) * rate) / rate
            wave = 0.5 * np.sin(2 * np.pi * hertz * time) + 0.05 * rng.normal(size=len(time))
            soundfile.write(tmp_path / "data" / label / f"{number}.wav", wave, rate)
    folder = made_folder(tmp_path / "net", "wav2vec2", rate)
    report = auditkit.audit(folder, str(tmp_path / "data"), target="label", effort="quick")
    assert not [(one.auditor, one.error) for one in report.outcomes if one.error is not None]
    assert any("12 of 12 recordings are longer than the 30 seconds" in str(note) for note in report.subject.notes)
    frames = report["explainability.attribution_share", "segment"].slices
    assert [part.group.key[0] for part in frames][:3] == ["0-5 %", "5-10 %", "10-15 %"], "in order of time"
