"""Vectors of words as a model: the words are what is audited, and nothing is predicted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.data.dataset import Data
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import OwnRows, WordVectors, all_but
from auditkit.models.model import Model
from auditkit.schema.schema import Schema

WORD = "word"
SCHEMA = Schema(features=(), target=None, task="embeddings", output="vectors")
LACKS = all_but(WordVectors, OwnRows, reason=Message("the file holds vectors of words, and no model that answers"))


class WordTable(nn.Module):
    """A table of word vectors: `words`, and `vectors`, float32, (words, width)."""

    vectors: torch.Tensor

    def __init__(self, words: Sequence[str], vectors: NDArray[np.float32]) -> None:
        super().__init__()
        self.words = tuple(words)
        self.vectors = nn.Parameter(torch.from_numpy(vectors), requires_grad=False)


class TableVectors(WordVectors):
    """The vectors of a `WordTable`."""

    @property
    def words(self) -> Sequence[str]:
        """The vocabulary."""
        return self._table.words

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The vectors: (words, width)."""
        found: NDArray[np.float32] = self._table.vectors.numpy()
        return found

    @property
    def _table(self) -> WordTable:
        table = self.model.module
        assert isinstance(table, WordTable)
        return table


class VocabularyRows(OwnRows):
    """The words of a `WordTable` as rows."""

    def rows(self) -> Data:
        """Return one row a word, in the column `word`."""
        table = self.model.module
        assert isinstance(table, WordTable)
        index = pd.RangeIndex(len(table.words), name="row")
        frame = pd.DataFrame({WORD: np.array(table.words, dtype=object)}, index=index)
        return Data(frame=frame, path=self.model.path, sha256=self.model.sha256)


def model_of_vectors(
    words: Sequence[str],
    vectors: NDArray[np.float32],
    *,
    name: str,
    kind: str,
    path: str | None = None,
    sha256: str | None = None,
    notes: tuple[str, ...] = (),
) -> Model:
    """Return the model of words and their vectors, (words, width), finite and none of them zero."""
    return Model(
        name=name,
        module=WordTable(words, vectors).eval(),
        schema=SCHEMA,
        card=None,
        path=path,
        sha256=sha256,
        kind=kind,
        trust=Message("numbers and words: nothing of the file was run"),
        notes=notes,
        capabilities=(TableVectors, VocabularyRows),
        lacks=LACKS,
    )
