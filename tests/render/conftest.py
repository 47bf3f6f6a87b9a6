"""The sample report, shared by the tests of every renderer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sample import build_report
from sample_outcomes import HOSTILE

from auditkit.evidence.report import Report


@pytest.fixture(name="build_report")
def _build_report() -> Callable[..., Report]:
    return build_report


@pytest.fixture
def report() -> Report:
    return build_report()


@pytest.fixture
def hostile() -> dict[str, Any]:
    return HOSTILE
