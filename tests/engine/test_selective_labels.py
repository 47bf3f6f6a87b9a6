"""Labels that are known for the approved only: the run stops, with the rates over all rows, instead of passing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import auditkit
from auditkit.errors import DatasetError

OPTIONS: dict[str, Any] = {"prediction": "approved", "target": "repaid", "sensitive": ["sex"], "only": ["fairness"]}


def lending(known: str, rows: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Return decisions of which F are approved in 28 %, M in 71 %, and labels that are known for some rows."""
    draws = np.random.default_rng(seed)
    sex = np.where(np.arange(rows) % 2, "M", "F")
    approved = (np.arange(rows) // 2 % 100 < np.where(sex == "M", 71, 28)).astype(int)
    mask = {
        "all": np.ones(rows, dtype=bool),
        "the approved": approved == 1,
        "the refused": approved == 0,
        "by chance": draws.random(rows) < 0.5,
        "most": draws.random(rows) < np.where(approved == 1, 0.99, 0.97),
    }[known]
    repaid = pd.Series(draws.integers(0, 2, rows)).astype(object).where(pd.Series(mask), None)
    return pd.DataFrame({"sex": sex, "approved": approved, "repaid": repaid})


@pytest.mark.parametrize("known", ["the approved", "the refused"])
def test_labels_that_depend_on_the_decision_stop_the_run_with_the_right_rates(known: str) -> None:
    with pytest.raises(DatasetError) as stopped:
        auditkit.audit(None, lending(known), **OPTIONS)
    said = str(stopped.value)
    assert "labels in repaid are known for " in said
    assert "over all rows: F 28.0%, M 71.0%; gap 43.0 points" in said
    assert "--labelled-only" in said
    assert "\n" not in said


@pytest.mark.parametrize("known", ["all", "by chance", "most"])
def test_labels_that_are_missing_by_chance_do_not(known: str) -> None:
    report = auditkit.audit(None, lending(known), **OPTIONS)
    gap = report.measurement("fairness.demographic_parity_difference", ("sex",))
    assert gap is not None
    assert gap.value == pytest.approx(0.43, abs=0.08)


def test_the_labelled_rows_are_audited_where_that_is_asked_for() -> None:
    report = auditkit.audit(None, lending("the approved"), labelled_only=True, **OPTIONS)
    assert report.subject.dataset.audited_row_count == 495
    assert any("have no label in column repaid" in note for note in report.subject.notes)
