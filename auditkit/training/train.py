"""From a data set to a packed model: infer the schema, train, and write the file that `auditkit run` opens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from auditkit.data.dataset import Data, as_data, naming
from auditkit.data.image import holds_images
from auditkit.errors import InputError, closest
from auditkit.models.architectures import ARCHITECTURES, READS, build
from auditkit.models.formats.native import save_model
from auditkit.models.formats.opening import open_model
from auditkit.models.model import Card, Model
from auditkit.models.predict import choose_device
from auditkit.progress import Progress, silent
from auditkit.schema.infer import infer_schema
from auditkit.schema.schema import Schema, Task, has_label, target_names
from auditkit.tasks.base import task_for
from auditkit.training.dp.dp_sgd import fit_private
from auditkit.training.dp.plan import PrivateSettings
from auditkit.training.fit import FitSettings, fit, has_loss

EPOCHS, PRIVATE_EPOCHS = 30, 20
"""The most passes over the rows, without privacy (early stopping takes fewer) and with it (all are taken)."""


DEFAULT_ARCHITECTURES = {"table": "mlp", "image": "cnn", "text": "transformer"}

# Found on UCI Adult, 4,000 MNIST digits and 10,000 reviews: few rows want small batches, and texts an early stop.
FIT_SETTINGS: dict[str, dict[str, Any]] = {
    "table": {},
    "image": {"batch_size": 64, "patience": 5},
    "text": {"learning_rate": 2e-3, "weight_decay": 1e-2},
}


def train(
    data: Data | pd.DataFrame | str | Path,
    *,
    target: str,
    sensitive: str | Sequence[str] = (),
    drop: Sequence[str] = (),
    immutable: Sequence[str] = (),
    out: str | Path,
    architecture: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    text: str | None = None,
    image: tuple[int, int, int] | None = None,
    task: Task | None = None,
    epochs: int | None = None,
    epsilon: float | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Progress = silent,
) -> tuple[Model, dict[str, Any]]:
    """Train a network on `data`, write it to `out`, and return it as opened again, with its training record.

    Of a table, sensitive columns are features too, unless `drop` names them. With `epsilon` the weights are trained by
    DP-SGD with a noise seed that is not recorded, and the ledger travels in the file.

    Args:
        data: the training rows: a DataFrame, a file or a Data; rows without a label are left out and counted.
        target: the column of the label, or of the number to be predicted; several labels as "a,b,c".
        sensitive: columns whose groups an audit will compare.
        drop: columns that are not features, such as an id or a sampling weight.
        immutable: features that nobody can change.
        out: the file to write, ending in .pt.
        architecture: one of auditkit's own by name; None takes mlp for tables, cnn for images, transformer for texts.
        arguments: arguments of the architecture that do not follow from the data, such as `{"hidden": [128, 64]}`.
        text: the column whose texts are the only feature.
        image: channels, height and width of the image whose pixels all feature columns are. Not needed where the data
            are a folder of images, or an .npz file of them.
        task: "binary", "multiclass", "multilabel" or "regression"; None tells it from the target (`infer_task`).
        epochs: passes over the rows; None takes the trainer's default.
        epsilon: privacy budget; None trains without privacy.
        seed: seeds weights, batches and validation split (not the noise of DP-SGD).
        device: "auto", "cpu" or "cuda".
        progress: told how far the training is.

    Raises:
        InputError: the data, a column, or a setting cannot be used; nothing was written.
    """
    data, sensitive = as_data(data), (sensitive,) if isinstance(sensitive, str) else sensitive
    out = Path(out)
    if out.suffix != ".pt":
        raise InputError(f"out must end in .pt, got {out}; pass --out model.pt.")
    chosen = choose_device(device)
    if architecture is not None and architecture not in ARCHITECTURES:
        listed = ", ".join(ARCHITECTURES)
        raise InputError(
            f"architecture {architecture!r} is unknown{closest(architecture, ARCHITECTURES)}; known: {listed}."
        )
    columns = [str(column) for column in data.frame.columns]
    for option, names in (("drop", drop), ("immutable", immutable)):
        for name in names:
            if name not in columns:
                raise InputError(f"{option}: {data.name} has no column {name!r}{closest(name, columns)}.")
    progress(0.0, "inferring the schema")
    images = image is not None or any(holds_images(data.frame[column]) for column in columns)
    left_out = {*target_names(target, columns), *drop, *(sensitive if images else ())}
    with naming(data):
        schema = infer_schema(
            data.frame,
            target=target,
            sensitive=tuple(sensitive),
            features=[column for column in columns if column not in left_out],
            text=text,
            image=image,
            task=task,
        )
        fixed = tuple(name for name in schema.column_slices() if name in immutable)
        schema = schema.model_copy(update={"immutable": fixed})
        name = _fitting_architecture(architecture, schema)
        labels = task_for(schema).encode_labels(data.frame)
        known = has_label(labels)
        inputs = schema.encode(data.frame)[known]
    labels = task_for(schema).learnt(labels[known])
    output = schema.output
    assert has_loss(output), "an inferred schema has an output that can be trained"
    given = dict(arguments or {}) | schema.network_arguments()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        module = build(name, given)
    ledger = None
    if epsilon is None:
        record = fit(
            module,
            inputs,
            labels,
            FitSettings(epochs=epochs or EPOCHS, seed=seed, **FIT_SETTINGS[schema.kind]),
            device=chosen,
            output=output,
            progress=progress,
        )
        trained = record.model_dump(exclude={"training_losses", "validation_losses"})
    else:
        private = fit_private(
            module,
            inputs,
            labels,
            PrivateSettings(epsilon=epsilon, epochs=epochs or PRIVATE_EPOCHS, seed=None),
            device=chosen,
            output=output,
            progress=progress,
        )
        ledger = private.model_dump(mode="json")
        trained = {"epochs": private.epochs, "epsilon": private.epsilon}
    training = {
        **trained,
        "path": data.path,
        "sha256": data.sha256,
        "row_count": len(labels),
        "dropped_row_count": int((~known).sum()),
        "seed": seed,
    }
    card = Card(schema=schema, architecture=name, arguments=given, name=out.stem, training=training, ledger=ledger)
    save_model(out, module, card)
    return open_model(out), training


def _fitting_architecture(architecture: str | None, schema: Schema) -> str:
    """Return the architecture to train, which must read what the data hold."""
    name = architecture or DEFAULT_ARCHITECTURES[schema.kind]
    if READS[name] != schema.kind:
        remedy = {
            "table": "name one that reads a table, or none",
            "image": "pass --image HEIGHTxWIDTH, or a folder of images",
            "text": "pass --text COLUMN",
        }[READS[name]]
        raise InputError(
            f"architecture {name} reads a {READS[name]}, and the data are read as a {schema.kind}; {remedy}."
        )
    return name
