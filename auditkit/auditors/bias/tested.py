"""A vocabulary that is looked up, and what a word association test found in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.bias.association import Floats, Sizes
from auditkit.auditors.bias.word_lists import WordLists
from auditkit.evidence.messages import Message

TEST, WORDS = "test", "words"
"""What associations are told by: the test, and the attribute words."""

FEWEST_WORDS = 5
"""A list of which fewer words are known is not tested."""


@dataclass(frozen=True, eq=False)
class Lookup:
    """A vocabulary that is looked up: the vectors and the row of each word.

    `vectors` are (words, width), or (words, sentences, width) of words that are read in sentences.
    """

    words: Sequence[str]
    vectors: NDArray[np.float32]
    rows: Mapping[str, int]

    def found(self, words: Sequence[str]) -> list[int]:
        """Return the rows of the words that are known, as they are written or in lower case, each row once."""
        rows = (self.rows.get(word, self.rows.get(word.lower())) for word in words)
        return list(dict.fromkeys(row for row in rows if row is not None))

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Floats:
        """Return the vectors of some rows in double precision: (rows, ..., width)."""
        return self.vectors[np.asarray(rows, dtype=np.int64)].astype(np.float64)


def lookup_of(words: Sequence[str], vectors: NDArray[np.float32]) -> Lookup:
    """Return the lookup of words and their vectors, (words, ..., width); of a word listed twice the first counts."""
    return Lookup(words, vectors, {word: row for row, word in reversed(list(enumerate(words)))})


class Association(NamedTuple):
    """What was found of one test: all numbers that the measurements and the table are made of."""

    effect: float
    resampled: Floats
    p_value: float
    sizes: Sizes
    larger: int
    distances: tuple[tuple[str, float, float, int, int], ...]
    """For each attribute: its name, the relative norm distance, its standard error, its words, degrees of freedom."""

    @property
    def error(self) -> float:
        """The standard error of the effect over other words of the same kinds."""
        return float(np.nanstd(self.resampled, ddof=1))


class Tested(NamedTuple):
    """One test: its lists, the known words of each, and what was found, or the reason why nothing was."""

    name: str
    lists: WordLists
    known: tuple[tuple[int, ...], ...]
    found: Association | None
    reason: Message | None
