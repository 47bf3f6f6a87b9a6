"""The task of vectors: one for each word, or for each text, and nothing predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NoReturn

import numpy as np
import pandas as pd

from auditkit.errors import NotRun
from auditkit.evidence.messages import Message
from auditkit.schema.schema import Labels
from auditkit.stats.quality import MetricSpec
from auditkit.tasks.base import BinaryView, Floats, Rows
from auditkit.tasks.classes import ClassTask

NOTHING_PREDICTED = Message("vectors of words and texts predict nothing")


@dataclass(frozen=True)
class Embeddings(ClassTask):
    """Vectors of words or of texts: the rows are the words of a vocabulary, and have no labels."""

    metrics: ClassVar[Mapping[str, MetricSpec]] = {}
    unpredicted: ClassVar[Message | None] = NOTHING_PREDICTED
    unrecorded: ClassVar[Message | None] = Message("the rows are the words of a vocabulary, and no records")
    profile: ClassVar[str] = "embeddings"

    @property
    def width(self) -> int:
        """No column: nothing is predicted."""
        return 0

    def encode_labels(self, frame: pd.DataFrame) -> Labels:
        """Return 0 for each word, which has no label."""
        return self.unlabelled(len(frame))

    def unlabelled(self, row_count: int) -> Labels:
        """Return 0 for each of so many words."""
        return np.zeros(row_count, dtype=np.int64)

    def binary_views(self, rows: Rows) -> tuple[BinaryView, ...]:
        """Return none: nothing is decided about a word."""
        return ()

    def transform(self, outputs: Floats) -> NoReturn:
        """Raise NotRun: outputs are vectors, and no predictions."""
        raise NotRun(NOTHING_PREDICTED)
