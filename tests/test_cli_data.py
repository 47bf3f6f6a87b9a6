"""Data at the command line: decisions without a model, parts of the data, binned groups, schemas, other formats."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from loans import Loans

from auditkit.cli import call
from auditkit.evidence.report import read_report
from auditkit.schema.schema import read_schema


@pytest.fixture(scope="module")
def decisions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    repaid = rng.random(600) < 0.5
    points = (600 + 40 * repaid + rng.normal(0, 40, 600)).astype(int)
    frame = pd.DataFrame({"repaid": np.where(repaid, "yes", "no"), "points": points, "age": rng.integers(18, 90, 600)})
    frame["approved"] = np.where(points > 620, 1, 0)
    path = tmp_path_factory.mktemp("decisions") / "decisions.parquet"
    frame.to_parquet(path)
    return path


def test_a_run_in_chinese_names_the_page_that_was_asked_for(
    decisions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["run", "--dataset", str(decisions), "--target", "repaid", "--prediction", "approved"]
    out = tmp_path / "a"
    assert call([*base, "--only", "performance", "--lang", "zh", "--out", str(out)]) in (0, 1)
    assert capsys.readouterr().out.rstrip().endswith(f"Report: {out / 'report.zh.html'}")
    written = {path.name for path in out.iterdir() if path.is_file()}
    assert {"report.html", "report.zh.html", "summary.md", "summary.zh.md", "results.json"} <= written
    assert "下一步" in (out / "summary.zh.md").read_text()


def test_decisions_are_audited_without_a_model(decisions: Path, tmp_path: Path) -> None:
    base = ["run", "--dataset", str(decisions), "--target", "repaid", "--sensitive", "age", "--bins", "age=30,60"]
    assert call([*base, "--prediction", "approved", "--quiet", "--out", str(tmp_path / "a")]) in (0, 1)
    report = read_report(tmp_path / "a/results.json")
    assert report.subject.model is None
    reasons = {outcome.auditor: outcome.reason for outcome in report.outcomes}
    assert all(outcome.error is None for outcome in report.outcomes), [o.error for o in report.outcomes if o.error]
    assert "there is no model" in (reasons["explainability"] or "")
    assert report.measurement("performance.accuracy") is not None
    assert report.measurement("performance.roc_auc") is None
    parity = report.measurement("fairness.selection_rate", ("age",))
    assert parity is not None
    assert {part.group.text for part in parity.slices} == {"under 30", "30 to under 60", "60 and over"}
    assert "Recorded decisions (no model)" in (tmp_path / "a/report.html").read_text()
    scored = [*base, "--prediction", "points", "--threshold", "620", "--quiet", "--out", str(tmp_path / "b")]
    assert call([*scored, "--where", "age >= 30"]) in (0, 1)
    report = read_report(tmp_path / "b/results.json")
    assert report.measurement("performance.roc_auc") is not None
    assert report.subject.notes[0].startswith("Only rows with age >= 30 are audited: ")
    assert report.subject.dataset.row_count == 600
    assert report.subject.dataset.audited_row_count < 600


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--target", "repaid"], ["--prediction COLUMN"]),
        (["--target", "repaid", "--prediction", "approvd"], ["'approvd'", "did you mean 'approved'"]),
        (["--target", "repaid", "--prediction", "points"], ["no probability", "--threshold"]),
        (["--target", "repaid", "--prediction", "approved", "--where", "ages > 1"], ["did you mean 'age'"]),
        (["--target", "repaid", "--prediction", "approved", "--where", "age > 1000"], ["nothing is left to audit"]),
        (["--target", "repaid", "--prediction", "approved", "--bins", "age=30"], ["--sensitive age"]),
        (["--target", "repaid", "--prediction", "approved", "--population", "none.toml"], ["No such file"]),
    ],
)
def test_what_cannot_be_audited_is_one_line(
    flags: list[str], words: list[str], decisions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["run", "--dataset", str(decisions), "--out", str(tmp_path / "out"), *flags]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    for word in words:
        assert word in err
    assert list(tmp_path.iterdir()) == []


def test_a_schema_is_inferred_edited_and_read(loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--sensitive", "group", "--drop", "region", "--bins", "years=10,20"]
    assert call(["schema", "infer", str(loans.train), *flags]) == 0
    out, err = capsys.readouterr()
    assert "target: 'approved', the last column" in err
    path = tmp_path / "schema.json"
    path.write_text(out)
    schema = read_schema(path)
    assert [feature.name for feature in schema.features] == ["income", "years", "job", "member", "group"]
    assert (schema.target, schema.sensitive, schema.bins) == ("approved", ("group",), {"years": "10,20"})
    document = json.loads(out)
    document["features"][0]["scal"] = 1
    path.write_text(json.dumps(document))
    flags = ["--prediction", "member", "--schema", str(path), "--out", str(tmp_path / "out")]
    assert call(["run", "--dataset", str(loans.test), *flags]) == 2
    assert "features.0.scal: unknown key (did you mean 'scale'?)" in capsys.readouterr().err


def test_a_population_by_a_column_that_is_not_sensitive_is_a_usage_error(
    decisions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shares.toml").write_text("[points]\na = 0.5\nb = 0.5\n")
    flags = ["--target", "repaid", "--prediction", "approved", "--sensitive", "age", "--bins", "age=30,60"]
    flags += ["--population", str(tmp_path / "shares.toml"), "--out", str(tmp_path / "out")]
    assert call(["run", "--dataset", str(decisions), *flags]) == 2
    assert capsys.readouterr().err == "auditkit: population: 'points' is no sensitive column.\n"
    assert not (tmp_path / "out").exists()
