"""The binary task: two classes, of which the last is the positive one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.messages import Message
from auditkit.stats.counts import Counts, tally
from auditkit.tasks.base import BinaryView, Floats, Predictions, Rows, code_type
from auditkit.tasks.classes import ClassTask, require_one_column

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Binary(ClassTask):
    """Two classes; the positive one is predicted from a probability, or score, on."""

    @property
    def positive(self) -> str | None:
        """The last class."""
        return self.schema.classes[-1]

    @property
    def width(self) -> int:
        """One column a class; a score is a single column."""
        return 1 if self.schema.output == "score" else 2

    def transform(self, outputs: Floats) -> Floats:
        """Return the probability of both classes, (rows, 2), or scores as they are, (rows, 1)."""
        if self.schema.output == "score":
            require_one_column(outputs, "score")
            return outputs
        return super().transform(outputs)

    def predictions(self, transformed: Floats, notes: Sequence[str] = ()) -> Predictions:
        """Return the positive class from the threshold on."""
        if self.schema.output != "score":
            return super().predictions(transformed, notes)
        scores = transformed[:, 0]
        positive = (scores >= self.schema.decision_threshold).astype(code_type(len(scores)))
        return Predictions(labels=positive, class_probabilities=None, ranking=scores, notes=tuple(notes))

    def unanswered(self) -> Predictions:
        """Return the prediction for one row without a finite answer; of scores there are no probabilities."""
        found = super().unanswered()
        return replace(found, class_probabilities=None) if self.schema.output == "score" else found

    def binary_views(self, rows: Rows) -> tuple[BinaryView, ...]:
        """Return the task itself."""
        told = rows.predictions
        scores = told.ranking if told.class_probabilities is None else told.class_probabilities[:, -1]
        return (BinaryView("", rows.labels, told.labels, scores),)

    def tables(
        self,
        places: Sequence[int],
        rows: Rows,
        columns: tuple[str, ...],
        names: tuple[tuple[str, ...], ...],
        codes: NDArray[np.int64],
    ) -> tuple[Counts, ...]:
        """Return the table of the two classes."""
        return (tally(columns, names, codes, rows.labels, rows.predictions.labels, self.schema.classes, rows.sampling),)

    def selected(self, columns: Sequence[str]) -> list[str]:
        """Return what it takes to be selected: a recorded decision, or a probability, or score, of the positive one."""
        target, positive = self.schema.target, self.schema.classes[-1]
        if columns and target is None:
            return [
                Message(
                    '"Selected" means that column {columns} holds a decision for {classes}.',
                    columns=", ".join(columns),
                    classes=positive,
                )
            ]
        if columns:
            return [
                Message(
                    '"Selected" means a decision for {target} = {classes}, by column {columns}.',
                    target=target,
                    classes=positive,
                    columns=", ".join(columns),
                )
            ]
        what = Message("score") if self.schema.output == "score" else Message("probability")
        return [
            Message(
                '"Selected" means that the model predicts {target} = {classes}{how}.',
                target=target,
                classes=positive,
                how=Message(" ({what} {threshold:g} or more)", what=what, threshold=self.schema.decision_threshold),
            )
        ]

    def explained(self, predictions: Predictions) -> NDArray[np.int64]:
        """Return the positive class of every row."""
        return np.ones(len(predictions.labels), dtype=np.int64)

    def explained_by_part(self) -> tuple[str, tuple[str, ...]] | None:
        """Return None: the positive class is explained of every row."""
        return None

    def target_name(self) -> str:
        """Return the words for the log-odds, or the probability, of the positive class."""
        named = {"target": self.schema.target, "name": self.schema.classes[-1]}
        if self.schema.output == "probabilities":
            return Message("the probability of {target} = {name}", **named)
        return Message("the log-odds of {target} = {name}", **named)

    def target(self, outputs: torch.Tensor, explained: torch.Tensor) -> torch.Tensor:
        """Return the log-odds of the positive class, (rows,), or its probability where the model gives that."""
        if outputs.shape[1] == 1:
            return outputs[:, 0]
        return outputs[:, 1] if self.schema.output == "probabilities" else outputs[:, 1] - outputs[:, 0]

    def margin(self, outputs: torch.Tensor, decisions: torch.Tensor) -> torch.Tensor:
        """Return how far the positive output lies on the decided side of the threshold, (rows,)."""
        positive = self.target(outputs, decisions) - self.schema.output_at(self.schema.decision_threshold)
        return (2 * decisions - 1) * positive
