"""A schema for a whole data set: what no network could read is left out of the features, and said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from auditkit.errors import InputError, closest
from auditkit.subject.data import Data, factorize, naming
from auditkit.subject.pixels import holds_images
from auditkit.subject.schema import MAXIMUM_CATEGORIES, Schema, infer_schema
from auditkit.subject.values import day, is_typed, number


def infer_whole(
    data: Data,
    *,
    target: str | None = None,
    sensitive: Sequence[str] = (),
    drop: Sequence[str] = (),
    bins: Mapping[str, str] | None = None,
) -> tuple[Schema, list[str]]:
    """Return the schema of a data set, and notes on what was assumed and left out.

    `target` defaults to the last column. Columns of more than 1,000 different texts (names, ids, free text) and
    constant ones are left out of the features; an audit can still compare their groups or leave them alone.

    Raises:
        InputError: a column is not there, or the target has too few or too many classes.
    """
    columns = [str(column) for column in data.frame.columns]
    notes = []
    if target is None:
        target = columns[-1]
        notes.append(f"target: {target!r}, the last column; pass --target to name another.")
    for option, names in (("sensitive", sensitive), ("drop", drop), ("bins", bins or {})):
        for name in names:
            if name not in columns:
                raise InputError(f"{option}: {data.name} has no column {name!r}{closest(name, columns)}.")
    features = []
    for name in columns:
        if name == target or name in drop:
            continue
        reason = _unusable(data, name)
        if reason is None:
            features.append(name)
        else:
            notes.append(f"column {name!r} {reason}, and is left out of the features.")
    with naming(data):
        schema = infer_schema(data.frame, target=target, sensitive=sensitive, features=features)
    return Schema.model_validate({**schema.model_dump(), "bins": dict(bins or {})}), notes


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
