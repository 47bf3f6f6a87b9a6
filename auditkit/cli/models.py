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
from auditkit.errors import InputError

if TYPE_CHECKING:
    from auditkit.config_sources import Resolved


def train(
    dataset: Annotated[
        Path,
        typer.Option(
            "--dataset", "--images", help="The training rows: a file, or a folder of images.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="The model file to write (.pt).", show_default=False)],
    target: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="The label's column; several labels: a,b,c.", show_default="none: a generator"
        ),
    ] = None,
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
            help="mlp, cnn, lstm, gru, transformer; to generate images vae, dcgan, ddpm.",
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
    """Train a network, or a generator of images. Packs it with its schema, ready for 'auditkit run'."""
    from auditkit import terminal
    from auditkit.data.dataset import naming, read_data
    from auditkit.data.image import image_shape
    from auditkit.models.architectures import GENERATORS
    from auditkit.models.predict import choose_device
    from auditkit.run_folder import output_folder
    from auditkit.schema.infer import generator_schema
    from auditkit.training.generators import GeneratorFit
    from auditkit.training.train import train as train_model
    from auditkit.training.train_generator import EPOCHS, train_generator

    if architecture in GENERATORS:
        rows = read_data(dataset, encoding=encoding)
        with naming(rows):
            schema = generator_schema(rows.frame, target=target, image=None if image is None else image_shape(image))
        settings = GeneratorFit(epochs=epochs or EPOCHS[architecture], seed=seed, device=choose_device(device))
        with output_folder(out.parent), terminal.progress(silent=quiet) as progress:
            model, record = train_generator(
                rows,
                schema,
                architecture=architecture,
                out=out,
                settings=settings,
                progress=lambda fraction, what: progress("training", fraction, what),
            )
        if not quiet:
            terminal.trained(model, record)
        return
    if target is None:
        raise InputError(
            f"target must name the label's column; to train a generator, pass --architecture {GENERATORS[0]}."
        )
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


def sample(
    model: ModelFile,
    out: Annotated[Path, typer.Option(help="The file to write (.npz).", show_default=False)],
    count: Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="How many rows to draw.")] = 1000,
    device: DeviceOption = Device.auto,
    seed: Seed = 0,
) -> None:
    """Draw rows from a generator. Writes an .npz of images that 'auditkit run --samples' and numpy read."""
    import io

    import numpy as np

    from auditkit.models.capabilities import Generative
    from auditkit.models.formats.opening import open_model
    from auditkit.models.predict import choose_device
    from auditkit.run_folder import output_folder, write_files

    if out.suffix != ".npz":
        raise InputError(f"out must end in .npz, got {out}; pass --out samples.npz.")
    opened = open_model(model)
    rows = opened.require(Generative).sample(count, seed=seed, device=choose_device(device))
    feature = opened.schema.features[0]
    pixels = (rows * feature.scale + feature.mean).transpose(0, 2, 3, 1)
    content = io.BytesIO()
    np.savez_compressed(content, features=pixels.squeeze(3) if pixels.shape[3] == 1 else pixels)
    with output_folder(out.parent) as place:
        write_files(place, {out.name: content.getvalue()})
    typer.echo(f"Samples: {out} ({count:,} rows of {opened.name}, seed {seed})")


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
