"""Schemas from data: of a whole data set, of the rows a network is trained on, of columns taken as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError

from auditkit.budgets import CLASSES
from auditkit.data.dataset import factorize
from auditkit.data.image import holds_images, pixels, shape_of_images
from auditkit.data.values import FALSE_WORDS, MISSING_NUMBERS, TRUE_WORDS, day, is_typed, number, numbers
from auditkit.errors import DatasetError, InputError, SchemaError
from auditkit.evidence.measurement import first_problem
from auditkit.schema.schema import Schema, Target, Task, no_column, predicts_numbers, target_names, task_of
from auditkit.schema.table import Feature
from auditkit.schema.text import choose_length, learn_vocabulary

MAXIMUM_CATEGORIES = 1000

MOST_WHOLE_CLASSES = 100
"""More different whole numbers than this are taken for numbers to be predicted, and not for classes."""


def infer_schema(
    frame: pd.DataFrame,
    *,
    target: Target,
    sensitive: Sequence[str] = (),
    features: Sequence[str] | None = None,
    text: str | None = None,
    image: tuple[int, int, int] | None = None,
    task: Task | None = None,
) -> Schema:
    """Decide once, from the rows a network is trained on, what each column is and how it is encoded.

    A column is numeric if every value that is not missing is a number, boolean if it holds one word for true and
    one for false, else categorical. Numbers are standardised by their mean and population standard deviation
    (by 1 where they are constant), and so is the target of a regression. Classes are sorted, as numbers if all of them
    are. `features` defaults to every column but the target, sensitive ones included, `task` to what `infer_task` tells.

    With `text` the texts of that column are the only feature; with `image`, a shape (channels, height, width), the
    features are the pixels of one image. A column of arrays among the features is an image, and the only feature.

    Raises:
        DatasetError: a named column is missing, a text column has more than 1,000 distinct values, or the target
            has fewer than 2 or more classes than `budgets.CLASSES`, or is no number in a regression.
    """
    columns = [str(column) for column in frame.columns]
    text_names = () if text is None else (text,)
    targets = target_names(target)
    for role, names in (
        ("target", targets),
        ("sensitive", sensitive),
        ("text", text_names),
        ("feature", features or ()),
    ):
        for name in names:
            if name not in columns:
                raise DatasetError(f"{no_column(role, name, columns)}.")
    names = (
        [column for column in columns if column not in targets] if features is None else list(dict.fromkeys(features))
    )
    for label in targets:
        if label in names:
            raise DatasetError(f"the target {label!r} is among the features; leave it out.")
    if not names:
        raise DatasetError(f"has no column but the target {target!r}: there is nothing to learn from.")
    found = _infer_target(frame, target, task or infer_task(frame, target)[0])
    arrays = [name for name in names if holds_images(frame[name])]
    if text is not None:
        inferred: tuple[Feature, ...] = (_infer_text(frame, text),)
    elif image is not None or arrays:
        inferred = (_infer_image(frame, arrays[:1] or names, image, of_arrays=bool(arrays)),)
    else:
        inferred = tuple(feature_of(frame, name) for name in names)
    return Schema(**{"features": inferred, "target": target, "sensitive": tuple(dict.fromkeys(sensitive)), **found})


def generator_schema(
    frame: pd.DataFrame, *, target: Target | None = None, image: tuple[int, int, int] | None = None
) -> Schema:
    """Return the schema of a generator of images: pixels scaled to between 0 and 1, and the classes that rows show.

    `image` is the shape of the image whose pixels all columns but the target are; images in a column of arrays, or a
    folder of images, have their own.

    Raises:
        DatasetError: there are no images, they differ in shape, or a pixel is negative.
    """
    names = [str(column) for column in frame.columns if column not in target_names(target or ())]
    arrays = [name for name in names if holds_images(frame[name])]
    if image is None and not arrays:
        raise DatasetError("holds no images, and this architecture generates images; pass --image HEIGHTxWIDTH.")
    feature = _infer_image(frame, arrays[:1] or names, image, of_arrays=bool(arrays))
    assert feature.shape is not None
    raw = pixels(frame, feature.name, feature.columns, feature.shape)
    if raw.min() < 0:
        raise DatasetError(f"column {feature.name!r} holds a negative pixel; scale pixels to 0 to 1, or 0 to 255.")
    scaled = feature.model_copy(update={"mean": 0.0, "scale": 255.0 if raw.max() > 1 else 1.0})
    return Schema(
        features=(scaled,),
        target=target,
        task="generation",
        classes=() if target is None else infer_classes(frame, target),
        output="rows",
    )


def record_schema(frame: pd.DataFrame, *, target: Target | None = None, sensitive: Sequence[str] = ()) -> Schema:
    """Return the schema of synthetic records with the columns of real ones.

    Of a target with classes the classes are known; a target of numbers is a column like the others.

    Raises:
        DatasetError: the target is no column, or a column has more than 1,000 different texts.
    """
    has_classes = target is not None and infer_task(frame, target)[0] in ("binary", "multiclass")
    label = target if has_classes else None
    names = [str(column) for column in frame.columns]
    return Schema(
        features=tuple(feature_of(frame, name) for name in names if name != label),
        target=label,
        classes=() if label is None else infer_classes(frame, label),
        task="synthetic",
        output="records",
        sensitive=tuple(sensitive),
    )


def infer_task(frame: pd.DataFrame, target: Target) -> tuple[Task, str]:
    """Return the task that a target column sets, and a sentence on how that was told where it is a regression.

    Numbers that are not all whole, or more than 100 different ones, are predicted as numbers; all else are classes.
    Several columns are the labels of a multi-label task.
    """
    columns = [str(column) for column in frame.columns]
    targets = target_names(target)
    for name in targets:
        if name not in columns:
            raise DatasetError(f"{no_column('target', name, columns)}.")
    if len(targets) > 1:
        return "multilabel", ""
    (name,) = targets
    if is_typed(frame[name]) and not pd.api.types.is_bool_dtype(frame[name].dtype):
        values = numbers(frame, name)
        present = np.unique(values[~np.isnan(values)]).tolist()
    else:
        _, words = factorize(frame[name])
        read = [number(word) for word in words]
        present = [value for value in read if not math.isnan(value)]
    if not any(math.isinf(value) for value in present):
        whole = all(float(value).is_integer() for value in present)
        if not whole or len(present) > MOST_WHOLE_CLASSES:
            which = f"{len(present):,} different" + (" whole" if whole else "") + " numbers"
            return "regression", f"task: regression, since {name!r} holds {which}; pass --task to say otherwise."
    return "binary" if len(present) == 2 else "multiclass", ""


def _infer_target(frame: pd.DataFrame, target: Target, task: Task) -> dict[str, Any]:
    """Return what a schema says of its target: the classes, or the mean and the scale of the numbers.

    Raises:
        DatasetError: the column is not what the task asks for.
    """
    if task == "multilabel":
        labels = label_columns(frame, target)
        return {"task": task, "target": labels, "classes": labels}
    if not isinstance(target, str):
        raise DatasetError(f"target {target!r} names several columns, which is task multilabel, and task is {task}.")
    if predicts_numbers(task):
        values = numbers(frame, target)
        mean, scale, present_count = _standardisation(values)
        present = values[~np.isnan(values)]
        if not present_count or present.min() == present.max():
            raise DatasetError(f"target {target!r} must hold at least two different numbers to be predicted.")
        return {"task": task, "output": "value", "target_mean": mean, "target_scale": scale}
    classes = infer_classes(frame, target)
    if task != task_of(classes, task):
        raise DatasetError(f"target {target!r} has {len(classes):,} classes, and task is {task}.")
    return {"task": task, "classes": classes}


def label_columns(frame: pd.DataFrame, target: Target) -> tuple[str, ...]:
    """Return the label columns that the target of a multi-label task names.

    Raises:
        DatasetError: fewer than two, one that is named twice or not there, or a value that is neither 0 nor 1.
    """
    columns = [str(column) for column in frame.columns]
    labels = target_names(target)
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise DatasetError(f"a multilabel task needs at least two different label columns, got {target!r}.")
    for name in labels:
        if name not in columns:
            raise DatasetError(f"{no_column('target', name, columns)}.")
        numbers(frame, name, boolean=True)
    return labels


def infer_classes(frame: pd.DataFrame, target: Target) -> tuple[str, ...]:
    """Return the classes of a target column: its distinct texts, sorted, as numbers if all of them are.

    Raises:
        DatasetError: there is no such column, or it has fewer than 2 or more classes than `budgets.CLASSES`.
    """
    if not isinstance(target, str) or target not in frame.columns:
        raise DatasetError(f"{no_column('target', str(target), list(frame.columns))}.")
    _, classes = factorize(frame[target])
    if not 2 <= len(classes) <= CLASSES.most:
        remedy = (
            "if it is a number to be predicted, pass --task regression"
            if len(classes) > 1
            else "name both, such as --classes no,yes, or give rows of both"
        )
        raise DatasetError(
            f"target {target!r} must have from 2 to {CLASSES.most:,} classes, got {len(classes):,}; {remedy}."
        )
    numeric = all(math.isfinite(number(name)) for name in classes)
    return tuple(sorted(classes, key=float) if numeric else classes)


def target_classes(
    frame: pd.DataFrame, target: Target, classes: Sequence[str] | None, task: str | None
) -> tuple[Task, tuple[str, ...]]:
    """Return the task, and the stated classes, else those of the target column; of a multi-label task, its labels.

    Raises:
        DatasetError: the target is not what the task asks for.
        InputError: classes are stated for several labels, or other ones than the task has.
    """
    several = len(target_names(target)) > 1
    told = task or ("" if classes and not several else infer_task(frame, target)[0])
    if several and told != "multilabel":
        raise InputError(f"target {target!r} names several columns, which is task multilabel, and task is {told}.")
    if told == "multilabel":
        if classes:
            raise InputError("a multilabel task has no classes but its label columns; leave --classes out.")
        return "multilabel", label_columns(frame, target)
    if predicts_numbers(told):
        return told, ()
    found = tuple(classes) if classes else infer_classes(frame, target)
    return task_of(found, task), found


def numeric_schema(
    columns: Sequence[str],
    *,
    target: Target | None,
    classes: Sequence[str],
    sensitive: Sequence[str] = (),
    output: Literal["logits", "probabilities", "value"] = "logits",
    task: Task | None = None,
) -> Schema:
    """Return the schema of a network that reads these numeric columns as they are, in this order.

    Without classes its output is a value: the target in its own unit. `task` follows from the classes, unless they are
    the columns of a multi-label task.

    Raises:
        SchemaError: no columns, one class, or a name that occurs twice or in two roles.
    """
    try:
        return Schema(
            features=tuple(Feature(name=name, kind="numeric") for name in columns),
            target=tuple(classes) if task == "multilabel" else target,
            task=task or task_of(classes),
            classes=tuple(classes),
            sensitive=tuple(sensitive),
            output=output if classes else "value",
        )
    except ValidationError as error:
        where, problem = first_problem(error)
        raise SchemaError(f"schema: {where + ': ' if where else ''}{problem}.") from error


def _infer_text(frame: pd.DataFrame, name: str) -> Feature:
    _, texts = factorize(frame[name])
    vocabulary = learn_vocabulary(texts)
    if not vocabulary:
        raise DatasetError(f"column {name!r} has no word that occurs twice: there is nothing to learn from.")
    return Feature(name=name, kind="text", tokenizer="words", vocabulary=vocabulary, length=choose_length(texts))


def _infer_image(
    frame: pd.DataFrame, names: Sequence[str], shape: tuple[int, int, int] | None, *, of_arrays: bool
) -> Feature:
    if of_arrays:
        name, shape = names[0], shape_of_images(frame, names[0])
        columns: tuple[str, ...] = ()
    else:
        assert shape is not None
        name, columns = "image", tuple(names)
        if len(columns) != math.prod(shape):
            raise DatasetError(
                f"has {len(columns):,} columns that are neither target nor left out, but an image of "
                f"{shape[1]}x{shape[2]} with {shape[0]} channels has {math.prod(shape):,} pixels; "
                "leave the other columns out with --drop."
            )
    raw = pixels(frame, name, columns, shape)
    mean, deviation = float(raw.mean(dtype=np.float64)), float(raw.std(dtype=np.float64))
    return Feature(name=name, kind="image", shape=shape, columns=columns, mean=mean, scale=deviation or 1.0)


def feature_of(frame: pd.DataFrame, name: str) -> Feature:
    """Return what a column of a table is and how it is encoded, as `infer_schema` tells it.

    Raises:
        DatasetError: it holds more than 1,000 different texts.
    """
    column = frame[name]
    if pd.api.types.is_bool_dtype(column.dtype):
        return Feature(name=name, kind="boolean", missing=bool(column.isna().any()))
    is_date = pd.api.types.is_datetime64_any_dtype(column.dtype)
    if not is_typed(column) and not is_date:
        codes, words = factorize(column)
        folded = {word.casefold() for word in words} - MISSING_NUMBERS
        one_each = len(folded & TRUE_WORDS) == 1 and len(folded & FALSE_WORDS) == 1
        if len(folded) == 2 and one_each and folded != {"0", "1"}:
            return Feature(name=name, kind="boolean", missing=bool(np.isnan(numbers(frame, name, boolean=True)).any()))
        is_date = bool(words) and all(math.isfinite(day(word)) for word in words if word.lower() not in MISSING_NUMBERS)
        read = [day(word) if is_date else number(word) for word in words]
        if any(math.isinf(value) for value in read) or (words and all(math.isnan(value) for value in read)):
            if len(words) > MAXIMUM_CATEGORIES:
                raise DatasetError(
                    f"column {name!r} has {len(words):,} distinct texts, and a categorical column at most "
                    f"{MAXIMUM_CATEGORIES:,}; drop the column, or group its values."
                )
            return Feature(name=name, kind="categorical", categories=tuple(words), missing=bool((codes < 0).any()))
    values = numbers(frame, name, date=is_date)
    mean, scale, present_count = _standardisation(values)
    kind: Literal["date", "numeric"] = "date" if is_date else "numeric"
    return Feature(name=name, kind=kind, mean=mean, scale=scale, missing=present_count < values.size)


def _standardisation(values: NDArray[np.float64]) -> tuple[float, float, int]:
    """Return the mean and the deviation of the numbers that are not missing (0 and 1 of none), and their count."""
    present = values[~np.isnan(values)]
    mean, scale = 0.0, 1.0
    if present.size:
        mean, deviation = float(present.mean()), float(present.std())
        # Equal numbers can leave a deviation that is rounding error, and not exactly 0.
        scale = deviation if present.min() < present.max() and deviation > 0 else 1.0
    return mean, scale, present.size
