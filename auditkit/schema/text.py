"""Text as token ids: one stated tokenizer, a vocabulary learned from training rows, padding at the end."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.data.dataset import factorize
from auditkit.schema.pieces import piece_tokenizer

PADDING, UNKNOWN, FIRST_WORD = 0, 1, 2
"""The ids before those of the vocabulary: no token, a token that is not in the vocabulary, the first word of it."""

MINIMUM_OCCURRENCES = 2
"""A word that occurs less often in the training rows is unknown: what `unknown` means is learned from such words."""

MAXIMUM_VOCABULARY = 8000
MAXIMUM_LENGTH = 4096

# Letters and digits with inner apostrophes; a Chinese, Japanese or Korean character by itself; ! and ?.
_TOKENS = (
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+(?:['’][^\W_]+)*|[!?]"
)


def words(text: str) -> list[str]:
    """Split a text by the tokenizer called `words`: lower case, words with inner apostrophes, `!` and `?`.

    >>> words("It's 'great', isn’t it?! 不错")
    ["it's", 'great', "isn't", 'it', '?', '!', '不', '错']
    """
    return cased_words(text.lower())


def cased_words(text: str) -> list[str]:
    """Split a text as `words` does, and leave capital letters as they are."""
    return re.findall(_TOKENS, text.replace("’", "'"))


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return the begin and end of each word of a text, as the tokenizer `words` cuts it.

    >>> word_spans("It's fine!")
    [(0, 4), (5, 9), (9, 10)]
    """
    return [found.span() for found in re.finditer(_TOKENS, text.replace("’", "'"))]


def learn_vocabulary(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the words that occur at least twice, the most frequent first, at most 8,000.

    >>> learn_vocabulary(["good film", "a good one"])
    ('good',)
    """
    counts = collections.Counter(word for text in texts for word in words(text))
    often = sorted((-count, word) for word, count in counts.items() if count >= MINIMUM_OCCURRENCES)
    return tuple(word for _, word in often[:MAXIMUM_VOCABULARY])


def choose_length(texts: Sequence[str]) -> int:
    """Return the number of tokens that 98 in 100 texts do not exceed, at least 1 and at most 4,096."""
    lengths = [len(words(text)) for text in texts]
    return int(min(max(np.ceil(np.quantile(lengths, 0.98)), 1), MAXIMUM_LENGTH)) if lengths else 1


def encode_text(column: pd.Series[Any], vocabulary: Sequence[str], length: int) -> NDArray[np.int64]:
    """Return the token ids of each text, int64, (rows, length); longer texts are cut, missing ones are all padding."""
    position = {word: code for code, word in enumerate(vocabulary, start=FIRST_WORD)}
    codes, texts = factorize(column)
    ids = np.zeros((len(texts) + 1, length), dtype=np.int64)  # the last row is the missing text, which has code -1
    for row, text in enumerate(texts):
        found = [position.get(word, UNKNOWN) for word in words(text)[:length]]
        ids[row, : len(found)] = found
    return ids[codes]


def token_counts(column: pd.Series[Any]) -> NDArray[np.int64]:
    """Return the number of tokens of each text, int64, (rows,), 0 where it is missing."""
    codes, texts = factorize(column)
    return np.array([*(len(words(text)) for text in texts), 0], dtype=np.int64)[codes]


def _piece_ids(texts: Sequence[str], pieces: str) -> list[list[int]]:
    return [encoded.ids for encoded in piece_tokenizer(pieces).encode_batch(texts)]


def encode_pieces(column: pd.Series[Any], pieces: str, length: int) -> NDArray[np.int64]:
    """Return the piece ids of each text, int64, (rows, length), by a tokenizer of Hugging Face.

    The tokenizer's own ids begin at 2; longer texts are cut, missing ones are all padding. Capital letters and spaces
    are the tokenizer's business.
    """
    codes, texts = factorize(column)
    ids = np.zeros((len(texts) + 1, length), dtype=np.int64)
    for row, found in enumerate(_piece_ids(texts, pieces)):
        ids[row, : min(len(found), length)] = np.array(found[:length], dtype=np.int64) + FIRST_WORD
    return ids[codes]


def piece_counts(column: pd.Series[Any], pieces: str) -> NDArray[np.int64]:
    """Return the number of pieces of each text, int64, (rows,), 0 where it is missing."""
    codes, texts = factorize(column)
    return np.array([*(len(found) for found in _piece_ids(texts, pieces)), 0], dtype=np.int64)[codes]


def words_of_pieces(text: str, pieces: str) -> list[tuple[int, str]]:
    """Return, for each piece of a text, the number of the word that it is a part of, and that word in lower case.

    Words are what the tokenizer cuts before it makes pieces. Where it cuts none, each piece is a word by itself.
    """
    encoded = piece_tokenizer(pieces).encode(text, add_special_tokens=False)
    numbers = encoded.word_ids
    if None in numbers or (len(set(numbers)) == 1 and " " in text.strip()):
        numbers = list(range(len(encoded.ids)))
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    for number, (start, end) in zip(numbers, encoded.offsets, strict=True):
        starts.setdefault(number, start)
        ends[number] = end
    return [(number, text[starts[number] : ends[number]].strip().lower()) for number in numbers]
