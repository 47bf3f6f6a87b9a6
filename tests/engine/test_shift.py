"""Which verdicts survive another mix of groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import auditkit
from auditkit.cli import call
from auditkit.engine.shift import Shift, parse_shift
from auditkit.evidence.measurement import Table
from auditkit.evidence.report import Outcome, Report, read_report


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """The model is right in 90 % of 800 men and in 50 % of 200 women: 82 % of all."""
    rows = [("M", index % 10 != 0, index % 2) for index in range(800)]
    rows += [("F", index % 2 == 0, index // 2 % 2) for index in range(200)]
    made = pd.DataFrame(rows, columns=["sex", "right", "y"])
    made["p"] = np.where(made["right"], made["y"], 1 - made["y"])
    return made.drop(columns="right")


def audited(frame: pd.DataFrame, *shifts: str, **options: Any) -> Report:
    given = {"prediction": "p", "target": "y", "sensitive": ["sex"], "only": ["performance", "fairness"]}
    return auditkit.audit(None, frame, **{**given, "shift": shifts, **options})


def shift_of(report: Report) -> Outcome:
    (found,) = (outcome for outcome in report.outcomes if outcome.auditor == "shift")
    return found


def test_a_verdict_that_does_not_survive_is_said(frame: pd.DataFrame) -> None:
    """With 80 % women accuracy is 0.8 * 0.5 + 0.2 * 0.9 = 58 %, under the limit of 70."""
    report = audited(frame, "sex=F:+0.60", "sex=F:-0.05")
    found = shift_of(report)
    plain = audited(frame)
    assert report.verdict == plain.verdict
    assert [one for one in report.outcomes if one.auditor != "shift"] == [
        one.model_copy(update={"seconds": other.seconds})
        for one, other in zip(plain.outcomes, report.outcomes, strict=False)
    ]
    first, second = found.exhibits
    assert isinstance(first, Table)
    assert isinstance(second, Table)
    row = next(row for row in first.rows if row[0] == "Accuracy" and row[1] is None)
    assert str(row[3]).startswith("82.0 %")
    assert str(row[5]).startswith("58.0 %")
    assert (row[4], row[6]) == ("pass", "warning")
    assert "would become warning" in " ".join(found.notes)
    assert "80.0 % of the rows instead of 20.0 %" in found.notes[0]
    by_sex = next(row for row in first.rows if row[0] == "Demographic parity difference")
    assert by_sex[4] == by_sex[6], "rates within a group stay as they are"


def test_a_shift_starts_from_the_weights(frame: pd.DataFrame) -> None:
    weighted = frame.assign(w=np.where(frame["sex"] == "F", 4.0, 1.0))
    found = shift_of(audited(weighted, "sex=F:-0.3", weight="w"))
    assert "20.0 % of the rows instead of 50.0 %" in found.notes[0]
    (table,) = found.exhibits
    assert isinstance(table, Table)
    row = next(row for row in table.rows if row[0] == "Accuracy" and row[1] is None)
    assert str(row[5]).startswith("82.0 %")


@pytest.mark.parametrize(
    ("shift", "said"),
    [
        ("sex:+0.1", "must be COLUMN=GROUP:CHANGE"),
        ("sex=F:0", "must be COLUMN=GROUP:CHANGE"),
        ("race=F:+0.1", "is not a sensitive column"),
        ("sex=f:+0.1", "no group 'f'"),
        ("sex=F:+0.9", "must stay between 0 and 100 %"),
    ],
)
def test_shifts_that_are_none_are_refused(frame: pd.DataFrame, shift: str, said: str) -> None:
    with pytest.raises(auditkit.InputError, match=said):
        audited(frame, shift)


def test_a_shift_is_read() -> None:
    assert parse_shift("sex=Female:-0.25") == Shift("sex", "Female", -0.25)
    assert parse_shift("age=18 to 25:+.1").group == "18 to 25"


def test_a_shift_is_recorded_and_repeated(
    frame: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "d.csv", tmp_path / "out"
    frame.to_csv(data, index=False)
    given = ["run", "--dataset", str(data), "--prediction", "p", "--target", "y", "--sensitive", "sex"]
    call([*given, "--only", "performance", "--shift", "sex=F:+0.40", "--out", str(out), "--to", "html"])
    assert "verdicts would stay" in capsys.readouterr().out
    assert read_report(out).config.groups.shift == ("sex=F:+0.40",)
    assert "With the other mix" in (out / "report.html").read_text()
    assert call(["replay", str(out), "--dataset", str(data)]) == 0
    assert call(["gate", str(out), "--quiet"]) == read_report(out).exit_code
