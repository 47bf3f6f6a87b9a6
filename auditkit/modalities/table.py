"""Rows of a table: columns as cells, and what careless entry, other units and later times do to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.errors import NotRun
from auditkit.evidence.messages import Message
from auditkit.modalities.base import OUTSIDE_ROWS, Corruption, Reach, Segments
from auditkit.modalities.text import TEXT_CORRUPTIONS, text_corruptions, texts_in, word_vectors
from auditkit.schema.schema import Schema
from auditkit.schema.table import Feature
from auditkit.schema.text import cased_words
from auditkit.schema.verbatim import TEXT_CODES

Rows = NDArray[np.float32]

TABLE_CORRUPTIONS = (
    "numeric_noise",
    "missing_values",
    "swapped_categories",
    "unseen_categories",
    "unit_slip",
    "out_of_range",
)
"""The names of what `table_corruptions` returns, in its order."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """The numeric columns that vary: where their cells are, and their spread over the rows that the model knows.

    `cells` are places in the encoded row, (columns,); `deviation`, `low` and `high` are those of the cells' values
    where they are not missing; `scale` and `mean` turn a cell into the column's own unit.
    """

    cells: NDArray[np.int64]
    deviation: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    scale: NDArray[np.float64]
    mean: NDArray[np.float64]
    missing_cells: tuple[int | None, ...]

    def known(self, rows: Rows) -> NDArray[np.bool_]:
        """Return which numbers are there: (rows, columns). Without a cell for it, a missing number cannot be told."""
        known = np.ones((len(rows), len(self.cells)), dtype=bool)
        for column, cell in enumerate(self.missing_cells):
            if cell is not None:
                known[:, column] = rows[:, cell] == 0
        return known


def numbers_of(schema: Schema, source: Rows) -> Numbers:
    """Return the numeric columns that are not constant over `source`, encoded rows (rows, cells)."""
    found: list[tuple[int, float, float, float, float, float, int | None]] = []
    for feature, cells in _features(schema):
        if feature.kind != "numeric":
            continue
        missing = cells.stop - 1 if feature.missing else None
        values = source[:, cells.start].astype(np.float64)
        values = values if missing is None else values[source[:, missing] == 0]
        if len(values) and values.min() < values.max():
            spread = float(values.std()), float(values.min()), float(values.max())
            found.append((cells.start, *spread, feature.scale, feature.mean, missing))
    columns = list(zip(*found, strict=True)) if found else [()] * 7
    cells_, *floats, missing_cells = columns
    deviation, low, high, scale, mean = (np.array(part, dtype=np.float64) for part in floats)
    return Numbers(np.array(cells_, dtype=np.int64), deviation, low, high, scale, mean, tuple(missing_cells))


def table_corruptions(schema: Schema, rows: Rows, source: Rows, *, seed: int) -> list[Corruption]:
    """Return the corruptions that apply to encoded `rows`, (rows, cells).

    `source` are rows, encoded alike, whose spread, range and shares of categories stand for what the model knows.
    """
    numbers = numbers_of(schema, source)
    corruptions = []
    if len(numbers.cells):
        corruptions.append(_noise(rows, numbers, seed))
    corruptions.append(_missing(schema, rows, seed))
    swaps = [(feature, cells) for feature, cells in _features(schema) if feature.kind in ("categorical", "boolean")]
    if swaps:
        corruptions.append(_swapped(swaps, rows, source, seed))
    named = [cells for feature, cells in swaps if feature.kind == "categorical"]
    if named:
        corruptions.append(_unseen(schema, rows, seed))
    if len(numbers.cells):
        corruptions += [_unit_slip(rows, numbers, seed), _out_of_range(rows, numbers, seed)]
    return corruptions


def cell_corruptions(schema: Schema, frame: pd.DataFrame, rows: Rows, *, seed: int) -> list[Corruption]:
    """Return the corruptions of the texts among the columns of encoded `rows`, (rows, cells), of a frame."""
    features = {feature.name: feature for feature in schema.features}
    names = list(schema.text_cells)

    def encode(texts: list[str | None]) -> Rows:
        corrupted = rows.copy()
        for place, name in enumerate(names):
            part = texts[place * len(rows) : (place + 1) * len(rows)]
            cells = schema.column_slices()[name]
            features[name].write(pd.DataFrame({name: part}, dtype=object), corrupted[:, cells])
        return corrupted

    return text_corruptions([text for name in names for text in texts_in(frame[name])], encode, seed=seed)


def random_texts(source: Rows, cell: int, rng: np.random.Generator, count: int) -> list[str]:
    """Return texts of words drawn from those of encoded rows, (rows, cells), each as long as one of these."""
    drawn = source[rng.integers(0, len(source), count), cell].astype(np.int64)
    found = [cased_words(text) for text in TEXT_CODES.join(drawn[:, None])]
    known = sorted({word for words in found for word in words})
    return [" ".join(rng.choice(known, len(words))) if words else "" for words in found]


def _features(schema: Schema) -> list[tuple[Feature, slice]]:
    return list(zip(schema.features, schema.column_slices().values(), strict=True))


def _categories(feature: Feature, cells: slice) -> slice:
    return slice(cells.start, cells.start + len(feature.categories))


def _noise(rows: Rows, numbers: Numbers, seed: int) -> Corruption:
    draws = np.random.default_rng((seed, 1)).standard_normal((len(rows), len(numbers.cells)))
    step = np.where(numbers.known(rows), draws * numbers.deviation, 0.0)

    def at(strength: float) -> Rows:
        corrupted = rows.copy()
        corrupted[:, numbers.cells] += (strength * step).astype(np.float32)
        return corrupted

    return Corruption(
        "numeric_noise",
        Message("Noise on numbers"),
        Message("Gaussian noise is added to every number, in standard deviations of its column."),
        Message("noise, in standard deviations"),
        at,
        unit="number",
        strengths=(0.05, 0.1, 0.2, 0.5, 1.0),
    )


def _missing(schema: Schema, rows: Rows, seed: int) -> Corruption:
    features = _features(schema)
    draws = np.random.default_rng((seed, 2)).random((len(rows), len(features)))

    def at(strength: float) -> Rows:
        corrupted = rows.copy()
        for column, (feature, cells) in enumerate(features):
            gone = draws[:, column] < strength
            corrupted[gone, cells] = 0
            if feature.missing:
                corrupted[gone, cells.stop - 1] = 1
        return corrupted

    return Corruption(
        "missing_values",
        Message("Missing values"),
        Message("A share of all values is missing at random; the model reads them as it reads missing values."),
        Message("share of the values"),
        at,
    )


def _swapped(swaps: list[tuple[Feature, slice]], rows: Rows, source: Rows, seed: int) -> Corruption:
    rng = np.random.default_rng((seed, 3))
    draws = rng.random((len(rows), len(swaps)))
    places = rng.random((len(rows), len(swaps)))

    def at(strength: float) -> Rows:
        corrupted = rows.copy()
        for column, (feature, cells) in enumerate(swaps):
            chosen = draws[:, column] < strength
            if feature.kind == "boolean":
                if feature.missing:
                    chosen &= rows[:, cells.stop - 1] == 0
                corrupted[chosen, cells.start] = 1 - rows[chosen, cells.start]
                continue
            named = _categories(feature, cells)
            chosen &= rows[:, named].any(axis=1)
            shares = source[:, named].mean(axis=0, dtype=np.float64)
            others = np.where(rows[chosen, named] == 0, shares, 0.0).cumsum(axis=1)
            possible = others[:, -1] > 0
            picked = (others <= places[chosen, column, None] * others[:, -1:]).sum(axis=1)
            one_hot = np.arange(others.shape[1]) == picked[:, None]
            corrupted[np.flatnonzero(chosen)[possible], named] = one_hot[possible]
        return corrupted

    return Corruption(
        "swapped_categories",
        Message("Swapped categories"),
        Message("A share of the categories is exchanged for others of the same column, drawn as often as they occur."),
        Message("share of the categories"),
        at,
    )


def _unseen(schema: Schema, rows: Rows, seed: int) -> Corruption:
    named = [_categories(feature, cells) for feature, cells in _features(schema) if feature.kind == "categorical"]
    draws = np.random.default_rng((seed, 4)).random((len(rows), len(named)))

    def at(strength: float) -> Rows:
        corrupted = rows.copy()
        for column, cells in enumerate(named):
            corrupted[draws[:, column] < strength, cells] = 0
        return corrupted

    return Corruption(
        "unseen_categories",
        Message("Unseen categories"),
        Message("A share of the categories is replaced by a word that the model has never seen."),
        Message("share of the categories"),
        at,
    )


def _one_column(rows: Rows, numbers: Numbers, seed: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw for each row one of the numeric columns that it knows, -1 where it knows none, and a number in [0, 1)."""
    rng = np.random.default_rng(seed)
    known = numbers.known(rows)
    draws = np.where(known, rng.random(known.shape), -1.0)
    return np.where(known.any(axis=1), draws.argmax(axis=1), -1), rng.random(len(rows))


def _unit_slip(rows: Rows, numbers: Numbers, seed: int) -> Corruption:
    column, _ = _one_column(rows, numbers, (seed, 5))
    hit = np.flatnonzero(column >= 0)
    column = column[hit]
    cell, scale, mean = numbers.cells[column], numbers.scale[column], numbers.mean[column]

    def at(strength: float) -> Rows:
        corrupted = rows.copy()
        value = rows[hit, cell].astype(np.float64) * scale + mean
        corrupted[hit, cell] = ((value * 10.0**strength - mean) / scale).astype(np.float32)
        return corrupted

    return Corruption(
        "unit_slip",
        Message("Unit errors"),
        Message("In each row one number is too large by a power of ten, as if it had been entered in another unit."),
        Message("power of ten"),
        at,
        unit="number",
        strengths=(1.0, 2.0, 3.0),
        stated=1.0,
    )


def _out_of_range(rows: Rows, numbers: Numbers, seed: int) -> Corruption:
    column, side = _one_column(rows, numbers, (seed, 6))
    hit = np.flatnonzero(column >= 0)
    column, above = column[hit], side[hit] < 0.5
    cell, deviation = numbers.cells[column], numbers.deviation[column]

    def at(strength: float) -> Rows:
        corrupted = rows.copy()
        beyond = np.where(
            above, numbers.high[column] + strength * deviation, numbers.low[column] - strength * deviation
        )
        corrupted[hit, cell] = beyond.astype(np.float32)
        return corrupted

    return Corruption(
        "out_of_range",
        Message("Numbers out of range"),
        Message("In each row one number lies beyond the range of its column, by so many standard deviations."),
        Message("standard deviations beyond the range"),
        at,
        unit="number",
        strengths=(0.5, 1.0, 3.0, 10.0),
        stated=1.0,
    )


FAR = 100.0
"""Far off is so many standard deviations away."""


@dataclass(frozen=True)
class Table:
    """Rows of columns, each of which is one or more cells of the encoded row."""

    schema: Schema

    name: ClassVar[str] = "table"
    corruption_names: ClassVar[tuple[str, ...]] = (*TABLE_CORRUPTIONS, *TEXT_CORRUPTIONS)
    dear: ClassVar[bool] = False
    columnar: ClassVar[bool] = True
    explained_as: ClassVar[str] = "table"
    compared_by: ClassVar[Message] = Message("on the columns that the model reads and by its scales")
    architecture: ClassVar[str] = "mlp"
    fit_settings: ClassVar[Mapping[str, Any]] = {}

    @property
    def texts(self) -> None:
        """None, for rows are columns.

        Raises:
            NotRun: some of them hold texts.
        """
        if self.schema.text_cells:
            raise NotRun(
                Message("terms are exchanged where a text is all that the model reads, and it reads other columns too")
            )

    def encode(self, frame: pd.DataFrame) -> Rows:
        """Return encoded rows, float32, (rows, cells)."""
        return self.schema.encode(frame)

    def blank(self, count: int) -> Rows:
        """Return rows of zeros, float32, (count, cells)."""
        return np.zeros((count, self.schema.input_width), dtype=np.float32)

    def comparable(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Return encoded rows, whose cells are in the model's scales; of texts the words stand in their place."""
        rows, cells = self.encode(frame), self.schema.column_slices()
        texts = list(self.schema.text_cells)
        parts: list[NDArray[Any]] = [rows[:, part] for name, part in cells.items() if name not in texts]
        parts += [word_vectors(frame[name]) for name in texts]
        return np.ascontiguousarray(np.concatenate(parts, axis=1), dtype=np.float64)

    def segments(self, inputs: Rows, source: Rows) -> Segments:
        """Return the columns; a deleted one has the mean cells of `source`, a deleted text is the empty one."""
        baseline = self.schema.mean_row(source)
        columns = self.schema.column_slices()
        widths = [cells.stop - cells.start for cells in columns.values()]

        def delete(rows: Rows, deleted: NDArray[np.bool_]) -> Rows:
            return np.where(np.repeat(deleted, widths, axis=1), baseline, rows)

        return Segments(np.full(len(inputs), len(columns)), len(columns), delete, tuple(columns))

    def corruptions(self, frame: pd.DataFrame, inputs: Rows, source: Rows, *, seed: int) -> list[Corruption]:
        """Return what careless entry, other units and later times do to columns."""
        found = table_corruptions(self.schema, inputs, source, seed=seed)
        return [*found, *(cell_corruptions(self.schema, frame, inputs, seed=seed) if self.schema.text_cells else ())]

    def out_of_distribution(self, inputs: Rows, source: Rows, *, seed: int) -> dict[str, Rows]:
        """Return rows of random values, of numbers far off, and of missing values."""
        rng = np.random.default_rng((seed, 31))
        numbers, count = numbers_of(self.schema, source), OUTSIDE_ROWS
        noise = np.zeros((count, inputs.shape[1]), dtype=np.float32)
        nothing = np.zeros((1, inputs.shape[1]), dtype=np.float32)
        centre = source[:, numbers.cells].mean(axis=0, dtype=np.float64)
        spread = 3 * numbers.deviation
        noise[:, numbers.cells] = (centre + spread * rng.standard_normal((count, len(numbers.cells)))).astype(
            np.float32
        )
        for feature, cells in _features(self.schema):
            if feature.kind == "categorical":
                noise[np.arange(count), cells.start + rng.integers(0, len(feature.categories), count)] = 1
            elif feature.kind == "boolean":
                noise[:, cells.start] = rng.integers(0, 2, count)
            elif feature.is_text_cell:
                texts = random_texts(source, cells.start, rng, count)
                feature.write(pd.DataFrame({feature.name: texts}, dtype=object), noise[:, cells])
            if feature.missing:
                nothing[:, cells.stop - 1] = 1
        found: dict[str, Rows] = {"random values": noise}
        if len(numbers.cells):
            far = inputs[rng.integers(0, len(inputs), count)].copy()
            sides = rng.choice([-1.0, 1.0], (count, len(numbers.cells)))
            far[:, numbers.cells] += (FAR * sides * numbers.deviation).astype(np.float32)
            found["numbers far off"] = far
        return {**found, "every value missing": nothing}

    def reach(self, source: Rows) -> Reach:
        """Return the standard deviation of each number; categories stay."""
        numbers = numbers_of(self.schema, source)
        unit = np.zeros(source.shape[1:], dtype=np.float32)
        unit[numbers.cells] = numbers.deviation
        if not unit.any():
            raise NotRun(Message("no numeric column varies, so that there is nothing to change a little"))
        strengths = (0.05, 0.1, 0.25, 0.5, 1.0)
        return Reach(unit, None, strengths, 0.1, Message("largest change, in standard deviations"), "number")
