from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loans import Loans

from auditkit.budgets import Budget
from auditkit.cli import call
from auditkit.evidence.report import read_report
from auditkit.models import cache as cache_file
from auditkit.models.cache import NO_CACHE, PURPOSE, Cache, agree, checked_rows, prediction_key, user_cache
from auditkit.private import seal_of, user_key
from auditkit.schema.schema import Schema
from auditkit.tasks.base import Predictions
from auditkit.tasks.binary import Binary

KEY = b"k" * 32
BINARY = Binary(Schema(features=(), target="y", task="binary", classes=("0", "1"), output="decisions"))
MADE = Predictions(labels=np.array([0, 1]), class_probabilities=np.array([[0.8, 0.2], [0.25, 0.75]]), notes=("a note",))


def sealed_npz(cache: Cache, key: str, by: bytes = KEY, **arrays: Any) -> Path:
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    return put(cache, key, packed.getvalue(), by)


def put(cache: Cache, key: str, packed: bytes, by: bytes = KEY) -> Path:
    path = cache._path(key)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(seal_of(by, PURPOSE, key.encode() + packed) + packed)
    return path


def test_predictions_come_back_as_they_were_kept(tmp_path: Path) -> None:
    cache = Cache(folder=tmp_path / "kept", key=KEY)
    assert cache.load("k", row_count=2, task=BINARY) is None
    cache.save("k", MADE)
    found = cache.load("k", row_count=2, task=BINARY)
    assert found is not None
    np.testing.assert_array_equal(found.probabilities, MADE.probabilities)
    assert found.labels.tolist() == [0, 1]
    assert found.notes == ("a note",)
    (file,) = (tmp_path / "kept").iterdir()
    assert file.name != "k.npz", "a name that nobody without the key can foretell"
    assert Cache(folder=tmp_path / "kept", key=b"x" * 32).load("k", row_count=2, task=BINARY) is None


@pytest.mark.parametrize(
    "probabilities",
    [np.array([[0.5, 0.5]]), np.array([[2.0, -1.0]] * 2), np.array([[np.nan, 1]] * 2), np.array([[1, 0]] * 2)],
)
def test_what_does_not_fit_is_passed_over(tmp_path: Path, probabilities: Any) -> None:
    cache = Cache(folder=tmp_path, key=KEY)
    sealed_npz(cache, "k", probabilities=probabilities, notes=np.array([], dtype=str))
    assert cache.load("k", row_count=2, task=BINARY) is None


def test_damaged_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    cache = Cache(folder=tmp_path, key=KEY)
    put(cache, "k", b"PK\x03\x04garbage")
    assert cache.load("k", row_count=2, task=BINARY) is None
    (tmp_path / "file").write_text("")
    Cache(folder=tmp_path / "file/in", key=KEY).save("k", MADE)
    NO_CACHE.save("k", MADE)
    pickled = np.array([{}], dtype=object)
    sealed_npz(cache, "k", probabilities=pickled, notes=pickled)
    assert cache.load("k", row_count=2, task=BINARY) is None


def test_files_that_this_user_did_not_keep_are_passed_over(tmp_path: Path) -> None:
    cache = Cache(folder=tmp_path, key=KEY)
    cache.save("k", MADE)
    forged = {"probabilities": np.array([[0.0, 1.0]] * 2), "notes": np.array([], dtype=str)}
    path = sealed_npz(cache, "k", by=b"guess".ljust(32), **forged)
    assert cache.load("k", row_count=2, task=BINARY) is None
    cache.save("other", MADE)
    path.write_bytes(cache._path("other").read_bytes())
    assert cache.load("k", row_count=2, task=BINARY) is None, "nor are those that were kept under another key"
    whole = cache._path("other").read_bytes()
    for place in (0, 40, len(whole) - 1):
        cache._path("other").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert cache.load("other", row_count=2, task=BINARY) is None
    path.unlink()
    os.mkfifo(path)
    assert cache.load("k", row_count=2, task=BINARY) is None


def test_the_folder_and_the_key_are_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "d"))
    cache = user_cache()
    assert cache.folder == tmp_path / "c/auditkit/predictions"
    for path in (cache.folder, tmp_path / "c/auditkit", tmp_path / "d/auditkit", tmp_path / "d/auditkit/key"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    assert cache.key == user_key() == (tmp_path / "d/auditkit/key").read_bytes()
    cache.folder.chmod(0o755)
    assert user_cache() == NO_CACHE, "a folder that others may read is not used"
    cache.folder.rmdir()
    (tmp_path / "own").mkdir(mode=0o700)
    cache.folder.symlink_to(tmp_path / "own")
    assert user_cache() == NO_CACHE, "nor is a link"
    cache.folder.unlink()
    (tmp_path / "d/auditkit/key").chmod(0o644)
    assert user_cache() == NO_CACHE, "nor a key that others may read"


def test_the_oldest_give_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(folder=tmp_path, key=KEY)
    cache.save("old", MADE)
    size = cache._path("old").stat().st_size
    os.utime(cache._path("old"), (1, 1))
    cache.save("new", MADE)
    monkeypatch.setattr(cache_file, "KEPT_BYTES", Budget("bytes", size * 2, size * 2))
    cache.save("newest", MADE)
    assert cache.load("old", row_count=2, task=BINARY) is None
    assert cache.load("new", row_count=2, task=BINARY) is not None
    assert cache.load("newest", row_count=2, task=BINARY) is not None


def test_the_key_depends_on_everything() -> None:
    base: dict[str, Any] = {
        "model_sha256": "m",
        "data_sha256": "d",
        "selection": {"row_count": 2, "limit": None},
        "device": "cpu",
    }
    keys = {prediction_key(**base)}
    for change in (
        {"model_sha256": "n"}, {"data_sha256": "e"}, {"selection": {"row_count": 2, "limit": 1}}, {"device": "cuda"},
    ):  # fmt: skip
        keys.add(prediction_key(**{**base, **change}))
    assert len(keys) == 5


def counted_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    passes: list[int] = []
    forward = torch.nn.Sequential.forward

    def counted(self: Any, inputs: Any) -> Any:
        passes.append(len(inputs))
        return forward(self, inputs)  # type: ignore[no-untyped-call]  # torch's own

    monkeypatch.setattr(torch.nn.Sequential, "forward", counted)
    return passes


def test_a_second_audit_predicts_only_a_sample(loans: Loans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = counted_passes(monkeypatch)
    base = ["run", str(loans.model), "--dataset", str(loans.test), "--only", "performance", "--quiet"]
    policy = tmp_path / "p.toml"
    policy.write_text('[[limit]]\nmeasurement = "performance.accuracy"\nat_least = 0.5\nrationale = "a test"\n')
    assert call([*base, "--out", str(tmp_path / "a")]) in (0, 1)
    assert passes == [8, 1000], "eight rows tell what a row costs"
    assert call([*base, "--out", str(tmp_path / "b"), "--policy", str(policy)]) == 0
    assert passes == [8, 1000, 8, 64], "another policy, and another folder, predict a sample alone"
    first, second = (read_report(tmp_path / name / "results.json") for name in ("a", "b"))
    note = "64 rows were predicted again and agree."
    assert not any(text.endswith(note) for text in first.subject.notes)
    assert any(text.endswith(note) for text in second.subject.notes)
    accuracy = [report.measurement("performance.accuracy") for report in (first, second)]
    assert accuracy[0] == accuracy[1]
    assert call([*base, "--out", str(tmp_path / "c"), "--where", "income > 40"]) in (0, 1)
    assert sum(passes) > 1080, "other rows are predicted anew"


def test_kept_predictions_that_the_model_does_not_make_are_not_used(
    loans: Loans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FACTS 13.1: a forged file of predictions decided the verdict; now not even one with the right code does."""
    base = ["run", str(loans.model), "--dataset", str(loans.test), "--only", "performance", "--quiet"]
    assert call([*base, "--out", str(tmp_path / "a")]) in (0, 1)
    cache = user_cache()
    assert cache.folder is not None
    (file,) = cache.folder.iterdir()
    load = Cache.load

    def forged(self: Cache, key: str, **shape: Any) -> Predictions:
        kept = load(self, key, **shape)
        assert kept is not None
        return Predictions(labels=1 - kept.labels, class_probabilities=kept.probabilities[:, ::-1])

    monkeypatch.setattr(Cache, "load", forged)
    assert call([*base, "--out", str(tmp_path / "b")]) in (0, 1)
    first, second = (read_report(tmp_path / name / "results.json") for name in ("a", "b"))
    assert first.measurement("performance.accuracy") == second.measurement("performance.accuracy")
    assert not any("predicted again" in note for note in second.subject.notes)

    (tmp_path / "evil/.predictions").mkdir(parents=True)
    (tmp_path / "evil/.predictions" / file.name).write_bytes(file.read_bytes())
    monkeypatch.undo()


def test_agreement_is_of_probabilities_or_of_numbers() -> None:
    numbers = Predictions(labels=np.array([1.0, 100.0]), class_probabilities=None)
    rows = checked_rows("k", 2)
    assert rows.tolist() == [0, 1]
    assert agree(numbers, numbers, rows)
    assert not agree(numbers, Predictions(labels=np.array([1.0, 101.0]), class_probabilities=None), rows)
    assert len(checked_rows("k", 10_000)) == 64
    assert checked_rows("k", 10_000).tolist() != checked_rows("l", 10_000).tolist()
