"""The settings of any request: their names and places, how they are read and replaced, and how a wrong one is named."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from auditkit.config_options import Option, Section
from auditkit.errors import InputError, closest

Request = TypeVar("Request", bound=Section)
"""Any description of a request: an audit's, or that of another command (config_commands.py)."""

Place = tuple[str, ...]
"""Where a value stands in the request: its sections, then its key, as in auditkit.toml."""


@dataclass(frozen=True)
class Setting:
    """One field of a request as every interface needs it: names, place, type, help."""

    name: str
    place: Place
    heading: str
    option: Option
    field: FieldInfo

    @property
    def types(self) -> tuple[Any, ...]:
        """The types that a value can have, None left out."""
        kind = self.field.annotation
        parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
        return tuple(part for part in map(_bare, parts) if part is not NoneType)

    @property
    def repeatable(self) -> bool:
        """Whether an option is given once for each value."""
        several = self.item is not None or dict[str, str] in self.types
        return several and not self.option.commas

    @property
    def item(self) -> Any:
        """The type of one of several values; None where a field holds one value, such as a shape."""
        tuples = [part for part in self.types if get_origin(part) is tuple and get_args(part)[-1] is Ellipsis]
        return get_args(tuples[0])[0] if tuples else None

    def admits(self, value: Any) -> bool:
        """Return whether a value of a file, which has types, is no text or boolean where a number is meant."""
        kinds = (self.item,) if self.item is not None else self.types
        if value is None or not set(kinds) <= {int, float, bool}:
            return True
        values = value if isinstance(value, list) else [value]
        return all(type(one) in kinds or (type(one) is int and float in kinds) for one in values)

    @property
    def is_path(self) -> bool:
        """Whether the value names a file or a folder."""
        return Path in self.types


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


@functools.cache
def settings_of(request: type[Section]) -> Mapping[str, Setting]:
    """Return the fields of a request by the names of their options, in the order of the help.

    >>> from auditkit.config import AuditConfig
    >>> settings_of(AuditConfig)["epsilon"].place
    ('auditors', 'privacy', 'epsilon')
    """
    found: dict[str, Setting] = {}
    for setting in _walk(request, ()):
        assert setting.name not in found, f"two settings have the option {setting.name}: give one a name of its own"
        found[setting.name] = setting
    return found


def _walk(section: type[Section], path: Place) -> Iterator[Setting]:
    for name, field in section.model_fields.items():
        key = field.alias or name
        option = next((part for part in field.metadata if isinstance(part, Option)), None)
        if option is not None:
            yield Setting(option.name or key, (*path, key), section.heading, option, field)
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _walk(field.annotation, (*path, key))


def updated(config: Request, options: Mapping[str, Any]) -> Request:
    """Return a request of any kind in which these options, by name, replace those of `config`, as `configured` does.

    Raises:
        InputError: there is no such option, or it cannot have this value.
    """
    request = type(config)
    known = settings_of(request)
    given = {name: value for name, value in options.items() if value is not None}
    if not given:
        return config
    document = config.model_dump(by_alias=True, exclude_unset=True)
    for name, value in given.items():
        if name not in known:
            raise InputError(f"unknown option '{name}'{closest(name, known)}.")
        if isinstance(value, bool) and not known[name].admits(value):
            raise InputError(f"{name} must {requirement({'type': ''}, known[name])}, got {value!r}.")
        put(document, known[name].place, value)
    return read_request(request, document)


def put(document: dict[str, Any], path: Place, value: Any) -> None:
    """Set the value at a path of nested tables."""
    for part in path[:-1]:
        document = document.setdefault(part, {})
    document[path[-1]] = value


def read_request(
    request: type[Request], document: Mapping[str, Any], origins: Mapping[Place, str] | None = None
) -> Request:
    """Return the request of this kind that nested tables state.

    Raises:
        InputError: a key is unknown, or its value is of another type or out of bounds.
    """
    try:
        return request.model_validate(document)
    except ValidationError as error:
        raise InputError(problem(error, request, origins or {})) from error


def problem(error: ValidationError, request: type[Section], origins: Mapping[Place, str]) -> str:
    """Return the first problem of a request in one line: where it comes from, which option, what it must be."""
    first = error.errors()[0]
    location = tuple(str(part) for part in first["loc"])
    origin = next((origins[location[:end]] for end in range(len(location), 0, -1) if location[:end] in origins), None)
    before = "" if origin is None or origin == "command line" else f"{origin}: "
    setting = next((one for one in settings_of(request).values() if one.place == location[: len(one.place)]), None)
    if first["type"] == "extra_forbidden":
        return f"{before}{unknown_key(location, request)}"
    if setting is None:
        return f"{before}{'.'.join(location) or 'the request'}: {_lowered(first['msg'])}, got {first['input']!r}."
    return f"{before}{setting.name} must {requirement(first, setting)}, got {first['input']!r}."


def requirement(error: Mapping[str, Any], setting: Setting) -> str:
    """Return what a value must be, after "must"."""
    bounds = error.get("ctx", {})
    if error["type"] == "value_error":
        return str(bounds["error"])
    choices = [choice for kind in setting.types if get_origin(kind) is Literal for choice in get_args(kind)]
    if choices:
        return f"be one of {', '.join(choices)}" if float not in setting.types else f"be a number or {choices[0]}"
    words = {
        "greater_than_equal": f"be at least {bounds.get('ge')}",
        "less_than_equal": f"be at most {bounds.get('le')}",
        "finite_number": "be a finite number",
    }
    kinds = {int: "be a whole number", float: "be a number", bool: "be true or false", str: "be a text"}
    kind = setting.item or setting.types[0]
    known = words.get(str(error["type"]), kinds.get(kind, "name a file" if setting.is_path else None))
    return known or f"fit: {_lowered(str(error['msg']))}"


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]


def unknown_key(path: Sequence[str], request: type[Section]) -> str:
    """Return that a key is unknown, with the closest one, or the table that it belongs in."""
    *tables, key = path
    section: Any = request
    for table in tables:
        section = section.model_fields[table].annotation
    siblings = [field.alias or name for name, field in section.model_fields.items()]
    elsewhere = settings_of(request).get(key)
    if elsewhere is not None:
        *home, name = elsewhere.place
        return f"unknown key '{key}' in [{'.'.join(tables)}]; write {name} in [{'.'.join(home)}]."
    place = f" in [{'.'.join(tables)}]" if tables else ""
    return f"unknown key '{key}'{place}{closest(key, siblings)}; it takes {', '.join(siblings)}."
