"""Commands about model files: train, pack, inspect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditkit.cli.options import Device, DeviceOption, ModelFile, Seed
from auditkit.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from auditkit.config_commands import PackConfig, TrainConfig
    from auditkit.config_sources import Resolved
    from auditkit.data.dataset import Data
    from auditkit.models.model import Model
    from auditkit.progress import Progress
    from auditkit.schema.table import Feature


def train(config: TrainConfig) -> None:
    """Train a network, a generator of images or a language model. Packs it, ready for 'auditkit run'."""
    from auditkit import progress_display
    from auditkit.data.dataset import read_data
    from auditkit.models.architectures import GENERATORS, LANGUAGE_MODELS
    from auditkit.run_folder import output_folder
    from auditkit.training.train import train as train_model
    from auditkit.training.train_language import LANGUAGE_TASKS, train_language

    assert config.data.dataset is not None
    assert config.output.out is not None
    generator = config.network.architecture in GENERATORS
    language = config.network.architecture in LANGUAGE_MODELS or config.network.task in LANGUAGE_TASKS
    if config.data.target is None and not generator and not language:
        raise InputError(
            f"target must name the label's column; to train a generator, pass --architecture {GENERATORS[0]}, and to "
            "train a language model --task language."
        )
    quiet = config.output.quiet
    with output_folder(config.output.out.parent), progress_display.progress(silent=quiet) as progress:

        def told(fraction: float, what: str) -> None:
            progress("training", fraction, what)

        rows = read_data(config.data.dataset, encoding=config.data.encoding)
        make = train_language if language else _train_generator if generator else train_model
        model, record = make(rows, config=config, progress=told)
    if not quiet:
        from auditkit import terminal

        terminal.trained(model, record)


def _train_generator(rows: Data, *, config: TrainConfig, progress: Progress) -> tuple[Model, dict[str, Any]]:
    from auditkit.data.dataset import naming
    from auditkit.models.architectures import TABLE_GENERATORS
    from auditkit.models.predict import choose_device
    from auditkit.schema.infer import generator_schema
    from auditkit.schema.schema import as_target
    from auditkit.training.generators import GeneratorFit
    from auditkit.training.train import shape_of
    from auditkit.training.train_generator import EPOCHS, train_generator
    from auditkit.training.train_table import BATCH_SIZE, table_epochs, train_table_generator

    network = config.network
    assert network.architecture is not None
    assert config.output.out is not None
    of_tables = network.architecture in TABLE_GENERATORS
    target = as_target(config.data.target) if config.data.target else None
    settings = GeneratorFit(
        epochs=network.epochs or (table_epochs(len(rows.frame)) if of_tables else EPOCHS[network.architecture]),
        seed=network.seed,
        device=choose_device(network.device),
        **({"batch_size": BATCH_SIZE} if of_tables else {}),
    )
    asked: dict[str, Any] = {
        "architecture": network.architecture,
        "arguments": network.architecture_args,
        "out": config.output.out,
        "settings": settings,
        "progress": progress,
    }
    if of_tables:
        return train_table_generator(rows, target, **asked)
    with naming(rows):
        schema = generator_schema(rows.frame, target=target, image=shape_of(config.data.image))
    return train_generator(rows, schema, **asked)


def sample(
    model: ModelFile,
    out: Annotated[Path, typer.Option(help="The file to write: .npz of images, .csv of a table.", show_default=False)],
    count: Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="How many rows to draw.")] = 1000,
    device: DeviceOption = Device.auto,
    seed: Seed = 0,
) -> None:
    """Draw rows from a generator. Writes an .npz of images or a .csv of a table, for 'auditkit run --samples'."""
    from auditkit.models.capabilities import Generative, SampleTable
    from auditkit.models.formats.opening import open_model
    from auditkit.models.predict import choose_device
    from auditkit.render.text import visible
    from auditkit.run_folder import output_folder, write_files

    opened = open_model(model)
    able, place = opened.require(Generative), choose_device(device)
    kind = ".csv" if isinstance(able, SampleTable) else ".npz"
    if out.suffix != kind:
        raise InputError(f"out must end in {kind} for this generator, got {out}; pass --out samples{kind}.")
    if isinstance(able, SampleTable):
        table = able.table(count, seed=seed, device=place)
        content, formulas = table.to_csv(index=False).encode(), _formula_columns(table)
    else:
        content, formulas = _as_npz(able.sample(count, seed=seed, device=place), opened.schema.features[0]), []
    with output_folder(out.parent) as folder:
        write_files(folder, {out.name: content})
    typer.echo(f"Samples: {out} ({count:,} rows of {opened.name}, seed {seed})")
    if formulas:
        typer.echo(
            f"Texts that a spreadsheet would run as formulas stand in {visible(', '.join(formulas))}. They are written "
            "as they are, to be read again as data; import these columns as text."
        )


def _formula_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns whose name or texts a spreadsheet would take for formulas.

    The file keeps them as they are: a category that was changed would not be that of the training rows any more.
    """
    starts = ("=", "+", "-", "@", "\t", "\r")
    return [
        str(name)
        for name, values in frame.items()
        if any(isinstance(text, str) and text.startswith(starts) for text in [name, *values.unique()])
    ]


def _as_npz(rows: NDArray[np.float32], feature: Feature) -> bytes:
    """Return encoded images as the .npz that numpy and auditkit read: pixels as they were in the data."""
    import io

    import numpy as np

    pixels = (rows * feature.scale + feature.mean).transpose(0, 2, 3, 1)
    content = io.BytesIO()
    np.savez_compressed(content, features=pixels.squeeze(3) if pixels.shape[3] == 1 else pixels)
    return content.getvalue()


def pack(config: PackConfig) -> None:
    """Pack weights, architecture and schema into one file. 'auditkit run' needs no further word for it."""
    from auditkit.models.open import pack_model
    from auditkit.run_folder import output_folder
    from auditkit.schema.schema import read_schema

    assert config.model is not None
    assert config.out is not None
    stated = None if config.schema_file is None else read_schema(config.schema_file)
    with output_folder(config.out.parent):
        packed = pack_model(config.model, config.out, config=config, schema=stated)
    if not config.quiet:
        for note in packed.notes:
            typer.echo(note)
        typer.echo(f"Model: {config.out} ({packed.parameter_count:,} parameters, sha256:{packed.sha256})")


def inspect(resolved: Resolved) -> None:
    """Tell what a model file is and what an audit could do with it. Nothing of the file is run that is not trusted."""
    from auditkit.cli.audits import check_training
    from auditkit.engine.inspect import inspect_model
    from auditkit.engine.settings import check_settings
    from auditkit.models.cache import user_cache

    check_training(resolved.config)
    check_settings(resolved)
    found = inspect_model(config=resolved.config, cache=user_cache())
    if resolved.config.report.print_json:
        typer.echo(found.model_dump_json(indent=2))
    elif not resolved.config.report.quiet:
        from auditkit import terminal

        terminal.inspected(found)
