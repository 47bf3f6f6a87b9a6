"""The reports of the committed gallery, each read once in a process: a Report cannot be changed."""

from __future__ import annotations

import functools
from pathlib import Path

from auditkit.evidence.report import Report, read_report

GALLERY = Path(__file__).parent.parent / "reports"


@functools.cache
def gallery_report(name: str) -> Report:
    """Return the report of a folder of the gallery."""
    return read_report(GALLERY / name / "results.json")
