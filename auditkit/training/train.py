"""From a data set to a packed model: infer the schema, train, and write the file that `auditkit run` opens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from auditkit.errors import InputError, closest
from auditkit.subject.architectures import build
from auditkit.subject.data import Data, naming
from auditkit.subject.model import Card, Model, open_model, save_model
from auditkit.subject.predict import choose_device
from auditkit.subject.schema import infer_schema
from auditkit.training.fit import fit
from auditkit.training.private import fit_private

EPOCHS, PRIVATE_EPOCHS = 30, 20
"""The most passes over the rows, without privacy (early stopping takes fewer) and with it (all are taken)."""


def train(
    data: Data,
    *,
    target: str,
    sensitive: Sequence[str] = (),
    drop: Sequence[str] = (),
    out: str | Path,
    hidden: Sequence[int] = (128, 64),
    epochs: int | None = None,
    epsilon: float | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Callable[[float, str], None] = lambda fraction, what: None,
) -> tuple[Model, dict[str, Any]]:
    """Train a tabular network on `data`, write it to `out`, and return it as opened again, with its training record.

    Sensitive columns are features too, unless `drop` names them. With `epsilon` the weights are trained by
    DP-SGD with a noise seed that is not recorded, and the ledger travels in the file.

    Args:
        data: the training rows; rows without a label are left out and counted.
        target: the label's column.
        sensitive: columns whose groups an audit will compare.
        drop: columns that are not features, such as an id or a sampling weight.
        out: the file to write, ending in .pt.
        hidden: widths of the hidden layers.
        epochs: passes over the rows; None takes the trainer's default.
        epsilon: privacy budget; None trains without privacy.
        seed: seeds weights, batches and validation split (not the noise of DP-SGD).
        device: "auto", "cpu" or "cuda".
        progress: called with the fraction done and what is being done.

    Raises:
        InputError: the data, a column, or a setting cannot be used; nothing was written.
    """
    out = Path(out)
    if out.suffix != ".pt":
        raise InputError(f"out must end in .pt, got {out}; pass --out model.pt.")
    chosen = choose_device(device)
    columns = [str(column) for column in data.frame.columns]
    for name in drop:
        if name not in columns:
            raise InputError(f"drop: {data.name} has no column {name!r}{closest(name, columns)}.")
    progress(0.0, "inferring the schema")
    features = [column for column in columns if column != target and column not in drop]
    with naming(data):
        schema = infer_schema(data.frame, target=target, sensitive=tuple(sensitive), features=features)
        labels = schema.encode_labels(data.frame)
        known = labels >= 0
        inputs = schema.encode(data.frame)[known]
    labels = labels[known]
    arguments = {"input_width": schema.input_width, "output_width": len(schema.classes), "hidden": list(hidden)}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        module = build("mlp", arguments)
    ledger = None
    if epsilon is None:
        record = fit(module, inputs, labels, epochs=epochs or EPOCHS, seed=seed, device=chosen, progress=progress)
        trained = record.model_dump(exclude={"training_losses", "validation_losses"})
    else:
        private = fit_private(
            module,
            inputs,
            labels,
            epsilon=epsilon,
            epochs=epochs or PRIVATE_EPOCHS,
            seed=None,
            device=chosen,
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
    card = Card(schema=schema, architecture="mlp", arguments=arguments, name=out.stem, training=training, ledger=ledger)
    save_model(out, module, card)
    return open_model(out), training
