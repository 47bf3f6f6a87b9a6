"""Renderers: pure functions from a report to text, without torch. `RENDERERS` lists them by format."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from auditkit.errors import InputError, closest
from auditkit.evidence.report import Report
from auditkit.render.aiverify import render_aiverify
from auditkit.render.cyclonedx import render_cyclonedx
from auditkit.render.gitlab import render_gitlab
from auditkit.render.html import render_html
from auditkit.render.intoto import render_intoto
from auditkit.render.junit import render_junit
from auditkit.render.markdown import render_markdown
from auditkit.render.model_card import render_model_card
from auditkit.render.sarif import render_sarif

RENDERERS: dict[str, tuple[str, Callable[[Report], str]]] = {
    "html": ("report.html", render_html),
    "junit": ("junit.xml", render_junit),
    "markdown": ("summary.md", render_markdown),
    "sarif": ("results.sarif", render_sarif),
    "gitlab": ("gl-code-quality-report.json", render_gitlab),
    "model-card": ("model-card.md", render_model_card),
    "cyclonedx": ("bom.cdx.json", render_cyclonedx),
    "in-toto": ("test-result.intoto.json", render_intoto),
    "ai-verify": ("ai-verify.json", render_aiverify),
}
"""Each output format: the file that it is written to, and the function that makes it."""

DEFAULT = ("html", "junit", "markdown")
"""What every run writes."""


def render(report: Report, formats: Sequence[str] = DEFAULT) -> dict[str, str]:
    """Render a report in each of the named formats; return the text by file name.

    Raises:
        InputError: an unknown format.
    """
    for name in formats:
        if name not in RENDERERS:
            raise InputError(f"unknown format '{name}'{closest(name, RENDERERS)}; formats are {', '.join(RENDERERS)}.")
    return {RENDERERS[name][0]: RENDERERS[name][1](report) for name in formats}
