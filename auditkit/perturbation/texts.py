"""Damages of texts: typing errors, words left out, and words in capitals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from auditkit.perturbation.damage import SHARES, Damage
from auditkit.subject.tokens import words

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

    def dropped(strength: float) -> NDArray[np.int64]:
        return encode(
            [
                " ".join(word for word, draw in zip(row, chance, strict=True) if draw >= strength)
                for row, chance in zip(rows, draws, strict=True)
            ]
        )

    raised = [[word.upper() for word in row] for row in rows]
    return [
        Damage(
            name="typing_errors",
            title="Typing errors",
            means="A share of the words has two letters exchanged, one left out, or one doubled.",
            axis="share of the words",
            unit="rate",
            strengths=SHARES,
            stated=0.1,
            at=lambda strength: replaced(strength, misspelt),
        ),
        Damage(
            name="dropped_words",
            title="Words left out",
            means="A share of the words is left out at random.",
            axis="share of the words",
            unit="rate",
            strengths=SHARES,
            stated=0.1,
            at=dropped,
        ),
        Damage(
            name="capitals",
            title="Words in capitals",
            means="A share of the words is written in capitals.",
            axis="share of the words",
            unit="rate",
            strengths=(0.5, 1.0),
            stated=1.0,
            at=lambda strength: replaced(strength, raised),
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
