"""The pages beside the report card (compliance tables, comparison, history): one look, one shell, no script."""

from __future__ import annotations

from typing import Any

from auditkit.render.html.environment import render_page, stylesheet
from auditkit.render.i18n.translation import Translator


def render_sheet(template: str, *, translator: Translator, **values: Any) -> str:
    """Fill the page `template`, which extends `sheet.html.jinja`; every text from outside is escaped."""
    return render_page(template, translator=translator, css=stylesheet("card.css", "sheet.css"), **values)
