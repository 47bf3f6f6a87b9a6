"""JSON and TOML texts of others, parsed: what is nested without end, or takes endless time to parse, is refused.

Both functions raise ValueError alone, with words that fit behind "not valid TOML: ".
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from typing import Any

from auditkit.budgets import ALLOW_LARGE, NESTING, large_allowed

_PART = r"(?:[\w-]++|\"[^\"\n]*+\"|'[^'\n]*+')"


def parse_json(
    text: str | bytes, *, unique_keys: bool = False, parse_number: Callable[[str], Any] | None = None
) -> Any:
    """Return the value of a JSON text.

    Args:
        text: the text, as bytes in UTF-8.
        unique_keys: refuse an object that names a key twice, which two programs would read in two ways.
        parse_number: makes the value of a number from its text.

    Raises:
        ValueError: not JSON, not UTF-8, nested too deeply, a key stands twice, or a text holds half of a character.
    """
    text = text.decode("utf-8-sig") if isinstance(text, bytes) else text  # json.loads takes surrogates, and UTF-16
    pairs = _unique if unique_keys else None
    options: dict[str, Any] = {}
    if parse_number is not None:
        options = {"parse_int": parse_number, "parse_float": parse_number, "parse_constant": parse_number}
    try:
        document = json.loads(text, object_pairs_hook=pairs, **options)
    except RecursionError:
        raise ValueError(_too_deep()) from None
    _check_nesting(document)
    if "\\ud" in text.lower():
        _check_characters(document)
    return document


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables of a TOML text.

    Raises:
        ValueError: not TOML, or nested too deeply, be it by a key of many parts: these take quadratic time.
    """
    if re.search(rf"(?<![\w-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{NESTING.most}}}", text):
        raise ValueError(_too_deep())
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise ValueError(_too_deep()) from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:  # Python's limit on the digits of a number
        raise ValueError("it holds a number of thousands of digits") from None
    _check_nesting(document)
    return document


def _check_nesting(document: Any) -> None:
    level = [document] if isinstance(document, dict | list) else []
    for _ in range(NESTING.most):
        if not level:
            return
        level = [
            value
            for part in level
            for value in (part.values() if isinstance(part, dict) else part)
            if isinstance(value, dict | list)
        ]
    if level:
        raise ValueError(_too_deep())


def _check_characters(document: Any) -> None:
    """Raise ValueError for a surrogate without its other half, which no file and no report can hold."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half of a character, a surrogate without its other half") from None


def _too_deep() -> str:
    remedy = "" if large_allowed() else f"; {ALLOW_LARGE} allows {NESTING.large}"
    return f"it is nested deeper than {NESTING.most} levels{remedy}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names a key twice")
    return found
