"""Commands that audit: run, demo, and the list of auditors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from auditkit.cli.options import (
    Architecture,
    ArchitectureArgs,
    BaselineFile,
    BinsOption,
    Classes,
    Clipping,
    ClippingOption,
    Dataset,
    Device,
    DeviceOption,
    Encoding,
    IdentityTermsOption,
    Immutable,
    JsonFlag,
    Lang,
    Language,
    ModelOrNone,
    Out,
    OutputOption,
    PolicyFile,
    Population,
    Prediction,
    Quiet,
    SchemaFile,
    Score,
    Seed,
    Sensitive,
    Strict,
    Target,
    TaskOption,
    Threshold,
    TrustModel,
    TrustPickle,
    TuningRuns,
    WaiversFile,
    Where,
)
from auditkit.errors import InputError

RUN_SECTIONS = {
    "dataset": "Rows",
    "schema": "Model",
    "policy": "Verdict",
    "only": "What is examined",
    "train_dataset": "Privacy",
    "out": "Report",
    "device": "Machine",
    "help": "Help",
}
"""The headings in the help of `run`, by the option that each begins at."""


def run(
    dataset: Dataset,
    model: ModelOrNone = None,
    prediction: Prediction = None,
    score: Score = None,
    target: Target = None,
    sensitive: Sensitive = None,
    bins: BinsOption = None,
    where: Where = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Audit a seeded sample of N rows.", show_default="all rows")
    ] = None,
    population: Population = None,
    encoding: Encoding = "utf-8",
    schema: SchemaFile = None,
    architecture: Architecture = None,
    architecture_args: ArchitectureArgs = None,
    trust_model: TrustModel = None,
    trust_pickle: TrustPickle = None,
    output: OutputOption = None,
    threshold: Threshold = None,
    task: TaskOption = None,
    classes: Classes = None,
    policy: PolicyFile = None,
    baseline: BaselineFile = None,
    waivers: WaiversFile = None,
    strict: Strict = False,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="AUDITOR", help="Run this auditor alone; repeatable.", show_default=False),
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option(metavar="AUDITOR", help="Leave this auditor out; repeatable.", show_default=False),
    ] = None,
    intersections: Annotated[int, typer.Option(metavar="DEPTH", help="Cross up to this many sensitive columns.")] = 2,
    reference_group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=GROUP",
            help="Measure each group's difference from this one; repeatable.",
            show_default=False,
        ),
    ] = None,
    legitimate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Compare groups within the values of this column too; repeatable.",
            show_default=False,
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(min=1, metavar="K", help="Select the K rows of the highest scores.", show_default="a threshold"),
    ] = None,
    conf_level: Annotated[float, typer.Option(metavar="LEVEL", help="The level of every interval.")] = 0.95,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            help="How the model is explained: shapley, deep_lift, occlusion, ...",
            show_default="by kind of model",
        ),
    ] = None,
    immutable: Immutable = None,
    identity_terms: IdentityTermsOption = None,
    train_dataset: Annotated[
        Path | None,
        typer.Option(
            help="The training rows: also attack the model, and retrain it with differential privacy (minutes).",
            show_default=False,
        ),
    ] = None,
    epsilon: Annotated[
        list[float] | None,
        typer.Option(metavar="EPSILON", help="Privacy budget of a retraining; repeatable.", show_default="3"),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", metavar="N", help="Repeat each private retraining; 3 show its luck.", show_default="1"),
    ] = None,
    canaries: Annotated[
        int | None,
        typer.Option(
            "--canaries", metavar="N", help="Test the claim of each retraining by so many canaries.", show_default="0"
        ),
    ] = None,
    clipping: ClippingOption = Clipping.auto,
    tuning_runs: TuningRuns = 0,
    shadows: Annotated[
        int | None,
        typer.Option(
            "--shadows", metavar="N", help="Shadow models to attack the model with; 0 for none.", show_default="8"
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Train fewer shadow models if it takes longer.", show_default="120"),
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option(help="Rows of a generator trained on the training rows: are they copies?", show_default=False),
    ] = None,
    out: Out = None,
    show_rows: Annotated[
        bool, typer.Option("--show-rows", help="Show single rows, texts or images of the data in the report.")
    ] = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write report.pdf too; needs auditkit[pdf].")] = False,
    lang: Lang = Language.en,
    sign: Annotated[
        Path | None,
        typer.Option(metavar="KEY", help="Sign the manifest with this ed25519 private key (PEM).", show_default=False),
    ] = None,
    json_: JsonFlag = False,
    quiet: Quiet = False,
    device: DeviceOption = Device.auto,
    seed: Seed = 0,
) -> None:
    """Audit a model, or decisions already made. Writes results.json, report.html, junit.xml and summary.md."""
    from auditkit import terminal
    from auditkit.auditors.data_quality.representation import read_population
    from auditkit.auditors.fairness.term_groups import read_term_groups
    from auditkit.data.bins import parse_bins
    from auditkit.engine.audit import audit, new_run_id
    from auditkit.evidence.integrity import SIGNATURE, read_private_key, sealed
    from auditkit.models.cache import cache_of
    from auditkit.models.factory import read_arguments
    from auditkit.render import render
    from auditkit.render.html.pdf import check_pdf
    from auditkit.render.i18n.translation import page_name
    from auditkit.run_folder import output_folder, write_files
    from auditkit.schema.schema import read_schema

    for option, given in (("--epsilon", epsilon), ("--samples", samples)):
        if given and train_dataset is None:
            raise InputError(f"{option} needs the training rows; pass --train-dataset FILE.")
    key = None if sign is None else read_private_key(sign)
    pages = [*(["html", "markdown"] if lang != Language.en else []), *(["pdf"] if pdf else [])]
    if pdf:
        check_pdf()
    run_id = new_run_id()
    subject = model or Path(dataset.name.replace("*", ""))
    folder = out or Path("reports") / f"{subject.name.partition('.')[0] or 'audit'}-{run_id[:8]}"
    settings: dict[str, dict[str, Any]] = {
        name: {"intersections": intersections} for name in ("performance", "fairness")
    }
    settings["fairness"] |= {"reference_group": tuple(reference_group or ()), "legitimate": tuple(legitimate or ())}
    settings["explainability"] = {"method": explain, "immutable": tuple(immutable or ()), "show_rows": show_rows}
    attack = {"shadows": shadows, "budget": budget, "samples": None if samples is None else str(samples)}
    settings["leakage"] = {name: value for name, value in attack.items() if value is not None}
    private = {
        "epsilon": tuple(epsilon) if epsilon else None,
        "seeds": seeds,
        "canaries": canaries,
        "clipping": None if clipping == "auto" else clipping.value,
        "tuning_runs": tuning_runs or None,
    }
    settings["privacy"] = {name: value for name, value in private.items() if value is not None}
    if identity_terms is not None:
        settings["identity_terms"] = {"terms": read_term_groups(identity_terms)}
    if population is not None:
        settings["data"] = {"population": read_population(population)}
    with output_folder(folder) as place:
        with terminal.progress(silent=quiet or json_) as progress:
            report = audit(
                model,
                dataset,
                prediction=prediction,
                score=score,
                target=target,
                sensitive=sensitive,
                bins=parse_bins(bins or ()),
                where=where,
                schema=None if schema is None else read_schema(schema),
                architecture=architecture,
                architecture_args=None if architecture_args is None else read_arguments(architecture_args),
                trust_model=trust_model,
                trust_pickle=trust_pickle,
                output=output,
                threshold=threshold,
                task=task,
                classes=None if classes is None else [name.strip() for name in classes.split(",")],
                training_data=train_dataset,
                settings=settings,
                only=only or (),
                skip=skip or (),
                policy=policy,
                baseline=baseline,
                waivers=waivers,
                conf_level=conf_level,
                top_k=top_k,
                limit=limit,
                seed=seed,
                device=device,
                strict=strict,
                encoding=encoding,
                run_id=run_id,
                cache=cache_of(place),
                progress=progress,
            )
        if key is None:
            (place / SIGNATURE).unlink(missing_ok=True)
        files = {"results.json": report.to_json(), **render(report), **render(report, pages, lang=lang)}
        write_files(place, sealed(files, run_id=run_id, key=key))
    if json_:
        sys.stdout.write(report.to_json())
    elif not quiet:
        terminal.conclude(report, folder / page_name("report.html", lang))
    raise typer.Exit(report.exit_code)


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
