"""Texts that a model reads itself: their words are left out and misspelt, and it is given what remains as a text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.messages import Message
from auditkit.modalities.base import OUTSIDE_ROWS, Texts
from auditkit.modalities.text import Text
from auditkit.schema.text import FIRST_WORD, PADDING, UNKNOWN


@dataclass(frozen=True)
class Verbatim(Text):
    """Texts as codes of their pieces, (rows, length): a piece is a word and what stands behind it."""

    name: ClassVar[str] = "verbatim"

    @property
    def texts(self) -> Texts:
        """The texts of the one column that is read, by a tokenizer that only the model knows."""
        return replace(
            super().texts,
            vocabulary=None,
            deletion=Message("every word is left out"),
            baseline=Message("the same text with every word left out"),
        )

    def out_of_distribution(
        self, inputs: NDArray[np.int64], source: NDArray[np.int64], *, seed: int
    ) -> dict[str, NDArray[np.int64]]:
        """Return texts of random words of the data, and the empty text."""
        rng = np.random.default_rng((seed, 31))
        padding = inputs[rng.integers(0, len(inputs), OUTSIDE_ROWS)] == PADDING
        known = np.unique(source[source >= FIRST_WORD])
        drawn = rng.choice(known if len(known) else np.array([UNKNOWN]), padding.shape)
        empty = np.full((1, inputs.shape[1]), PADDING, dtype=np.int64)
        empty[:, 0] = UNKNOWN
        return {"random words": np.where(padding, PADDING, drawn).astype(np.int64), "an empty text": empty}
