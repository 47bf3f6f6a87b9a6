"""Renderers: pure functions from a report to text (or the bytes of a PDF), without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from auditkit import plugins
from auditkit.compliance.facts import Facts
from auditkit.errors import InputError, closest
from auditkit.evidence.report import Report
from auditkit.render.i18n.translation import page_name
from auditkit.render.renderer import Renderer

DEFAULT = ("html", "junit", "markdown")
"""What every run writes."""


def renderers() -> dict[str, Renderer]:
    """Return the installed renderers by the name of their format, auditkit's own first."""
    return {name: point.load() for name, point in plugins.installed("renderers").items()}


def render(
    report: Report, formats: Sequence[str] = DEFAULT, *, lang: str = "en", facts: Facts | None = None
) -> dict[str, str | bytes]:
    """Render a report in each of the named formats; return what the files hold, by name.

    Page, PDF and summary are written in `lang`; `facts`, what people stated, go into the model card.

    Raises:
        InputError: an unknown format or language, or a PDF where WeasyPrint is missing.
    """
    given: dict[str, Any] = {"lang": lang, "facts": facts}
    points = plugins.installed("renderers")
    files: dict[str, str | bytes] = {}
    for name in formats:
        if name not in points:
            raise InputError(f"unknown format '{name}'{closest(name, points)}; formats are {', '.join(points)}.")
        renderer: Renderer = points[name].load()
        file = page_name(renderer.file, lang) if "lang" in renderer.options else renderer.file
        files[file] = renderer.function(report, **{option: given[option] for option in renderer.options})
    return files


def render_too(
    report: Report, formats: Sequence[str] = DEFAULT, *, lang: str = "en", facts: Facts | None = None
) -> dict[str, str | bytes]:
    """Render a report in English, and in another language what has a language too; errors as `render`."""
    files = render(report, formats, facts=facts)
    if lang == "en":
        return files
    installed = renderers()
    with_language = [name for name in formats if "lang" in installed[name].options]
    return files | render(report, with_language, lang=lang, facts=facts)
