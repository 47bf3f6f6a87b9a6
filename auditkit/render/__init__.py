"""Renderers: pure functions from a report to text, without torch. `RENDERERS` lists them by format."""

from __future__ import annotations

from collections.abc import Callable

from auditkit.evidence.report import Report
from auditkit.render.html import render_html
from auditkit.render.junit import render_junit
from auditkit.render.markdown import render_markdown

RENDERERS: dict[str, tuple[str, Callable[[Report], str]]] = {
    "html": ("report.html", render_html),
    "junit": ("junit.xml", render_junit),
    "markdown": ("summary.md", render_markdown),
}
"""Each output format: the file that it is written to, and the function that makes it."""
