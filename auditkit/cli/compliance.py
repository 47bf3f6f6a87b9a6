"""Commands for whoever must trust a report: comply, verify, seal, replay, compare, index."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from auditkit.errors import InputError


def comply(
    results: Annotated[
        Path | None, typer.Argument(help="A results.json; not needed with --init-facts.", show_default=False)
    ] = None,
    framework: Annotated[
        list[str] | None,
        typer.Option(
            help="eu-ai-act, nist-ai-rmf, iso-42001, nyc-ll144, nist-800-226, ai-verify or china-genai; repeatable.",
            show_default=False,
        ),
    ] = None,
    facts: Annotated[
        Path | None, typer.Option(help="What only people can state (facts.toml).", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where the tables go.", show_default="beside results.json"),
    ] = None,
    init_facts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a commented facts.toml to fill, and end.")
    ] = None,
) -> None:
    """Write tables of clause and evidence, as HTML, Markdown and CSV; they never say that a law is complied with."""
    from auditkit.compliance.assess import assess
    from auditkit.compliance.facts import Facts, facts_template, read_facts
    from auditkit.compliance.framework import FRAMEWORKS, load_framework
    from auditkit.evidence.report import read_report
    from auditkit.output import output_folder, write_files, write_new
    from auditkit.render.comply import render_comply, summary

    if init_facts is not None:
        write_new(init_facts, facts_template())
        typer.echo(f"{init_facts}: fill what you can answer for, then pass --facts {init_facts}")
        return
    if results is None:
        raise InputError("which report? Pass a results.json.")
    if not framework:
        raise InputError(f"--framework must name one of {', '.join(FRAMEWORKS)}.")
    report, stated = read_report(results), Facts() if facts is None else read_facts(facts)
    folder = out or results.parent
    beside = Path(os.path.relpath(results.resolve().parent, folder.resolve())).as_posix()
    files: dict[str, str] = {}
    for name in framework:
        assessment = assess(report, load_framework(name), stated)
        files |= render_comply(report, assessment, beside="" if beside == "." else f"{beside}/")
        typer.echo(f"{name}: {summary(assessment)}")
    with output_folder(folder) as place:
        write_files(place, files)
    for file in files:
        typer.echo(folder / file)
