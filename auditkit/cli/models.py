"""Commands that make models: train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditkit.cli.options import Device, DeviceOption, Encoding, Quiet, Seed


def train(
    dataset: Annotated[Path, typer.Option("--dataset", help="The training rows (.csv, .csv.gz).", show_default=False)],
    target: Annotated[str, typer.Option(help="The label's column.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The model file to write (.pt).", show_default=False)],
    sensitive: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="A column whose groups audits compare; repeatable.", show_default=False),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Not a feature: an id, a weight; repeatable.", show_default=False),
    ] = None,
    epsilon: Annotated[
        float | None, typer.Option(help="Train with differential privacy at this budget.", show_default="without")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the rows at most.", show_default="the trainer's")
    ] = None,
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
