"""Commands that audit: run, demo, and the list of auditors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditkit.cli.options import Device, DeviceOption, Seed
from auditkit.errors import InputError

if TYPE_CHECKING:
    from auditkit.config import AuditConfig, ReportConfig
    from auditkit.config_sources import Resolved
    from auditkit.engine.plan import Plan


def run(resolved: Resolved) -> None:
    """Audit a model, or decisions already made. Writes results.json, report.html, junit.xml and summary.md."""
    from auditkit import progress_display
    from auditkit.compliance.facts import read_facts
    from auditkit.engine.audit import audit, new_run_id
    from auditkit.engine.settings import check_settings
    from auditkit.evidence.integrity import read_private_key, sealed
    from auditkit.models.cache import user_cache
    from auditkit.render import render_too
    from auditkit.render.i18n.translation import page_name
    from auditkit.run_folder import output_folder, replace_run, write_files

    config, report_config = resolved.config, resolved.config.report
    check_training(config)
    key = None if report_config.sign is None else read_private_key(report_config.sign)
    stated = None if report_config.facts is None else read_facts(report_config.facts)
    formats = formats_of(report_config)
    if {"pdf", "summary-pdf"} & set(formats):
        from auditkit.render.html.pdf import check_pdf

        check_pdf()
    check_settings(resolved)
    run_id = new_run_id()
    folder = report_config.out or default_folder(config, run_id)
    silent = report_config.quiet or report_config.print_json
    with output_folder(folder) as place:
        replace_run(place, run_id)
        with progress_display.progress(silent=silent) as progress:
            report = audit(
                config=config,
                run_id=run_id,
                cache=user_cache(),
                progress=progress,
                announce=None if silent else _announce,
            )
        pages = render_too(report, formats, lang=report_config.lang, facts=stated)
        files = {"results.json": report.to_json(), **pages}
        write_files(place, sealed(files, run_id=run_id, key=key))
    if report_config.print_json:
        sys.stdout.write(report.to_json())
    elif not report_config.quiet:
        from auditkit import terminal

        page = page_name("report.html", report_config.lang)
        terminal.conclude(report, folder / (page if page in pages else "results.json"))
    raise typer.Exit(report.exit_code)


def _announce(plan: Plan) -> None:
    from auditkit import terminal

    terminal.announce(plan)


def default_folder(config: AuditConfig, run_id: str) -> Path:
    """Return the folder of a run that no `out` names: reports/MODEL-RUN."""
    subject = config.model.model or Path(str((config.data.dataset or Path()).name).replace("*", ""))
    return Path("reports") / f"{subject.name.partition('.')[0] or 'audit'}-{run_id[:8]}"


def formats_of(config: ReportConfig) -> list[str]:
    """Return the formats that a run writes besides results.json, each once."""
    return list(dict.fromkeys([*config.to, *(["pdf"] if config.pdf else [])]))


def check_training(config: AuditConfig) -> None:
    """Refuse settings that only training rows make sense of."""
    for option, section, field in (
        ("--epsilon", config.auditors.privacy, "epsilon"),
        ("--samples", config.model, "samples"),
    ):
        if field in section.model_fields_set and not config.data.has_training_rows:
            raise InputError(f"{option} needs the training rows; pass --train-dataset FILE.")


def config(resolved: Resolved) -> None:
    """Print the request of a run as an auditkit.toml. It tells where each value comes from."""
    from auditkit.config_text import describe
    from auditkit.engine.settings import check_settings

    check_settings(resolved)
    typer.echo(describe(resolved))


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the data, the model and the reports go.")] = Path(
        "reports/demo"
    ),
    device: DeviceOption = Device.auto,
    seed: Seed = 0,
) -> None:
    """Train on the embedded census data, and audit the model."""
    from auditkit import terminal
    from auditkit.cli import call
    from auditkit.demo.census import IMMUTABLE, SENSITIVE, SOURCE, TARGET, write_census
    from auditkit.run_folder import output_folder

    with output_folder(out) as place:
        training, test = write_census(place)
    typer.echo(f"Data: {SOURCE}\n")
    model = out / "model.pt"
    commands = [
        ["train", "--dataset", str(training), "--target", TARGET, "--drop", "fnlwgt", "--out", str(model)],
        ["run", str(model), "--dataset", str(test), "--train-dataset", str(training), "--out", str(out)],
    ]
    commands[0] += [word for column in SENSITIVE for word in ("--sensitive", column)]
    commands[0] += [word for column in IMMUTABLE for word in ("--immutable", column)]
    code = 0
    for command in commands:
        command += ["--device", device, "--seed", str(seed)]
        typer.secho(f"$ auditkit {' '.join(command)}", bold=True)
        code = call(command)
        if command[0] == "train" and code != 0:
            raise typer.Exit(code)
    typer.echo(f"\n'auditkit run' gave exit code {code}: {terminal.EXIT_CODES[code]}.")


def auditors() -> None:
    """List the auditors, their settings and what they measure."""
    from auditkit import terminal
    from auditkit.engine.audit import describe_auditors

    terminal.list_auditors(describe_auditors())
