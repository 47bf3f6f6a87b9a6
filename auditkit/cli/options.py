"""Options and arguments that several commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from auditkit import budgets


class Device(StrEnum):
    """Where the model runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def with_allow_large(command: Callable[..., None]) -> Callable[..., None]:
    """Return the same command with `--allow-large`, which raises the limits of whatever it reads."""
    words = "Raise the limits on what files may describe (rows, classes, ...)."

    @functools.wraps(command)
    def raising(*, allow_large: bool, **options: Any) -> None:
        with budgets.allow_large(allow_large):
            command(**options)

    own = inspect.signature(command, eval_str=True)
    kind = Annotated[bool, typer.Option("--allow-large", help=words)]
    added = inspect.Parameter("allow_large", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
    raising.__signature__ = own.replace(parameters=[*own.parameters.values(), added])  # type: ignore[attr-defined]
    raising.__annotations__ = {name: parameter.annotation for name, parameter in own.parameters.items()}
    raising.__annotations__["allow_large"] = kind
    return raising


def results_of(path: Path | None) -> Path | None:
    """Return the results.json of a run's folder, or the path as it is."""
    return path / "results.json" if path is not None and path.is_dir() else path


Results = Annotated[
    Path, typer.Argument(callback=results_of, help="A results.json, or the folder of its run.", show_default=False)
]
ModelFile = Annotated[Path, typer.Argument(help="A model file.", show_default=False)]
DeviceOption = Annotated[Device, typer.Option(help="Where the model runs.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, metavar="N", help="Seeds every random choice.")]
Encoding = Annotated[str, typer.Option(metavar="NAME", help="Encoding of text files.")]


class Language(StrEnum):
    """The languages of pages; auditkit/render/i18n has a catalogue for each but English."""

    en = "en"
    zh = "zh"


Lang = Annotated[Language, typer.Option("--lang", help="zh: write the page in Simplified Chinese, as NAME.zh.html.")]
