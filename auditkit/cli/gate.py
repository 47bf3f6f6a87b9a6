"""The command that judges a finished report anew: gate. It needs neither the model, nor the data, nor torch."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from auditkit.cli.options import results_of
from auditkit.errors import InputError

if TYPE_CHECKING:
    from auditkit.config_commands import GateConfig
    from auditkit.evidence.report import Report


def gate(config: GateConfig) -> None:
    """Judge a results.json by a policy: one exit code. Needs neither the model, nor the data, nor torch."""
    from auditkit.evidence.gate import gate as judge

    results = results_of(config.results)
    assert results is not None
    report = judge(
        results,
        config.policy,
        baseline=results_of(config.baseline),
        waivers=config.waivers,
        strict=config.strict,
        other_baseline=config.other_baseline,
    )
    if config.out is not None:
        _write(report, config, results, config.out)
    if config.format == "json":
        sys.stdout.write(report.to_json())
    elif config.format == "github":
        from auditkit.render.exports.github import render_annotations
        from auditkit.render.exports.markdown import render_markdown

        sys.stdout.write(render_annotations(report))
        _add_step_summary(render_markdown(report))
    elif not config.quiet:
        from auditkit import terminal

        terminal.conclude_gate(report)
    raise typer.Exit(report.exit_code)


def _write(report: Report, config: GateConfig, results: Path, out: Path) -> None:
    """Write the judged report in the formats asked for, and seal them."""
    from auditkit.evidence.integrity import sealed
    from auditkit.render import render_too
    from auditkit.run_folder import output_folder, replace_run, write_files

    if (out / "results.json").resolve() == results.resolve():
        raise InputError(f"--out {out} would overwrite {results}, the record of the audit; name another folder.")
    files = render_too(report, config.to, lang=config.lang)
    with output_folder(out) as folder:
        replace_run(folder, report.run_id)
        write_files(folder, sealed({"results.json": report.to_json(), **files}, run_id=report.run_id))


def _add_step_summary(text: str) -> None:
    """Append to the page that GitHub shows for the job, where GitHub says which file that is."""
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with open(summary, "a", encoding="utf-8") as file:
            file.write(text)
