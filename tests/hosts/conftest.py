"""The sample report of the renderers' tests."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from auditkit.evidence.report import Report

SAMPLE = runpy.run_path(str(Path(__file__).parents[1] / "render/sample.py"))


@pytest.fixture
def report() -> Report:
    """The sample without the auditor that crashed: its measurements can be judged to the end."""
    whole: Report = SAMPLE["build_report"]()
    return whole.model_copy(update={"outcomes": tuple(one for one in whole.outcomes if one.error is None)})
