"""Settings of auditors, checked against the fields of the auditor's dataclass, a plug-in's too."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from numbers import Real
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import PydanticSchemaGenerationError, PydanticUndefinedAnnotation, TypeAdapter, ValidationError

from auditkit.config import AuditConfig, AuditorsConfig
from auditkit.config_sources import COMMAND_LINE, Resolved
from auditkit.documents import parse_toml
from auditkit.engine.auditor import installed
from auditkit.errors import InputError, closest

SHARED = ("intersections",)
"""Options of the groups that are settings of several auditors."""


def auditor_settings(name: str, kind: type, config: AuditConfig) -> dict[str, Any]:
    """Return the settings that a request states for an auditor, each as the type of its field.

    Raises:
        InputError: the auditor has no such setting, or its value is of another type.
    """
    names = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    shared = {option: getattr(config.groups, option) for option in SHARED if option in names}
    given = config.auditors.given(name)
    return shared | {setting: typed(name, kind, setting, value) for setting, value in given.items()}


def typed(auditor: str, kind: type, setting: str, value: Any, *, words: bool = True) -> Any:
    """Return the value of a setting as the type of the auditor's field; with `words`, a text is read as that type.

    Raises:
        InputError: the auditor has no such setting, or the value does not fit.
    """
    names = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    if setting not in names:
        takes = f"its settings are {', '.join(names)}" if names else "it has none"
        raise InputError(f"unknown setting '{auditor}.{setting}'{closest(setting, names)}; {takes}.")
    if isinstance(value, str | Path) and (read := getattr(kind, "read_from_file", {}).get(setting)) is not None:
        return read(value)
    if isinstance(value, Path):
        value = str(value)
    try:
        hint = get_type_hints(kind).get(setting, Any)
        adapter: TypeAdapter[Any] = TypeAdapter(hint)
    except (NameError, TypeError, PydanticSchemaGenerationError, PydanticUndefinedAnnotation):
        return value  # a plug-in's own type: its auditor checks the value
    for reading in _readings(value) if _is_of_its_kind(value, hint, words=words) else ():
        try:
            return adapter.validate_python(reading)
        except ValidationError:
            continue
    raise InputError(f"{auditor}.{setting} must be {_words(hint)}, got {value!r}.")


def _is_of_its_kind(value: Any, hint: Any, *, words: bool) -> bool:
    """Return whether no boolean, and without `words` no text, stands for a number, and no number for a boolean."""
    kinds = {kind for kind in get_args(hint) or (hint,) if kind is not NoneType}
    if not kinds <= {int, float, bool} or value is None or (words and isinstance(value, str)):
        return True
    return type(value) in kinds or (isinstance(value, Real) and not isinstance(value, bool) and kinds != {bool})


def _readings(value: Any) -> Iterator[Any]:
    """Yield a value, and what a text can state besides itself: several values, or a value as TOML writes it."""
    yield value
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            yield parse_toml(f"value = {value}")["value"]
        yield [part.strip() for part in value.split(",")]


def _words(hint: Any) -> str:
    known = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    if hint in known:
        return known[hint]
    if get_origin(hint) is None:
        return getattr(hint, "__name__", str(hint))
    return str(hint).replace("typing.", "").replace("collections.abc.", "")


def check_settings(resolved: Resolved) -> None:
    """Check every setting of an auditor that a request states, and say where a wrong one comes from.

    Raises:
        InputError: no such auditor is installed, it has no such setting, or the value is of another type.
    """
    points = installed()
    for name in resolved.config.auditors.names:
        origin = _before(resolved.origin(("auditors", name)))
        if name not in points:
            raise InputError(f"{origin}{unknown_auditor(name, points)}")
        if not set(resolved.config.auditors.given(name)) - set(_declared(name)):
            continue  # these have been read as the types of the request, and the auditor need not be loaded
        kind = _load(name)
        if kind is None:
            continue
        for setting, value in resolved.config.auditors.given(name).items():
            origin = resolved.origin(("auditors", name, setting))
            try:
                typed(name, kind, setting, value, words=origin == COMMAND_LINE or origin.startswith("environment"))
            except InputError as error:
                raise InputError(f"{_before(origin)}{error}") from None


def unknown_auditor(name: str, points: Mapping[str, Any]) -> str:
    """Return that no auditor of a name is installed."""
    return f"unknown auditor '{name}'{closest(name, points)}; installed are {', '.join(points)}."


def _declared(name: str) -> list[str]:
    section = getattr(AuditorsConfig(), name, None) if name in AuditorsConfig.model_fields else None
    return [] if section is None else list(type(section).model_fields)


def _load(name: str) -> type | None:
    """Return the class of an installed auditor; None for one that does not load, which the audit reports."""
    try:
        point = installed()[name]
        if not point.value.startswith("auditkit."):
            return None  # a process of its own loads it, and refuses a setting there
        kind = point.load()
    except (Exception, SystemExit):  # noqa: BLE001  # a plug-in's import may raise anything
        return None
    return kind if isinstance(kind, type) else None


def _before(origin: str) -> str:
    return "" if origin in (COMMAND_LINE, "default") else f"{origin}: "
