"""Texts kept word for word: a number for each piece of a text, from which the text is put together again.

A model with a tokenizer of its own reads texts, and the rest of auditkit arrays of numbers. So each piece of a text has
a code, and the pieces of a text, joined, are the text. Codes are given in the order in which pieces are first seen, and
hold for this process only: they are no numbers to reckon with, and are written nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.data.dataset import factorize
from auditkit.data.interned import MISSING_WORDS
from auditkit.data.values import day, is_typed, number
from auditkit.errors import DatasetError, ModelFileError
from auditkit.schema.text import FIRST_WORD, UNKNOWN, word_spans, words

MOST_CODES = 2**24
"""A cell of a table is float32, which tells so many whole numbers apart."""

MOST_PIECES = 512
"""A text is divided into at most so many pieces: the last one holds the rest of a longer text."""

FEWEST_TEXTS = 50
"""A column of fewer different values is one of categories, however many words they have."""

MANY_WORDS = 5
"""A column whose values mostly differ, and have so many words or more, holds free text, and no names or categories."""


class TextCodes:
    """The codes of pieces of text, from `FIRST_WORD` on; the codes before them stand for no text."""

    def __init__(self) -> None:
        self._texts = [""] * FIRST_WORD
        self._codes: dict[str, int] = {}

    def codes(self, pieces: Sequence[str]) -> list[int]:
        """Return the code of each piece; a piece that was not seen before gets the next one."""
        found = []
        for piece in pieces:
            code = self._codes.setdefault(piece, len(self._texts))
            if code == len(self._texts):
                self._texts.append(piece)
            found.append(code)
        return found

    def text(self, code: int) -> str:
        """Return the piece that a code stands for."""
        return self._texts[code]

    def join(self, codes: NDArray[np.int64]) -> NDArray[Any]:
        """Return the texts that rows of codes, (rows, pieces), stand for: object, (rows,).

        Raises:
            ModelFileError: a code was given in another process, and is unknown in this one.
        """
        texts = self._texts
        if codes.size and int(codes.max()) >= len(texts):
            raise ModelFileError("model: a text was read in another process; leave --executor out.")
        joined = np.empty(len(codes), dtype=object)
        joined[:] = ["".join([texts[code] for code in row]) for row in codes.tolist()]
        return joined

    def state(self) -> list[str]:
        """Return every piece in the order of the codes, for `restore` in another process."""
        return self._texts[FIRST_WORD:]

    def restore(self, pieces: Sequence[str]) -> None:
        """Give pieces the codes that they have in the process where `state` was taken.

        Raises:
            ModelFileError: this process gave one of them another code.
        """
        if self.codes(pieces) != list(range(FIRST_WORD, FIRST_WORD + len(pieces))):
            raise ModelFileError("model: two processes read texts in another order; leave --executor out.")


TEXT_CODES = TextCodes()
"""The codes of this process."""


def pieces_of(text: str, most: int) -> list[str]:
    """Divide a text before each of its words, into at most so many pieces that make the text again.

    >>> pieces_of("Well, it's fine. Really!", 9), pieces_of("Well, it's fine.", 2)
    (['Well, ', "it's ", 'fine. ', 'Really', '!'], ['Well, ', "it's fine."])
    """
    starts = [0, *(start for start, _ in word_spans(text)[1:most])]
    return [text[start:stop] for start, stop in zip(starts, [*starts[1:], len(text)], strict=True)]


def word_of(piece: str) -> str:
    """Return the word of a piece in lower case; of a piece with none, or with several, the whole without white space.

    >>> word_of("Fine. "), word_of("..."), word_of("a b")
    ('fine', '...', 'a b')
    """
    found = words(piece)
    return found[0] if len(found) == 1 else piece.strip()


def encode_verbatim(column: pd.Series[Any], most: int) -> NDArray[np.int64]:
    """Return the codes of the pieces of each text, int64, (rows, most), 0 behind the end.

    A missing text has zeros alone, a blank one `UNKNOWN`, which stands for the empty text.

    Raises:
        DatasetError: more texts were seen than codes can tell apart.
    """
    codes, distinct = pd.factorize(column)
    found = np.zeros((len(distinct) + 1, most), dtype=np.int64)  # the last row is of missing texts, whose code is -1
    for row, value in enumerate(distinct):
        text = str(value)
        if text.strip() in MISSING_WORDS:
            found[row, 0] = 0 if text.strip() else UNKNOWN
            continue
        pieces = TEXT_CODES.codes(pieces_of(text, most))
        found[row, : len(pieces)] = pieces
    if int(found.max(initial=0)) >= MOST_CODES:
        raise DatasetError(f"column {column.name!r}: more than {MOST_CODES:,} different texts; audit fewer rows.")
    return found[codes]


def verbatim_length(column: pd.Series[Any]) -> int:
    """Return into how many pieces the longest text of a column is divided, from 2 to 512."""
    _, texts = factorize(column)
    return max(2, min(MOST_PIECES, max((len(word_spans(text)) for text in texts), default=2)))


def is_free_text(column: pd.Series[Any], *, most_categories: int) -> bool:
    """Return whether a column holds free text, and no numbers, dates or categories, by its different values.

    There are more of them than `most_categories`; or most rows have one of their own, of five words or more.
    """
    if is_typed(column) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        return False
    codes, texts = factorize(column)
    if len(texts) <= FEWEST_TEXTS or not (math.inf in map(number, texts) and math.inf in map(day, texts)):
        return False
    if len(texts) > most_categories:
        return True
    if 2 * len(texts) < int((codes >= 0).sum()):
        return False
    return float(np.median([len(words(text)) for text in texts])) >= MANY_WORDS
