"""The templates of all pages: how they are read and filled, in which language, and the styles that they share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from auditkit.evidence.breakdowns import OWN_BREAKDOWNS, breakdown_words
from auditkit.evidence.measurement import Group, Measurement, shown
from auditkit.evidence.messages import Message, bounds, number, title
from auditkit.evidence.policy import Limit
from auditkit.render.html.bytecode import TemplateBytecode
from auditkit.render.i18n.translation import Translator
from auditkit.render.summary import WORDS
from auditkit.render.text import counted, day, shorten, unbroken, visible

_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]{1,30}(?![\w-])")


def render_page(template: str, *, translator: Translator, **values: Any) -> str:
    """Fill a template in the language of `translator`; every text from outside is escaped, messages are translated."""
    return page_environment().get_template(template).render(translator=translator, **values)


@cache
def page_environment() -> Environment:
    """Return what fills a template; every unknown name is an error.

    In a template `_("...{name}...", name=value)` is a message, `text(...)` a text of the report that is marked where
    it has no translation; any other message that is printed is translated too.
    """
    environment = Environment(
        loader=FunctionLoader(packaged),
        bytecode_cache=TemplateBytecode(sources=["environment.py"]),
        autoescape=True,
        extensions=["jinja2.ext.do"],
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_finalized,
    )
    environment.filters["shown"] = shown
    environment.filters["by_key"] = lambda slices: sorted(slices, key=lambda part: key_order(part.group))
    environment.globals |= {
        "_": _said,
        "text": _text,
        "shorten": _shortened,
        "unbroken": _unbroken,
        "columns": _columns,
        "definition": _definition,
        "fixed": _fixed,
        "breakdown": _breakdown,
        "breakdown_title": _breakdown_title,
        "rationale": _rationale,
        "verdict_words": WORDS,
        "number": number,
        "title": title,
        "bounds": bounds,
        "counted": counted,
        "day": day,
        "thousands": lambda count: f"{count:,}",
    }
    return environment


def stylesheet(*names: str) -> Markup:
    """Return style sheets of auditkit's own, one behind the other."""
    return Markup("".join(packaged(name) for name in names))  # noqa: S704  # our own files


def packaged(name: str) -> str:
    """Return the text of a template or a style sheet of auditkit's own."""
    folder = "css" if name.endswith(".css") else "templates"
    return resources.files("auditkit.render.html").joinpath(folder, name).read_text(encoding="utf-8")


@pass_context
def _finalized(context: Context, value: Any) -> Any:
    if isinstance(value, Message):
        return visible(context["translator"](value))
    return visible(value) if type(value) is str else value


@pass_context
def _said(context: Context, template: str, **arguments: Any) -> str:
    plain = {name: str(value) if isinstance(value, date | datetime) else value for name, value in arguments.items()}
    return str(context["translator"](Message(template, **plain)))


@pass_context
def _text(context: Context, text: str) -> Markup:
    return _options_whole(context["translator"].marked(text))


@pass_context
def _shortened(context: Context, text: str, width: int) -> str:
    return shorten(context["translator"](text), width)


@pass_context
def _unbroken(context: Context, text: str) -> Markup:
    """Keep a number with its unit on one line, and an option of the command line with its dashes."""
    return _options_whole(Markup.escape(visible(unbroken(context["translator"](text)))))


def _options_whole(text: Markup) -> Markup:
    """Mark the options of the command line, so that no line ends between `--` and `train-dataset`."""
    return Markup(_OPTION.sub(r'<span class="option">\g<0></span>', str(text)))  # noqa: S704  # escaped by its callers


@pass_context
def _definition(context: Context, measurement: Measurement) -> Markup:
    """The definition of a measurement, marked as English where it has no translation, and what computed it."""
    say, said = context["translator"], measurement.definition
    known = isinstance(said, Message) and say.knows(said)
    shown = (
        Markup.escape(visible(say(said))) if known else Markup('<span lang="en">{}</span>').format(visible(say(said)))
    )
    if measurement.computed_by in ("", "auditkit"):
        return shown
    return shown + visible(say(Message(" (computed by {library})", library=measurement.computed_by)))


@pass_context
def _fixed(context: Context, text: str) -> str:
    """A text that auditkit wrote into a file, where it is no message: by its entry, where there is one."""
    say = context["translator"]
    return visible(say(text) if isinstance(text, Message) else say.phrase(text))


@pass_context
def _columns(context: Context, by: Sequence[str]) -> str:
    """The columns of a breakdown; names that auditors made, and not the data, are translated."""
    own = set(OWN_BREAKDOWNS) - set(context.get("data_columns", ()))
    return str(context["translator"](breakdown_words(by, own) if by else Message("Part")))


@pass_context
def _breakdown(context: Context, by: Sequence[str]) -> str:
    message = Message("by {columns}", columns=_columns(context, by)) if by else Message("overall")
    return str(context["translator"](message))


@pass_context
def _breakdown_title(context: Context, by: Sequence[str]) -> str:
    message = Message("By {columns}", columns=_columns(context, by)) if by else Message("Overall")
    return str(context["translator"](message))


@pass_context
def _rationale(context: Context, limit: Limit) -> str:
    """The reason of a limit; those of the policies that auditkit ships have translations."""
    return str(context["translator"].phrase(limit.rationale))


def key_order(group: Group) -> tuple[tuple[bool, float, str], ...]:
    """Return what groups are sorted by: their values, numbers as numbers and before words.

    >>> sorted((Group(by=("n",), key=(key,)) for key in ("16", "4", "none")), key=key_order)[0].text
    '4'
    """
    return tuple((not value.isdecimal(), float(value) if value.isdecimal() else 0.0, value) for value in group.key)
