"""Commands for whoever must trust a report: comply, verify, seal, replay, compare, index."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from auditkit.cli.options import Lang, Language, Results, results_of
from auditkit.errors import InputError

if TYPE_CHECKING:
    from auditkit.config_commands import ReplayConfig
    from auditkit.evidence.comparison import ReplayDifference
    from auditkit.evidence.report import Report

DIFFERENCES_SHOWN = 20


def comply(
    results: Annotated[
        Path | None,
        typer.Argument(
            callback=results_of,
            help="A results.json, or the folder of its run; not needed with --init-facts.",
            show_default=False,
        ),
    ] = None,
    framework: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="eu-ai-act, eu-ai-act-gpai, nist-ai-rmf, nist-ai-600-1, iso-42001, nyc-ll144, nist-800-226, "
            "ai-verify or china-genai; repeatable.",
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
    lang: Lang = Language.en,
    init_facts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a commented facts.toml to fill, and end.")
    ] = None,
) -> None:
    """Write tables of clause and evidence. HTML, Markdown and CSV; they never say that a law is complied with."""
    from auditkit.compliance.assess import assess
    from auditkit.compliance.facts import Facts, facts_template, read_facts
    from auditkit.compliance.framework import installed, load_framework
    from auditkit.evidence.report import read_report
    from auditkit.render.html.comply import render_comply, summary
    from auditkit.render.summary import headline
    from auditkit.run_folder import output_folder, write_files, write_new

    if init_facts is not None:
        write_new(init_facts, facts_template())
        typer.echo(f"{init_facts}: fill what you can answer for, then pass --facts {init_facts}")
        return
    if results is None:
        raise InputError("which report? Pass a results.json, or the folder of its run.")
    if not framework:
        raise InputError(f"--framework must name one of {', '.join(installed())}.")
    report, stated = read_report(results), Facts() if facts is None else read_facts(facts)
    folder = out or results.parent
    beside = Path(os.path.relpath(results.resolve().parent, folder.resolve())).as_posix()
    files: dict[str, str] = {}
    for name in framework:
        assessment = assess(report, load_framework(name), stated)
        files |= render_comply(report, assessment, beside="" if beside == "." else f"{beside}/", lang=lang)
        typer.echo(f"{name}: {summary(assessment)} Verdict of the audit: {headline(report)[0]}.")
    with output_folder(folder) as place:
        write_files(place, files)
    for file in files:
        typer.echo(folder / file)


def verify(
    folder: Annotated[Path, typer.Argument(help="The folder of a run.", show_default=False)],
    public_key: Annotated[
        Path | None, typer.Option(help="The signer's ed25519 public key (PEM).", show_default=False)
    ] = None,
) -> None:
    """Check a folder against its manifest.json. Any edited, missing or added file gives exit code 1."""
    from auditkit.evidence.integrity import verify as verify_folder
    from auditkit.render.text import one_line

    found = verify_folder(folder, public_key=public_key)
    for problem in found.problems:
        typer.echo(one_line(f"{problem.fault}: {problem.name}: {problem.detail}"))
    if found.problems:
        typer.echo(f"{folder} is not as it was sealed.")
        raise typer.Exit(1)
    typer.echo(f"{folder}: {found.file_count} files, each as it was sealed; manifest sha256 {found.manifest_sha256}")
    if found.signed_by is None:
        typer.echo("Not signed: this shows that the files belong together, not who wrote them.")
    elif public_key is None:
        typer.echo(f"Signed with the key sha256:{found.signed_by}; pass --public-key to check whose it is.")
    else:
        typer.echo(f"Signed with {public_key}.")


def seal(
    folder: Annotated[Path, typer.Argument(help="The folder of a run.", show_default=False)],
    sign: Annotated[
        Path | None, typer.Option(metavar="KEY", help="An ed25519 private key (PEM) to sign with.", show_default=False)
    ] = None,
) -> None:
    """Seal a folder again with what was added since the run. With --sign, signed; edited files are refused."""
    from auditkit.evidence.integrity import SIGNATURE, read_private_key, reseal
    from auditkit.run_folder import output_folder, write_files

    key = None if sign is None else read_private_key(sign)
    files = reseal(folder, key=key)
    with output_folder(folder) as place:
        if key is None:
            (place / SIGNATURE).unlink(missing_ok=True)
        write_files(place, files)
    for name in files:
        typer.echo(folder / name)


def replay(config: ReplayConfig) -> None:
    """Make a recorded audit again, with its settings and seed. Exit code 1 where a number comes out otherwise."""
    from auditkit import progress_display
    from auditkit.engine.replay import replay as replay_report
    from auditkit.evidence.report import read_report

    path = results_of(config.results)
    assert path is not None
    recorded = read_report(path)
    with progress_display.progress(silent=config.quiet) as progress:
        again, differences = replay_report(recorded, config=config, progress=progress)
    if not config.quiet:
        _conclude_replay(recorded, again, differences, config.tolerance)
    raise typer.Exit(1 if differences else 0)


def _conclude_replay(recorded: Report, again: Report, differences: list[ReplayDifference], tolerance: float) -> None:
    """Print the numbers that came out otherwise, and how the environments differ."""
    from auditkit.render.text import one_line

    for one in differences[:DIFFERENCES_SHOWN]:
        typer.echo(one_line(f"{one.where}: recorded {one.recorded}, now {one.recomputed}"))
    if len(differences) > DIFFERENCES_SHOWN:
        typer.echo(f"and {len(differences) - DIFFERENCES_SHOWN:,} more")
    for line in recorded.environment.differences(again.environment):
        typer.echo(one_line(f"Not as it was: {line}"))
    total = sum(len(m.slices) + (m.value is not None) for o in recorded.outcomes for m in o.measurements)
    count = len(differences)
    agree = "every number agrees" if not count else f"{count:,} depart{'s' if count == 1 else ''}"
    typer.echo(f"{total:,} numbers recorded, tolerance {tolerance:g}: {agree}.")


def compare(
    before: Results,
    after: Results,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where compare.html and compare.json go.")] = Path(
        "reports/compare"
    ),
    lang: Lang = Language.en,
    json_: Annotated[bool, typer.Option("--json", help="Print compare.json and write nothing.")] = False,
) -> None:
    """Tell two reports apart, number by number. Writes differences with intervals, and verdicts that turned."""
    from auditkit.evidence.comparison import compare as compare_reports
    from auditkit.evidence.report import read_report
    from auditkit.render.html.compare import headline, incomparable, render_compare
    from auditkit.render.i18n.translation import page_name
    from auditkit.render.text import one_line
    from auditkit.run_folder import output_folder, write_files

    reports = [read_report(path) for path in (before, after)]
    comparison = compare_reports(*reports)
    if json_:
        sys.stdout.write(comparison.to_json())
        return
    name = page_name("compare.html", lang)
    page = render_compare(comparison, lang)
    with output_folder(out) as place:
        write_files(place, {name: page, "compare.json": comparison.to_json()})
    if warning := incomparable(comparison):
        typer.echo(one_line(warning))
    typer.echo(one_line(headline(comparison)))
    typer.echo(f"Comparison: {out / name}")


def index(
    folder: Annotated[Path, typer.Argument(help="A folder of runs.")] = Path("reports"),
    lang: Lang = Language.en,
) -> None:
    """Write index.html over a folder of runs. It shows the history of each measurement of each model."""
    from auditkit.evidence.report import read_report
    from auditkit.render.html.index import Run, Unreadable, render_index
    from auditkit.render.i18n.translation import page_name
    from auditkit.run_folder import output_folder, write_files

    runs, unreadable = [], []
    for path in sorted(folder.rglob("results.json")):
        beside = path.parent.relative_to(folder).as_posix()
        try:
            report = read_report(path)
        except InputError as error:
            unreadable.append(Unreadable(path.relative_to(folder).as_posix(), str(error)))
            continue
        href = "" if beside == "." else f"{quote(beside)}/"
        runs.append(Run(report, href, (path.parent / "report.html").is_file()))
    if not runs and not unreadable:
        raise InputError(f"{folder} holds no results.json; 'auditkit run' writes one.")
    name = page_name("index.html", lang)
    with output_folder(folder) as place:
        write_files(place, {name: render_index(runs, unreadable, lang)})
    typer.echo(f"{len(runs)} runs, {len(unreadable)} files that could not be read")
    typer.echo(f"Index: {folder / name}")
