"""Commands about model files: train, pack, inspect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditkit.cli.options import (
    Architecture,
    ArchitectureArgs,
    Classes,
    Compared,
    Device,
    DeviceOption,
    Drop,
    Encoding,
    Immutable,
    ModelFile,
    OutputOption,
    Quiet,
    SchemaFile,
    Seed,
    Threshold,
    TrainedTask,
    TrustPickle,
)

if TYPE_CHECKING:
    from auditkit.config_sources import Resolved


def train(
    dataset: Annotated[
        Path,
        typer.Option(
            "--dataset", "--images", help="The training rows: a file, or a folder of images.", show_default=False
        ),
    ],
    target: Annotated[
        str, typer.Option(metavar="COLUMN", help="The label's column; several labels: a,b,c.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="The model file to write (.pt).", show_default=False)],
    sensitive: Compared = None,
    drop: Drop = None,
    immutable: Immutable = None,
    text: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The texts that are the only feature.", show_default=False)
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="The other columns are the pixels of an image, row by row; HxWx3 in colour.",
            show_default=False,
        ),
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="mlp, cnn, lstm, gru or transformer.",
            show_default="mlp, for images cnn, for texts transformer",
        ),
    ] = None,
    task: TrainedTask = None,
    epsilon: Annotated[
        float | None,
        typer.Option(metavar="EPSILON", help="Train with differential privacy at this budget.", show_default="without"),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Passes over the rows at most.", show_default="the trainer's"),
    ] = None,
    device: DeviceOption = Device.auto,
    seed: Seed = 0,
    encoding: Encoding = "utf-8",
    quiet: Quiet = False,
) -> None:
    """Train a network on a table, images or texts. Packs it with its schema, ready for 'auditkit run'."""
    from auditkit import terminal
    from auditkit.data.dataset import read_data
    from auditkit.data.image import image_shape
    from auditkit.run_folder import output_folder
    from auditkit.training.train import train as train_model

    with output_folder(out.parent), terminal.progress(silent=quiet) as progress:
        model, record = train_model(
            read_data(dataset, encoding=encoding),
            target=target,
            sensitive=sensitive or (),
            drop=drop or (),
            immutable=immutable or (),
            text=text,
            image=None if image is None else image_shape(image),
            task=None if task is None else task.value,
            architecture=architecture,
            out=out,
            epochs=epochs,
            epsilon=epsilon,
            seed=seed,
            device=device,
            progress=lambda fraction, what: progress("training", fraction, what),
        )
    if not quiet:
        terminal.trained(model, record)


def pack(
    model: ModelFile,
    out: Annotated[Path, typer.Option(help="The model file to write (.pt or .safetensors).", show_default=False)],
    architecture: Architecture = None,
    architecture_args: ArchitectureArgs = None,
    schema: SchemaFile = None,
    output: OutputOption = None,
    threshold: Threshold = None,
    classes: Classes = None,
    trust_pickle: TrustPickle = None,
    quiet: Quiet = False,
) -> None:
    """Pack weights, architecture and schema into one file. 'auditkit run' needs no further word for it."""
    from auditkit.config import configured
    from auditkit.models.factory import read_arguments
    from auditkit.models.open import pack_model
    from auditkit.run_folder import output_folder
    from auditkit.schema.schema import read_schema

    given = {
        "architecture": architecture,
        "architecture_args": None if architecture_args is None else read_arguments(architecture_args),
        "trust_pickle": trust_pickle,
        "output": output,
        "threshold": threshold,
        "classes": None if classes is None else [name.strip() for name in classes.split(",")],
    }
    config, stated = configured(options=given).model, None if schema is None else read_schema(schema)
    with output_folder(out.parent):
        packed = pack_model(model, out, config=config, schema=stated)
    if not quiet:
        for note in packed.notes:
            typer.echo(note)
        typer.echo(f"Model: {out} ({packed.parameter_count:,} parameters, sha256:{packed.sha256})")


def inspect(resolved: Resolved) -> None:
    """Tell what a model file is and what an audit could do with it. Nothing of the file is run."""
    from auditkit import terminal
    from auditkit.engine.inspect import inspect_model
    from auditkit.engine.settings import check_settings

    check_settings(resolved)
    found = inspect_model(config=resolved.config)
    if resolved.config.report.print_json:
        typer.echo(found.model_dump_json(indent=2))
    elif not resolved.config.report.quiet:
        terminal.inspected(found)
