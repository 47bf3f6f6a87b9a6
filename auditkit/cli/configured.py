"""Commands whose options are generated from a request: name, type, help, heading and default of each field.

The request is imported when such a command is called or asked for its help, so that `auditkit --help` stays quick.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from auditkit.config import Section, Setting
    from auditkit.config_sources import Resolved

SOURCES = {
    "set_": "Any setting of any auditor, such as leakage.shadows=4; 'auditkit auditors' lists them; repeatable.",
    "config": "Read the request from this file.",
}


def configured(
    command: Callable[[Resolved], None], *, model: bool = False, dataset: bool = False
) -> type[TyperCommand]:
    """Return a class of commands that take the options of an audit and call `command` with what they state.

    `model` and `dataset` say which of the two must be named.
    """

    class Configured(TyperCommand):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **more)
            del self.params  # generated when they are first asked for

        @cached_property
        def params(self) -> list[Any]:  # type: ignore[override]  # a list that is made late
            return _parameters(_audit_config(), more=SOURCES)

        def get_params(self, ctx: Any) -> list[Any]:
            return [*self.params, self.get_help_option(ctx)]

        def format_options(self, ctx: Any, formatter: Any) -> None:
            write_options(self, ctx, formatter, _audit_config())

        def invoke(self, ctx: Any) -> Any:
            from auditkit.config_sources import resolve

            stated = given(ctx, _audit_config())
            resolved = resolve(stated, settings=ctx.params["set_"] or (), file=ctx.params["config"])
            for needed, value, option in (
                (model, resolved.config.model.model, "argument 'model'"),
                (dataset, resolved.config.data.dataset, "option '--dataset'"),
            ):
                if needed and value is None:
                    ctx.fail(f"Missing {option}.")
            return ctx.invoke(command, resolved)

    return Configured


def _audit_config() -> type[Section]:
    from auditkit.config import AuditConfig

    return AuditConfig


def _parameters(request: type[Section], *, more: Mapping[str, str]) -> list[Any]:
    """Return the parameters of a command: one for each field of a request, and those that name its sources."""
    from auditkit.config import settings_of

    written = [_parameter(setting) for setting in settings_of(request).values()]
    kinds: dict[str, Any] = {
        "set_": Annotated[
            list[str] | None,
            typer.Option("--set", metavar="AUDITOR.SETTING=VALUE", help=more.get("set_"), show_default=False),
        ],
        "config": Annotated[
            Path | None,
            typer.Option(metavar="FILE", help=more.get("config"), show_default="auditkit.toml, pyproject.toml"),
        ],
    }
    written += [inspect.Parameter(name, _KEYWORD, default=None, annotation=kinds[name]) for name in more]

    def declared(**_: Any) -> None: ...

    declared.__signature__ = inspect.Signature(written)  # type: ignore[attr-defined]  # typer reads it
    declared.__annotations__ = {parameter.name: parameter.annotation for parameter in written}
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(declared)
    return list(typer.main.get_command(app).params)


_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def _parameter(setting: Setting) -> inspect.Parameter:
    option, kind = setting.option, _kind(setting)
    words = option.help if not setting.repeatable else f"{option.help.rstrip('.')}; repeatable."
    if setting.name == "model":
        named = typer.Argument(help=words, show_default=False)
        return inspect.Parameter(setting.name, _KEYWORD, default=None, annotation=Annotated[kind, named])
    value = setting.field.default
    default = value if isinstance(value, int | float | str) else None
    several = value if isinstance(value, tuple) else ()
    listed = ", ".join(f"{one:g}" if isinstance(one, float) else str(one) for one in several)
    spelled = f"--{setting.name.replace('_', '-')}"
    switch = kind == (bool | None)
    info = typer.Option(
        f"{spelled}/--no-{spelled[2:]}" if switch else spelled,
        metavar=option.metavar,
        help=words,
        show_default=option.default or listed or (default is not None and not switch),
        min=_bound(setting, "ge"),
        max=_bound(setting, "le"),
    )
    return inspect.Parameter(setting.name, _KEYWORD, default=default, annotation=Annotated[kind, info])


def _bound(setting: Setting, end: str) -> Any:
    return next((getattr(part, end) for part in setting.field.metadata if hasattr(part, end)), None)


def _kind(setting: Setting) -> Any:
    """Return the type of an option; None stands for one that is not given."""
    if setting.repeatable:
        return list[setting.item or str] | None  # type: ignore[misc]  # a type made at run time
    if setting.is_path:
        return Path | None
    kind = setting.types[0]
    simple = kind in (bool, int, float) or get_origin(kind) is Literal
    return kind | None if simple else str | None


def given(ctx: Any, request: type[Section]) -> dict[str, Any]:
    """Return the options that a command line states, by name."""
    from auditkit.config import settings_of
    from auditkit.config_sources import parse_pairs, parse_text

    stated: dict[str, Any] = {}
    for name, setting in settings_of(request).items():
        if ctx.get_parameter_source(name).name != "COMMANDLINE":
            continue
        value = ctx.params[name]
        if dict[str, str] in setting.types:
            stated[name] = parse_pairs(setting, value)
        elif isinstance(value, str):
            stated[name] = parse_text(setting, value)
        else:
            stated[name] = value
    return stated


def write_options(command: Any, ctx: Any, formatter: Any, request: type[Section]) -> None:
    """Write the help of a command's options under the headings of its request's sections."""
    from auditkit.config import settings_of

    headings = {name: setting.heading for name, setting in settings_of(request).items()} | {"set_": "Auditors"}
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": []}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        heading = (
            "Arguments" if parameter.param_type_name == "argument" else headings.get(parameter.name, "Configuration")
        )
        if record is not None:
            sections.setdefault(heading, []).append(record)
    for heading, records in sections.items():
        if records:
            with formatter.section(heading):
                formatter.write_dl(records)
