"""Damages of texts: typing errors, words left out, and words in capitals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.robustness.corruption import Damage
from auditkit.schema.text import words

TEXT_DAMAGES = ("typing_errors", "dropped_words", "capitals")
"""The names of what `text_damages` returns, in its order."""

Encode = Callable[[list[str]], NDArray[np.int64]]
"""Turns texts into token ids, (rows, length), as the model reads them."""


def text_damages(texts: Sequence[str | None], encode: Encode, *, seed: int) -> list[Damage]:
    """Return the damages of texts; a text that is missing is an empty one."""
    rng = np.random.default_rng((seed, 21))
    rows = [words(text or "") for text in texts]
    draws = [rng.random(len(row)) for row in rows]
    misspelt = [[typing_error(word, rng) for word in row] for row in rows]

    def replaced(strength: float, others: list[list[str]]) -> NDArray[np.int64]:
        return encode(
            [
                " ".join(other if draw < strength else word for word, other, draw in zip(row, new, chance, strict=True))
                for row, new, chance in zip(rows, others, draws, strict=True)
            ]
        )

    nothing = [[""] * len(row) for row in rows]
    raised = [[word.upper() for word in row] for row in rows]
    return [
        Damage(
            "typing_errors",
            "Typing errors",
            "A share of the words has two letters exchanged, one left out, or one doubled.",
            "share of the words",
            lambda strength: replaced(strength, misspelt),
        ),
        Damage(
            "dropped_words",
            "Words left out",
            "A share of the words is left out at random.",
            "share of the words",
            lambda strength: replaced(strength, nothing),
        ),
        Damage(
            "capitals",
            "Words in capitals",
            "A share of the words is written in capitals.",
            "share of the words",
            lambda strength: replaced(strength, raised),
            strengths=(0.5, 1.0),
            stated=1.0,
        ),
    ]


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
