"""The help of a command with many options: its options under headings, in the order of its signature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typer.core import TyperCommand


def in_sections(headings: Mapping[str, str]) -> type[TyperCommand]:
    """Return a class of commands whose options stand under headings; `headings` names the option that each begins at.

    >>> in_sections({"dataset": "Rows", "schema": "Model"}).__name__
    'Sectioned'
    """

    class Sectioned(TyperCommand):
        def format_options(self, ctx: Any, formatter: Any) -> None:
            sections: dict[str, list[tuple[str, str]]] = {"Arguments": []}
            heading = "Options"
            for parameter in self.get_params(ctx):
                heading = headings.get(parameter.name or "", heading)
                record = parameter.get_help_record(ctx)
                if record is not None:
                    argument = parameter.param_type_name == "argument"
                    sections.setdefault("Arguments" if argument else heading, []).append(record)
            for heading, records in sections.items():
                if records:
                    with formatter.section(heading):
                        formatter.write_dl(records)

    return Sectioned
