"""The example scripts, in a small form."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from auditkit.evidence.report import read_report

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.slow  # the shadow models of the leakage auditor take half a minute each
@pytest.mark.parametrize(("name", "row_count"), [("digits", 1200), ("reviews", 600)])
def test_an_example_runs_with_all_auditors(tmp_path: Path, name: str, row_count: int) -> None:
    main = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
    assert main(tmp_path, row_count=row_count, epsilon=8) in (0, 1)
    report = json.loads((tmp_path / "results.json").read_text())
    ran = {outcome["auditor"]: outcome for outcome in report["outcomes"]}
    assert not [outcome["error"] for outcome in ran.values() if outcome["error"]]
    for auditor in ("performance", "explainability", "privacy"):
        assert ran[auditor]["measurements"], ran[auditor]["reason"]
    assert (tmp_path / "report.html").stat().st_size < 1_000_000


def test_the_example_of_synthetic_records_runs(tmp_path: Path) -> None:
    main = runpy.run_path(str(EXAMPLES / "synthetic.py"))["main"]
    assert main(tmp_path, row_count=500) in (0, 1)
    report = read_report(tmp_path / "results.json")
    assert report["synthetic.linkability_risk"].value is not None
    assert report["synthetic.train_on_synthetic_accuracy_loss", "sex"].slices


@pytest.mark.slow  # two language models are trained, and canaries asked for
def test_the_example_of_a_language_model_finds_its_canaries(tmp_path: Path) -> None:
    main = runpy.run_path(str(EXAMPLES / "language.py"))["main"]
    assert main(tmp_path, row_count=900, epochs=12) in (0, 1)
    report = read_report(tmp_path / "results.json")
    assert not [outcome.error for outcome in report.outcomes if outcome.error]
    exposed = report.measurement("memorisation.canary_exposure", ("repetitions",))
    assert exposed is not None
    values = {part.group.key[0]: part.value for part in exposed.slices}
    assert values["16"] is not None
    assert values["0"] is not None
    assert values["16"] > 6 > values["0"]


def test_the_example_of_reviews_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITKIT_EXPLAINABILITY__ROWS", "20")  # most of the time of a whole audit of texts
    main = runpy.run_path(str(EXAMPLES / "reviews.py"))["main"]
    assert main(tmp_path, row_count=600) in (0, 1)  # of 300 rows, too few of a source have a negative label to judge it
    assert (tmp_path / "report.html").is_file()
    report = read_report(tmp_path / "results.json")
    gap = report.measurement("fairness.equalized_odds_difference", ("source",))
    assert gap is not None
    assert gap.value is not None
