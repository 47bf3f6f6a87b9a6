"""The schema of a whole data set: what its columns are, and questions about those that may be no features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from auditkit.data.dataset import Data, factorize, naming
from auditkit.data.image import holds_images
from auditkit.data.sampling_columns import id_counts, looks_like_weights
from auditkit.data.values import day, is_typed, number
from auditkit.errors import InputError, closest
from auditkit.schema.infer import MAXIMUM_CATEGORIES, infer_schema, infer_task
from auditkit.schema.schema import Schema, Target, Task, target_names

ANY_WEIGHT = "weight"
"""A column that is called just that may hold the weight of a person as well as sampling weights."""


def infer_whole(
    data: Data,
    *,
    target: Target | None = None,
    sensitive: Sequence[str] = (),
    drop: Sequence[str] = (),
    immutable: Sequence[str] = (),
    bins: Mapping[str, str] | None = None,
    task: Task | None = None,
) -> tuple[Schema, list[str]]:
    """Return the schema of a data set, and notes on what was assumed and left out.

    `target` defaults to the last column, and `task` is told from it (`infer_task`). Columns of more than 1,000
    different texts (names, ids, free text), constant ones, and those that look like ids or sampling weights are left
    out of the features; an audit can still compare their groups or leave them alone. One that is called just weight,
    which may be anybody's weight, is kept, and a note asks.

    Raises:
        InputError: a column is not there, or the target has too few or too many classes.
    """
    columns = [str(column) for column in data.frame.columns]
    notes = []
    if target is None:
        target = columns[-1]
        notes.append(f"target: {target!r}, the last column; pass --target to name another.")
    for option, names in (("sensitive", sensitive), ("drop", drop), ("immutable", immutable), ("bins", bins or {})):
        for name in names:
            if name not in columns:
                raise InputError(f"{option}: {data.name} has no column {name!r}{closest(name, columns)}.")
    features, said = _features(data, (*target_names(target), *drop), sensitive)
    notes += said
    with naming(data):
        if task is None:
            task, reason = infer_task(data.frame, target)
            notes += [reason] if reason else []
        schema = infer_schema(data.frame, target=target, sensitive=sensitive, features=features, task=task)
    more = {"bins": dict(bins or {}), "immutable": tuple(name for name in immutable if name in features)}
    return Schema.model_validate({**schema.model_dump(), **more}), notes


def _features(data: Data, left_out: Sequence[str], sensitive: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the columns that a model is to read, and notes on those that are not, or that are in question."""
    features, notes = [], []
    for name in (str(column) for column in data.frame.columns):
        if name in left_out:
            continue
        reason = _unusable(data, name)
        question = None if reason or name in sensitive else _sampling_question(data, name)
        if reason is not None:
            notes.append(f"column {name!r} {reason}, and is left out of the features.")
        elif question is not None:
            notes.append(question)
        if reason is None and (question is None or name.casefold() == ANY_WEIGHT):
            features.append(name)
    return features, notes


def _sampling_question(data: Data, name: str) -> str | None:
    """Return a question about a column that looks like weights or ids; None of others."""
    if holds_images(data.frame[name]):
        return None
    with naming(data):
        if looks_like_weights(data.frame, name):
            option = f"pass --weight {name} to an audit"
            if name.casefold() == ANY_WEIGHT:
                return (
                    f"column {name!r} is taken as a feature, such as the weight of a person; if it holds sampling "
                    f"weights, pass --drop {name} here, and {option}."
                )
            what = "sampling weights"
        elif id_counts(data.frame, name):
            what, option = "an id", f"pass --cluster {name} to an audit if its values repeat"
        else:
            return None
    return (
        f"column {name!r} looks like {what}, and is left out of the features; if it is, {option}; if it is not, "
        f"rename it, or train with a schema that has it among its features."
    )


def _unusable(data: Data, name: str) -> str | None:
    column = data.frame[name]
    if holds_images(column):
        return None
    if is_typed(column) or column.dtype.kind == "M":
        return "has the same value in every row" if column.nunique(dropna=False) == 1 else None
    codes, words = factorize(column)
    if len(words) + bool((codes < 0).any()) <= 1:
        return "has the same value in every row"
    readable = all(number(word) != float("inf") for word in words) or all(day(word) != float("inf") for word in words)
    return None if readable or len(words) <= MAXIMUM_CATEGORIES else f"has {len(words):,} different texts"
