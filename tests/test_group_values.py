"""Groups whose names hold what once joined names: `R & D` x `Q` is not `R` x `D & Q`, anywhere a reader looks."""

from __future__ import annotations

import ast
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from keys import group

import auditkit
from auditkit.cli import call
from auditkit.evidence.measurement import shown
from auditkit.evidence.report import Report, read_report

ROOT = Path(auditkit.__file__).parent
# Of each group: the rows with label 0 predicted 0, and 1; with label 1 predicted 0, and 1.
TEAMS = {
    ("R", "D & Q"): (48, 442, 55, 481),
    ("R", "Q"): (251, 230, 236, 228),
    ("R & D", "D & Q"): (262, 267, 225, 253),
    ("R & D", "Q"): (477, 45, 460, 40),
}
REGRESSION = """[[limit]]
measurement = "{0}"
by = ["team", "unit"]
regression_at_most = 0.0
rationale = "no worse than before"
"""
MEASURED = ("fairness.false_positive_rate", "fairness.true_positive_rate", "performance.accuracy")


def frame_of(teams: dict[tuple[str, str], tuple[int, int, int, int]]) -> pd.DataFrame:
    rows = [
        (*key, *cell)
        for key, counts in teams.items()
        for cell, count in zip(itertools.product((0, 1), (0, 1)), counts, strict=True)
        for _ in range(count)
    ]
    return pd.DataFrame(rows, columns=["team", "unit", "y", "pred"]).sample(frac=1, random_state=0)


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teams")
    frame_of(TEAMS).to_csv(folder / "teams.csv", index=False)
    (folder / "policy.toml").write_text("\n".join(REGRESSION.format(id) for id in MEASURED))
    flags = ["--prediction", "pred", "--target", "y", "--sensitive", "team", "--sensitive", "unit", "--quiet"]
    call(["run", "--dataset", str(folder / "teams.csv"), *flags, "--out", str(folder / "out")])
    return folder


@pytest.fixture(scope="module")
def report(audited: Path) -> Report:
    return read_report(audited / "out" / "results.json")


def test_four_intersections_have_their_own_rates(report: Report) -> None:
    rates = report.measurement("fairness.selection_rate", ("team", "unit"))
    assert rates is not None
    found = {part.group: (round(part.value or 0, 3), part.count) for part in rates.slices}
    by = ("team", "unit")
    assert found == {
        group("R", "D & Q", by=by): (0.900, 1026),
        group("R", "Q", by=by): (0.485, 945),
        group("R & D", "D & Q", by=by): (0.516, 1007),
        group("R & D", "Q", by=by): (0.083, 1022),
    }
    gap = report.measurement("fairness.demographic_parity_difference", by)
    assert gap is not None
    assert gap.compared == (group("R & D", "Q", by=by), group("R", "D & Q", by=by))


def test_the_table_of_impact_ratios_adds_up(report: Report) -> None:
    fairness = next(outcome for outcome in report.outcomes if outcome.auditor == "fairness")
    table = next(e for e in fairness.exhibits if e.kind == "table" and e.title.endswith("by team & unit"))
    columns = [column.name for column in table.columns]
    rows: list[dict[str, Any]] = [dict(zip(columns, row, strict=True)) for row in table.rows]
    assert len({row["team & unit"] for row in rows}) == 4
    assert sum(row["n"] for row in rows) == 4000
    for row in rows:
        assert row["Selection rate"] == row["Selected"] / row["n"]
        assert row["Impact ratio"] == pytest.approx(row["Selection rate"] / (923 / 1026))
        low, high = (float(end) for end in re.findall(r"[\d.]+", row["Interval (all at once)"]))
        assert low - 5e-4 <= row["Impact ratio"] <= high + 5e-4


def test_a_gate_against_itself_passes(audited: Path) -> None:
    flags = ["--policy", str(audited / "policy.toml"), "--strict", "--quiet"]
    assert call(["gate", str(audited / "out"), "--baseline", str(audited / "out"), *flags]) == 0


def test_a_group_that_got_worse_is_found_by_its_values(audited: Path, tmp_path: Path) -> None:
    frame_of({**TEAMS, ("R & D", "Q"): (377, 145, 460, 40)}).to_csv(tmp_path / "worse.csv", index=False)
    flags = ["--prediction", "pred", "--target", "y", "--sensitive", "team", "--sensitive", "unit", "--quiet"]
    flags += ["--policy", str(audited / "policy.toml"), "--baseline", str(audited / "out" / "results.json")]
    assert call(["run", "--dataset", str(tmp_path / "worse.csv"), *flags, "--out", str(tmp_path / "out")]) == 1
    after = read_report(tmp_path / "out" / "results.json")
    worse = {(f.measurement, f.group) for f in after.findings if f.verdict == "fail"}
    ids = ("fairness.false_positive_rate", "performance.accuracy")
    assert worse == {(id, group("R & D", "Q", by=("team", "unit"))) for id in ids}
    call(["compare", str(audited / "out"), str(tmp_path / "out"), "--out", str(tmp_path / "compared")])
    changes = json.loads((tmp_path / "compared" / "compare.json").read_text())["changes"]
    moved = [
        tuple(change["group"]["key"])
        for change in changes
        if change["id"] == "fairness.selection_rate" and change["group"] and change["reading"] == "changed"
    ]
    assert ("R & D", "Q") in moved
    assert ("R", "D & Q") not in moved


def test_a_waiver_is_for_the_group_of_its_values(audited: Path, tmp_path: Path) -> None:
    frame_of({**TEAMS, ("R & D", "Q"): (377, 145, 460, 40)}).to_csv(tmp_path / "worse.csv", index=False)
    waiver = """[[waiver]]
id = "W"
measurement = "fairness.false_positive_rate"
regression = true
by = ["team", "unit"]
slice = {0}
owner = "o"
approver = "a"
statement = "s"
expires = 9999-12-31
"""
    flags = ["--prediction", "pred", "--target", "y", "--sensitive", "team", "--sensitive", "unit", "--quiet"]
    (tmp_path / "policy.toml").write_text(REGRESSION.format(MEASURED[0]))
    flags += ["--policy", str(tmp_path / "policy.toml"), "--baseline", str(audited / "out" / "results.json")]
    for slice, code in (('["R & D", "Q"]', 0), ('["R", "D & Q"]', 1), ('"R & D & Q"', 2)):
        (tmp_path / "waivers.toml").write_text(waiver.format(slice))
        more = ["--waivers", str(tmp_path / "waivers.toml"), "--out", str(tmp_path / f"out{code}")]
        assert call(["run", "--dataset", str(tmp_path / "worse.csv"), *flags, *more]) == code


def test_every_file_shows_four_different_names(audited: Path) -> None:
    names = {shown(key) for key in TEAMS}
    assert len(names) == 4
    for name in ("results.json", "report.html", "junit.xml"):
        assert (audited / "out" / name).is_file()
    page = (audited / "out" / "report.html").read_text()
    for name in names:
        assert name.replace("&", "&amp;").replace('"', "&#34;") in page


@pytest.mark.parametrize("parts", [("a", "b"), ("R & D", "Q"), ("R", "D & Q"), ('"R', 'D"'), ("&", "&"), ("R &", "D")])
def test_a_shown_group_names_its_values_and_nothing_else(parts: tuple[str, str]) -> None:
    others = itertools.product(["a", "b", "R", "Q", "R & D", "D & Q", '"R', 'D"', "&", "R &", "& D", "D"], repeat=2)
    assert [other for other in others if other != parts and shown(other) == shown(parts)] == []


def test_no_name_is_joined_or_taken_apart_to_make_or_read_a_key() -> None:
    """Only the function that shows names joins them, only the reader of version 1 takes them apart."""
    allowed = {"evidence/measurement.py", "evidence/version1.py", "render/translation.py"}
    for path in [*ROOT.rglob("*.py"), *ROOT.rglob("*.jinja")]:
        name = str(path.relative_to(ROOT))
        text = path.read_text(encoding="utf-8")
        if name not in allowed:
            assert not re.search(r"""["'] & ["']""", text), f"{name} joins or splits names at an ampersand"
        if path.suffix == ".py":
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    split = node.func.attr in ("split", "rsplit", "partition", "rpartition")
                    text_of = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
                    if split and text_of in (" & ", ", ", "; ", " CI "):
                        assert name in allowed, f"{name}, line {node.lineno}: takes a text apart at {text_of!r}"
