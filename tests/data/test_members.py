"""A column that says which rows trained the model, instead of two files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import auditkit
from auditkit.data.dataset import data_from_frame, read_data
from auditkit.data.members import divided
from auditkit.engine.replay import replay
from auditkit.errors import InputError


@pytest.mark.parametrize("values", [[1, 0, 0, 1], ["1", "0", "0", "1"], [True, False, False, True], [1.0, 0, 0, 1]])
def test_rows_with_1_are_the_training_rows(values: list[Any]) -> None:
    audited, training = divided(data_from_frame(pd.DataFrame({"text": list("abcd"), "member": values})), "member")
    assert audited.frame["text"].tolist() == ["b", "c"]
    assert training.frame["text"].tolist() == ["a", "d"]
    assert list(audited.frame) == list(training.frame) == ["text"], "the column itself is read by no model"


def test_json_lines_are_divided_as_they_are_written(tmp_path: Path) -> None:
    lines = ['{"text": "a", "member": true}', '{"text": "b", "member": false}', '{"text": "c", "member": 1}']
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    audited, training = divided(read_data(tmp_path / "x.jsonl"), "member")
    assert (audited.frame["text"].tolist(), training.frame["text"].tolist()) == (["b"], ["a", "c"])
    assert audited.sha256 is not None
    assert training.sha256 is None, "the hash is that of both sides"


@pytest.mark.parametrize(
    ("values", "column", "problem"),
    [
        ([1, 0, 2], "member", "row 2: member column 'member' must be 1, .* got '2'; 1 of 3 rows hold neither"),
        (["1", None, "0"], "member", "must be 1, .* got no value"),
        ([1, 0, np.nan], "member", "must be 1, .* got no value"),
        ([1, 1, 1], "member", "is 0 in no row; both sides are needed"),
        ([0, 0, 0], "member", "is 1 in no row"),
        ([1, 0, 0], "members", "member column 'members' is not in "),
    ],
)
def test_what_does_not_tell_rows_apart_is_refused(values: list[Any], column: str, problem: str) -> None:
    frame = pd.DataFrame({"text": list("abc"), "member": values})
    with pytest.raises(InputError, match=problem):
        divided(data_from_frame(frame), column)


def test_an_audit_of_one_data_set_is_repeated_from_its_record(loans: Any, tmp_path: Path) -> None:
    frame = pd.read_csv(loans.test).head(120).assign(role=[1, 0, 0] * 40)
    frame.to_csv(tmp_path / "both.csv", index=False)
    report = auditkit.audit(loans.model, tmp_path / "both.csv", member="role", only=["performance"])
    again, differences = replay(report, model=loans.model, dataset=tmp_path / "both.csv")
    assert (again.subject.dataset.row_count, differences) == (80, [])


def test_one_data_set_gives_what_two_give(loans: Any) -> None:
    audited, training = pd.read_csv(loans.test).head(150), pd.read_csv(loans.train).head(400)
    both = pd.concat([training.assign(role=1), audited.assign(role=0)], ignore_index=True)
    settings: dict[str, Any] = {"only": ["leakage", "performance"], "settings": {"leakage": {"shadows": 0}}}
    two = auditkit.audit(loans.model, audited, train_dataset=training, **settings)
    one = auditkit.audit(loans.model, both, member="role", **settings)
    assert one.subject.training_dataset is not None
    assert one.subject.training_dataset.row_count == 400
    assert one.subject.dataset.row_count == 150
    values = [
        [(part.id, part.by, part.value) for outcome in report.outcomes for part in outcome.measurements]
        for report in (one, two)
    ]
    assert values[0] == values[1]
    assert len(values[0]) > 5
    with pytest.raises(InputError, match="pass --member or --train-dataset"):
        auditkit.audit(loans.model, both, member="role", train_dataset=training, **settings)


def test_the_page_says_that_the_training_rows_have_no_hash_of_their_own(loans: Any, tmp_path: Path) -> None:
    frame = pd.read_csv(loans.test).head(90).assign(role=[1, 0, 0] * 30)
    frame.to_csv(tmp_path / "both.csv", index=False)
    report = auditkit.audit(loans.model, tmp_path / "both.csv", member="role", only=["performance"])
    report.save(tmp_path / "out", ("html",))
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "part of a file: no hash of its own" in page
    assert "not a file: no hash" not in page
