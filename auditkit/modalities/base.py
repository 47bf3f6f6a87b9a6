"""What every modality offers: how rows become model inputs, what can be deleted of them, and how they get worse.

Auditors ask the modality and never which modality it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from auditkit import plugins
from auditkit.evidence.measurement import Unit
from auditkit.evidence.messages import Message

if TYPE_CHECKING:
    import pandas as pd

    from auditkit.schema.schema import Schema

Batch = Any
"""Rows as a model reads them: an array or tensor, or a tuple or dict of them, the rows along the first axis of each."""

OUTSIDE_ROWS = 200
"""How many inputs that mean nothing are made of each kind."""

SHARES = (0.05, 0.1, 0.2, 0.35, 0.5)
"""Strengths of what happens to a share of all values."""


@dataclass(frozen=True, eq=False)
class Corruption:
    """One way in which the inputs of a model get worse.

    `name` is the part of a measurement's id, `title` what a reader calls it, `means` the sentence that says what is
    done, and `axis` what `strengths`, ascending and in `unit`, measure. `at` returns the corrupted inputs: the random
    draws are the same for every strength, so that a stronger corruption goes further the same way. `stated` is the
    strength at which a single number is reported.
    """

    name: str
    title: str
    means: str
    axis: str
    at: Callable[[float], Batch]
    unit: Unit = "rate"
    strengths: tuple[float, ...] = SHARES
    stated: float = 0.1

    def said(self, strength: float | None = None) -> str:
        """Return a strength, by default the stated one, in words."""
        value = self.stated if strength is None else strength
        return f"{value * 100:g} %" if self.unit == "rate" else f"{value:g}"


@dataclass(frozen=True, eq=False)
class Segments:
    """Units of inputs that can be deleted, such as columns, words or squares.

    Row i has the first `counts[i]` of `width` units. `delete(batch, mask)` returns the batch without the units of a
    mask, (rows, width): what is left is always something that the model reads. `names` are those of the units where
    they are the same in every row, else empty. `divided` says what the units divide where they follow one another in
    it, such as the length of a recording: they are shown in that order.
    """

    counts: NDArray[np.int64]
    width: int
    delete: Callable[[Batch, NDArray[np.bool_]], Batch]
    names: tuple[str, ...] = ()
    divided: Message | None = None


@dataclass(frozen=True, eq=False)
class Reach:
    """How far an attacker may change inputs.

    `unit` is the largest change of each cell at a strength of 1, of the shape of one input, 0 for cells that stay. No
    cell leaves `bounds`. `strengths` ascend, `stated` is that of single numbers, `axis` and `axis_unit` name them.
    """

    unit: NDArray[np.float32]
    bounds: tuple[float, float] | None
    strengths: tuple[float, ...]
    stated: float
    axis: str
    axis_unit: Unit


@dataclass(frozen=True, eq=False)
class Texts:
    """The texts that rows are: the `column` that holds them, and how the model reads them.

    `vocabulary` are the words that it knows, in lower case, None where its tokenizer is its own; of a text it reads the
    first `length` tokens. `encode` returns texts as the model reads them, (texts, length). `deletion` says what is done
    where every word is deleted, and `baseline` what is then left.
    """

    column: str
    vocabulary: frozenset[str] | None
    length: int
    encode: Callable[[Sequence[str]], NDArray[np.int64]]
    deletion: str
    baseline: str


OWN_TOKENIZER = Message("the model has a tokenizer of its own, whose vocabulary is not known")


class Modality(Protocol):
    """How rows become model inputs. Modalities are frozen dataclasses with one field, the schema of the model.

    `name` is what the rows are, `corruption_names` are the names that `corruptions` may use, and `dear` says whether a
    row costs some hundred times what a row of a table does, so that fewer are corrupted and explained. `columnar` says
    whether a row is made of the data's columns, each of which means something by itself, so that they are examined and
    guessed one by one. `explained_as` names what presents its explanations, an entry point of `auditkit.explanations`:
    `table`, `image`, `text`, or `segments`, which deletes any segments one by one.
    `compared_by` says what `comparable` compares rows by. `architecture` is what `auditkit train` trains where none is
    named, and `fit_settings` are its settings, by name, that differ from those of `training.fit`.
    """

    name: ClassVar[str]
    corruption_names: ClassVar[tuple[str, ...]]
    dear: ClassVar[bool]
    columnar: ClassVar[bool]
    explained_as: ClassVar[str]
    compared_by: ClassVar[Message]
    architecture: ClassVar[str]
    fit_settings: ClassVar[Mapping[str, Any]]

    @property
    def schema(self) -> Schema:
        """The schema that names the columns and their encoding."""
        ...

    def encode(self, frame: pd.DataFrame) -> Batch:
        """Return the rows of a frame as the model reads them."""
        ...

    def blank(self, count: int) -> Batch:
        """Return so many encoded rows of zeros."""
        ...

    @property
    def texts(self) -> Texts | None:
        """The texts that rows are, whose words can be exchanged; None where rows are something else.

        Raises:
            NotRun: texts are a part of a row.
        """
        ...

    def comparable(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Return the rows of a frame as vectors, (rows, width), whose distances say how alike rows are."""
        ...

    def segments(self, inputs: Batch, source: Batch) -> Segments:
        """Return the units of inputs that can be deleted; `source` are rows that stand for what the model knows."""
        ...

    def corruptions(self, frame: pd.DataFrame, inputs: Batch, source: Batch, *, seed: int) -> Sequence[Corruption]:
        """Return the ways in which the rows of a frame, encoded as `inputs`, get worse."""
        ...

    def out_of_distribution(self, inputs: Batch, source: Batch, *, seed: int) -> Mapping[str, Batch]:
        """Return encoded inputs that mean nothing, by what they are.

        `inputs` are encoded rows, whose form is kept; `source` those whose spread is the model's world.
        """
        ...

    def reach(self, source: Batch) -> Reach:
        """Return how far an attack along the gradient may change inputs.

        Raises:
            NotRun: nothing can be changed a little.
        """
        ...


def modality_for(schema: Schema) -> Modality:
    """Return the modality that a schema names, by its entry point in the group `auditkit.modalities`.

    Raises:
        InputError: no such modality is installed.
    """
    modality: Modality = _modality_class(schema.modality or schema.kind)(schema)
    return modality


def every_corruption() -> tuple[str, ...]:
    """Return the names of the corruptions of every installed modality."""
    kinds = plugins.installed("modalities")
    return tuple(dict.fromkeys(name for kind in kinds for name in _modality_class(kind).corruption_names))


@functools.cache
def _modality_class(name: str) -> Any:
    return plugins.load("modalities", name)
