"""Reports of schema version 1: read as values, the same numbers, or refused where a name can be read in two ways."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from gallery import gallery_report
from keys import group

from auditkit.cli import call
from auditkit.errors import InputError
from auditkit.evidence.report import read_report
from auditkit.render import render
from auditkit.render.html.index import Run, render_index

KEPT = Path(__file__).parent / "version1"
NAMES = ("census", "digits", "reviews")


def unpacked(name: str, folder: Path, **changed: Any) -> Path:
    """Write a report of version 1, as auditkit wrote it for the gallery (without pictures and replicates)."""
    document = json.loads(gzip.decompress((KEPT / f"{name}.json.gz").read_bytes()))
    path = folder / "results.json"
    path.write_text(json.dumps({**document, **changed}), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", NAMES)
def test_every_number_and_verdict_of_version_1_is_kept(name: str, tmp_path: Path) -> None:
    path = unpacked(name, tmp_path)
    before, after = json.loads(path.read_text()), read_report(path)
    assert before["schema_version"] == 1
    assert (after.verdict, after.exit_code) == (before["verdict"], before["exit_code"])
    for old, new in zip(before["outcomes"], after.outcomes, strict=True):
        judged = {(f["measurement"], tuple(f["by"]), f["slice"], f["verdict"]) for f in old["findings"]}
        assert judged <= {(f.measurement, f.by, f.group and f.group.text, f.verdict) for f in new.findings}
        for was, now in zip(old["measurements"], new.measurements, strict=True):
            assert (was["id"], was["value"], was["count"]) == (now.id, now.value, now.count)
            assert (was["source"], "") == (now.definition, now.computed_by)
            for part, of in zip(was["slices"], now.slices, strict=True):
                assert (part["value"], part["count"]) == (of.value, of.count)
                assert (
                    part["name"].replace(" x ", " & ") == of.group.text or now.id == "explainability.word_attribution"
                )
            assert was["compared"] == (now.compared and [one.text for one in now.compared])


@pytest.mark.parametrize("name", NAMES)
def test_a_report_of_version_1_has_the_groups_of_todays(name: str, tmp_path: Path) -> None:
    """The same run, written by both versions: every group is matched with itself."""
    today = gallery_report(name)
    before = {
        (m.id, m.by): m for outcome in read_report(unpacked(name, tmp_path)).outcomes for m in outcome.measurements
    }
    matched = 0
    for measurement in (m for outcome in today.outcomes for m in outcome.measurements if m.slices):
        if (earlier := before.get((measurement.id, measurement.by))) is not None:
            assert {part.group for part in earlier.slices} == {part.group for part in measurement.slices}
            matched += 1
    assert matched > 10


@pytest.mark.parametrize("name", NAMES)
def test_what_reads_reports_reads_version_1(name: str, tmp_path: Path) -> None:
    path = unpacked(name, tmp_path)
    report = read_report(path)
    assert call(["gate", str(path), "--baseline", str(path), "--quiet"]) == report.exit_code
    assert call(["compare", str(path), str(path), "--out", str(tmp_path / "compared")]) == 0
    assert call(["render", str(path), "--out", str(tmp_path / "rendered")]) == 0
    assert "<html" in render(report)["report.html"]
    assert "one run so far" in render_index([Run(report, "run/", has_page=False)])


def fairness(names: dict[tuple[str, ...], list[str]]) -> list[dict[str, Any]]:
    """Return the part of a report of version 1 that gives a rate by each breakdown, of groups of these names."""
    fields = {"id": "fairness.selection_rate", "unit": "rate", "better": "neither", "count": 10, "source": "x"}
    measurements = [
        {**fields, "by": list(by), "slices": [{"name": name, "value": 0.5, "count": 5} for name in of]}
        for by, of in names.items()
    ]
    return [{"auditor": "fairness", "version": "1", "measurements": measurements}]


def unjudged(outcomes: list[dict[str, Any]], folder: Path) -> Path:
    document = json.loads(unpacked("reviews", folder).read_text())
    policy = {**document["policy"], "limits": []}
    return unpacked("reviews", folder, outcomes=outcomes, policy=policy, verdict="not_run", exit_code=5)


def test_a_joint_within_a_value_is_read_by_the_values_of_each_column(tmp_path: Path) -> None:
    by = ("team", "unit")
    names = {("team",): ["R & D", "Sales"], ("unit",): ["Q", "P"], by: ["R & D & Q", "Sales & P"]}
    crossed = read_report(unjudged(fairness(names), tmp_path)).measurement("fairness.selection_rate", by)
    assert crossed is not None
    assert [part.group for part in crossed.slices] == [group("R & D", "Q", by=by), group("Sales", "P", by=by)]


def test_a_name_that_can_be_read_in_two_ways_is_refused(tmp_path: Path) -> None:
    names = {("team",): ["R & D", "R"], ("unit",): ["Q", "D & Q"], ("team", "unit"): ["R & D & Q"]}
    path = unjudged(fairness(names), tmp_path)
    with pytest.raises(InputError, match="'R & D & Q' by team, unit, which can be read in more than one way; run the"):
        read_report(path)


@pytest.mark.parametrize("outcomes", [None, {}, "x", [1, None], [{"measurements": 3}], [{"findings": [{"slice": 1}]}]])
def test_a_broken_report_of_version_1_is_one_line(outcomes: object, tmp_path: Path) -> None:
    path = unpacked("reviews", tmp_path, outcomes=outcomes)
    with pytest.raises(InputError):
        read_report(path)
