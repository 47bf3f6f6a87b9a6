"""The tutorials of the documentation run as they stand, each as a notebook: one cell after another in one place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from auditkit.evidence.report import Report

TUTORIALS = sorted((Path(__file__).parent.parent / "docs/tutorials").glob("*.md"))
CELL = re.compile(r"^```\{code-cell\} python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs_from_its_first_cell_to_its_last(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = CELL.findall(page.read_text(encoding="utf-8"))
    assert len(cells) > 2
    names: dict[str, Any] = {}
    for cell in cells:
        exec(compile(cell, str(page), "exec"), names)
    reports = [value for value in names.values() if isinstance(value, Report)]
    assert reports
    assert all(outcome.error is None for report in reports for outcome in report.outcomes)
