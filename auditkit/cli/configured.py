"""Commands whose options are generated from a request: name, type, help, heading and default of each field.

The request is imported when such a command is called or asked for its help, so that `auditkit --help` stays quick.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_origin

import typer
from typer.core import TyperCommand

from auditkit.budgets import allow_large

if TYPE_CHECKING:
    from auditkit.config import AuditConfig
    from auditkit.config_options import Section
    from auditkit.config_settings import Setting
    from auditkit.config_sources import Resolved

SOURCES = {
    "set_": "Any setting of any auditor, such as leakage.shadows=4; 'auditkit auditors' lists them; repeatable.",
    "config": "Read the request from this file.",
}


class Generated(TyperCommand):
    """A command whose options are the fields of a request, made when they are first asked for."""

    needs: ClassVar[tuple[str, ...]] = ()
    """The options that a command line must state."""
    sources: ClassVar[Mapping[str, str]] = {}
    """Options besides those of the request: where else it is stated."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        """Leave the parameters to be generated."""
        super().__init__(*arguments, **more)
        del self.params

    @staticmethod
    def request() -> type[Section]:
        """Return the description of the request, imported late."""
        raise NotImplementedError

    def call(self, ctx: Any, stated: dict[str, Any]) -> Any:
        """Call the command with what the command line states."""
        raise NotImplementedError

    @cached_property
    def params(self) -> list[Any]:  # type: ignore[override]  # a list that is made late
        """The parameters, which Typer makes of the request."""
        return _parameters(self.request(), needs=self.needs, more=self.sources)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters and --help."""
        return [*self.params, self.get_help_option(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options under the headings of the request."""
        write_options(self, ctx, formatter, self.request())

    def invoke(self, ctx: Any) -> Any:
        """Call the command."""
        return self.call(ctx, given(ctx, self.request()))


def generated(command: Callable[[Any], None], request: str, *, needs: Sequence[str] = ()) -> type[TyperCommand]:
    """Return a class of commands that call `command` with the request of this name in auditkit.config_commands.

    `needs` are the options that must be stated.
    """

    class FromRequest(Generated):
        @staticmethod
        def request() -> type[Section]:
            from auditkit import config_commands

            described: type[Section] = getattr(config_commands, request)
            return described

        def call(self, ctx: Any, stated: dict[str, Any]) -> Any:
            from auditkit.config_settings import updated

            with allow_large(bool(stated.get("allow_large"))):
                return ctx.invoke(command, updated(self.request()(), stated))

    FromRequest.needs = tuple(needs)
    return FromRequest


def configured(
    command: Callable[[Resolved], None], *, model: bool = False, dataset: bool = False
) -> type[TyperCommand]:
    """Return a class of commands that take the options of an audit and call `command` with what all sources state.

    `model` and `dataset` say which of the two must be named, by any source.
    """

    class Configured(Generated):
        sources = SOURCES

        @staticmethod
        def request() -> type[Section]:
            from auditkit.config import AuditConfig

            return AuditConfig

        def call(self, ctx: Any, stated: dict[str, Any]) -> Any:
            from auditkit.config_sources import resolve

            resolved = resolve(stated, settings=ctx.params["set_"] or (), file=ctx.params["config"])
            for needed, value, option in (
                (model, resolved.config.model.model, "argument 'model'"),
                (dataset, _rows_of(resolved.config), "option '--dataset'"),
            ):
                if needed and value is None:
                    ctx.fail(f"Missing {option}.")
            with allow_large(resolved.config.run.allow_large):
                return ctx.invoke(command, resolved)

    return Configured


def _rows_of(config: AuditConfig) -> Path | None:
    """Return the data set that is named, or the model where it brings rows of its own; None where no rows are."""
    if config.data.dataset is not None or config.model.model is None:
        return config.data.dataset
    from auditkit.models.formats.opening import brings_rows

    return config.model.model if brings_rows(config.model.model) else None


def _parameters(request: type[Section], *, needs: Sequence[str], more: Mapping[str, str]) -> list[Any]:
    """Return the parameters of a command: one for each field of a request, and those that name its sources."""
    from auditkit.config_settings import settings_of

    written = [_parameter(setting, needed=setting.name in needs) for setting in settings_of(request).values()]
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


def _parameter(setting: Setting, *, needed: bool) -> inspect.Parameter:
    option, kind = setting.option, _kind(setting)
    words = option.help if not setting.repeatable else f"{option.help.rstrip('.')}; repeatable."
    if option.argument:
        named = typer.Argument(help=words, show_default=False)
        return _declared(setting, kind, named, needed=needed)
    value = setting.field.default
    default = value if isinstance(value, int | float | str) else None
    several = value if isinstance(value, tuple) else ()
    listed = ", ".join(f"{one:g}" if isinstance(one, float) else str(one) for one in several)
    spelled = [f"--{name.replace('_', '-')}" for name in (setting.name, option.also) if name]
    switch = kind == (bool | None)
    if switch:
        spelled = [f"{spelled[0]}/--no-{spelled[0][2:]}"]
    info = typer.Option(
        *spelled,
        metavar=option.metavar,
        help=words,
        show_default=not needed and (option.default or listed or (default is not None and not switch)),
        min=_bound(setting, "ge"),
        max=_bound(setting, "le"),
    )
    return _declared(setting, kind, info, needed=needed, default=default)


def _declared(setting: Setting, kind: Any, info: Any, *, needed: bool, default: Any = None) -> inspect.Parameter:
    """Return a parameter as Typer reads it: one without a default must be stated."""
    empty = inspect.Parameter.empty
    return inspect.Parameter(
        setting.name, _KEYWORD, default=empty if needed else default, annotation=Annotated[kind, info]
    )


def _bound(setting: Setting, end: str) -> Any:
    return next((getattr(part, end) for part in setting.field.metadata if hasattr(part, end)), None)


def _kind(setting: Setting) -> Any:
    """Return the type of an option; None stands for one that is not given."""
    if setting.repeatable:
        return list[setting.item or str] | None  # type: ignore[misc]  # a type made at run time
    if setting.is_path:
        return Path | None
    if len(setting.types) > 1:
        return str | None  # read by the request
    kind = setting.types[0]
    simple = kind in (bool, int, float) or get_origin(kind) is Literal
    return kind | None if simple else str | None


def given(ctx: Any, request: type[Section]) -> dict[str, Any]:
    """Return the options that a command line states, by name."""
    from auditkit.config_settings import settings_of
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
    from auditkit.config_settings import settings_of

    headings = {name: setting.heading for name, setting in settings_of(request).items()} | {"set_": "Auditors"}
    others = "Configuration" if command.sources else "Options"
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": []}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        heading = "Arguments" if parameter.param_type_name == "argument" else headings.get(parameter.name, others)
        if record is not None:
            sections.setdefault(heading, []).append(record)
    for heading, records in sections.items():
        if records:
            with formatter.section(heading):
                formatter.write_dl(records)
