"""Training images stand beside samples only where the policy calls the data set public, and rows of tables never."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from generators import Stored, digits, frame_of, schema_of

from auditkit import Report, audit
from auditkit.auditors.memorisation.pairs import SHOWN_PAIRS, nearest_pairs
from auditkit.evidence.measurement import HeatMaps
from auditkit.evidence.policy import parse_policy, profile_text
from auditkit.evidence.report import read_report
from auditkit.render.html.report import render_html


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images, classes = digits()
    path = tmp_path_factory.mktemp("public") / "train.npz"
    np.savez(path, features=images[:120].astype(np.float32), digit=classes[:120])
    return path


def report_of(training: Path | pd.DataFrame, *public: str) -> Report:
    images, classes = digits()
    unseen = frame_of(images[200:320], classes[200:320])
    text = profile_text("generation").replace("name =", f"public_data = {list(public)}\nname =".replace("'", '"'))
    return audit(
        Stored(images[:120], noise=0.01),
        unseen,
        schema=schema_of(unseen),
        training_data=training,
        policy=parse_policy(text, source="own.toml"),
        only=["memorisation"],
        settings={"memorisation": {"samples": 100}},
    )


def pairs_of(report: Report) -> list[HeatMaps]:
    return [one for outcome in report.outcomes for one in outcome.exhibits if isinstance(one, HeatMaps)]


def notes_of(report: Report) -> str:
    return " ".join(str(note) for outcome in report.outcomes for note in outcome.notes)


def name_of(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_no_training_image_is_shown_unless_the_policy_names_the_data_set(training: Path) -> None:
    for public in ((), ("sha256:" + "0" * 64,)):
        report = report_of(training, *public)
        assert pairs_of(report) == []
        assert f'public_data = ["{name_of(training)}"]' in notes_of(report)
        assert "contains no individual records" in render_html(report)


def test_pairs_are_shown_of_a_data_set_that_the_policy_names(training: Path, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(report_of(training, name_of(training)).to_json(), encoding="utf-8")
    report = read_report(tmp_path / "results.json")
    assert report.policy.public_data == (name_of(training),)
    (found,) = pairs_of(report)
    assert found.public_rows
    assert len(found.panels) == SHOWN_PAIRS
    assert {(one.image.height, one.image.width) for one in found.panels} == {(8, 17)}
    for one in found.panels:  # the generator copies: both halves are one image, but for its noise
        cells = np.frombuffer(one.image.bytes, dtype=np.uint8).reshape(8, 17).astype(float)
        assert np.abs(cells[:, :8] - cells[:, 9:]).max() < 0.06 * 255
    page = render_html(report)
    assert "contains no individual records" not in page
    assert "single training images" in page


def test_data_from_memory_cannot_be_called_public() -> None:
    images, classes = digits()
    report = report_of(frame_of(images[:120], classes[:120]), "sha256:" + "0" * 64)
    assert pairs_of(report) == []
    assert "have no hash" in notes_of(report)


def test_rows_of_a_table_are_never_shown(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name in ("train", "unseen", "samples"):
        rows = {"age": generator.integers(18, 90, 120), "city": generator.choice(["Ulm", "Bonn"], 120)}
        pd.DataFrame(rows).to_csv(tmp_path / f"{name}.csv", index=False)
    named = name_of(tmp_path / "train.csv")
    text = f'public_data = ["{named}"]\n' + profile_text("synthetic-data")
    report = audit(
        None,
        tmp_path / "unseen.csv",
        samples=tmp_path / "samples.csv",
        training_data=tmp_path / "train.csv",
        policy=parse_policy(text, source="own.toml"),
        only=["memorisation"],
    )
    assert report["memorisation.near_copy_excess"].value is not None
    assert pairs_of(report) == []


def test_the_nearest_pairs_are_those_of_all_distances() -> None:
    generator = np.random.default_rng(3)
    samples, images = (generator.normal(size=(count, 1, 4, 4)).astype(np.float32) for count in (40, 30))
    far = np.sqrt(np.square(samples.astype(float)[:, None] - images.astype(float)[None]).sum(axis=(2, 3, 4)))
    expected, taken = [], set()
    for sample in far.min(axis=1).argsort():
        image = int(far[sample].argmin())
        if image not in taken:
            expected.append((int(sample), image))
            taken.add(image)
    found = nearest_pairs(samples, images, 8)
    assert [pair[:2] for pair in found] == expected[:8]
    np.testing.assert_allclose([pair[2] for pair in found], [far[pair[:2]] for pair in found], rtol=1e-5)
