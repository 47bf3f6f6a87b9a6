"""The multi-class task: one of more than two classes a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, overload

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.messages import Message
from auditkit.stats.counts import Counts, tally
from auditkit.stats.one_vs_rest import CLASS
from auditkit.tasks.base import BinaryView, Predictions, Rows
from auditkit.tasks.classes import ClassTask

if TYPE_CHECKING:
    import torch


COUNTED_AT_ONCE = 100
"""A table of more classes by classes in each group would take more memory than counts of each class by itself."""


@dataclass(frozen=True, eq=False)
class OneVsRest(Sequence[BinaryView]):
    """Each class against the rest, made when it is asked for: of many classes all at once would take the memory."""

    classes: tuple[str, ...]
    rows: Rows

    def __len__(self) -> int:
        """Return the number of classes."""
        return len(self.classes)

    @overload
    def __getitem__(self, place: int) -> BinaryView: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[BinaryView]: ...
    def __getitem__(self, place: int | slice) -> BinaryView | Sequence[BinaryView]:
        """Return the view of the class of a code."""
        if isinstance(place, slice):
            return [self[code] for code in range(len(self))[place]]
        told = self.rows.predictions
        code = range(len(self))[place]
        return BinaryView(
            self.classes[code],
            (self.rows.labels == code).astype(np.int64),
            (told.labels == code).astype(np.int64),
            None if told.class_probabilities is None else told.class_probabilities[:, code],
        )


@dataclass(frozen=True)
class Multiclass(ClassTask):
    """One of several classes a row, the likeliest."""

    part: ClassVar[str] = CLASS

    def binary_views(self, rows: Rows) -> Sequence[BinaryView]:
        """Return each class against the rest."""
        return OneVsRest(self.schema.classes, rows)

    def tables(
        self,
        places: Sequence[int],
        rows: Rows,
        columns: tuple[str, ...],
        names: tuple[tuple[str, ...], ...],
        codes: NDArray[np.int64],
    ) -> tuple[Counts, ...]:
        """Return of the classes at `places` the tables against the rest, where that takes little from one count."""
        if len(self.schema.classes) <= COUNTED_AT_ONCE:
            told = rows.labels, rows.predictions.labels, self.schema.classes
            whole = tally(columns, names, codes, *told, rows.sampling)
            return tuple(whole.one_vs_rest(code) for code in places)
        views = self.binary_views(rows)
        found = []
        for place in places:
            view = views[place]
            told = view.labels, view.decisions, ("any other", view.name)
            found.append(tally(columns, names, codes, *told, rows.sampling))
        return tuple(found)

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
