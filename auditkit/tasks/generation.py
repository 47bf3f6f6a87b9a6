"""The generation task: a model that draws rows of its own and predicts nothing about given ones."""

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
from auditkit.tasks.base import BinaryView, Floats, Rows, code_type
from auditkit.tasks.classes import ClassTask
from auditkit.tasks.objectives import OwnLoss

NOTHING_PREDICTED = Message("this model generates rows and predicts nothing about given ones")


@dataclass(frozen=True)
class Generation(ClassTask):
    """Rows drawn by a model. Classes, where there are any, only say what a real row shows."""

    metrics: ClassVar[Mapping[str, MetricSpec]] = {}
    unpredicted: ClassVar[Message | None] = NOTHING_PREDICTED
    profile: ClassVar[str] = "generation"

    @property
    def width(self) -> int:
        """No column: nothing is predicted."""
        return 0

    def encode_labels(self, frame: pd.DataFrame) -> Labels:
        """Return the class that each real row shows, (rows,); -1 for all where the schema names no target."""
        if self.schema.target is None:
            return np.full(len(frame), -1, dtype=np.int64)
        return super().encode_labels(frame)

    def binary_views(self, rows: Rows) -> tuple[BinaryView, ...]:
        """Return none: nothing is decided about a row."""
        return ()

    def unlabelled(self, row_count: int) -> Labels:
        """Return 0 for each row: what a real row shows is not told."""
        return np.zeros(row_count, dtype=code_type(row_count))

    def objective(self) -> OwnLoss:
        """Return the loss that the network has for each row itself."""
        return OwnLoss()

    def transform(self, outputs: Floats) -> NoReturn:
        """Raise NotRun: outputs are rows, and no predictions."""
        raise NotRun(NOTHING_PREDICTED)
