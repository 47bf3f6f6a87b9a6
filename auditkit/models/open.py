"""From what the user names as the model, and says about it, to a Model that fits the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from auditkit.config import ModelConfig
from auditkit.data.dataset import Data, naming
from auditkit.errors import InputError, closest
from auditkit.evidence.messages import Message
from auditkit.models.factory import is_code
from auditkit.schema.infer import numeric_schema, target_classes
from auditkit.schema.outputs import check_task, declare
from auditkit.schema.schema import Schema, target_names

if TYPE_CHECKING:
    from torch import nn

    from auditkit.models.model import Model


def model_for(
    model: nn.Module | Model | str | Path,
    read_rows: Callable[[], Data],
    *,
    target: str | None,
    sensitive: Sequence[str] | None,
    config: ModelConfig,
    schema: Schema | None = None,
) -> Model:
    """Open a model, with the columns of the data as they are for its input where no schema says otherwise.

    `config` states what the file does not, `schema` how columns become the input. What its outputs are is declared,
    stated by a schema, or recognised from a pass over a few rows; its notes say so.

    Raises:
        InputError: the file cannot be opened, or what is said about it contradicts itself or the data.
    """
    from auditkit.models.formats.opening import open_model
    from auditkit.models.model import Model, model_from_module
    from auditkit.models.outputs import PROBED_ROWS, recognise

    for option in ("architecture", "trust_model", "trust_pickle"):
        if getattr(config, option) is not None and not isinstance(model, str | Path):
            raise InputError(f"{option} is for model files, and the model is an object in memory; leave it out.")
    notes: list[str] = []
    given = schema

    def plain() -> Schema:
        schema = plain_schema(read_rows(), target, sensitive or (), config.classes, config.task)
        names = [feature.name for feature in schema.features]
        listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        notes.append(
            Message(
                "No schema says how columns become the model's input: all columns that are neither target "
                "nor sensitive, in the order of the data, were passed as they are, as one tensor of "
                "{names_count} numbers a row: {listed}.",
                names_count=len(names),
                listed=listed,
            )
        )
        if schema.task == "regression":
            notes.append(
                Message(
                    "The model's output was taken for {target} in its own unit: task regression.", target=schema.target
                )
            )
        return schema

    if isinstance(model, str | Path):
        opened = open_model(
            model,
            architecture=config.architecture,
            arguments=config.architecture_args,
            schema=given or plain,
            trust_model=config.trust_model,
            trust_pickle=config.trust_pickle,
        )
    elif isinstance(model, Model):
        opened = model if given is None else dataclasses.replace(model, schema=given)
    else:
        opened = model_from_module(model, given or plain())
    schema = opened.schema
    if any(part is not None for part in (config.output, config.threshold, config.task, config.classes)):
        schema = declare(
            schema,
            output=config.output,
            threshold=config.threshold,
            task=config.task,
            classes=config.classes,
        )
    if target is not None and target != schema.target:
        schema = _with_target(schema, target)
    opened = dataclasses.replace(opened, schema=schema)
    if opened.kind == "auditkit":
        return opened
    rows = read_rows()
    with naming(rows):
        spread = np.linspace(0, len(rows.frame) - 1, min(len(rows.frame), PROBED_ROWS)).astype(np.int64)
        probe = schema.encode(rows.frame.iloc[spread])
    stated = config.output or (schema.output if not notes or schema.task == "regression" else None)
    module, output, found = recognise(opened.module, probe, declared=stated, several_labels=schema.task == "multilabel")
    return dataclasses.replace(
        opened,
        module=module,
        schema=schema.model_copy(update={"output": output}),
        notes=(*opened.notes, *notes, *found),
    )


def _with_target(schema: Schema, target: str) -> Schema:
    """Return a schema with another target; of several labels as many columns, in the order of the outputs."""
    if schema.task != "multilabel":
        return schema.model_copy(update={"target": target})
    names = target_names(target, ())
    if len(names) != len(schema.classes):
        raise InputError(f"target must name {len(schema.classes)} label columns, as the model has, got {target!r}.")
    return schema.model_copy(update={"target": ",".join(names), "classes": names})


def pack_model(path: str | Path, out: str | Path, *, config: ModelConfig, schema: Schema | None = None) -> Model:
    """Open weights, write them to `out` with a card, and return the model as opened again.

    Raises:
        InputError: the file cannot be opened or packed, or there is no schema of its inputs.
    """
    from auditkit.models.formats.native import save_model
    from auditkit.models.formats.opening import open_model
    from auditkit.models.model import Card

    if Path(out).suffix not in (".pt", ".safetensors"):
        raise InputError(f"out must end in .pt or .safetensors, got {out}; pass --out model.pt.")
    opened = open_model(
        path,
        architecture=config.architecture,
        arguments=config.architecture_args,
        schema=schema,
        trust_pickle=config.trust_pickle,
    )
    schema = opened.schema
    if config.output or config.threshold is not None or config.classes:
        schema = declare(schema, output=config.output, threshold=config.threshold, classes=config.classes)
    card = opened.card
    if card is None:
        if config.architecture is None:
            raise InputError("a module cannot be packed without the code that builds it; pass --architecture.")
        card = Card(schema=schema, architecture=config.architecture, arguments=dict(config.architecture_args or {}))
    save_model(out, opened.module, card.model_copy(update={"schema_": schema, "name": card.name or Path(out).stem}))
    packed = open_model(out, architecture=card.architecture if is_code(card.architecture) else None)
    return dataclasses.replace(packed, notes=opened.notes)


def plain_schema(
    rows: Data, target: str | None, sensitive: Sequence[str], classes: Sequence[str] | None, task: str | None
) -> Schema:
    """Return the schema of a network that reads all columns but target and sensitive ones as they are.

    `task` is told from the target (`infer_task`) where neither it nor the classes are stated.

    Raises:
        InputError: no target is named, it is no column, or its classes cannot be told.
    """
    columns = [str(column) for column in rows.frame.columns]
    if target is None:
        raise InputError(
            "target must name the label's column: the model has no schema that does; pass --target COLUMN."
        )
    targets = target_names(target, columns)
    for name in targets:
        if name not in columns:
            raise InputError(f"target {name!r} is not a column of the data{closest(name, columns)}.")
    for name in sensitive:
        if name not in columns:
            raise InputError(f"sensitive column {name!r} is not in {rows.name}{closest(name, columns)}.")
    check_task(task)
    features = [column for column in columns if column not in targets and column not in sensitive]
    with naming(rows):
        told, known = target_classes(rows.frame, target, classes, task)
    return numeric_schema(
        features, target=target, classes=known, sensitive=tuple(sensitive), output="logits", task=told
    )
