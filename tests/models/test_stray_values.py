"""One mistyped outcome or decision never turns a fail into a pass: the run stops with a question."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import auditkit
from auditkit.errors import DatasetError, InputError
from auditkit.evidence.report import Report
from auditkit.models.stray_values import stray_question


def decisions(words: tuple[str, str] = ("no", "yes"), rows: int = 600) -> pd.DataFrame:
    """Return decisions 35 points apart between two groups, and outcomes that are like them in 85 % of the rows."""
    draws = np.random.default_rng(0)
    group = np.where(draws.random(rows) < 0.5, "Female", "Male")
    decided = (draws.random(rows) < np.where(group == "Male", 0.65, 0.3)).astype(int)
    outcome = np.where(draws.random(rows) < 0.85, decided, 1 - decided)
    names = np.array(words, dtype=object)
    return pd.DataFrame({"sex": group, "decided": names[decided], "outcome": names[outcome]})


def audited(frame: pd.DataFrame, **options: Any) -> Report:
    given = {"prediction": "decided", "target": "outcome", "sensitive": ["sex"], "only": ["fairness"], **options}
    return auditkit.audit(None, frame, **given)


STRAY = ["Yes", "yess", "unknown", "n/a", "nan", "NULL", "-", "pending", "TBD", "0.5", "99"]


@pytest.mark.parametrize("column", ["outcome", "decided"])
@pytest.mark.parametrize("value", STRAY)
def test_a_stray_value_is_a_question(column: str, value: str) -> None:
    frame = decisions()
    assert audited(frame).verdict == "fail"
    frame.loc[7, column] = value
    target = "outcome" if column == "outcome" else None
    if column == "decided" and value == "Yes":
        assert audited(frame, target=target).verdict == "fail", "another spelling of a decision is read as what it is"
        return
    with pytest.raises(InputError, match=rf"{column} holds 'no' and 'yes' in 599 rows, and '{value}' in 1") as caught:
        audited(frame, target=target)
    assert f"--where \"{column} in ('no', 'yes')\"" in str(caught.value).replace("('yes', 'no')", "('no', 'yes')")
    assert audited(frame, target=target, where=f"{column} in ('no', 'yes')").verdict == "fail"
    assert audited(frame, target=target, task="multiclass") is not None


@pytest.mark.parametrize("value", [0.5, 2, 99, -9, 1e6])
def test_a_stray_number_is_a_question(value: float) -> None:
    frame = decisions().replace({"no": 0, "yes": 1}).infer_objects()
    frame["outcome"] = frame["outcome"].astype(float)
    frame.loc[7, "outcome"] = value
    with pytest.raises(InputError, match="which decided never decides"):
        audited(frame)
    assert audited(frame, where="outcome in (0, 1)").verdict == "fail"


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from([*STRAY, "refused", "x"]), min_size=1, max_size=5), st.integers(0, 10_000))
def test_no_stray_values_of_either_column_turn_a_fail_into_a_pass(values: list[str], seed: int) -> None:
    frame, draws = decisions(), np.random.default_rng(seed)
    for value in values:
        frame.loc[draws.integers(len(frame)), draws.choice(["outcome", "decided"])] = value
    with contextlib.suppress(InputError, DatasetError):  # a question, or a decision that is none of the classes
        assert audited(frame).verdict in ("fail", "error")


def test_outcomes_that_nobody_decides_are_a_question_however_many_they_are() -> None:
    frame = decisions()
    frame.loc[frame.index % 5 == 0, "outcome"] = "withdrawn"
    with pytest.raises(InputError, match="'withdrawn' in 120, which decided never decides"):
        audited(frame)


def test_real_tasks_of_several_classes_and_numbers_are_not_asked_about() -> None:
    draws = np.random.default_rng(0)
    three = pd.DataFrame({"d": draws.choice(["a", "b", "c"], 300), "y": draws.choice(["a", "b", "c"], 300)})
    numbers = pd.DataFrame({"d": draws.normal(size=300), "y": np.where(draws.random(300) < 0.9, 0, draws.random(300))})
    assert stray_question(three, "y", "d", "multiclass") is None
    assert stray_question(three, None, "d", "multiclass") is None
    assert stray_question(numbers, "y", "d", "regression") is None
    assert stray_question(decisions(), "outcome", "decided", "binary") is None


def test_a_column_with_spaces_in_its_name_is_quoted() -> None:
    frame = decisions().rename(columns={"decided": "my decision"})
    frame.loc[0, "my decision"] = "maybe"
    assert '--where "`my decision` in (' in str(stray_question(frame, None, "my decision", "multiclass"))
