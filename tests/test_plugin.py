"""A third-party package, really installed: auditors (one crashes, one does not load), a model format and a reader."""

from __future__ import annotations

import importlib
import json
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
