"""What only people can state about a system: facts.toml, its template, and which answers are still missing."""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import Field

from auditkit.documents import parse_toml
from auditkit.errors import InputError, closest
from auditkit.evidence.measurement import Record
from auditkit.evidence.messages import Message
from auditkit.files import read_bytes

BLANKS = {"", "todo", "tbd", "tba", "?", "-", "n/a"}
"""Answers that are none."""

YES_OR_NO = ("high_risk_system", "general_purpose_model", "china_public_service", "ll144_employment_decision")
"""The questions on which it turns whether a text applies: an answer is yes or no."""

UNKNOWN, LEFT_OUT = "ll144_unknown", "ll144_left_out"


class Facts(Record):
    """The answers of a facts.toml that are not blank; of Local Law 144, the values that mean
    `unknown`, and the categories that are `left_out`, each with a value a column.
    """

    source: str | None = None
    sha256: str | None = None
    answers: dict[str, str] = Field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    left_out: tuple[tuple[str, ...], ...] = ()

    def answer(self, key: str) -> str | None:
        """Return the answer to `key`, or None where nobody gave one."""
        return self.answers.get(key)


def facts_template() -> str:
    """Return the commented facts.toml to fill."""
    return resources.files("auditkit.compliance").joinpath("facts.toml").read_text(encoding="utf-8")


@cache
def known_facts() -> tuple[str, ...]:
    """Return the keys that a facts.toml may hold, in the template's order."""
    return tuple(parse_toml(facts_template()))


def words(key: str) -> Message:
    """Return the words of a key: `intended_purpose` becomes `Intended purpose`."""
    text = key.replace("_", " ").replace("ll144", "LL144")
    return Message(text[:1].upper() + text[1:])


def read_facts(path: str | Path) -> Facts:
    """Read a facts.toml.

    Raises:
        InputError: the file is missing, is not TOML, holds an unknown key, an answer of the wrong kind, or neither
            yes nor no where that is asked.
    """
    content = read_bytes(path, f"facts {path}", remedy="'auditkit comply --init-facts' writes one to fill")
    try:
        document = parse_toml(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"facts {path}: not UTF-8 text at byte {error.start}; save it as UTF-8.") from error
    except ValueError as error:
        raise InputError(f"facts {path}: not valid TOML: {error}.") from error
    answers: dict[str, str] = {}
    lists: dict[str, list[str | list[str]]] = {}
    for key, value in document.items():
        if key not in known_facts():
            raise InputError(
                f"facts {path}: unknown key '{key}'{closest(key, known_facts())}; "
                "'auditkit comply --init-facts' writes a file with every key."
            )
        if key in (UNKNOWN, LEFT_OUT):
            if not isinstance(value, list) or not all(_names_category(item, key) for item in value):
                more = ', or ["Other", ["Female", "Other"]] with an intersection' if key == LEFT_OUT else ""
                raise InputError(
                    f'facts {path}: {key} must be a list of texts, such as ["Other"]{more}, got {value!r}.'
                )
            lists[key] = value
            continue
        text = _stated(value, key, path)
        if text is not None:
            answers[key] = text
    return Facts(
        source=str(path),
        sha256=hashlib.sha256(content).hexdigest(),
        answers=answers,
        unknown=tuple(item for item in lists.get(UNKNOWN, ()) if isinstance(item, str)),
        left_out=tuple((item,) if isinstance(item, str) else tuple(item) for item in lists.get(LEFT_OUT, ())),
    )


def _stated(value: object, key: str, path: str | Path) -> str | None:
    """Return an answer as text, None where it is blank.

    Raises:
        InputError: it is neither text nor a date, or neither yes nor no where that is asked.
    """
    text = value.isoformat() if isinstance(value, date | datetime) else value
    if not isinstance(text, str):
        kind = '"yes" or "no"' if key in YES_OR_NO else "text or a date"
        raise InputError(f"facts {path}: {key} must be {kind}, got {value!r}.")
    if text.strip().lower() in BLANKS:
        return None
    if key in YES_OR_NO and plain_answer(text) is None:
        raise InputError(
            f'facts {path}: {key} must be "yes" or "no", got {text!r}; leave it empty where that is not decided.'
        )
    return text.strip()


def plain_answer(text: str | None) -> Literal["yes", "no"] | None:
    """Return yes or no where a text is that word alone, with or without a full stop; None for any other text.

    >>> plain_answer("No."), plain_answer("not yet")
    ('no', None)
    """
    word = (text or "").strip().removesuffix(".").lower()
    return "yes" if word == "yes" else "no" if word == "no" else None


def _names_category(item: object, key: str) -> bool:
    several = key == LEFT_OUT and isinstance(item, list) and len(item) > 0 and all(isinstance(one, str) for one in item)
    return isinstance(item, str) or several
