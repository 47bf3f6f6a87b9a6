"""Words given with options name values of the data in any of their forms: `1.0` is `1`, spaces are folded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import auditkit
from auditkit.data.group_names import known_as
from auditkit.errors import InputError


def rows() -> pd.DataFrame:
    place = np.arange(400)
    return pd.DataFrame(
        {
            "team": np.where(place % 2 == 0, "José M.", "1"),
            "hired": (place % 7 < np.where(place % 2 == 0, 2, 4)).astype(int),
        }
    )


def rates(frame: pd.DataFrame, positive: str | None) -> dict[str, float | None]:
    report = auditkit.audit(None, frame, prediction="hired", positive=positive, sensitive=["team"], only=["fairness"])
    found = report.measurement("fairness.selection_rate", ("team",))
    assert found is not None
    return {part.group.text: part.value for part in found.slices}


@pytest.mark.parametrize("word", ["1", "1.0", " 1 ", "1.00"])
def test_a_positive_class_is_named_in_any_form(word: str) -> None:
    assert rates(rows(), word) == rates(rows(), "1")
    of_numbers = rows().assign(hired=lambda frame: frame["hired"].astype(float))
    assert rates(of_numbers, word) == rates(rows(), "1")
    refused = rates(rows(), "0.0")
    assert refused == {team: pytest.approx(1 - (rate or 0)) for team, rate in rates(rows(), "1").items()}


def test_another_word_is_still_refused() -> None:
    with pytest.raises(InputError, match=r"positive must be one of the classes 0, 1, got '2\.0'"):
        rates(rows(), "2.0")


def test_groups_of_a_shift_and_a_reference_are_named_in_any_form(tmp_path: Path) -> None:
    written = tmp_path / "rows.csv"
    rows().to_csv(written, index=False)
    for group in ("1", "1.0", " Jose\u0301\u00a0M. "):
        report = auditkit.audit(
            None,
            written,
            prediction="hired",
            sensitive=["team"],
            only=["fairness"],
            shift=[f"team={group}:+0.10"],
            settings={"fairness": {"reference_group": (f"team={group}",)}},
        )
        assert [outcome.error for outcome in report.outcomes if outcome.error] == []
        found = report.measurement("fairness.selection_rate_difference_from_reference", ("team",))
        assert found is not None
        assert len(found.slices) == 1
        assert any(outcome.auditor == "shift" for outcome in report.outcomes)


def test_an_exact_name_comes_before_another_form_of_it() -> None:
    assert known_as("1.0", ["1", "1.0"]) == "1.0"
    assert known_as("x", ["y"]) == "x"
