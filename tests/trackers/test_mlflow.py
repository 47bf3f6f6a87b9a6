"""What is logged to MLflow: names that it takes, numbers of the report, and nothing besides the report's files."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import sample

from auditkit.cli import call
from auditkit.errors import InputError
from auditkit.evidence.measurement import Measurement
from auditkit.evidence.report import Report
from auditkit.trackers import logged as tracker


@pytest.fixture(scope="module")
def report() -> Report:
    return sample.build_report()


def test_every_measured_number_is_a_metric_with_its_interval_and_count(report: Report) -> None:
    logged = tracker.metrics(report)
    measured = [one for outcome in report.outcomes for one in outcome.measurements if one.value is not None]
    assert measured
    for one in measured:
        assert one.value in logged.values(), one.id
    accuracy = report["performance.accuracy"]
    assert accuracy.interval is not None
    assert logged["performance.accuracy"] == accuracy.value
    assert logged["performance.accuracy/low"] == accuracy.interval.low
    assert logged["performance.accuracy/high"] == accuracy.interval.high
    assert logged["performance.accuracy/count"] == accuracy.count


def test_what_is_undefined_is_left_out(report: Report) -> None:
    undefined = [one for outcome in report.outcomes for one in outcome.measurements if one.value is None]
    assert undefined
    for one in undefined:
        assert "/".join((one.id, *one.by)) not in tracker.metrics(report)


def test_names_are_what_mlflow_takes_and_none_hides_another() -> None:
    def named(column: str, value: float) -> Measurement:
        id = "fairness.demographic_parity_difference"
        return Measurement(
            id=id, by=(column,), value=value, count=10, unit="rate_difference", better="lower", definition="x"
        )

    columns = ["sex", "sex?", "sex!", "年龄", "性别", "a" * 400]
    report = sample.build_report().model_copy(deep=True)
    outcome = report.outcomes[0].model_copy(
        update={"measurements": tuple(named(column, float(number)) for number, column in enumerate(columns))}
    )
    logged = tracker.metrics(report.model_copy(update={"outcomes": (outcome,)}))
    assert {value for name, value in logged.items() if not name.endswith("/count")} == set(map(float, range(6)))
    assert all(re.fullmatch(r"[A-Za-z0-9_\-. /:]{1,250}", name) for name in logged)


def test_the_verdict_and_the_run_are_tags(report: Report) -> None:
    logged = tracker.tags(report)
    assert logged["auditkit.verdict"] == report.verdict
    assert logged["auditkit.run_id"] == report.run_id
    assert logged["auditkit.failed_finding_count"] == str(sum(one.verdict == "fail" for one in report.findings))


def test_without_the_client_one_line_says_what_to_install(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    report.save(tmp_path / "run")
    assert call(["log", str(tmp_path / "run"), "--to", "mlflow"]) == 2
    assert "pip install 'mlflow-skinny>=" in capsys.readouterr().err
    assert call(["log", str(tmp_path / "run"), "--to", "mlflov"]) == 2
    assert "did you mean 'mlflow'" in capsys.readouterr().err
    with pytest.raises(InputError, match="mlflow-skinny"):
        report.log_to_mlflow()


def test_only_the_files_of_the_report_are_sent(report: Report, tmp_path: Path) -> None:
    folder = report.save(tmp_path / "run")
    (folder / "rows.csv").write_text("name\nAna\n")
    (folder / "report-link.html").symlink_to(folder / "rows.csv")
    sent = {file.name for file in tracker.report_files(folder)}
    assert sent == {"results.json", "manifest.json", "report.html", "junit.xml", "summary.md"}
