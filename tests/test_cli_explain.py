"""--explain and --immutable on the command line: what is written, and one clear line for what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from loans import Loans

from auditkit.cli import call
from auditkit.evidence.report import read_report
from auditkit.models.formats.opening import read_model_file


def run(loans: Loans, out: Path, *more: str) -> int:
    return call(
        ["run", str(loans.model), "--dataset", str(loans.test), "--only", "explainability", "--out", str(out), *more]
    )


def test_a_method_and_immutable_columns_are_recorded_and_obeyed(loans: Loans, tmp_path: Path) -> None:
    assert run(loans, tmp_path, "--explain", "shapley", "--immutable", "income", "--quiet") in (0, 3)
    report = read_report(tmp_path / "results.json")
    outcome = next(part for part in report.outcomes if part.auditor == "explainability")
    assert outcome.settings["method"] == "shapley"
    facts = {name: words for exhibit in outcome.exhibits if exhibit.kind == "facts" for name, words in exhibit.rows}
    assert facts["Method"].startswith("exact Shapley values")
    assert "income" in facts["Taken as unchangeable"].split(", ")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--explain", "lrp"], "method lrp is not offered: "),
        (["--explain", "shapely"], "unknown method 'shapely' (did you mean 'shapley'?)"),
        (["--explain", "grad_cam"], "method grad_cam is not for a table; choose one of integrated_gradients, "),
        (["--immutable", "incom"], "the model reads no column 'incom' (did you mean 'income'?)"),
    ],
)
def test_what_cannot_be_is_one_line(
    more: list[str], said: str, loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(loans, tmp_path / "out", *more) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1


def test_a_schema_and_a_trained_model_keep_what_nobody_can_change(
    loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["schema", "infer", str(loans.train), "--target", "approved", "--immutable", "years"]) == 0
    assert json.loads(capsys.readouterr().out)["immutable"] == ["years"]
    model = tmp_path / "model.pt"
    train = ["train", "--dataset", str(loans.train), "--target", "approved", "--epochs", "1", "--quiet"]
    assert call([*train, "--immutable", "years", "--out", str(model)]) == 0
    card = read_model_file(model).card
    assert card is not None
    assert card.schema_.immutable == ("years",)
    assert call([*train, "--immutable", "yeers", "--out", str(model)]) == 2
    assert "immutable: " in capsys.readouterr().err
