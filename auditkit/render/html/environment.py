"""The templates of all pages: how they are read and filled, and the words and styles that they share."""

from __future__ import annotations

from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from auditkit.evidence.measurement import shown
from auditkit.evidence.messages import bounds, number, title
from auditkit.render.summary import WORDS
from auditkit.render.text import counted, shorten, unbroken, visible


def page_environment() -> Environment:
    """Return what fills a template: every text from outside is escaped, every unknown name an error."""
    environment = Environment(
        loader=FunctionLoader(packaged),
        autoescape=True,
        extensions=["jinja2.ext.do"],
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters["shown"] = shown
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


def stylesheet(*names: str) -> Markup:
    """Return style sheets of auditkit's own, one behind the other."""
    return Markup("".join(packaged(name) for name in names))  # noqa: S704  # our own files


def packaged(name: str) -> str:
    """Return the text of a template or a style sheet of auditkit's own."""
    folder = "css" if name.endswith(".css") else "templates"
    return resources.files("auditkit.render.html").joinpath(folder, name).read_text(encoding="utf-8")
