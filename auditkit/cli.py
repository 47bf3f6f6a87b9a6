"""The command line: parse, call, exit code. Heavy imports stand inside the commands, so that --help is instant."""

from __future__ import annotations

import json
import sys
import traceback
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from auditkit.errors import AuditkitError, InputError

app = typer.Typer(
    name="auditkit",
    help="Audit a trained PyTorch model: what it relies on, whom it treats differently, what it leaks, and may it ship.",
    epilog="Exit codes: 0 pass (warnings included), 1 a limit failed, 2 usage or input error, 3 the audit is incomplete, "
    "5 nothing was evaluated.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

USAGE, INCOMPLETE = 2, 3


class Device(StrEnum):
    """Where the model runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


ModelFile = Annotated[Path, typer.Argument(help="A model file that auditkit packed.", show_default=False)]
Dataset = Annotated[Path, typer.Option("--dataset", help="The rows to audit (.csv, .csv.gz).", show_default=False)]
Target = Annotated[str | None, typer.Option(help="The label's column.", show_default="the model's")]
Sensitive = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN", help="Compare the groups of this column; repeatable.", show_default="the model's")
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where the reports go.", show_default="reports/MODEL-RUN/")]
DeviceOption = Annotated[Device, typer.Option(help="Where the model runs.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seeds every random choice.")]
Encoding = Annotated[str, typer.Option(help="Encoding of CSV files.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print results.json to standard output.")]


@app.command()
def run(
    model: ModelFile,
    dataset: Dataset,
    target: Target = None,
    sensitive: Sensitive = None,
    policy: Annotated[Path | None, typer.Option(help="Limits to judge by (see 'auditkit init').", show_default="auditkit's own")] = None,
    train_dataset: Annotated[Path | None, typer.Option(help="The training rows: turns on the retraining with privacy.", show_default=False)] = None,
    epsilon: Annotated[list[float] | None, typer.Option(help="Privacy budget of a retraining; repeatable.", show_default="3")] = None,
    intersections: Annotated[int, typer.Option(metavar="DEPTH", help="Cross up to this many sensitive columns.")] = 2,
    only: Annotated[list[str] | None, typer.Option(metavar="AUDITOR", help="Run this auditor alone; repeatable.", show_default=False)] = None,
    skip: Annotated[list[str] | None, typer.Option(metavar="AUDITOR", help="Leave this auditor out; repeatable.", show_default=False)] = None,
    out: Out = None,
    device: DeviceOption = Device.auto,
    seed: Seed = 0,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Audit a seeded sample of N rows.", show_default="all rows")] = None,
    encoding: Encoding = "utf-8",
    strict: Annotated[bool, typer.Option("--strict", help="Exit 3 where the verdict is inconclusive.")] = False,
    quiet: Quiet = False,
    json_: JsonFlag = False,
) -> None:
    """Audit a model on a data set; write results.json, report.html, junit.xml and summary.md."""
    from auditkit import terminal
    from auditkit.output import output_folder, write_files
    from auditkit.render import render
    from auditkit.run import audit, new_run_id

    if epsilon and train_dataset is None:
        raise InputError("--epsilon needs the training rows; pass --train-dataset FILE.")
    run_id = new_run_id()
    folder = out or Path("reports") / f"{model.name.partition('.')[0]}-{run_id[:8]}"
    settings: dict[str, dict[str, Any]] = {"fairness": {"intersections": intersections}}
    if epsilon:
        settings["privacy"] = {"epsilon": tuple(epsilon)}
    with output_folder(folder) as place:
        with terminal.progress(silent=quiet or json_) as progress:
            report = audit(
                model,
                dataset,
                target=target,
                sensitive=sensitive,
                training_data=train_dataset,
                settings=settings,
                only=only or (),
                skip=skip or (),
                policy=policy,
                limit=limit,
                seed=seed,
                device=device,
                strict=strict,
                encoding=encoding,
                run_id=run_id,
                progress=progress,
            )
        write_files(place, {"results.json": report.to_json(), **render(report)})
    if json_:
        sys.stdout.write(report.to_json())
    elif not quiet:
        terminal.conclude(report, folder / "report.html")
    raise typer.Exit(report.exit_code)


@app.command()
def train(
    dataset: Annotated[Path, typer.Option("--dataset", help="The training rows (.csv, .csv.gz).", show_default=False)],
    target: Annotated[str, typer.Option(help="The label's column.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The model file to write (.pt).", show_default=False)],
    sensitive: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="A column whose groups audits compare; repeatable.", show_default=False)] = None,
    drop: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Not a feature: an id, a weight; repeatable.", show_default=False)] = None,
    epsilon: Annotated[float | None, typer.Option(help="Train with differential privacy at this budget.", show_default="without")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the rows at most.", show_default="the trainer's")] = None,
    device: DeviceOption = Device.auto,
    seed: Seed = 0,
    encoding: Encoding = "utf-8",
    quiet: Quiet = False,
) -> None:
    """Train a tabular network and pack it with its schema, ready for 'auditkit run'."""
    from auditkit import terminal
    from auditkit.output import output_folder
    from auditkit.subject.data import read_data
    from auditkit.training.train import train as train_model

    with output_folder(out.parent), terminal.progress(silent=quiet) as progress:
        model, record = train_model(
            read_data(dataset, encoding=encoding),
            target=target,
            sensitive=sensitive or (),
            drop=drop or (),
            out=out,
            epochs=epochs,
            epsilon=epsilon,
            seed=seed,
            device=device,
            progress=lambda fraction, what: progress("training", fraction, what),
        )
    if not quiet:
        terminal.trained(model, record)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the data, the model and the reports go.")] = Path("reports/demo"),
    device: DeviceOption = Device.auto,
    seed: Seed = 0,
) -> None:
    """Train on the embedded census data, audit the model, and say where the report is."""
    from auditkit import terminal
    from auditkit.demo.census import SENSITIVE, SOURCE, TARGET, write_census
    from auditkit.output import output_folder

    with output_folder(out) as place:
        training, test = write_census(place)
    typer.echo(f"Data: {SOURCE}\n")
    model = out / "model.pt"
    commands = [
        ["train", "--dataset", str(training), "--target", TARGET, "--drop", "fnlwgt", "--out", str(model)],
        ["run", str(model), "--dataset", str(test), "--train-dataset", str(training), "--out", str(out)],
    ]
    commands[0] += [word for column in SENSITIVE for word in ("--sensitive", column)]
    code = 0
    for command in commands:
        command += ["--device", device, "--seed", str(seed)]
        typer.secho(f"$ auditkit {' '.join(command)}", bold=True)
        code = call(command)
        if command[0] == "train" and code != 0:
            raise typer.Exit(code)
    typer.echo(f"\n'auditkit run' gave exit code {code}: {terminal.EXIT_CODES[code]}.")


@app.command("render")
def render_again(
    results: Annotated[Path, typer.Argument(help="A results.json.", show_default=False)],
    to: Annotated[str, typer.Option(metavar="FORMATS", help="html, junit, markdown; several with commas.")] = "html",
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where the files go.", show_default="beside results.json")] = None,
) -> None:
    """Write reports from a results.json again; needs neither the model nor torch."""
    from auditkit.evidence.report import read_report
    from auditkit.output import output_folder, write_files
    from auditkit.render import render

    files = render(read_report(results), [name.strip() for name in to.split(",")])
    with output_folder(out or results.parent) as folder:
        write_files(folder, files)
    for name in files:
        typer.echo(folder / name)


@app.command()
def auditors() -> None:
    """List the installed auditors, their settings and what they measure."""
    from auditkit import terminal
    from auditkit.run import describe_auditors

    terminal.list_auditors(describe_auditors())


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="The policy file to write.")] = Path("policy.toml"),
) -> None:
    """Write a commented policy to start from."""
    from auditkit.evidence.policy import default_policy_text

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(default_policy_text().replace("auditkit default", path.stem))
    except FileExistsError:
        raise InputError(f"{path} is there already; name another file.") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; name another file.") from error
    typer.echo(f"{path}: edit the limits, then pass --policy {path}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of results.json."""
    from auditkit.evidence.report import results_schema

    typer.echo(json.dumps(results_schema(), indent=2))


def _version(shown: bool) -> None:
    if shown:
        from importlib.metadata import version

        typer.echo(f"auditkit {version('auditkit')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None: ...


def call(arguments: list[str]) -> int:
    """Run one command line and return its exit code; never raises."""
    try:
        code = app(arguments or ["--help"], prog_name="auditkit", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except typer.TyperException as error:
        return _fail(f"{error.format_message().rstrip('.')}; see 'auditkit --help'.", USAGE)
    except InputError as error:
        return _fail(str(error), USAGE)
    except AuditkitError as error:
        return _fail(str(error), INCOMPLETE)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted; nothing was written.", 130)
    except Exception as error:  # noqa: BLE001  # Python's own exit code for this is 1, which here means "a limit failed"
        traceback.print_exc()
        return _fail(f"auditkit itself failed: {type(error).__name__}: {error}", INCOMPLETE)


def _fail(message: str, code: int) -> int:
    print(f"auditkit: {' '.join(message.split())}", file=sys.stderr)
    return code


def main() -> None:
    """Run the command line of this process, and exit with its code."""
    sys.exit(call(sys.argv[1:]))
