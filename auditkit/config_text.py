"""A request as the text of an auditkit.toml: what it states and where from, or a file to fill."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from auditkit.config import AuditConfig
from auditkit.config_options import Section
from auditkit.config_settings import Place, Setting, settings_of
from auditkit.config_sources import Resolved


def describe(resolved: Resolved) -> str:
    """Return a request as the text of an auditkit.toml, each value with where it comes from; unset ones as comments."""
    lines: list[str] = []
    table: Place = ()
    for setting in settings_of(AuditConfig).values():
        *home, key = setting.place
        if tuple(home) != table:
            lines += [*_other_settings(resolved, table), "", f"[{'.'.join(home)}]"]
            table = tuple(home)
        value: Any = resolved.config
        for part in home:
            value = getattr(value, part)
        value = getattr(value, field_name(type(value), key))
        stated = f"# {key} is not set" if value is None else f"{key} = {toml_value(value)}"
        origin = resolved.origin(setting.place)
        lines.append(stated if value is None else f"{stated:<44}  # {origin}")
    known = {setting.place[1] for setting in settings_of(AuditConfig).values() if setting.place[0] == "auditors"}
    lines += _other_settings(resolved, table)
    for name in resolved.config.auditors.names:
        if name not in known:
            lines += ["", f"[auditors.{name}]", *_other_settings(resolved, ("auditors", name))]
    return "\n".join(lines).strip()


def _other_settings(resolved: Resolved, table: Place) -> list[str]:
    """Return the lines of an auditor's settings that have no option of their own."""
    if table[:1] != ("auditors",):
        return []
    own = {setting.place for setting in settings_of(AuditConfig).values()}
    given = resolved.config.auditors.given(table[1])
    return [
        f"{f'{name} = {toml_value(value)}':<44}  # {resolved.origin((*table, name))}"
        for name, value in given.items()
        if (*table, name) not in own
    ]


def field_name(section: type[Section], key: str) -> str:
    """Return the name in Python of the field that a key of the file states."""
    return next(name for name, field in section.model_fields.items() if (field.alias or name) == key)


def toml_value(value: Any) -> str:
    """Return a value as TOML writes it.

    >>> toml_value({"age": "25,45"}), toml_value((3.0, 8.0)), toml_value(True)
    ('{"age" = "25,45"}', '[3.0, 8.0]', 'true')
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {toml_value(one)}" for key, one in value.items()) + "}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(toml_value(one) for one in value)}]"
    return json.dumps(str(value) if isinstance(value, Path) else value)


HEADER = """\
# The request of `auditkit run` and `auditkit inspect`. The command line and AUDITKIT_ variables outrank this file;
# `auditkit config` prints what results. To set an option, take the comment sign off and change the value.
"""


def template(values: Mapping[str, Any]) -> str:
    """Return a whole auditkit.toml with the help of every option; only the options of `values`, by name, are set."""
    lines = [HEADER]
    table: list[str] = []
    for setting in settings_of(AuditConfig).values():
        *home, key = setting.place
        if home != table:
            lines += ["", f"[{'.'.join(home)}]"]
            table = home
        default = setting.option.default or ("" if setting.field.default in (None, (), False) else "as below")
        help_text = setting.option.help
        stop = "" if help_text.endswith(".") else "."
        lines.append(f"# {help_text}{stop}{f' Default: {default}.' if default else ''}")
        if setting.name in values:
            lines.append(f"{key} = {toml_value(values[setting.name])}")
        else:
            lines.append(f"# {key} = {_sample(setting)}")
    return "\n".join(lines).replace(HEADER + "\n\n", HEADER + "\n") + "\n"


def _sample(setting: Setting) -> str:
    """Return what a setting may look like: its default, or its metavar as a value of its type."""
    default, metavar = setting.field.default, setting.option.metavar or "VALUE"
    if default not in (None, ()):
        return toml_value(default)
    if dict[str, str] in setting.types:
        key, _, value = metavar.partition("=")
        return f"{{{key} = {json.dumps(value)}}}"
    if dict[str, Any] in setting.types and not setting.is_path:
        return "{hidden = 64}"
    kind = setting.types[0]
    if setting.item is not None:
        return f"[{json.dumps(metavar)}]"
    if get_origin(kind) is Literal:
        return " or ".join(json.dumps(choice) for choice in get_args(kind))
    return metavar if kind in (int, float) else json.dumps(metavar)
