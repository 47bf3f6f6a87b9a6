"""The sample report of the renderers' tests."""

from __future__ import annotations

import pytest
from sample import build_report

from auditkit.evidence.gate import judge_report
from auditkit.evidence.report import Report


@pytest.fixture
def report() -> Report:
    """The sample without the auditor that crashed: its measurements can be judged to the end."""
    whole: Report = build_report()
    kept = whole.model_copy(update={"outcomes": tuple(one for one in whole.outcomes if one.error is None)})
    return judge_report(kept, whole.policy)
