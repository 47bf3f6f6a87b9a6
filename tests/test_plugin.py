"""A third-party package of auditors, really installed: two work, one crashes, one does not load."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from loans import Loans
from sklearn.metrics import cohen_kappa_score

import auditkit
from auditkit.data.dataset import read_data
from auditkit.engine.load import load_subject
from auditkit.models.formats.opening import open_model

PLUGIN = Path(__file__).parent / "plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--disable-pip-version-check", "--target", str(folder), str(PLUGIN)], check=True)
    return folder


def audit(loans: Loans, site: Path, out: Path, *flags: str) -> tuple[int, dict[str, dict[str, object]], str]:
    command = [sys.executable, "-m", "auditkit", "run", str(loans.model), "--dataset", str(loans.test)]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [*command, "--out", str(out), *flags],
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    document = json.loads((out / "results.json").read_text())
    return done.returncode, {outcome["auditor"]: outcome for outcome in document["outcomes"]}, done.stdout


def test_a_plugin_audits_beside_the_others(loans: Loans, site: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[[limit]]\nmeasurement = "label_balance.rarest_class_share"\nat_least = 0.1\nrationale = "x"\n')
    flags = ["--only", "label_balance", "--only", "agreement", "--policy", str(policy)]
    code, outcomes, _ = audit(loans, site, tmp_path / "out", *flags)
    assert code == 0
    outcome = outcomes["label_balance"]
    assert outcome["version"] == "1.2.3"
    assert outcome["settings"] == {"least_rows": 1}
    assert outcome["verdict"] == "pass"
    (kappa,) = outcomes["agreement"]["measurements"]
    assert kappa["computed_by"] == "auditkit_example_plugin"
    subject = load_subject(open_model(loans.model), read_data(loans.test), device="cpu")
    assert kappa["value"] == pytest.approx(cohen_kappa_score(subject.labels, subject.predictions.labels))
    assert kappa["value"] - 0.1 < kappa["interval"]["low"] < kappa["value"] < kappa["interval"]["high"]


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
    assert 0 < unsure.interval.low < unsure.value < unsure.interval.high < 1
    with pytest.raises(auditkit.InputError, match=r"between 0 and 1, got 2"):
        module.Abstention(threshold=2)


def test_a_crash_is_an_error_and_the_others_still_report(loans: Loans, site: Path, tmp_path: Path) -> None:
    code, outcomes, printed = audit(loans, site, tmp_path / "out", "--skip", "explainability")
    assert code == 3
    assert str(outcomes["crashing"]["error"]).startswith("ZeroDivisionError: planted, with 1000 rows")
    assert "does not load" in str(outcomes["unloadable"]["error"])
    assert outcomes["performance"]["measurements"]
    assert outcomes["fairness"]["verdict"] == "fail"
    assert "ERROR" in printed
    assert "The crashing auditor failed" in printed
