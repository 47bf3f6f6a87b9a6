"""Spaces where the words of a Chinese sentence meet the names and numbers that stand in it.

A translator cannot know whether a placeholder becomes Chinese or Latin letters: `{title}的区间` needs a space for
`ROC AUC 的区间`, and none for `准确率的区间`. So the spaces at the edges of placeholders are set when these are filled,
by the usual rule (a space between Chinese characters and Latin letters or digits, none beside Chinese punctuation).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

HAN = "\u3400-\u4dbf\u4e00-\u9fff"
PUNCTUATION = "\u3001\u3002\uff01\uff08\uff09\uff0c\uff1a\uff1b\uff1f\u201c\u201d"

_HAN_ENDS = re.compile(rf"[{HAN}]$")
_HAN_BEGINS = re.compile(rf"[{HAN}]")
_WIDE_ENDS = re.compile(rf"[{HAN}{PUNCTUATION}]$")
_WIDE_BEGINS = re.compile(rf"[{HAN}{PUNCTUATION}]")
_NARROW_ENDS = re.compile(r"[A-Za-z0-9%\u0370-\u03ff]$")
_NARROW_BEGINS = re.compile(r"[A-Za-z0-9\u0370-\u03ff]|[-+\u2212<>=][ \d.]")
_OF_DATES = "\u5e74\u6708\u65e5"
"""Year, month and day stand at their numbers without a space."""


def join_chinese(pieces: Sequence[str]) -> str:
    """Return the words of a template and the values between them as one text, with the spaces that Chinese has.

    Words and values take turns, words first. Values, which may be names of the data's own, stay as they are.

    >>> join_chinese(["", "sex", "的", "ROC AUC", "为 ", "0.9", ""]), join_chinese(["", "准确率", " 为 ", "零", ""])
    ('sex 的 ROC AUC 为 0.9', '准确率为零')
    """
    joined = ""
    for place, piece in enumerate(pieces):
        shown = piece
        if place % 2 and pieces[place - 1].endswith(" "):
            if _WIDE_BEGINS.match(piece) and _WIDE_ENDS.search(joined[:-1]):
                joined = joined[:-1]
        elif place % 2 == 0 and piece.startswith(" ") and _WIDE_ENDS.search(joined) and _WIDE_BEGINS.match(piece[1:]):
            shown = piece[1:]
        joined += (" " if shown and _needs_space(joined, shown) else "") + shown
    return joined


def _needs_space(before: str, after: str) -> bool:
    if not before or before[-1] in _OF_DATES or after[0] in _OF_DATES:
        return False
    return bool(
        (_HAN_ENDS.search(before) and _NARROW_BEGINS.match(after))
        or (_NARROW_ENDS.search(before) and _HAN_BEGINS.match(after))
    )
