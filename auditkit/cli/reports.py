"""Commands that work on policies and finished reports, and never import torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditkit.cli.options import Language, Results


def render(
    results: Results,
    to: Annotated[
        str,
        typer.Option(
            metavar="FORMATS",
            help="html, pdf, summary-pdf (one page), junit, markdown, sarif, gitlab, model-card, cyclonedx, in-toto, "
            "ai-verify; with commas.",
        ),
    ] = "html",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where the files go.", show_default="beside results.json"),
    ] = None,
    lang: Annotated[
        Language, typer.Option("--lang", help="The language of the page and the PDF; zh is Simplified Chinese.")
    ] = Language.en,
    facts: Annotated[
        Path | None,
        typer.Option(
            help="What only people can state (facts.toml): purpose, owner, and the model card.", show_default=False
        ),
    ] = None,
) -> None:
    """Write reports from a results.json again. Needs neither the model nor torch."""
    from auditkit import render as renderers
    from auditkit.compliance.facts import read_facts
    from auditkit.evidence.report import read_report
    from auditkit.run_folder import output_folder, write_files

    stated = None if facts is None else read_facts(facts)
    formats = [name.strip() for name in to.split(",")]
    files = renderers.render(read_report(results), formats, lang=lang, facts=stated)
    with output_folder(out or results.parent) as folder:
        write_files(folder, files)
    for name in files:
        typer.echo(folder / name)


def log(
    results: Results,
    to: Annotated[
        str, typer.Option(metavar="TRACKER", help="mlflow, wandb, or the tracker of another package.")
    ] = "mlflow",
    experiment: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The experiment that the run joins.", show_default="the tracker's own"),
    ] = None,
) -> None:
    """Log a finished report to an experiment tracker."""
    from auditkit import plugins

    folder = results if results.is_dir() else results.parent
    typer.echo(f"{to} run {plugins.load('trackers', to)(folder, experiment=experiment)}")
