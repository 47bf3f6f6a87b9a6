"""A renderer: one line for a chat."""

from __future__ import annotations

from auditkit.evidence.report import Report
from auditkit.render.renderer import Renderer


def render_line(report: Report) -> str:
    return f"{report.verdict}: {report.subject.dataset.audited_row_count} rows\n"


RENDERER = Renderer("line.txt", render_line)
