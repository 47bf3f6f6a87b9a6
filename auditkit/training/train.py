"""From a data set to a packed model: infer the schema, train, and write the file that `auditkit run` opens."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from auditkit.errors import InputError
from auditkit.subject.architectures import build
from auditkit.subject.data import Data
from auditkit.subject.model import Card, Model, open_model, save_model
from auditkit.subject.predict import choose_device
from auditkit.subject.schema import infer_schema
from auditkit.training.fit import fit
from auditkit.training.private import fit_private


def train(
    data: Data,
    *,
    target: str,
    sensitive: Sequence[str],
    out: str | Path,
    hidden: Sequence[int] = (128, 64),
    epochs: int | None = None,
    epsilon: float | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Callable[[float, str], None] = lambda fraction, what: None,
) -> tuple[Model, dict[str, Any]]:
    """Train a tabular network on `data`, write it to `out`, and return it as opened again, with its training record.

    Sensitive columns are features too, unless the caller leaves them out of `data`. With `epsilon` the weights
    are trained by DP-SGD, and the ledger travels in the file.

    Args:
        data: the training rows; rows without a label are left out and counted.
        target: the label's column.
        sensitive: columns whose groups an audit will compare.
        out: the file to write, ending in .pt.
        hidden: widths of the hidden layers.
        epochs: passes over the rows; None takes the trainer's default.
        epsilon: privacy budget; None trains without privacy.
        seed: seeds weights, batches, validation split and noise.
        device: "auto", "cpu" or "cuda".
        progress: called with the fraction done and what is being done.

    Raises:
        InputError: the data, a column, or a setting cannot be used; nothing was written.
    """
    out = Path(out)
    if out.suffix != ".pt":
        raise InputError(f"out must end in .pt, got {out}; pass --out model.pt.")
    chosen = choose_device(device)
    progress(0.0, "inferring the schema")
    schema = infer_schema(data.frame, target=target, sensitive=tuple(sensitive))
    labels = schema.encode_labels(data.frame)
    known = labels >= 0
    inputs = schema.encode(data.frame)[known]
    labels = labels[known]
    arguments = {"input_width": schema.input_width, "output_width": len(schema.classes), "hidden": list(hidden)}
    module = build("mlp", arguments, seed=seed)
    passes = {} if epochs is None else {"epochs": epochs}
    ledger = None
    if epsilon is None:
        record = fit(module, inputs, labels, seed=seed, device=chosen, progress=progress, **passes)
        trained = {
            name: value for name, value in dataclasses.asdict(record).items() if not isinstance(value, list | tuple)
        }
    else:
        private = fit_private(
            module, inputs, labels, epsilon=epsilon, seed=seed, device=chosen, progress=progress, **passes
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
