"""Check that a model gives the scores that its developer knows it to give, and tell the likely cause where not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from auditkit.data.dataset import factorize, origin
from auditkit.data.interned import MISSING_WORDS
from auditkit.data.values import numbers
from auditkit.errors import DatasetError, InputError, closest
from auditkit.models.order import column_orders, searched_order
from auditkit.schema.schema import Schema
from auditkit.tasks.base import Predictions

TOLERANCE = 1e-4
"""Scores that differ by less are the same: sums in float32 depend on the machine."""

DECIDED_APART = 0.001
"""Of recorded classes so many may differ: scores next to the threshold fall on either side of it."""

TRIED_ROWS = 256
"""So many rows are asked again with the columns in another order, or standardised."""

MUCH_NEARER = 0.3
"""A change of the columns explains a difference where it leaves less than this share of it."""

FOLLOWS = 0.95
"""From this correlation on, scores follow the expected ones."""

Floats = NDArray[np.float64]
Distance = Callable[[NDArray[np.float32]], float]
Scored = Callable[[NDArray[np.float32]], Floats]
"""Maps encoded rows to what the expected values are compared with: scores, or predicted numbers."""


@dataclass(frozen=True, eq=False)
class Asked:
    """The rows that a model was asked, and the model.

    `encode` gives the encoded rows, `scored` what it says of such: log-odds in a binary task, else predictions.
    """

    frame: pd.DataFrame
    schema: Schema
    encode: Callable[[], NDArray[np.float32]]
    scored: Scored


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a model gives beside what it is known to give, a row each; rows that differ more than `tolerance` are apart.

    `words` are the two as they are printed.
    """

    found: Floats
    expected: Floats
    apart: NDArray[np.bool_]
    tolerance: float
    words: tuple[NDArray[np.object_], NDArray[np.object_]]


def compare_expected(column: str, frame: pd.DataFrame, schema: Schema, predictions: Predictions) -> Comparison:
    """Return what a model says of rows beside what `column` says it should.

    The column holds classes, or scores of the positive class (probabilities or log-odds), or a regression's numbers.

    Raises:
        InputError: there is no such column, or it holds something else.
    """
    if column not in frame.columns:
        raise InputError(
            f"expect: {column!r} is no column of the data{closest(column, list(map(str, frame.columns)))}."
        )
    codes, words = factorize(frame[column])
    if schema.classes and set(words) <= set(schema.classes):
        names = np.array(schema.classes, dtype=object)
        expected = np.array([*(schema.classes.index(word) for word in words), -1], dtype=np.int64)[codes]
        apart = (expected != predictions.labels) & (expected >= 0)
        shown = names[predictions.labels], names[np.maximum(expected, 0)]
        return Comparison(predictions.labels.astype(float), expected.astype(float), apart, 0.0, shown)
    try:
        expected_scores = numbers(frame, column)
    except DatasetError as error:
        raise InputError(f"expect: {error}") from error
    if schema.classes and len(schema.classes) > 2:
        raise InputError(
            f"expect: {column!r} must hold the predicted classes, since the model has {len(schema.classes)}."
        )
    found = predictions.scores if schema.classes else predictions.labels.astype(np.float64)
    present = ~np.isnan(expected_scores)
    if schema.output in ("logits", "probabilities") and ((expected_scores < 0) | (expected_scores > 1)).any():
        expected_scores = special.expit(expected_scores)
    scale = 1.0 if schema.classes else max(float(np.nanstd(expected_scores)), 1e-12)
    tolerance = max(TOLERANCE * scale, 0.51 * 10.0 ** -_decimals(frame[column]))
    apart = present & (np.abs(found - expected_scores) > tolerance)
    text = tuple(np.array([f"{value:.4g}" for value in values], dtype=object) for values in (found, expected_scores))
    return Comparison(found, expected_scores, apart, tolerance, text)  # type: ignore[arg-type]  # two of them


def _decimals(column: pd.Series[Any]) -> int:
    """Return the most decimals with which numbers of a column are written; many where they are floats of Python."""
    texts = [str(value) for value in column.dropna().iloc[:1000]]
    if any("e" in text.lower() for text in texts):
        return 16
    return max((len(text.partition(".")[2]) for text in texts), default=0)


def refuse_others(column: str, compared: Comparison, asked: Asked) -> None:
    """Raise unless the model gives what is expected.

    Raises:
        InputError: too many rows differ; the first are named, and the likely cause.
    """
    count = int(compared.apart.sum())
    allowed = DECIDED_APART * len(compared.apart) if compared.tolerance == 0 else 0
    if count <= allowed:
        return
    first = [
        f"{origin(asked.frame, row)}: {compared.words[0][row]} instead of {compared.words[1][row]}"
        for row in np.flatnonzero(compared.apart)[:3]
    ]
    within = f" by more than {compared.tolerance:.2g}" if compared.tolerance else ""
    cause = likely_cause(compared, asked)
    raise InputError(
        f"expect: the model does not give the scores of {column!r}: {count:,} of {len(compared.apart):,} rows differ"
        f"{within} ({'; '.join(first)}). {cause}"
    )


def likely_cause(compared: Comparison, asked: Asked) -> str:
    """Return a sentence on why a model's scores are not those that are expected."""
    schema, frame, cells = asked.schema, asked.frame, asked.encode()
    binary = len(schema.classes) == 2
    found, expected = compared.found, compared.expected
    tolerance = compared.tolerance or 0.5
    if binary and np.nanmean(np.abs(1 - found - expected) <= tolerance) > 0.99:
        other = ",".join(reversed(schema.classes))
        return f"They are those of the other class: pass --classes {other}."
    if binary and compared.tolerance and (remedy := _other_output(compared, schema)):
        return remedy
    read = [name for feature in schema.features for name in feature.reads if name in frame.columns]
    missing = frame[read].isna() | frame[read].isin(MISSING_WORDS)
    gaps = missing.any(axis=1).to_numpy()
    if gaps.any() and compared.apart[gaps].mean() > 0.5 and not compared.apart[~gaps].any():
        names = [name for name in read if missing[name].any()]
        return (
            f"Only rows with missing values differ: their columns ({', '.join(names[:5])}) are filled in another way, "
            "or hold '?', which auditkit reads as missing: if the model knows it as a category, pass --missing-as '?'; "
            "else pass --predictor MODULE:FUNCTION, a function of the DataFrame that fills them as the model was "
            "trained."
        )
    rows = np.linspace(0, len(cells) - 1, min(len(cells), TRIED_ROWS)).astype(np.int64)
    some, goal = cells[rows], expected[rows]
    if binary:  # saturated probabilities say nothing of how far off a wrong order is
        goal = special.logit(np.clip(goal, 1e-7, 1 - 1e-7))
        tolerance = max(50 * tolerance, 0.02)

    def distance(values: NDArray[np.float32]) -> float:
        return float(np.nanmean(np.log1p(np.abs(asked.scored(values) - goal))))  # near and far errors count alike

    now = distance(some)
    if cells.ndim == 2:
        exact, near = _by_order(schema, some, distance, now, tolerance)
        scaling = None if exact else _by_scaling(cells, some, asked.scored, goal)
        if said := exact or scaling or near:
            return said
    return "The cause could not be told: compare order, scaling and categories of the columns with the training code."


def _other_output(compared: Comparison, schema: Schema) -> str | None:
    """Return the remedy where the outputs are what they were not taken for, None if that does not explain it."""
    inverse = {"logits": special.logit, "probabilities": special.expit}.get(schema.output)
    if inverse is None:
        return None
    with np.errstate(divide="ignore"):
        same = np.abs(inverse(compared.found) - compared.expected) <= compared.tolerance
    other = "probabilities" if schema.output == "logits" else "logits"
    return f"The model's outputs are {other}: pass --output {other}." if same.mean() > 0.99 else None


def _by_order(
    schema: Schema, rows: NDArray[np.float32], distance: Distance, now: float, tolerance: float
) -> tuple[str | None, str | None]:
    """Return a sentence where another order of the columns gives what is expected, and one where it comes near."""
    names = [feature.name for feature in schema.features]
    if len(names) < 2 or rows.shape[1] != len(names):
        return None, None
    nearest, order = min((distance(rows[:, list(order)]), order) for order in column_orders(names))
    if nearest > tolerance:
        order, value = searched_order(lambda order: -distance(rows[:, list(order)]), len(names))
        nearest = -value
    listed = ", ".join(names[place] for place in order)
    if nearest <= tolerance:
        return f"In the order {listed} they are the same: the model was trained on columns in that order.", None
    if nearest < MUCH_NEARER * now:
        return None, f"The order of the columns is the likely cause: in the order {listed} the scores come much nearer."
    return None, None


def _by_scaling(cells: NDArray[np.float32], some: NDArray[np.float32], scored: Scored, goal: Floats) -> str | None:
    """Return a sentence where scaled columns give scores that follow the expected ones, None where they do not."""
    mean, deviation = cells.mean(axis=0), cells.std(axis=0)
    low, span = cells.min(axis=0), np.ptp(cells, axis=0)
    ways = {
        "standardised columns": (some - mean) / np.where(deviation > 0, deviation, 1),
        "columns scaled to 0 to 1": (some - low) / np.where(span > 0, span, 1),
    }
    alike = {way: _correlation(scored(values.astype(np.float32)), goal) for way, values in ways.items()}
    best = max(alike, key=lambda way: alike[way])
    if alike[best] < FOLLOWS:
        return None
    return f"The model seems to be trained on {best}: pass the encoding by --preprocess or --schema."


def _correlation(one: Floats, other: Floats) -> float:
    known = np.isfinite(one) & np.isfinite(other)
    if known.sum() < 3 or np.ptp(one[known]) == 0 or np.ptp(other[known]) == 0:
        return 0.0
    return float(np.corrcoef(one[known], other[known])[0, 1])
