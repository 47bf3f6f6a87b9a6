"""From a data set to a packed model: infer the schema, train, and write the file that `auditkit run` opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.config_commands import NetworkConfig, TrainConfig, TrainDataConfig
from auditkit.config_settings import updated
from auditkit.data.dataset import Data, as_data, naming
from auditkit.data.image import Shape, holds_images, image_shape
from auditkit.errors import InputError, closest
from auditkit.modalities.base import modality_for
from auditkit.models.architectures import ARCHITECTURES, READS, build
from auditkit.models.formats.native import save_model
from auditkit.models.formats.opening import open_model
from auditkit.models.model import Card, Model
from auditkit.models.predict import choose_device
from auditkit.progress import Progress, silent
from auditkit.schema.infer import infer_schema
from auditkit.schema.schema import Labels, Schema, Task, as_target, has_label
from auditkit.tasks.base import task_for
from auditkit.training.dp.dp_sgd import fit_private
from auditkit.training.dp.plan import PrivateSettings
from auditkit.training.fit import FitSettings, fit

EPOCHS, PRIVATE_EPOCHS = 30, 20
"""The most passes over the rows, without privacy (early stopping takes fewer) and with it (all are taken)."""


def train(
    data: Data | pd.DataFrame | str | Path,
    *,
    config: TrainConfig | None = None,
    progress: Progress = silent,
    **options: Any,
) -> tuple[Model, dict[str, Any]]:
    """Train a network on `data`, write it to `out`, and return it as opened again, with its training record.

    Of a table, sensitive columns are features too, unless `drop` names them. With `epsilon` the weights are trained by
    DP-SGD with a noise seed that is not recorded, and the ledger travels in the file.

    Args:
        data: the training rows: a DataFrame, a file or a Data; rows without a label are left out and counted.
        config: the whole request; `options` replace what it states.
        progress: told how far the training is.
        options: every option of `auditkit train` by its name: `target` and `out`, which must be given, `sensitive`,
            `drop`, `architecture`, `architecture_args`, `epochs`, `epsilon`, `seed`, ... `image` is "HEIGHTxWIDTH", or
            channels, height and width.

    Raises:
        InputError: the data, a column, or a setting cannot be used; nothing was written.
    """
    config = updated(config or TrainConfig(), options)
    data, out = as_data(data), config.output.out
    if out is None or out.suffix != ".pt":
        raise InputError(f"out must end in .pt, got {out}; pass --out model.pt.")
    device = choose_device(config.network.device)
    _check_names(data, config)
    progress(0.0, "inferring the schema")
    with naming(data):
        schema = _schema(data, config.data, config.network.task)
        architecture = _fitting_architecture(config.network.architecture, schema)
        labels = task_for(schema).encode_labels(data.frame)
        known = has_label(labels)
        inputs = schema.encode(data.frame)[known]
    labels = task_for(schema).learnt(labels[known])
    arguments = dict(config.network.architecture_args or {}) | schema.network_arguments()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.network.seed)
        module = build(architecture, arguments)
    how, ledger = _fit(module, inputs, labels, schema, config.network, device, progress)
    training = {
        **how,
        "path": data.path,
        "sha256": data.sha256,
        "row_count": len(labels),
        "dropped_row_count": int((~known).sum()),
        "seed": config.network.seed,
    }
    card = Card(
        schema=schema, architecture=architecture, arguments=arguments, name=out.stem, training=training, ledger=ledger
    )
    save_model(out, module, card)
    return open_model(out), training


def _check_names(data: Data, config: TrainConfig) -> None:
    """Raise InputError for an architecture or a column that there is not, with the closest one."""
    architecture = config.network.architecture
    if architecture is not None and architecture not in ARCHITECTURES:
        listed = ", ".join(ARCHITECTURES)
        raise InputError(
            f"architecture {architecture!r} is unknown{closest(architecture, ARCHITECTURES)}; known: {listed}."
        )
    if config.data.target is None:
        raise InputError("target must name the label's column; pass --target COLUMN.")
    columns = [str(column) for column in data.frame.columns]
    for option, names in (("drop", config.data.drop), ("immutable", config.data.immutable)):
        for name in names:
            if name not in columns:
                raise InputError(f"{option}: {data.name} has no column {name!r}{closest(name, columns)}.")


def _schema(data: Data, config: TrainDataConfig, task: Task | None) -> Schema:
    """Return how the columns of the training rows become inputs and labels."""
    assert config.target is not None
    columns = [str(column) for column in data.frame.columns]
    image = shape_of(config.image)
    images = image is not None or any(holds_images(data.frame[column]) for column in columns)
    left_out = {*config.target, *config.drop, *(config.sensitive if images else ())}
    schema = infer_schema(
        data.frame,
        target=as_target(config.target),
        sensitive=config.sensitive,
        features=[column for column in columns if column not in left_out],
        text=config.text,
        image=image,
        task=task,
    )
    fixed = tuple(name for name in schema.column_slices() if name in config.immutable)
    return schema.model_copy(update={"immutable": fixed})


def shape_of(image: str | Shape | None) -> Shape | None:
    """Return channels, height and width of an image, as an option states them or as they are."""
    return image_shape(image) if isinstance(image, str) else image


def _fit(
    module: nn.Module,
    inputs: NDArray[Any],
    labels: Labels,
    schema: Schema,
    config: NetworkConfig,
    device: torch.device,
    progress: Progress,
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Train a network in place; return what its card says of that, and the ledger of a private training."""
    objective = task_for(schema).objective()
    if config.epsilon is None:
        settings = FitSettings(epochs=config.epochs or EPOCHS, seed=config.seed, **modality_for(schema).fit_settings)
        record = fit(module, inputs, labels, settings, device=device, objective=objective, progress=progress)
        return record.model_dump(exclude={"training_losses", "validation_losses"}), None
    private = PrivateSettings(epsilon=config.epsilon, epochs=config.epochs or PRIVATE_EPOCHS, seed=None)
    ledger = fit_private(module, inputs, labels, private, device=device, objective=objective, progress=progress)
    return {"epochs": ledger.epochs, "epsilon": ledger.epsilon}, ledger.model_dump(mode="json")


def _fitting_architecture(architecture: str | None, schema: Schema) -> str:
    """Return the architecture to train, which must read what the data hold."""
    modality = modality_for(schema)
    name = architecture or modality.architecture
    if READS[name] != READS[modality.architecture]:
        remedy = {
            "table": "name one that reads a table, or none",
            "image": "pass --image HEIGHTxWIDTH, or a folder of images",
            "text": "pass --text COLUMN",
        }[READS[name]]
        raise InputError(
            f"architecture {name} reads a {READS[name]}, and the data are read as a {modality.name}; {remedy}."
        )
    return name
