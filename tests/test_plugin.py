"""A third-party package, really installed, with one extension of each of the eight kinds, and auditors that fail."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from loans import Loans
from sklearn.metrics import cohen_kappa_score

import auditkit
from auditkit.cli import call
from auditkit.evidence.report import read_report
from auditkit.execution.base import executor_of
from auditkit.progress import Progress
from auditkit.render.i18n.translation import catalogue
from auditkit.schema.infer import numeric_schema

PLUGIN = Path(__file__).parent / "plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--disable-pip-version-check", "--target", str(folder), str(PLUGIN)], check=True)
    return folder


@pytest.fixture
def site(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process find the package and its translations; those that run plug-ins get its path."""
    monkeypatch.syspath_prepend(installed)
    catalogue.cache_clear()
    yield
    catalogue.cache_clear()


def audit(dataset: Path, out: Path, *flags: str) -> tuple[int, dict[str, dict[str, Any]]]:
    code = call(["run", "--dataset", str(dataset), "--out", str(out), *flags])
    document = json.loads((out / "results.json").read_text())
    return code, {outcome["auditor"]: outcome for outcome in document["outcomes"]}


@pytest.mark.usefixtures("site")
def test_a_plugin_brings_auditors_a_model_format_a_reader_and_translations(tmp_path: Path) -> None:
    """A model of the plugin's format on data that its reader reads, by its auditors, on a page in Chinese."""
    draws = np.random.default_rng(0)
    frame = pd.DataFrame({"a": draws.normal(size=200).round(3), "b": draws.normal(size=200).round(3)})
    frame["y"] = np.where(frame["a"] - frame["b"] + draws.normal(size=200) > 0, "yes", "no")
    (tmp_path / "rows.fwf").write_text(frame.to_string(index=False))
    (tmp_path / "model.txt").write_text("#coefficients\n0.5\n-1.0\n0.25\n")
    schema = numeric_schema(["a", "b"], target="y", classes=["no", "yes"])
    (tmp_path / "schema.json").write_text(schema.model_dump_json(by_alias=True))
    policy = tmp_path / "policy.toml"
    policy.write_text('[[limit]]\nmeasurement = "label_balance.rarest_class_share"\nat_least = 0.1\nrationale = "x"\n')
    flags = ["--only", "label_balance", "--only", "agreement", "--policy", str(policy), "--lang", "zh"]
    flags += ["--set", "label_balance.least_rows=7", "--schema", str(tmp_path / "schema.json")]
    code, outcomes = audit(tmp_path / "rows.fwf", tmp_path / "out", str(tmp_path / "model.txt"), *flags)
    assert code == 0
    outcome = outcomes["label_balance"]
    assert outcome["version"] == "1.2.3"
    assert outcome["settings"] == {"least_rows": 7}
    assert outcome["verdict"] == "pass"
    assert "最少的类别至少有 7 行。" in (tmp_path / "out" / "report.zh.html").read_text()
    (kappa,) = outcomes["agreement"]["measurements"]
    assert kappa["computed_by"] == "auditkit_example_plugin"
    decided = 0.5 * frame["a"] - frame["b"] + 0.25 > 0
    assert kappa["value"] == pytest.approx(cohen_kappa_score(frame["y"] == "yes", decided))
    assert kappa["value"] - 0.2 < kappa["interval"]["low"] < kappa["value"] < kappa["interval"]["high"]


@pytest.mark.usefixtures("site")
def test_a_plugin_brings_a_task_a_renderer_and_a_framework(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Recorded grades, which no task of auditkit's orders, get performance and fairness by their order."""
    draws = np.random.default_rng(0)
    group, true = draws.choice(["F", "M"], 500), draws.integers(0, 3, 500)
    told = np.clip(true + draws.choice([-1, 0, 0, 1], 500) - (group == "F") * (draws.random(500) < 0.3), 0, 2)
    names = np.array(["low", "medium", "high"])
    rows = tmp_path / "grades.csv"
    pd.DataFrame({"sex": group, "grade": names[true], "decided": names[told]}).to_csv(rows, index=False)
    flags = ["--prediction", "decided", "--target", "grade", "--sensitive", "sex", "--to", "line"]
    flags += ["--skip", "crashing", "--skip", "unloadable"]
    code, outcomes = audit(rows, tmp_path / "out", *flags, "--task", "grades", "--classes", "low,medium,high")
    assert code == 0
    assert f"Report: {tmp_path / 'out' / 'results.json'}" in capsys.readouterr().out  # no page was asked for
    measured = {(one["id"], *one["by"]): one for part in outcomes.values() for one in part["measurements"]}
    off_by = measured["performance.mean_absolute_error",]
    assert off_by["value"] == pytest.approx(np.abs(true - told).mean())
    assert off_by["interval"]["low"] < off_by["value"] < off_by["interval"]["high"]
    means = {part["group"]["key"][0]: part["value"] for part in measured["fairness.mean_prediction", "sex"]["slices"]}
    assert means == pytest.approx({name: told[group == name].mean() for name in ("F", "M")})
    right = {part["group"]["key"][0]: part["value"] for part in measured["fairness.accuracy", "sex"]["slices"]}
    assert right == pytest.approx({name: (true == told)[group == name].mean() for name in ("F", "M")})
    assert (tmp_path / "out" / "line.txt").read_text().endswith(": 500 rows\n")
    record = str(tmp_path / "out" / "results.json")
    assert call(["gate", record, "--baseline", record]) == 0
    assert call(["replay", record, "--dataset", str(rows)]) == 0
    assert call(["comply", record, "--framework", "house-rules", "--out", str(tmp_path / "comply")]) == 0
    assert "Who answers for the model" in (tmp_path / "comply" / "comply-house-rules.md").read_text()
    capsys.readouterr()
    assert call(["config", "--task", "grade"]) == 2
    named = "task must be one of binary, multiclass, multilabel, regression, grades, got 'grade'"
    assert named in capsys.readouterr().err


@pytest.mark.usefixtures("site")
def test_a_plugin_brings_an_executor() -> None:
    order: list[int] = []

    def work(shard: int, device: str, progress: Progress) -> str:
        order.append(shard)
        return f"{shard} on {device}"

    executor = executor_of("backwards", "cpu")
    assert list(executor.map(work, range(3))) == ["0 on cpu", "1 on cpu", "2 on cpu"]
    assert order == [2, 1, 0]


def test_a_plugin_brings_a_modality(installed: Path, tmp_path: Path) -> None:
    """In a process of its own: auditors collect the names of all corruptions when they are imported."""
    draws = np.random.default_rng(0)
    frame = pd.DataFrame(draws.normal(size=(300, 2)), columns=["a", "b"])
    frame.assign(y=np.where(frame["a"] > frame["b"], "yes", "no")).to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "model.txt").write_text("#coefficients\n1.0\n-1.0\n0.0\n")
    schema = numeric_schema(["a", "b"], target="y", classes=["no", "yes"]).model_copy(update={"modality": "sensors"})
    (tmp_path / "schema.json").write_text(schema.model_dump_json(by_alias=True))
    command = [sys.executable, "-m", "auditkit", "run", "model.txt", "--schema", "schema.json", "--dataset", "rows.csv"]
    flags = ["--only", "robustness", "--executor", "backwards", "--device", "cpu", "--out", "out"]
    path = os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([*command, *flags], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, check=False)
    assert done.returncode == 5  # no limit is about robustness
    report = read_report(tmp_path / "out" / "results.json")
    loss = report.measurement("robustness.stuck_sensor_accuracy_loss")
    assert loss is not None
    assert loss.value is not None
    assert 0 < loss.value < 0.2  # a tenth of the readings


def test_the_auditor_of_the_contributing_page_works_as_it_stands(
    loans: Loans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (PLUGIN.parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (tmp_path / "my_package.py").write_text(page.partition("```python\n")[2].partition("```")[0], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("my_package")
    report = auditkit.audit(loans.model, loans.test, auditors=[module.Abstention(threshold=0.7)], device="cpu")
    unsure = report.measurement("abstention.unsure_rate", ())
    assert unsure is not None
    assert unsure.value is not None
    assert unsure.interval is not None
    assert 0 < unsure.interval.low < unsure.value < unsure.interval.high < 1
    with pytest.raises(auditkit.InputError, match=r"between 0 and 1, got 2"):
        module.Abstention(threshold=2)


@pytest.mark.usefixtures("site")
def test_a_crash_is_an_error_and_the_others_still_report(
    loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pd.read_csv(loans.test)
    rows.assign(decided=rows["income"] > 45).to_csv(tmp_path / "decided.csv", index=False)  # which need no torch
    asked = [f"--only={name}" for name in ("crashing", "unloadable", "performance", "fairness")]
    asked += ["--prediction", "decided", "--target", "approved", "--sensitive", "group"]
    code, outcomes = audit(tmp_path / "decided.csv", tmp_path / "out", *asked)
    printed = capsys.readouterr().out
    assert code == 3
    assert str(outcomes["crashing"]["error"]).startswith("ZeroDivisionError: planted, with 1000 rows")
    assert "does not load" in str(outcomes["unloadable"]["error"])
    assert outcomes["performance"]["measurements"]
    assert outcomes["fairness"]["verdict"] == "fail"
    assert "ERROR" in printed
    assert "The crashing auditor failed" in printed
