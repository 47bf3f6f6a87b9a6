"""A report in Python: tables, lookups, pictures, and what a user does next."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, selection_rate
from loans import Loans

import auditkit
from auditkit.cli import call
from auditkit.data.dataset import read_data
from auditkit.engine.load import load_subject
from auditkit.errors import InputError
from auditkit.evidence.report import Report, read_report
from auditkit.models.formats.opening import open_model
from auditkit.testing import assert_passes

GAP = "fairness.demographic_parity_difference"


@pytest.fixture(scope="module")
def report(loans: Loans) -> Report:
    only = ["performance", "fairness"]
    return auditkit.audit(loans.model, loans.test, only=only, sensitive=["group", "region"], device="cpu")


def test_a_frame_has_every_number_once(report: Report) -> None:
    frame = report.to_frame()
    measured = [one for outcome in report.outcomes for one in outcome.measurements]
    count = sum(len(one.slices) + (one.value is not None or not one.slices) for one in measured)
    assert len(frame) == count
    row = frame[(frame.measurement == GAP) & (frame.by == ("group",))].iloc[0]
    measurement = report[GAP, "group"]
    assert measurement.interval is not None
    assert (row.value, row.low, row.high) == (measurement.value, measurement.interval.low, measurement.interval.high)
    assert pd.isna(row.group)
    assert frame[frame.value.isna()].reason.notna().all()


def test_the_metric_frame_is_fairlearns(report: Report, loans: Loans) -> None:
    subject = load_subject(open_model(loans.model), read_data(loans.test), device="cpu")
    groups = subject.data.frame["group"]
    theirs = MetricFrame(
        metrics={"selection_rate": selection_rate},
        y_true=subject.labels,
        y_pred=subject.predictions.labels,
        sensitive_features=groups,
    ).by_group
    ours = report.metric_frame("group")
    pd.testing.assert_series_equal(
        ours["selection_rate"].sort_index(), theirs["selection_rate"].sort_index(), check_names=False, rtol=1e-12
    )
    assert ours.index.name == "group"
    assert (ours["selection_rate_low"] <= ours["selection_rate"]).all()
    assert (ours["selection_rate_high"] >= ours["selection_rate"]).all()
    crossed = report.metric_frame("group", "region")
    assert crossed.index.names == ["group", "region"]
    rates = crossed["selection_rate"].astype(float).to_dict()
    assert rates["north", "a"] > rates["south", "a"]
    with pytest.raises(InputError, match=r"nothing is measured by 'grop' \(did you mean 'group'\?\)"):
        report.metric_frame("grop")


def test_a_measurement_is_looked_up_and_the_closest_is_named(report: Report) -> None:
    assert report[GAP, "group"] is report[GAP, ("group",)]
    assert report["performance.accuracy"].by == ()
    with pytest.raises(KeyError, match=r"no measurement 'fairness.demographic_parity' \(did you mean"):
        report["fairness.demographic_parity", "group"]
    with pytest.raises(KeyError, match=r"by 'grup' \(did you mean 'group'\?\); it is measured by group"):
        report[GAP, "grup"]


def test_findings_are_a_frame_worst_first(report: Report) -> None:
    frame = report.findings_frame()
    assert list(frame.verdict) == [finding.verdict for finding in report.findings]
    assert frame.verdict.iloc[0] == "fail"
    assert frame.message.iloc[0] == str(report.findings[0].message)


def test_a_picture_is_a_whole_svg(report: Report, tmp_path: Path) -> None:
    picture = report.plot("fairness.selection_rate", "group")
    tree = ElementTree.fromstring(picture.svg)
    assert tree.tag == "{http://www.w3.org/2000/svg}svg"
    assert tree.get("width") == "704"
    assert "north" in picture.svg
    assert picture._repr_html_().startswith('<img alt="fairness.selection_rate by group" src="data:image/svg+xml')
    assert picture.save(tmp_path / "a.svg").read_text() == picture.svg
    assert repr(picture) == "<Picture fairness.selection_rate by group>"
    assert report.plot("fairness.selection_rate").title == picture.title
    with pytest.raises(InputError, match=f"{GAP} has no groups to draw"):
        report.plot(GAP, "group")
    with pytest.raises(KeyError, match=r"no measurement 'fairness\.selection'"):
        report.plot("fairness.selection")


def test_a_report_is_saved_gated_and_compared(report: Report, tmp_path: Path) -> None:
    folder = report.save(tmp_path / "run", formats=["markdown"])
    assert {path.name for path in folder.iterdir()} == {"results.json", "summary.md", "manifest.json"}
    assert call(["verify", str(folder)]) == 0
    kept = read_report(folder)
    policy = tmp_path / "policy.toml"
    policy.write_text(f'[[limit]]\nmeasurement = "{GAP}"\nby = ["group"]\nat_most = 0.9\nrationale = "r"\n')
    assert report.gate(policy).verdict == auditkit.gate(folder, policy).verdict == "pass"
    policy.write_text('[[limit]]\nmeasurement = "performance.accuracy"\nregression_at_most = 0.02\nrationale = "r"\n')
    judged = report.gate(policy, baseline=kept)
    assert judged.verdict == "pass"
    assert judged.baseline is not None
    assert judged.baseline.path is None
    assert report.gate(policy, baseline=folder).verdict == "pass"
    changes = report.compare(kept).changes
    assert {change.reading for change in changes} <= {"same", "undefined"}
    assert auditkit.compare(folder, folder).changes == changes


def test_the_representation_is_short_and_completion_is_auditkits(report: Report) -> None:
    assert repr(report).startswith("<Report fail: loans on 1,000 rows of test.csv; findings: ")
    assert len(repr(report)) < 160
    assert str(report) == repr(report)
    names = dir(report)
    assert {"to_frame", "metric_frame", "findings", "verdict", "save", "subject"} <= set(names)
    public = [name for name in names if not name.startswith("_")]
    assert [name for name in public if name.startswith("model_") or name in ("json", "dict", "copy", "schema")] == []
    assert "by" in dir(report[GAP, "group"])


def test_an_assertion_says_which_limits_were_not_met(report: Report, tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as caught:
        assert_passes(report)
    said = str(caught.value)
    assert said.splitlines()[0] == "auditkit: verdict fail"
    failed = [finding for finding in report.findings if finding.verdict == "fail"]
    assert all(f"  - {finding.message}" in said for finding in failed)
    policy = tmp_path / "policy.toml"
    policy.write_text('[[limit]]\nmeasurement = "performance.accuracy"\nat_least = 0.5\nrationale = "r"\n')
    assert_passes(report.gate(policy))
    policy.write_text("")
    with pytest.raises(AssertionError, match="No limit was judged"):
        assert_passes(report.gate(policy))


def test_train_takes_a_frame_and_one_name(loans: Loans, tmp_path: Path) -> None:
    frame = pd.read_csv(loans.train).head(200)
    model, record = auditkit.train(frame, target="approved", sensitive="group", out=tmp_path / "m.pt", epochs=1)
    assert model.schema.sensitive == ("group",)
    assert record["row_count"] == 200


def test_a_finished_report_imports_pandas_when_a_frame_is_asked_for(tmp_path: Path, report: Report) -> None:
    report.save(tmp_path / "run", formats=[])
    script = (
        "import sys, auditkit; report = auditkit.read_report('run'); repr(report); report.verdict; "
        "assert 'pandas' not in sys.modules; report.to_frame(); assert 'pandas' in sys.modules; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


def test_the_loop_of_the_python_page_runs_as_it_stands(
    loans: Loans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs/python.md").read_text(encoding="utf-8")
    block = next(part for part in page.split("```python\n") if "for name in" in part).partition("```")[0]
    for name in ("mlp", "wide", "private"):
        (tmp_path / f"{name}.pt").write_bytes(loans.model.read_bytes())
    (tmp_path / "test.csv").write_bytes(loans.test.read_bytes())
    (tmp_path / "policy.toml").write_text(
        '[[limit]]\nmeasurement = "performance.accuracy"\nat_least = 0.5\nrationale = "r"\n'
    )
    block = block.replace('"sex"', '"group"')
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "docs/python.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == "mlp"
    assert printed.startswith("mlp fail 0.")


def test_a_rate_that_two_auditors_count_is_one_column_unless_they_differ() -> None:
    census = read_report(Path(__file__).parents[2] / "reports/census")
    frame = census.metric_frame("sex")
    assert {"accuracy", "accuracy_low", "accuracy_high"} <= set(frame.columns)
    assert not [name for name in frame.columns if "." in name]
    assert list(frame.index) == ["Female", "Male"]
    outcomes = []
    for outcome in census.outcomes:
        changed = tuple(
            one.model_copy(update={"slices": tuple(p.model_copy(update={"value": 0.5}) for p in one.slices)})
            if one.id == "fairness.accuracy"
            else one
            for one in outcome.measurements
        )
        outcomes.append(outcome.model_copy(update={"measurements": changed}))
    differing = census.model_copy(update={"outcomes": tuple(outcomes)}).metric_frame("sex")
    assert list(differing["fairness.accuracy"]) == [0.5, 0.5]
    assert list(differing["accuracy"]) == list(frame["accuracy"])
