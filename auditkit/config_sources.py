"""Where the parts of a request come from: the command line, AUDITKIT_ variables, auditkit.toml, pyproject.toml.

The first of these that states a value decides. Every value keeps its origin, so that a message and `auditkit config`
can say where it was stated. The variables are named like the options (`AUDITKIT_SEED`), and every key of the file is
checked with its line; pydantic-settings, which does neither, would add 70 ms to each start.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditkit.config import AuditConfig, AuditorSection, read_config
from auditkit.config_options import Section
from auditkit.config_settings import Place, Setting, put, requirement, settings_of, unknown_key
from auditkit.documents import parse_json, parse_toml
from auditkit.errors import InputError, closest
from auditkit.files import read_text

FILE = "auditkit.toml"
PYPROJECT = "pyproject.toml"
PREFIX = "AUDITKIT_"
OTHER_VARIABLES = ("AUDITKIT_RESULTS", "AUDITKIT_PACKAGE", "AUDITKIT_CONFIG")
"""Variables that are no option: what the GitLab template of `auditkit gate` reads, and the configuration file."""
COMMAND_LINE = "command line"
DEFAULT = "default"

Origins = Mapping[Place, str]


@dataclass(frozen=True)
class Resolved:
    """A request, and where each stated value comes from; `file` is the configuration file that was read."""

    config: AuditConfig
    origins: Origins
    file: Path | None = None

    def origin(self, place: Place) -> str:
        """Return where the value at a place comes from; for a table, its first value."""
        parts = [place[:end] for end in range(len(place), 0, -1)]
        parts += [one for one in self.origins if one[: len(place)] == place]
        return next((self.origins[part] for part in parts if part in self.origins), DEFAULT)


def resolve(
    options: Mapping[str, Any] | None = None,
    *,
    settings: Sequence[str] = (),
    file: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Resolved:
    """Return the request of a command line: `options` by name, `settings` as `auditor.setting=value`.

    `file` is the configuration file; by default `auditkit.toml` of this folder, or the table `[tool.auditkit]` of its
    pyproject.toml. `environment` is that of the process by default.

    Raises:
        InputError: a source cannot be read, states an unknown key, or a value of another type.
    """
    variables = os.environ if environment is None else environment
    document: dict[str, Any] = {}
    origins: dict[Place, str] = {}
    chosen = _file(file or variables.get("AUDITKIT_CONFIG") or None)
    # From the weakest source to the strongest, so that each replaces what it states again.
    sources = [_from_file(chosen)] if chosen is not None else []
    sources += [_from_environment(variables), _from_settings(settings), _from_options(options or {})]
    for source in sources:
        for place, value, origin in source:
            put(document, place, value)
            origins[place] = origin
    return Resolved(read_config(document, origins), origins, chosen)


Stated = Iterator[tuple[Place, Any, str]]
"""What one source states: places, values, and where exactly."""


def _from_options(options: Mapping[str, Any]) -> Stated:
    known = settings_of(AuditConfig)
    for name, value in options.items():
        yield known[name].place, value, COMMAND_LINE


def _from_settings(texts: Sequence[str]) -> Stated:
    for text in texts:
        name, sign, value = text.partition("=")
        auditor, dot, setting = name.strip().partition(".")
        if not (sign and dot and auditor and setting):
            raise InputError(f"--set must be AUDITOR.SETTING=VALUE, such as leakage.shadows=4, got {text!r}.")
        yield (
            ("auditors", auditor, setting),
            text_value(AuditConfig, ("auditors", auditor, setting), value),
            COMMAND_LINE,
        )


def _from_environment(variables: Mapping[str, str]) -> Stated:
    known = settings_of(AuditConfig)
    names = {f"{PREFIX}{name.upper()}": setting for name, setting in known.items()}
    for variable in sorted(variables):
        text = variables[variable]
        if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES or not text:
            continue
        auditor, double, key = variable.removeprefix(PREFIX).lower().partition("__")
        if variable in names:
            place = names[variable].place
        elif double:
            place = ("auditors", auditor, key)
        else:
            raise InputError(f"environment: unknown variable {variable}{closest(variable, names)}.")
        yield place, text_value(AuditConfig, place, text), f"environment, {variable}"


def text_value(request: type[Section], place: Place, text: str) -> Any:
    """Return a text as the value at a place: several values are separated by commas, or a JSON list.

    A setting that only its auditor knows stays a text, which the engine reads by the type of the auditor's field.
    """
    setting = next((one for one in settings_of(request).values() if one.place == place), None)
    return text if setting is None else parse_text(setting, text)


def parse_text(setting: Setting, text: str) -> Any:
    """Return what a text states for a setting."""
    kinds = setting.types
    if dict[str, str] in kinds or (dict[str, Any] in kinds and not setting.is_path):
        if text.lstrip().startswith("{"):
            return _json_object(setting, text)
        if dict[str, str] in kinds:
            return parse_pairs(setting, [part for part in text.split(";") if part.strip()])
        return _json_object(setting, text)
    if setting.item is not None:
        if text.lstrip().startswith("["):
            try:
                return parse_json(text)
            except ValueError as error:
                raise InputError(
                    f"{setting.name} must be values separated by commas, or a JSON list: {error}."
                ) from None
        return [part.strip() for part in text.split(",")]
    return text


def _json_object(setting: Setting, text: str) -> dict[str, Any]:
    option = setting.name.replace("_", "-")
    try:
        value = parse_json(text)
    except ValueError as error:
        raise InputError(f"{option} must be a JSON object, such as '{{\"hidden\": 64}}': {error}.") from error
    if not isinstance(value, dict):
        raise InputError(f"{option} must be a JSON object, got {type(value).__name__}.")
    return value


def parse_pairs(setting: Setting, texts: Sequence[str]) -> dict[str, str]:
    """Return what `KEY=VALUE` texts state, by key; a key may hold an equals sign, a value may not.

    Raises:
        InputError: a text has no equals sign, or a key stands twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, sign, value = text.rpartition("=")
        if not sign or not key:
            raise InputError(f"{setting.name} must be {setting.option.metavar}, got {text!r}.")
        if key in found:
            raise InputError(f"{setting.name}: {key!r} is stated twice; state it once.")
        found[key] = value
    return found


def _file(named: str | Path | None) -> Path | None:
    if named is not None:
        return Path(named)
    if Path(FILE).is_file():
        return Path(FILE)
    return Path(PYPROJECT) if Path(PYPROJECT).is_file() and "tool.auditkit" in _text(Path(PYPROJECT)) else None


def _text(path: Path) -> str:
    return read_text(path, f"configuration {path}", remedy="pass --config FILE")


def _from_file(path: Path) -> Stated:
    text = _text(path)
    try:
        document = parse_toml(text)
    except ValueError as error:
        raise InputError(f"configuration {path}: not valid TOML: {error}.") from error
    root: Place = ()
    if path.name == PYPROJECT:
        root = ("tool", "auditkit")
        document = document.get("tool", {}).get("auditkit", {})
    lines = dict(_lines(text))

    def at(place: Place) -> str:
        full = (*root, *place)
        line = next((lines[full[:end]] for end in range(len(full), len(root), -1) if full[:end] in lines), None)
        return f"{path}, line {line}" if line else str(path)

    known = {setting.place: setting for setting in settings_of(AuditConfig).values()}
    for place, value in _leaves(document, AuditConfig, (), at):
        if place in known and not known[place].admits(value):
            raise InputError(
                f"{at(place)}: {known[place].name} must {requirement({'type': ''}, known[place])}, got {value!r}."
            )
        yield place, _beside(value, place, path.parent), at(place)


def _leaves(table: Mapping[str, Any], section: type[Section], place: Place, at: Any) -> Iterator[tuple[Place, Any]]:
    """Yield the values of nested tables, and refuse a table or a key that the request does not have."""
    fields = {field.alias or name: field for name, field in section.model_fields.items()}
    for key, value in table.items():
        here = (*place, key)
        kind = fields[key].annotation if key in fields else None
        nested = kind if isinstance(kind, type) and issubclass(kind, Section) else None
        open_ended = section.model_config.get("extra") == "allow"
        if kind is None and not open_ended:
            raise InputError(f"{at(here)}: {unknown_key(here, AuditConfig)}")
        if nested is not None or (kind is None and place == ("auditors",)):
            if not isinstance(value, dict):
                raise InputError(f"{at(here)}: {'.'.join(here)} must be a table; write [{'.'.join(here)}].")
            yield from _leaves(value, nested or AuditorSection, here, at)
        else:
            yield here, value


def _beside(value: Any, place: Place, folder: Path) -> Any:
    """Return a path of a configuration file as seen from here: a relative one starts at the file's folder."""
    setting = next((one for one in settings_of(AuditConfig).values() if one.place == place), None)
    if setting is None or not isinstance(value, str) or folder == Path():
        return value
    beside = folder / value
    # The name of a profile is a policy too, so a policy is a path only where there is such a file.
    return str(beside) if setting.is_path or (setting.name == "policy" and beside.is_file()) else value


def _lines(text: str) -> Iterator[tuple[Place, int]]:
    r"""Yield the tables and keys of a TOML text with their lines; what stands in a text of several lines may be wrong.

    >>> list(_lines("[data]\nlimit = 5\na.b = 1"))
    [(('data',), 1), (('data', 'limit'), 2), (('data', 'a', 'b'), 3)]
    """
    header: Place = ()
    name = r'(?:[A-Za-z0-9_-]+|"[^"\n]*"|\'[^\'\n]*\')'
    for number, line in enumerate(text.splitlines(), 1):
        table = re.match(rf"\s*\[\[?\s*({name}(?:\s*\.\s*{name})*)\s*\]", line)
        key = re.match(rf"\s*({name}(?:\s*\.\s*{name})*)\s*=", line)
        if table is not None:
            header = _parts(table[1])
            yield header, number
        elif key is not None:
            yield (*header, *_parts(key[1])), number


def _parts(dotted: str) -> Place:
    found = re.findall(r'"([^"]*)"|\'([^\']*)\'|([A-Za-z0-9_-]+)', dotted)
    return tuple(double or single or bare for double, single, bare in found)
