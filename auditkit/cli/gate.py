"""The command that judges a finished report anew: gate. It needs neither the model, nor the data, nor torch."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from auditkit.cli.options import BaselineFile, PolicyFile, Quiet, Results, Strict, WaiversFile
from auditkit.errors import InputError


class Format(StrEnum):
    """What is printed."""

    text = "text"
    github = "github"
    json = "json"


def gate(
    results: Results,
    policy: PolicyFile = None,
    baseline: BaselineFile = None,
    waivers: WaiversFile = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write the judged reports there.", show_default="nothing is written"),
    ] = None,
    to: Annotated[
        str,
        typer.Option(metavar="FORMATS", help="What --out gets besides results.json; 'auditkit render --help' lists."),
    ] = "html,junit,markdown",
    format_: Annotated[
        Format,
        typer.Option("--format", help="Print sentences, GitHub annotations (and the step summary), or results.json."),
    ] = Format.text,
    strict: Strict = False,
    other_baseline: Annotated[
        bool, typer.Option("--other-baseline", help="Under --strict: accept a baseline of another model or data set.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Judge a results.json by a policy: one exit code. Needs neither the model, nor the data, nor torch."""
    from auditkit.evidence.gate import gate as judge

    report = judge(results, policy, baseline=baseline, waivers=waivers, strict=strict, other_baseline=other_baseline)
    if out is not None:
        from auditkit.evidence.integrity import sealed
        from auditkit.render import render
        from auditkit.run_folder import output_folder, replace_run, write_files

        if (out / "results.json").resolve() == results.resolve():
            raise InputError(f"--out {out} would overwrite {results}, the record of the audit; name another folder.")
        files = render(report, [name.strip() for name in to.split(",")])
        with output_folder(out) as folder:
            replace_run(folder, report.run_id)
            write_files(folder, sealed({"results.json": report.to_json(), **files}, run_id=report.run_id))
    if format_ is Format.json:
        sys.stdout.write(report.to_json())
    elif format_ is Format.github:
        from auditkit.render.exports.github import render_annotations
        from auditkit.render.exports.markdown import render_markdown

        sys.stdout.write(render_annotations(report))
        _add_step_summary(render_markdown(report))
    elif not quiet:
        from auditkit import terminal

        terminal.conclude_gate(report)
    raise typer.Exit(report.exit_code)


def _add_step_summary(text: str) -> None:
    """Append to the page that GitHub shows for the job, where GitHub says which file that is."""
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with open(summary, "a", encoding="utf-8") as file:
            file.write(text)
