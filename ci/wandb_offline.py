"""A run logged by the real client of Weights & Biases, offline, and read back from its file: `make trackers`."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import sample
import wandb
from wandb.proto import wandb_internal_pb2

from auditkit.cli import call
from auditkit.trackers.logged import metrics, tags
from auditkit.trackers.wandb import log

BLOCK, FULL, LAST = 32768, 1, 4


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def records(folder: Path) -> list[wandb_internal_pb2.Record]:
    """Return what an offline run keeps for the upload: a head of 7 bytes, then LevelDB's log format."""
    content = next(folder.glob("*.wandb")).read_bytes()
    found, begun, place = [], b"", 7
    while place < len(content):
        if BLOCK - place % BLOCK < 7:  # the rest of a block that holds no head is padding
            place += BLOCK - place % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        begun += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(begun)
            found.append(record)
            begun = b""
    return found


def test_an_offline_run_holds_numbers_verdict_and_files(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = sample.build_report()
    report.save(place / "run")
    assert call(["log", str(place / "run"), "--to", "wandb", "--experiment", "credit"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("wandb run ")
    folder = Path(said.strip().rpartition("wandb sync ")[2])
    wandb.teardown()  # its service has written all
    kept = records(folder)
    numbers = {
        "/".join(item.nested_key) if item.nested_key else item.key: json.loads(item.value_json)
        for record in kept
        for item in record.summary.update
    }
    for name, value in metrics(report).items():
        assert numbers[name] == pytest.approx(value), name
    settings = {item.key: json.loads(item.value_json) for record in kept for item in record.config.update}
    settings |= {item.key: json.loads(item.value_json) for record in kept for item in record.run.config.update}
    assert {name: settings[name] for name in tags(report)} == tags(report)
    files = {entry.path for record in kept for entry in record.artifact.manifest.contents}
    files |= {entry.path for record in kept for entry in record.request.log_artifact.artifact.manifest.contents}
    assert files == {"results.json", "manifest.json", "report.html", "junit.xml", "summary.md"}
    run = next(record.run for record in kept if record.run.run_id)
    assert (run.project, run.job_type) == ("credit", "audit")
    assert not any(record.HasField("stats") or record.HasField("environment") for record in kept)


def test_the_numbers_join_a_run_that_is_active(place: Path) -> None:
    report = sample.build_report()
    report.save(place / "run")
    with wandb.init(project="mine", mode="offline", settings=wandb.Settings(silent=True)) as run:
        run.summary["loss"] = 0.5
        assert log(place / "run") == run.id
        assert run.summary["loss"] == 0.5
        assert run.summary["performance.accuracy"] == report["performance.accuracy"].value
