"""The sample report, shared by the tests of every renderer."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditkit.evidence.report import Report

SAMPLE = runpy.run_path(str(Path(__file__).with_name("sample.py")))


@pytest.fixture
def build_report() -> Callable[..., Report]:
    return SAMPLE["build_report"]


@pytest.fixture
def report(build_report: Callable[..., Report]) -> Report:
    return build_report()


@pytest.fixture
def hostile() -> dict[str, Any]:
    return SAMPLE["HOSTILE"]
