"""The command that makes a model private: retrain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from auditkit.cli.options import (
    Architecture,
    ArchitectureArgs,
    Clipping,
    ClippingOption,
    Device,
    DeviceOption,
    Encoding,
    ModelFile,
    Quiet,
    SchemaFile,
    Sensitive,
    Target,
    TuningRuns,
)
from auditkit.errors import InputError


def retrain(
    model: ModelFile,
    train_dataset: Annotated[Path, typer.Option(help="The training rows.", show_default=False)],
    epsilon: Annotated[
        list[float],
        typer.Option(metavar="EPSILON", help="Privacy budget, one model each; repeatable.", show_default=False),
    ],
    delta: Annotated[str, typer.Option(metavar="NUMBER|auto", help="auto: the smaller of 1e-5 and 1/(10 n).")] = "auto",
    tuning_runs: TuningRuns = 0,
    public_init: Annotated[
        Path | None,
        typer.Option(help="Start from this model, whose weights saw public data only.", show_default="fresh weights"),
    ] = None,
    trainable: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="With --public-init, train these parameters alone ('output.*'); repeatable.",
            show_default="all",
        ),
    ] = None,
    lora_rank: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="RANK",
            help="With --public-init, train adapters of this rank in place of the weights of Linear layers.",
            show_default="none",
        ),
    ] = None,
    max_grad_norm: Annotated[
        float, typer.Option(metavar="NORM", help="The norm that each row's gradient is clipped to.")
    ] = 10.0,
    epochs: Annotated[int, typer.Option(min=1, metavar="N", help="How often each row is drawn, in expectation.")] = 20,
    batch_size: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Expected rows of a batch.", show_default="1024, at most n/4")
    ] = None,
    physical_batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Rows that go through the network at once.", show_default="the whole batch"
        ),
    ] = None,
    clipping: ClippingOption = Clipping.auto,
    architecture: Architecture = None,
    architecture_args: ArchitectureArgs = None,
    schema: SchemaFile = None,
    target: Target = None,
    sensitive: Sensitive = None,
    trust_model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="sha256:HASH",
            help="Run the code of this torch.export file; repeatable, for --public-init.",
            show_default="refuse it",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the models go.", show_default="beside the model")
    ] = None,
    device: DeviceOption = Device.auto,
    encoding: Encoding = "utf-8",
    quiet: Quiet = False,
) -> None:
    """Train the same architecture with differential privacy. Packs the model with its privacy ledger.

    Killed, it goes on when called again with the same options; steps that were lost count as spent.
    """
    from auditkit import terminal
    from auditkit.config import ModelConfig
    from auditkit.data.dataset import read_data
    from auditkit.models.factory import read_arguments
    from auditkit.models.formats.opening import open_model
    from auditkit.models.from_columns import Columns
    from auditkit.models.open import model_for
    from auditkit.schema.schema import read_schema
    from auditkit.training.dp.retrain import retrain as retrain_model

    data = read_data(train_dataset, encoding=encoding)
    opened = model_for(
        model,
        Columns(read_rows=lambda: data, read_training=lambda: None, target=target, sensitive=tuple(sensitive or ())),
        config=ModelConfig(
            architecture=architecture,
            architecture_args=None if architecture_args is None else read_arguments(architecture_args),
            trust_model=_trust(model, trust_model),
        ),
        schema=None if schema is None else read_schema(schema),
    )
    if sensitive:
        opened = replace(opened, schema=opened.schema.model_copy(update={"sensitive": tuple(sensitive)}))
    public = None
    if public_init is not None:
        public = open_model(
            public_init,
            architecture=architecture,
            schema=lambda: opened.schema,
            trust_model=_trust(public_init, trust_model),
        )
    with terminal.progress(silent=quiet) as progress:
        done = retrain_model(
            opened,
            data,
            out=out or model.parent,
            epsilons=epsilon,
            delta=_delta(delta),
            public=public,
            trainable=trainable or (),
            lora_rank=lora_rank,
            max_grad_norm=max_grad_norm,
            epochs=epochs,
            batch_size=batch_size,
            clipping=clipping.value,
            physical_batch_size=physical_batch_size,
            tuning_runs=tuning_runs,
            device=device,
            progress=lambda fraction, what: progress("retraining", fraction, what),
        )
    if not quiet:
        terminal.retrained(done)


def _trust(path: Path, given: list[str] | None) -> str | None:
    """Return the word that trusts this very file, where several are given, each for a file of its own."""
    from auditkit.models.formats.opening import read_model_file

    if given is None or len(given) == 1:
        return given[0] if given else None
    hashed = f"sha256:{read_model_file(path).sha256}"
    return hashed if hashed in given else given[0]


def _delta(text: str) -> float | None:
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        raise InputError(f"delta must be a number or auto, got {text!r}; pass --delta auto.") from None
