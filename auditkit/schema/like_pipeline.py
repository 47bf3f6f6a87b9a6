"""The schema of a fitted scikit-learn ColumnTransformer: the same cells in the same order, or a refusal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from auditkit.errors import SchemaError
from auditkit.schema.table import Feature

REMEDY = "pass it whole instead, as --preprocess my_module:object"
TOLERANCE = 1e-4


def features_like(given: Any, frame: pd.DataFrame) -> tuple[Feature, ...]:
    """Return the features that encode rows as a fitted ColumnTransformer, or a pipeline that begins with one, does.

    Scalers, one-hot encoders with the order of their categories, ordinal encoders of numbers, imputers whose value a
    schema can express, and columns passed through are understood. The result is checked on the rows of `frame`.

    Raises:
        SchemaError: a step, or what it learnt, is none that a schema can express, or the numbers differ on these rows.
    """
    transformer = column_transformer(given)
    features = []
    for name, step, columns in transformer.transformers_:
        if isinstance(step, str) and step == "drop":
            continue
        names = [str(column) for column in _names(transformer, columns)]
        features += list(_features(str(name), step, names))
    found = tuple(features)
    _check(transformer, found, frame)
    return found


def column_transformer(given: Any) -> Any:
    """Return the fitted ColumnTransformer that an object is or begins with.

    Raises:
        SchemaError: it is none, or not fitted.
    """
    found = given
    while hasattr(found, "steps"):
        found = found.steps[0][1]
    if not hasattr(found, "transformers"):
        raise SchemaError(f"like: a {type(given).__name__} begins with no ColumnTransformer; {REMEDY}.")
    if not hasattr(found, "transformers_"):
        raise SchemaError("like: the ColumnTransformer is not fitted; fit it, and save it again.")
    return found


def _names(transformer: Any, columns: Any) -> Sequence[Any]:
    if isinstance(columns, str):
        return [columns]
    if isinstance(columns, slice) or any(isinstance(one, int | np.integer | bool | np.bool_) for one in columns):
        known = getattr(transformer, "feature_names_in_", None)
        if known is None:
            raise SchemaError("like: the ColumnTransformer was fitted to an array, and its columns have no names.")
        picked: Sequence[Any] = np.asarray(known)[columns].tolist()
        return picked
    return list(columns)


def _features(name: str, step: Any, columns: Sequence[str]) -> Iterator[Feature]:
    """Yield the features of one step over its columns."""
    steps = [part for _, part in step.steps] if hasattr(step, "steps") else [step]
    filled: list[Any] = [None] * len(columns)
    if type(steps[0]).__name__ == "SimpleImputer":
        if steps[0].add_indicator:
            raise SchemaError(f"like: step {name!r} adds a column for missing values (add_indicator); {REMEDY}.")
        filled = list(steps[0].statistics_)
        steps = steps[1:] or ["passthrough"]
    if len(steps) > 1:
        raise SchemaError(f"like: step {name!r} has several transformers one after the other; {REMEDY}.")
    last = steps[0]
    kind = "passthrough" if isinstance(last, str) else type(last).__name__
    for place, column in enumerate(columns):
        if kind == "OneHotEncoder":
            yield _one_hot(name, last, place, column, filled[place])
            continue
        if kind == "OrdinalEncoder":
            _check_ordinal(name, last, place, column)
        mean, scale = _line(name, kind, last, place)
        if filled[place] is not None and not math.isclose(float(filled[place]), mean, rel_tol=1e-6, abs_tol=1e-9):
            raise SchemaError(
                f"like: step {name!r} fills missing values of {column!r} by {filled[place]:g}, and a schema puts them "
                f"at {mean:g}; {REMEDY}."
            )
        yield Feature(name=column, kind="numeric", mean=mean, scale=scale)


def _line(name: str, kind: str, step: Any, place: int) -> tuple[float, float]:
    """Return the mean and the scale of (x - mean) / scale, which a scaler of columns does to one of them."""
    if kind in ("passthrough", "FunctionTransformer", "OrdinalEncoder"):
        if kind == "FunctionTransformer" and step.func is not None:
            raise SchemaError(f"like: step {name!r} calls a function; {REMEDY}.")
        return 0.0, 1.0
    if kind == "StandardScaler":
        mean = 0.0 if step.mean_ is None else float(step.mean_[place])
        return mean, 1.0 if step.scale_ is None else float(step.scale_[place])
    if kind == "MinMaxScaler" and not step.clip:
        return float(-step.min_[place] / step.scale_[place]), float(1 / step.scale_[place])
    if kind == "MaxAbsScaler" and not getattr(step, "clip", False):
        return 0.0, float(step.scale_[place])
    if kind == "RobustScaler":
        centre = 0.0 if step.center_ is None else float(step.center_[place])
        return centre, 1.0 if step.scale_ is None else float(step.scale_[place])
    raise SchemaError(f"like: step {name!r} is a {kind}, which a schema cannot express; {REMEDY}.")


def _one_hot(name: str, step: Any, place: int, column: str, filled: Any) -> Feature:
    if step.drop_idx_ is not None or getattr(step, "_infrequent_enabled", False):
        raise SchemaError(f"like: step {name!r} drops or merges categories of {column!r}; {REMEDY}.")
    known = list(step.categories_[place])
    missing = known and _is_missing(known[-1])
    if filled is not None:
        if known[-1] != filled:
            raise SchemaError(
                f"like: step {name!r} counts missing values of {column!r} as {filled!r}, which is not its last "
                f"category; {REMEDY}."
            )
        missing = True
    categories = tuple(_word(column, one) for one in (known[:-1] if missing else known))
    return Feature(name=column, kind="categorical", categories=categories, missing=bool(missing))


def _check_ordinal(name: str, step: Any, place: int, column: str) -> None:
    if list(step.categories_[place]) != list(range(len(step.categories_[place]))):
        raise SchemaError(f"like: step {name!r} numbers the categories of {column!r}; {REMEDY}.")


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and math.isnan(value))


def _word(column: str, value: Any) -> str:
    """Return a category as its text in the data."""
    if isinstance(value, float | np.floating) and not float(value).is_integer():
        raise SchemaError(f"like: {column!r} has the category {value}, which is no text; {REMEDY}.")
    return str(int(value)) if isinstance(value, float | np.floating) else str(value)


def _check(transformer: Any, features: Sequence[Feature], frame: pd.DataFrame) -> None:
    """Raise unless the features give the numbers that the transformer gives, on every row."""
    absent = [feature.name for feature in features if feature.name not in frame.columns]
    if absent:
        raise SchemaError(f"like: the data have no column {absent[0]!r}, which the pipeline reads.")
    try:
        made = transformer.transform(frame)
    except Exception as error:  # of scikit-learn, whatever it raises
        raise SchemaError(
            f"like: the pipeline does not take the data: {str(error).strip().splitlines()[0]}."
        ) from error
    expected = np.asarray(made.toarray() if hasattr(made, "toarray") else made, dtype=np.float64)
    start = 0
    for feature in features:
        cells = np.zeros((len(frame), feature.width), dtype=np.float32)
        feature.write(frame, cells)
        wanted = expected[:, start : start + feature.width]
        start += feature.width
        if wanted.shape != cells.shape:
            break
        differ = ~np.isclose(cells, wanted, rtol=TOLERANCE, atol=TOLERANCE).all(axis=1)
        if differ.any():
            row = int(differ.argmax())
            raise SchemaError(
                f"like: for {feature.name!r}, row {row}, the pipeline makes {wanted[row].tolist()} and a schema would "
                f"make {cells[row].tolist()}; {REMEDY}."
            )
    if start != expected.shape[1]:
        raise SchemaError(
            f"like: the pipeline makes {expected.shape[1]} numbers a row, and the schema would make {start}; {REMEDY}."
        )
