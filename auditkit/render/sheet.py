"""The pages beside the report card (compliance tables, comparison, history): one look, one shell, no script."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from auditkit.evidence.sentences import number, title
from auditkit.render.summary import WORDS
from auditkit.render.text import bounds, counted, shorten, unbroken, visible


def render_sheet(template: str, **values: Any) -> str:
    """Fill the page `template`, which extends `sheet.html.jinja`; every text from outside is escaped."""
    css = Markup(_file("card.css") + _file("sheet.css"))  # noqa: S704  # our own files
    return _environment().get_template(template).render(css=css, **values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_file),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.globals |= {
        "verdict_words": WORDS,
        "number": number,
        "title": title,
        "bounds": bounds,
        "counted": counted,
        "shorten": shorten,
        "unbroken": unbroken,
        "day": lambda moment: f"{moment.day} {moment:%B %Y}",
    }
    return environment


def _file(name: str) -> str:
    return resources.files("auditkit.render").joinpath(name).read_text(encoding="utf-8")
