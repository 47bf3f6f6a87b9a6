"""Names of groups: one form whatever they came from, and names that look like slips of each other."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import auditkit
from auditkit.data.group_names import canonical, look_alikes, parse_merges
from auditkit.errors import InputError
from auditkit.evidence.report import Report


@pytest.mark.parametrize(
    ("typed", "form"),
    [
        ("Female ", "Female"),
        ("\u00a0Female\u2003", "Female"),
        ("Native\u00a0 American", "Native American"),
        ("Female\u200b", "Female"),
        ("\ufeffFemale", "Female"),
        (unicodedata.normalize("NFD", "José"), "José"),
        ("1.0", "1"),
        ("1", "1"),
        ("1.50", "1.5"),
        ("-0.0", "-0"),
        ("007", "007"),
        ("1.", "1."),
        ("2024.01.30", "2024.01.30"),
    ],
)
def test_a_name_has_one_form(typed: str, form: str) -> None:
    assert canonical(typed) == form


@given(st.text(max_size=20))
def test_the_form_of_a_form_is_itself(text: str) -> None:
    assert canonical(canonical(text)) == canonical(text)


@pytest.mark.parametrize(
    ("sizes", "pairs"),
    [
        ({"F": 50, "M": 50, "X": 2}, []),
        ({"1": 50, "2": 50, "11": 2, "12": 1}, []),
        ({"Female": 50, "Male": 50}, []),
        ({"Female": 50, "female": 40, "FEMALE": 2}, [("FEMALE", "Female"), ("female", "Female")]),
        ({"Sao Paulo": 50, "São Paulo": 30}, [("São Paulo", "Sao Paulo")]),
        ({"Afro-American": 50, "Afro American": 30}, [("Afro American", "Afro-American")]),
        ({"White": 100, "Whtie": 2, "Whit": 1, "Whitee": 3, "Wjite": 1}, "all"),
        ({"White": 100, "Wjite": 60}, []),  # not rare
        ({"Asian": 100, "Avian": 90}, []),
        ({"2001-05-05": 100, "2001-05-06": 1}, []),
        ({"+": 100, "-": 3}, []),
    ],
)
def test_what_looks_like_a_slip(sizes: dict[str, int], pairs: object) -> None:
    found = look_alikes(sizes)
    assert found == (sorted((name, "White") for name in sizes if name != "White") if pairs == "all" else pairs)


@pytest.mark.parametrize(
    ("rule", "match"),
    [("sex", "must be COLUMN:NAME=GROUP"), ("sex:F", "must be"), ("sex:=F", "must be"), ("age:1=2", "no sensitive")],
)
def test_a_wrong_merge_is_one_line(rule: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        parse_merges([rule], ["sex"])


CASES = {
    "female": (85, 13),
    "Female": (57, 12),
    "Female ": (59, 40),
    "male": (70, 50),
    "Male": (68, 40),
    "MALE": (61, 50),
}


def typed(names: dict[str, tuple[int, int]]) -> pd.DataFrame:
    rows = [(name, int(k < selected), k % 2) for name, (size, selected) in names.items() for k in range(size)]
    return pd.DataFrame(rows, columns=["sex", "p", "y"])


def audited(data: Any, **options: Any) -> Report:
    return auditkit.audit(
        None, data, prediction="p", target="y", sensitive=["sex"], only=["fairness", "data"], **options
    )


def rates(report: Report) -> dict[str, float | None]:
    found = report.measurement("fairness.selection_rate", ("sex",))
    assert found is not None
    return {part.group.text: part.value for part in found.slices}


def test_names_that_look_alike_are_a_finding_with_the_options_that_merge_them() -> None:
    report = audited(typed(CASES))
    (found,) = (f for f in report.findings if f.measurement == "data.look_alike_group_count" and f.by)
    assert (found.verdict, found.value) == ("warn", 3)
    (note,) = (note for outcome in report.outcomes for note in outcome.notes if "may be one" in note)
    merges = [rule for rule in note.split() if ":" in rule and "=" in rule]
    merged = audited(typed(CASES), merge=merges)
    assert rates(merged) == {"Female": pytest.approx(65 / 201), "male": pytest.approx(140 / 199)}
    assert not [f for f in merged.findings if "look_alike" in f.measurement and f.verdict == "warn"]


def test_a_merge_of_a_name_that_does_not_occur_is_refused() -> None:
    for before, near in {"femal": "female", "Femal": "Female", "MAL": "MALE", "Mal": "Male", "mal": "male"}.items():
        with pytest.raises(InputError, match=rf"column sex has no group '{before}' \(did you mean '{near}'\?\)\.$"):
            audited(typed(CASES), merge=[f"sex:{before}=Female"])


def test_the_same_groups_from_a_file_and_from_a_frame(tmp_path: Path) -> None:
    frame = pd.DataFrame({"sex": [0.0, 1.0] * 60, "p": [0, 1, 1, 1] * 30, "y": [0, 1] * 60})
    frame.to_csv(tmp_path / "d.csv", index=False)
    frame.to_parquet(tmp_path / "d.parquet")
    texts = frame.assign(sex=frame["sex"].map({0.0: " 0", 1.0: "1.0\u00a0"}))
    found = [rates(audited(data)) for data in (frame, str(tmp_path / "d.csv"), str(tmp_path / "d.parquet"), texts)]
    assert found[0] == {"0": 0.5, "1": 1.0}
    assert all(one == found[0] for one in found)


def test_a_sensitive_column_that_looks_continuous_stops_with_the_bins_to_paste() -> None:
    frame = pd.DataFrame({"sex": list(range(20, 80)) * 10, "p": [0, 1] * 300, "y": [1, 0, 0] * 200})
    with pytest.raises(InputError, match=r"looks continuous: 60 different numbers.* pass --bins sex=quantiles:4"):
        audited(frame)
    assert len(rates(audited(frame, bins={"sex": "quantiles:4"}))) == 4
