"""TOML files that hold tables: an array of them (policies, waivers), whose errors name the line, or tables by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from auditkit import files
from auditkit.budgets import TABLES
from auditkit.documents import parse_toml
from auditkit.errors import InputError, PolicyError, closest
from auditkit.evidence.measurement import Record, first_problem

Row = TypeVar("Row", bound=Record)


def read_text(path: str | Path, what: str, remedy: str) -> str:
    """Return the text of the file `path`; `what` names it in messages.

    Raises:
        PolicyError: the file is missing or is not UTF-8 text.
    """
    return files.read_text(path, f"{what} {path}", remedy=remedy, error=PolicyError)


def parse_tables(
    text: str, record: type[Row], *, what: str, key: str, source: str, other_keys: tuple[str, ...] = ()
) -> tuple[dict[str, Any], tuple[Row, ...]]:
    """Return the TOML document `text`, and its [[`key`]] tables as records with their `line`.

    Raises:
        PolicyError: `text` is not TOML, holds an unknown key, or a table is wrong; the message names the line.
    """
    try:
        document = parse_toml(text)
    except ValueError as error:
        raise PolicyError(f"{what} {source}: not valid TOML: {error}.") from error
    unknown = sorted(set(document) - {key, *other_keys})
    if unknown:
        line = next((number for number, content in enumerate(text.splitlines(), 1) if unknown[0] in content), 1)
        holds = " and ".join([*(f"'{name}'" for name in other_keys), f"[[{key}]] tables"])
        raise PolicyError(
            f"{what} {source}, line {line}: unknown key '{unknown[0]}'{closest(unknown[0], (*other_keys, key))}; "
            f"it holds {holds}."
        )
    tables = document.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise PolicyError(f"{what} {source}: '{key}' must be an array of tables; write [[{key}]] above each.")
    TABLES.check(len(tables), f"{what} {source}", PolicyError)
    lines = list(_table_lines(text, key))
    rows = tuple(
        _parse(table, record, lines[index] if len(lines) == len(tables) else None, text, what, key, source)
        for index, table in enumerate(tables)
    )
    return document, rows


def _table_lines(text: str, key: str) -> Iterator[int]:
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(rf"\s*\[\[\s*{key}\s*\]\]", line):
            yield number


def _parse(
    table: dict[str, Any], record: type[Row], line: int | None, text: str, what: str, kind: str, source: str
) -> Row:
    try:
        if "line" in table:  # auditkit's own: where the table stands
            raise PolicyError(f"{what} {source}, line {line}: unknown key 'line'; a {kind} has none.")
        return record.model_validate({**table, "line": line})
    except ValidationError as error:
        # A misspelt key is the cause of the missing one, so it is told first.
        first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        key = str(first["loc"][0]) if first["loc"] else ""
        at = f", line {_key_line(text, line, key)}" if line else ""
        if first["type"] == "extra_forbidden":
            known = sorted(set(record.model_fields) - {"line"})
            problem = f"unknown key '{key}'{_meant(key, known)}; a {kind} takes {', '.join(known)}."
        elif first["type"] == "missing":
            needed = [name for name, field in record.model_fields.items() if field.is_required()]
            problem = f"the {kind} has no '{key}'; every {kind} gives {', '.join(needed)}."
        else:
            got = f", got {first['input']!r}" if key else ""
            message = first["msg"].removeprefix("Value error, ")
            problem = f"{key + ': ' if key else ''}{message[0].lower()}{message[1:]}{got}."
        raise PolicyError(f"{what} {source}{at}: {problem}") from error


OTHER_WORDS = {"reason": ("statement", "rationale"), "justification": ("statement", "rationale"), "until": ("expires",)}
"""Words that people write for a key that is spelt quite differently."""


def _meant(key: str, known: list[str]) -> str:
    """Return the question whether another key was meant, by its sense or by its spelling.

    >>> _meant("reason", ["regression", "statement"]), _meant("expire", ["expires"])
    (" (did you mean 'statement'?)", " (did you mean 'expires'?)")
    """
    sense = next((word for word in OTHER_WORDS.get(key, ()) if word in known), None)
    return closest(key, known) if sense is None else f" (did you mean '{sense}'?)"


def _key_line(text: str, header: int, key: str) -> int:
    lines = text.splitlines()
    for number in range(header + 1, len(lines) + 1):
        content = lines[number - 1]
        if content.lstrip().startswith("["):
            break
        if key and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", content):
            return number
    return header


def read_named_tables(path: str | Path, record: type[Row], what: str) -> dict[str, Any]:
    """Return the TOML document of a file whose tables, each under a name of its own, are records of one kind.

    Raises:
        InputError: the file is missing, is not TOML, or a table is wrong; `what` names the file in messages.
    """
    text = files.read_text(path, f"{what} {path}")
    try:
        document = parse_toml(text)
    except ValueError as error:
        raise InputError(f"{what} {path}: not valid TOML: {error}.") from error
    named_records(document, record, what)
    return document


def named_records(document: Mapping[str, Any], record: type[Row], what: str) -> dict[str, Row]:
    """Return the tables of a document as records, by name.

    Raises:
        InputError: a table is wrong; the message names it.
    """
    checked = {}
    for name, table in document.items():
        try:
            checked[name] = record.model_validate(table)
        except ValidationError as error:
            place, problem = first_problem(error)
            raise InputError(f"{what} [{name}]: {place + ': ' if place else ''}{problem}.") from error
    return checked
