"""The multi-class task: one of more than two classes a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.messages import Message
from auditkit.tasks.base import BinaryView, Predictions, Rows
from auditkit.tasks.classes import ClassTask

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Multiclass(ClassTask):
    """One of several classes a row, the likeliest."""

    def binary_views(self, rows: Rows) -> tuple[BinaryView, ...]:
        """Return each class against the rest."""
        told = rows.predictions
        return tuple(
            BinaryView(
                name,
                (rows.labels == code).astype(np.int64),
                (told.labels == code).astype(np.int64),
                None if told.class_probabilities is None else told.class_probabilities[:, code],
            )
            for code, name in enumerate(self.schema.classes)
        )

    def explained(self, predictions: Predictions) -> NDArray[np.int64]:
        """Return the predicted class of each row."""
        return predictions.labels.astype(np.int64)

    def explained_by_part(self) -> tuple[str, tuple[str, ...]] | None:
        """Return the classes: of each row the predicted one is explained."""
        return "class", self.schema.classes

    def target_name(self) -> str:
        """Return the words for the output of the predicted class."""
        if self.schema.output == "probabilities":
            return Message("the probability of the predicted class")
        return Message("the logit of the predicted class")

    def target(self, outputs: torch.Tensor, explained: torch.Tensor) -> torch.Tensor:
        """Return the output of the explained class, (rows,)."""
        return outputs.gather(1, explained[:, None])[:, 0]

    def margin(self, outputs: torch.Tensor, decisions: torch.Tensor) -> torch.Tensor:
        """Return how far the decided class's output lies above the highest of the others, (rows,)."""
        own = outputs.gather(1, decisions[:, None])
        return own[:, 0] - outputs.scatter(1, decisions[:, None], -float("inf")).amax(dim=1)
