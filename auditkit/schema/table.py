"""One column that a network reads, and how its values become cells of an encoded row."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

from auditkit.data.audio import MAXIMUM_RATE, MAXIMUM_SAMPLES, RATE, waves
from auditkit.data.dataset import factorize, origin
from auditkit.data.image import MAXIMUM_PIXELS, pixels, resized
from auditkit.data.values import numbers
from auditkit.errors import DatasetError
from auditkit.evidence.measurement import Record
from auditkit.evidence.scalars import Count, Flag, Number, PositiveNumber, WholeNumber
from auditkit.schema.text import (
    FIRST_WORD,
    MAXIMUM_LENGTH,
    UNKNOWN,
    encode_pieces,
    encode_text,
    piece_counts,
    token_counts,
)
from auditkit.schema.verbatim import TEXT_CODES, encode_verbatim, word_of


class Feature(Record):
    """One column that the network reads, and how it becomes cells of the encoded row.

    numeric: one cell, (x - mean) / scale, 0 where missing. boolean: one cell, 0 or 1, 0 where missing.
    categorical: one cell a category, all 0 where the category is not listed. With `missing`, one more cell that
    is 1 where the value is missing.

    text: `length` token ids by the stated tokenizer, 0 behind the end, then the words, or pieces of words, in their
    order, from 2; 1 is a word that `vocabulary` does not list. `pieces` is the tokenizer.json of Hugging Face. By the
    tokenizer `verbatim`, for models that read the texts themselves, the ids are codes of pieces that make the text
    again (see `schema.verbatim`), and there is no vocabulary; of one piece, a text is one cell beside other columns.
    image: `shape` (channels, height, width) of (pixel - mean) / scale, from a column of arrays, or from one column a
    pixel where `columns` names them (row by row, channels innermost). With `resize` images of any size fit: their
    shorter side is brought to one number, or height and width to two, by Pillow's `resample`, and the middle of `shape`
    is taken. `means` and `scales`, one a channel, stand in the place of `mean` and `scale`.
    raw: whatever the column holds, such as a graph; only the modality that the schema names reads it. It has no cells.
    audio: `samples` numbers at `sample_rate` a second, 0 behind the end of a recording, from a column of arrays and one
    of their own sample rates; none may be longer.
    """

    name: str
    kind: Literal["numeric", "categorical", "boolean", "date", "text", "image", "audio", "raw"]
    mean: Number = 0.0
    scale: PositiveNumber = 1.0
    categories: tuple[str, ...] = ()
    missing: Flag = False
    tokenizer: Literal["words", "pieces", "verbatim"] | None = None
    pieces: str = ""
    vocabulary: tuple[str, ...] = ()
    length: Annotated[WholeNumber, Field(le=MAXIMUM_LENGTH)] = 0
    shape: tuple[Count, Count, Count] | None = None
    columns: tuple[str, ...] = ()
    resize: tuple[Count, ...] = ()
    resample: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    means: tuple[Number, ...] = ()
    scales: tuple[PositiveNumber, ...] = ()
    sample_rate: Annotated[WholeNumber, Field(le=MAXIMUM_RATE)] = 0
    samples: Annotated[WholeNumber, Field(le=MAXIMUM_SAMPLES)] = 0

    @model_validator(mode="after")
    def _consistent(self) -> Feature:
        if (self.kind == "categorical") != bool(self.categories):
            raise ValueError(f"feature {self.name!r}: a categorical feature, and no other, lists its categories")
        if len(set(self.categories)) != len(self.categories):
            raise ValueError(f"feature {self.name!r}: a category is listed twice")
        is_text = bool(self.tokenizer), bool(self.vocabulary) != self.is_verbatim, bool(self.length)
        if is_text != (self.kind == "text",) * 3:
            raise ValueError(f"feature {self.name!r}: a text, and no other, has a tokenizer, a vocabulary and a length")
        if len(set(self.vocabulary)) != len(self.vocabulary):
            raise ValueError(f"feature {self.name!r}: a word is listed twice")
        if (self.kind == "image") != (self.shape is not None) or (self.columns and self.kind != "image"):
            raise ValueError(f"feature {self.name!r}: an image, and no other, has a shape, and may have pixel columns")
        if (bool(self.sample_rate), bool(self.samples)) != (self.kind == "audio",) * 2:
            raise ValueError(f"feature {self.name!r}: a recording, and no other, has a sample_rate, and samples")
        if self.kind in ("text", "image", "audio", "raw") and self.missing and not self.is_verbatim:
            raise ValueError(f"feature {self.name!r}: {self.kind} has no cell for a missing value")
        if self.shape is not None and math.prod(self.shape) > MAXIMUM_PIXELS:
            raise ValueError(f"feature {self.name!r}: an image may have at most {MAXIMUM_PIXELS:,} pixels")
        self._check_transform()
        if self.columns and (len(self.columns) != self.width or len(set(self.columns)) != self.width):
            raise ValueError(f"feature {self.name!r}: must name each of its {self.width} pixels' columns once")
        return self

    def _check_transform(self) -> None:
        """Raise ValueError where resizing or the channels' means do not fit the shape of an image."""
        if (self.resize or self.means or self.scales) and self.shape is None:
            raise ValueError(f"feature {self.name!r}: resize, means and scales are for images")
        if self.shape is None:
            return
        channels, height, width = self.shape
        for name, given in (("means", self.means), ("scales", self.scales)):
            if given and len(given) != channels:
                raise ValueError(f"feature {self.name!r}: {name} must have one number for each of {channels} channels")
        if self.resize and (len(self.resize) > 2 or self.columns):
            raise ValueError(f"feature {self.name!r}: resize takes the shorter side, or height and width, of images")
        if self.resize and (self.resize[0] < height or self.resize[-1] < width):
            raise ValueError(f"feature {self.name!r}: resize must be at least the shape {height}x{width}")

    @property
    def is_verbatim(self) -> bool:
        """Whether a text is kept word for word, for a model that reads it itself."""
        return self.tokenizer == "verbatim"

    @property
    def is_text_cell(self) -> bool:
        """Whether it is a whole text in one cell, beside other columns of a table."""
        return self.is_verbatim and self.length == 1

    def word(self, code: int) -> str:
        """Return the word that a token id of a text stands for, "" of none that is known."""
        if self.is_verbatim:
            return word_of(TEXT_CODES.text(int(code)))
        return self.vocabulary[code - FIRST_WORD] if code >= FIRST_WORD else ""

    @property
    def width(self) -> int:
        """The number of cells in the encoded row."""
        if self.shape is not None:
            return math.prod(self.shape)
        if self.is_text_cell:
            return 1 + self.missing
        if self.kind == "raw":
            return 0
        return self.length or self.samples or max(len(self.categories), 1) + self.missing

    def cut(self, frame: pd.DataFrame) -> NDArray[np.bool_]:
        """Return which texts have more tokens than are read, (rows,); what is kept verbatim is not cut."""
        if self.is_verbatim:
            return np.zeros(len(frame), dtype=bool)
        if self.tokenizer == "pieces":
            return piece_counts(frame[self.name], self.pieces) > self.length
        return token_counts(frame[self.name]) > self.length

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of the data that it is made from: its own, or one for each pixel; a recording's sample rate."""
        return (self.name, RATE) if self.kind == "audio" else self.columns or (self.name,)

    def encode(self, frame: pd.DataFrame) -> NDArray[Any]:
        """Return the rows as the network reads them.

        Texts are token ids, int64, (rows, length); images float32, (rows, channels, height, width); recordings float32,
        (rows, samples).
        """
        if self.kind == "audio":
            return waves(frame, self.name, self.sample_rate, self.samples)
        if self.shape is None:
            if self.is_verbatim:
                return encode_verbatim(frame[self.name], self.length)
            if self.tokenizer == "pieces":
                return encode_pieces(frame[self.name], self.pieces, self.length)
            return encode_text(frame[self.name], self.vocabulary, self.length)
        if self.resize:
            frame = resized(frame, self.name, self.shape, self.resize, self.resample)
        raw = pixels(frame, self.name, self.columns, self.shape)
        mean = np.array(self.means or [self.mean], dtype=np.float32)[:, None, None]
        scale = np.array(self.scales or [self.scale], dtype=np.float32)[:, None, None]
        scaled: NDArray[np.float32] = (raw - mean) / scale
        return scaled

    def write(self, frame: pd.DataFrame, cells: NDArray[np.float32]) -> None:
        """Write a column of a table into its cells of the encoded rows, (rows, width), which hold zeros.

        Raises:
            DatasetError: a value that is no number (the row, column and value are named), or too large for float32.
        """
        if self.kind == "categorical":
            codes, missing = self._codes(frame)
            known = codes >= 0
            cells[known, codes[known]] = 1
        elif self.is_text_cell:
            cells[:, 0] = self.encode(frame)[:, 0]
            missing = cells[:, 0] <= UNKNOWN
        else:
            values = self._numbers(frame)
            missing = np.isnan(values)
            with np.errstate(over="ignore"):
                scaled = ((values - self.mean) / self.scale).astype(np.float32)
            overflow = np.isinf(scaled)
            if overflow.any():
                row = int(overflow.argmax())
                raise DatasetError(
                    f"column {self.name!r}, {origin(frame, row)}: {values[row]:g} is too large for float32."
                )
            cells[:, 0] = np.where(missing, 0, scaled)
        if self.missing:
            cells[missing, -1] = 1

    def unseen(self, frame: pd.DataFrame) -> NDArray[np.bool_]:
        """Return which rows hold a value that has no cell of its own: bool, (rows,).

        A category that is not listed, a missing value where there is no cell for it, a text without any word of the
        vocabulary.
        """
        if self.kind in ("image", "audio", "raw") or self.is_verbatim:
            return np.zeros(len(frame), dtype=bool)
        if self.kind == "text":
            wordless: NDArray[np.bool_] = np.all(self.encode(frame) < FIRST_WORD, axis=1)
            return wordless
        if self.kind == "categorical":
            codes, missing = self._codes(frame)
            return (codes < 0) & ~missing if self.missing else codes < 0
        return np.zeros(len(frame), dtype=bool) if self.missing else np.isnan(self._numbers(frame))

    def _numbers(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        return numbers(frame, self.name, boolean=self.kind == "boolean", date=self.kind == "date")

    def _codes(self, frame: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the codes of the values among the categories (-1: none of them), and what is missing."""
        codes, words = factorize(frame[self.name])
        position = {category: code for code, category in enumerate(self.categories)}
        lookup = np.array([*(position.get(word, -1) for word in words), -1], dtype=np.int64)
        return lookup[codes], codes < 0
