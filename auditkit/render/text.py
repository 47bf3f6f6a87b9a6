"""Make text from outside safe to show, and print numbers the way the whole report prints them."""

from __future__ import annotations

import re
import unicodedata
from datetime import date

from auditkit.evidence.messages import Message
from auditkit.evidence.policy import SHIPPED, Policy

# Control characters (XML 1.0 forbids them), marks that reverse the text after them (a group's name must not be
# able to rewrite the sentence that it stands in), lone surrogates and non-characters.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def visible(text: str) -> str:
    r"""Replace by U+FFFD every character that hides, that reorders its neighbours, or that XML forbids.

    >>> visible("a\x00b\u202ec")
    'a�b�c'
    """
    return _UNSAFE.sub("\ufffd", text)


def one_line(text: str) -> str:
    r"""Make text from outside one line of a terminal or a log, as long as it was.

    No name in the data can then clear a screen, or begin a line of its own, which hosts such as GitHub may obey.

    >>> one_line("a\x1b[2Jb\n::error::c")
    'a�[2Jb ::error::c'
    """
    return re.sub(r"\s", " ", visible(text))


def shorten(text: str, width: int) -> str:
    """Cut `text` to `width` columns, wide characters counting as two, with an ellipsis where something was cut.

    >>> shorten("Asian-Pac-Islander", 10), shorten("Male", 10)
    ('Asian-Pac…', 'Male')
    """
    text = " ".join(visible(text).split())
    columns = [2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text]
    if sum(columns) <= width:
        return text
    kept, used = 0, 1
    while used + columns[kept] <= width:
        used += columns[kept]
        kept += 1
    return text[:kept].rstrip() + "…"


def unbroken(text: str) -> str:
    r"""Keep a number and its unit, and `n = 10`, on one line.

    >>> unbroken("95 % CI, n = 10")
    '95\xa0%\xa0CI, n\xa0=\xa010'
    """
    return re.sub(r"(?<=\d) (?=%|points)", "\xa0", text).replace("% CI", "%\xa0CI").replace("n = ", "n\xa0=\xa0")


def shipped_name(policy: Policy) -> Message:
    """Name a policy that auditkit ships."""
    if policy.source == SHIPPED:
        return Message("the default policy")
    return Message("the policy {name}", name=policy.name)


def counted(count: int, noun: str) -> Message:
    """Print a count with its noun, whose plural ends in s.

    >>> counted(1, "limit"), counted(1200, "limit")
    ('1 limit', '1,200 limits')
    """
    return Message.plural(f"{{n:,}} {noun}", f"{{n:,}} {noun}s", count)


def day(moment: date) -> Message:
    """Print a date.

    >>> from datetime import date
    >>> day(date(2026, 11, 2))
    '2 November 2026'
    """
    return Message(DATE, day=moment.day, month=MONTHS[moment.month - 1], year=moment.year)


DATE = "{day} {month} {year}"
"""How a date is written; other languages have another order."""

MONTHS = (
    Message("January"),
    Message("February"),
    Message("March"),
    Message("April"),
    Message("May"),
    Message("June"),
    Message("July"),
    Message("August"),
    Message("September"),
    Message("October"),
    Message("November"),
    Message("December"),
)
