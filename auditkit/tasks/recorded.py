"""The task of recorded outcomes: a number a row that is compared between groups, with nothing that predicts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from auditkit.evidence.messages import Message
from auditkit.schema.schema import Labels
from auditkit.stats.quality import MetricSpec
from auditkit.tasks.base import Floats, Predictions
from auditkit.tasks.regression import Regression

NOTHING_PREDICTED = Message("the data hold outcomes, and no predictions or decisions")


@dataclass(frozen=True)
class RecordedOutcome(Regression):
    """A number a row that happened: a score, a waiting time, a return."""

    metrics: ClassVar[Mapping[str, MetricSpec]] = {}
    predicts_numbers: ClassVar[bool] = False
    unscored: ClassVar[Message | None] = NOTHING_PREDICTED
    unpredicted: ClassVar[Message | None] = NOTHING_PREDICTED

    def numbers(self, predictions: Predictions) -> None:
        """Return None: nothing is predicted."""

    def outcomes(self, labels: Labels) -> Floats | None:
        """Return the numbers themselves, (rows,)."""
        found: Floats = labels
        return found
