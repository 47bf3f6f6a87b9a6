"""Texts: token ids, and typing errors, words left out, and words in capitals."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.errors import NotRun
from auditkit.evidence.messages import Message
from auditkit.modalities.base import OUTSIDE_ROWS, Corruption, Reach, Segments, Texts
from auditkit.schema.schema import Schema
from auditkit.schema.text import FIRST_WORD, PADDING, UNKNOWN, word_spans, words

TEXT_CORRUPTIONS = ("typing_errors", "dropped_words", "capitals")
"""The names of what `text_corruptions` returns, in its order."""

Encode = Callable[[list[str | None]], NDArray[Any]]
"""Turns texts into rows as the model reads them; None is a missing text."""


def text_corruptions(texts: Sequence[str | None], encode: Encode, *, seed: int) -> list[Corruption]:
    """Return the corruptions of texts; what stands between their words stays, and so does a text that is missing."""
    rng = np.random.default_rng((seed, 21))
    spans = [word_spans(text or "") for text in texts]
    rows = [[(text or "")[start:stop] for start, stop in each] for text, each in zip(texts, spans, strict=True)]
    draws = [rng.random(len(row)) for row in rows]
    misspelt = [[typing_error(word, rng) for word in row] for row in rows]

    def replaced(strength: float, others: list[list[str]]) -> NDArray[Any]:
        return encode(
            [
                None if text is None else _with_words(text, each, new, draw < strength)
                for text, each, new, draw in zip(texts, spans, others, draws, strict=True)
            ]
        )

    nothing = [[""] * len(row) for row in rows]
    raised = [[word.upper() for word in row] for row in rows]
    return [
        Corruption(
            "typing_errors",
            Message("Typing errors"),
            Message("A share of the words has two letters exchanged, one left out, or one doubled."),
            Message("share of the words"),
            lambda strength: replaced(strength, misspelt),
        ),
        Corruption(
            "dropped_words",
            Message("Words left out"),
            Message("A share of the words is left out at random."),
            Message("share of the words"),
            lambda strength: replaced(strength, nothing),
        ),
        Corruption(
            "capitals",
            Message("Words in capitals"),
            Message("A share of the words is written in capitals."),
            Message("share of the words"),
            lambda strength: replaced(strength, raised),
            strengths=(0.5, 1.0),
            stated=1.0,
        ),
    ]


def _with_words(text: str, spans: Sequence[tuple[int, int]], others: Sequence[str], chosen: NDArray[np.bool_]) -> str:
    """Return a text with others in the place of the chosen words, which stand at `spans`."""
    parts, end = [], 0
    for (start, stop), other in itertools.compress(zip(spans, others, strict=True), chosen):
        parts += [text[end:start], other]
        end = stop
    return "".join([*parts, text[end:]])


def typing_error(word: str, rng: np.random.Generator) -> str:
    """Return a word with two neighbouring letters exchanged, one left out, or one doubled; one letter stays as it is.

    >>> rng = np.random.default_rng(0)
    >>> [typing_error("splendid", rng) for _ in range(3)], typing_error("a", rng)
    (['splenid', 'splnedid', 'spelndid'], 'a')
    """
    if len(word) < 2:
        return word
    place, kind = int(rng.integers(0, len(word) - 1)), int(rng.integers(0, 3))
    if kind == 0:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return word[:place] + word[place + 1 :] if kind == 1 else word[: place + 1] + word[place:]


def texts_in(column: pd.Series[Any]) -> list[str | None]:
    """Return the texts of a column, None where one is missing."""
    return [None if missing else str(text) for text, missing in zip(column, column.isna(), strict=True)]


def without_words(ids: NDArray[np.int64], deleted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return token ids with the unknown word in place of those `deleted`, (rows, length); padding stays.

    >>> without_words(np.array([[5, 7, 0]]), np.array([[True, False, True]]))
    array([[1, 7, 0]])
    """
    return np.where(deleted & (ids >= FIRST_WORD), UNKNOWN, ids)


HASHED_TO = 512
"""How many numbers stand for a text, whatever its words."""


def word_vectors(texts: Iterable[object]) -> NDArray[np.float64]:
    """Return the counts of words and of pairs of neighbouring words, hashed, as vectors of length 1, (texts, width).

    >>> one, same, other, unlike = word_vectors(["A fine film.", "a fine  film", "a fine book", "no way"])
    >>> float(one @ same).__round__(3), bool(one @ other > 0.3), bool(abs(one @ unlike) < 0.3)
    (1.0, True, True)
    """

    def parts(text: str) -> list[str]:
        alone = words(text)
        return [*alone, *(" ".join(pair) for pair in itertools.pairwise(alone))]

    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(analyzer=parts, n_features=HASHED_TO)
    found: NDArray[np.float64] = hashing.transform(text if isinstance(text, str) else "" for text in texts).toarray()
    return found


@dataclass(frozen=True)
class Text:
    """Texts as token ids, (rows, length)."""

    schema: Schema

    name: ClassVar[str] = "text"
    corruption_names: ClassVar[tuple[str, ...]] = TEXT_CORRUPTIONS
    dear: ClassVar[bool] = False
    columnar: ClassVar[bool] = False
    explained_as: ClassVar[str] = "text"
    compared_by: ClassVar[Message] = Message("by their words and pairs of neighbouring words")
    architecture: ClassVar[str] = "transformer"
    fit_settings: ClassVar[Mapping[str, Any]] = {"learning_rate": 2e-3, "weight_decay": 1e-2}  # on 10,000 reviews

    def encode(self, frame: pd.DataFrame) -> NDArray[np.int64]:
        """Return token ids, int64, (rows, length)."""
        ids: NDArray[np.int64] = self.schema.encode(frame)
        return ids

    def blank(self, count: int) -> NDArray[np.int64]:
        """Return texts of padding alone, int64, (count, length)."""
        return np.zeros((count, self.schema.input_width), dtype=np.int64)

    @property
    def texts(self) -> Texts:
        """The texts of the one column that is read."""
        feature = self.schema.features[0]
        return Texts(
            feature.name,
            frozenset(feature.vocabulary),
            feature.length,
            self._encoded,
            deletion=Message("every word is replaced by the unknown word"),
            baseline=Message("the same text with every word replaced by the unknown word"),
        )

    def _encoded(self, texts: Sequence[str | None]) -> NDArray[np.int64]:
        return self.encode(pd.DataFrame({self.schema.features[0].name: list(texts)}, dtype=object))

    def comparable(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Return vectors of words, whose codes have no distances."""
        return word_vectors(frame[self.schema.features[0].name])

    def segments(self, inputs: NDArray[np.int64], source: NDArray[np.int64]) -> Segments:
        """Return the tokens; a deleted one becomes the unknown word."""
        return Segments((inputs != PADDING).sum(axis=1), inputs.shape[1], without_words)

    def corruptions(
        self, frame: pd.DataFrame, inputs: NDArray[np.int64], source: NDArray[np.int64], *, seed: int
    ) -> list[Corruption]:
        """Return typing errors, words left out, and words in capitals."""
        return text_corruptions(texts_in(frame[self.schema.features[0].name]), self._encoded, seed=seed)

    def out_of_distribution(
        self, inputs: NDArray[np.int64], source: NDArray[np.int64], *, seed: int
    ) -> dict[str, NDArray[np.int64]]:
        """Return texts of random words, of unknown words, and of none."""
        rng = np.random.default_rng((seed, 31))
        length, vocabulary = inputs.shape[1], len(self.schema.features[0].vocabulary)
        padding = inputs[rng.integers(0, len(inputs), OUTSIDE_ROWS)] == PADDING
        drawn = rng.integers(FIRST_WORD, FIRST_WORD + vocabulary, (OUTSIDE_ROWS, length))
        return {
            "random words": np.where(padding, PADDING, drawn).astype(np.int64),
            "unknown words": np.where(padding, PADDING, UNKNOWN).astype(np.int64),
            "an empty text": np.full((1, length), PADDING, dtype=np.int64),
        }

    def reach(self, source: NDArray[np.int64]) -> Reach:
        """Raise NotRun: a word cannot be changed a little."""
        raise NotRun(Message("words are not numbers, so that no gradient says how to change them a little"))
