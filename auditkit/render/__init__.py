"""Renderers: pure functions from a report to text (or the bytes of a PDF), without torch; `RENDERERS` lists them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from auditkit.compliance.facts import Facts
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
from auditkit.render.pdf import render_pdf
from auditkit.render.sarif import render_sarif
from auditkit.render.translation import page_name

RENDERERS: dict[str, tuple[str, Callable[..., str | bytes]]] = {
    "html": ("report.html", render_html),
    "pdf": ("report.pdf", render_pdf),
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


def render(
    report: Report, formats: Sequence[str] = DEFAULT, *, lang: str = "en", facts: Facts | None = None
) -> dict[str, str | bytes]:
    """Render a report in each of the named formats; return what the files hold, by name.

    Page, PDF and summary are written in `lang`; `facts`, what people stated, go into the model card.

    Raises:
        InputError: an unknown format or language, or a PDF where WeasyPrint is missing.
    """
    settings: dict[str, dict[str, Any]] = {
        "html": {"lang": lang},
        "pdf": {"lang": lang},
        "markdown": {"lang": lang},
        "model-card": {"facts": facts},
    }
    files: dict[str, str | bytes] = {}
    for name in formats:
        if name not in RENDERERS:
            raise InputError(f"unknown format '{name}'{closest(name, RENDERERS)}; formats are {', '.join(RENDERERS)}.")
        file, renderer = RENDERERS[name]
        given = settings.get(name, {})
        files[page_name(file, lang) if "lang" in given else file] = renderer(report, **given)
    return files
