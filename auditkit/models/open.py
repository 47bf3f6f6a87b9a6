"""From what the user names as the model, and says about it, to a Model that fits the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from auditkit.config import ModelConfig
from auditkit.config_commands import PackConfig
from auditkit.data.dataset import Data, naming
from auditkit.data.group_names import known_as
from auditkit.data.image import holds_images
from auditkit.errors import InputError, closest
from auditkit.evidence.messages import Message
from auditkit.models.columns import RawColumns
from auditkit.models.factory import is_code
from auditkit.models.formats.native import save_model
from auditkit.models.formats.opening import open_model
from auditkit.models.from_columns import Columns, applied, model_of
from auditkit.models.model import NATIVE, Card, Model, model_from_module
from auditkit.models.onnx import is_session, session_model
from auditkit.models.outputs import PROBED_ROWS, FirstOutput, recognise
from auditkit.models.predictors import load_object
from auditkit.models.timm import image_feature, is_of_timm
from auditkit.schema.infer import numeric_schema, target_classes
from auditkit.schema.outputs import check_task, declare
from auditkit.schema.positive import with_positive
from auditkit.schema.schema import Schema, Target, predicts_numbers, target_names
from auditkit.tasks.base import task_for


def model_for(
    model: Any, columns: Columns, *, config: ModelConfig, schema: Schema | None = None, preprocess: Any = None
) -> Model:
    """Open a model, with the columns of the data as they are for its input where nothing says otherwise.

    Args:
        model: a file or folder, an opened Model, a module, an estimator, an ONNX session or a function of a data
            frame; None where `config.predictor` names it.
        columns: the data that it is to be audited on, and what the user says about the task.
        config: what the file does not say.
        schema: how columns become the input.
        preprocess: instead of a schema, the user's own function from a data frame to the input, or its name.

    What its outputs are is declared, stated by a schema, or recognised from a pass over a few rows; its notes say so.

    Raises:
        InputError: the model cannot be opened, or what is said about it contradicts itself or the data.
    """
    if config.predictor is not None:
        if model is not None:
            raise InputError("predictor takes the place of the model file; leave one of them out.")
        model = load_object(config.predictor, "predictor")
    _refuse_contradictions(model, config, schema, preprocess)
    if preprocess is not None:
        opened, guessed = _preprocessed(model, columns, config, preprocess), True
    elif isinstance(model, str | Path | Model | nn.Module):
        opened, guessed = _opened(model, columns, config, schema)
    else:
        name = config.predictor or type(model).__name__
        made = columns.predictor(model, name)
        trust = Message("the user's own code was run") if config.predictor else Message("object in memory")
        opened = model_of(made, name=name, kind=type(model).__name__, trust=trust)
        guessed = made.schema.output == "logits"
    if config.missing_as is not None and not any(isinstance(part, RawColumns) for part in opened.module.modules()):
        raise InputError(
            "missing_as is for models that read the data's columns by themselves (an estimator, --predictor, "
            "--preprocess); leave it out: a schema says what is read where a value is missing."
        )
    schema = _declared(opened.schema, columns, config, guessed=guessed)
    opened = dataclasses.replace(opened, schema=schema)
    if opened.kind == NATIVE or task_for(schema).unpredicted is not None:
        return opened
    rows = columns.read_rows()
    with naming(rows):
        spread = np.linspace(0, len(rows.frame) - 1, min(len(rows.frame), PROBED_ROWS)).astype(np.int64)
        probe = opened.modality.encode(rows.frame.iloc[spread])
    stated = config.output or (schema.output if not guessed or predicts_numbers(schema.task) else None)
    seen = opened.module
    if config.output_index is not None and preprocess is None:
        seen = FirstOutput(seen, config.output_index)
    module, output, found = recognise(seen, probe, declared=stated, multilabel=schema.task == "multilabel")
    guesses = [*(found if stated is None else ()), *_guessed_order(schema, config, guessed=guessed)]
    return dataclasses.replace(
        opened,
        module=module,
        schema=schema.model_copy(update={"output": output}),
        notes=(*opened.notes, *found),
        guesses=tuple(guesses),
        asks=guessed,
    )


def _declared(schema: Schema, columns: Columns, config: ModelConfig, *, guessed: bool) -> Schema:
    """Return the schema with what the user declares of the outputs, the classes and the target."""
    if any(part is not None for part in (config.output, config.threshold, config.task, config.classes)):
        schema = declare(
            schema,
            output=config.output,
            threshold=config.threshold,
            task=config.task,
            classes=config.classes,
        )
    classes = schema.classes or ("",)
    if config.positive is not None and known_as(config.positive, classes) != classes[-1]:
        if not guessed:
            raise InputError(
                f"positive must be the last class of the model, {(schema.classes or ('none',))[-1]}, got "
                f"{config.positive!r}; pass --classes with the order of its outputs."
            )
        schema = declare(schema, classes=with_positive(schema.classes, config.positive))
    if columns.target is not None and columns.target != schema.target:
        schema = _with_target(schema, columns.target)
    return schema


def _guessed_order(schema: Schema, config: ModelConfig, *, guessed: bool) -> tuple[str, ...]:
    """Return the sentence that the order of the classes is a guess, if it is."""
    if not guessed or config.classes is not None or not schema.classes or schema.task == "multilabel":
        return ()
    return (
        Message(
            "Guessed: the outputs stand for the classes {classes} in this order. --classes states it.",
            classes=", ".join(schema.classes[:10]),
        ),
    )


def _refuse_contradictions(model: Any, config: ModelConfig, schema: Schema | None, preprocess: Any) -> None:
    for option in ("architecture", "trust_model", "trust_pickle"):
        if getattr(config, option) is not None and not isinstance(model, str | Path):
            raise InputError(f"{option} is for model files, and the model is an object in memory; leave it out.")
    if schema is not None and preprocess is not None:
        raise InputError("schema and preprocess are two ways to make the model's input; leave one of them out.")


def _opened(
    model: str | Path | Model | nn.Module, columns: Columns, config: ModelConfig, given: Schema | None
) -> tuple[Model, bool]:
    """Return an opened model, and whether its schema is a guess: the columns as they are, in their order."""
    notes: list[str] = []

    def plain() -> Schema:
        rows = columns.read_rows()
        images = [str(name) for name in rows.frame.columns if holds_images(rows.frame[name])]
        if images and is_of_timm(config.architecture):
            return _timm_schema(rows, images[0], columns, config)
        known = [str(name) for name in rows.frame.columns]
        for name in columns.left_out:
            if name not in known:
                raise InputError(f"expect: {name!r} is no column of the data{closest(name, known)}.")
        aside = (*columns.sensitive, *columns.left_out)
        schema = plain_schema(rows, columns.target, aside, config.classes, config.task)
        schema = schema.model_copy(update={"sensitive": columns.sensitive})
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
        if predicts_numbers(schema.task):
            notes.append(
                Message(
                    "The model's output was taken for {target} in its own unit: task {task}.",
                    target=schema.target,
                    task=schema.task,
                )
            )
        return schema

    if isinstance(model, str | Path):
        opened = _open_file(model, columns, config, given or plain)
    elif isinstance(model, Model):
        opened = model if given is None else dataclasses.replace(model, schema=given)
    else:
        opened = model_from_module(model, given or plain())
    return dataclasses.replace(opened, notes=(*opened.notes, *notes), guessed=bool(notes)), bool(notes)


def _timm_schema(rows: Data, image: str, columns: Columns, config: ModelConfig) -> Schema:
    """Return the schema of a network of timm over a column of images, by the transform that timm names."""
    assert config.architecture is not None
    if columns.target is None:
        raise InputError("target must name the label's column; pass --target COLUMN.")
    with naming(rows):
        task, classes = target_classes(rows.frame, columns.target, config.classes, config.task)
    return Schema(
        features=(image_feature(config.architecture, config.architecture_args, image),),
        target=columns.target,
        task=task,
        classes=classes,
        sensitive=columns.sensitive,
        output="logits",
    )


def _open_file(
    path: str | Path,
    columns: Columns,
    config: ModelConfig,
    schema: Schema | Callable[[], Schema] | None,
    *,
    own_inputs: bool = False,
) -> Model:
    return open_model(
        path,
        architecture=config.architecture,
        arguments=config.architecture_args,
        schema=schema,
        trust_model=config.trust_model,
        trust_pickle=config.trust_pickle,
        columns=columns,
        own_inputs=own_inputs,
    )


def _preprocessed(model: Any, columns: Columns, config: ModelConfig, preprocess: Any) -> Model:
    """Return a model behind the user's preprocessing."""
    name = preprocess if isinstance(preprocess, str) else getattr(preprocess, "__name__", type(preprocess).__name__)
    given = load_object(preprocess, "preprocess") if isinstance(preprocess, str) else preprocess
    schema = columns.schema(given, name)
    if isinstance(model, str | Path):
        opened = _open_file(model, columns, config, schema, own_inputs=True)
    elif isinstance(model, Model):
        opened = model
    elif is_session(model):
        opened = session_model(model, schema)
    else:
        opened = model_from_module(model, schema)
    if any(isinstance(part, RawColumns) for part in opened.module.modules()):
        raise InputError("the model reads the data's columns by itself; leave preprocess out.")
    network = opened.module if config.output_index is None else FirstOutput(opened.module, config.output_index)
    made = columns.preprocessed(network, given, name)
    return applied(opened, made, trust=Message("the user's preprocessing {name} was run", name=name))


def _with_target(schema: Schema, target: Target) -> Schema:
    """Return a schema with another target; of several labels as many columns, in the order of the outputs."""
    if schema.task != "multilabel":
        if not isinstance(target, str):
            raise InputError(
                f"target names {len(target)} columns, which is task multilabel; the model's is {schema.task}."
            )
        return schema.model_copy(update={"target": target})
    names = target_names(target)
    if len(names) != len(schema.classes):
        raise InputError(f"target must name {len(schema.classes)} label columns, as the model has, got {target!r}.")
    return schema.model_copy(update={"target": names, "classes": names})


def pack_model(path: str | Path, out: str | Path, *, config: PackConfig, schema: Schema | None = None) -> Model:
    """Open weights, write them to `out` with a card, and return the model as opened again.

    Raises:
        InputError: the file cannot be opened or packed, or there is no schema of its inputs.
    """
    from auditkit.models.formats.opening import open_model

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
    rows: Data, target: Target | None, sensitive: Sequence[str], classes: Sequence[str] | None, task: str | None
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
    targets = target_names(target)
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
