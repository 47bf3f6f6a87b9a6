"""The pages beside the report card (compliance tables, comparison, history): one look, one shell, no script."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment

from auditkit.render.html.environment import page_environment, stylesheet


def render_sheet(template: str, **values: Any) -> str:
    """Fill the page `template`, which extends `sheet.html.jinja`; every text from outside is escaped."""
    return _environment().get_template(template).render(css=stylesheet("card.css", "sheet.css"), **values)


@cache
def _environment() -> Environment:
    return page_environment()
