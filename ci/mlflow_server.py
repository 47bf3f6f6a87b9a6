"""A run logged to a real MLflow server on this machine, read back through its API: `make trackers`."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
import sample

from auditkit.cli import call
from auditkit.trackers.logged import metrics


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/runs.db", "--artifacts-destination", str(folder / "files")]
    address = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            for _ in range(1200):
                try:
                    with urllib.request.urlopen(f"{address}/health"):  # this machine's own
                        break
                except OSError:
                    assert process.poll() is None, (folder / "log").read_text()
                    time.sleep(0.25)
            yield address
        finally:
            process.terminate()


@pytest.fixture(autouse=True)
def client(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    mlflow.set_tracking_uri(server)


def test_a_run_is_read_back_with_numbers_verdict_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = sample.build_report()
    report.save(tmp_path / "run")
    assert call(["log", str(tmp_path / "run"), "--experiment", "credit"]) == 0
    run_id = capsys.readouterr().out.split()[-1]
    found = mlflow.MlflowClient().get_run(run_id)
    assert found.info.status == "FINISHED"
    assert found.data.metrics == pytest.approx(metrics(report))
    assert found.data.tags["auditkit.verdict"] == report.verdict
    assert mlflow.get_experiment_by_name("credit").experiment_id == found.info.experiment_id
    kept = mlflow.MlflowClient().list_artifacts(run_id, "auditkit")
    names = {Path(file.path).name for file in kept}
    assert names == {"results.json", "manifest.json", "report.html", "junit.xml", "summary.md"}
    page = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="auditkit/results.json")
    assert Path(page).read_bytes() == (tmp_path / "run/results.json").read_bytes()


def test_the_numbers_join_a_run_that_is_active() -> None:
    report = sample.build_report()
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 0.5)
        assert report.log_to_mlflow() == run.info.run_id
    found = mlflow.MlflowClient().get_run(run.info.run_id)
    assert found.data.metrics["loss"] == 0.5
    assert found.data.metrics["performance.accuracy"] == report["performance.accuracy"].value


def test_a_server_that_refuses_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sample.build_report().save(tmp_path / "run")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    assert call(["log", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("auditkit: MLflow at http://127.0.0.1:9: ")
