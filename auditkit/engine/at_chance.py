"""Whether predictions tell the classes apart at all: if not, the first screen says so and asks why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from auditkit.evidence.messages import Message
from auditkit.stats.chance import agreement_at_chance, area_at_chance, rates_at_chance

if TYPE_CHECKING:
    from auditkit.engine.subject import Subject

FEWEST_ROWS = 100
"""With fewer labelled rows an interval around chance says little of the model."""


def chance_statement(subject: Subject) -> tuple[str, ...]:
    """Return a question where predictions agree with the labels no better than chance; nothing otherwise.

    Of two classes by the area under the ROC curve of the scores, or by how much more often the positive class is
    decided for rows of it; of several by how often labels and predictions agree, against independent ones with the
    same shares. Nothing is said below 100 labelled rows, or where all rows get one decision.
    """
    if subject.task.unpredicted is not None:
        return ()
    known = subject.labelled
    if len(known.labels) < FEWEST_ROWS or known.labels.ndim > 1 or not known.schema.classes:
        return ()
    found = _of_two(known) if known.task.positive is not None else _of_several(known)
    if found is None:
        return ()
    target = str(known.schema.target)
    columns = known.decision_columns
    why = (
        Message("Are {columns} and {target} of the same rows?", columns=list(columns), target=target)
        if columns
        else Message(
            "Are the columns in the order and the encoding that the model was trained with, and is {target} what it "
            "predicts?",
            target=target,
        )
    )
    return (
        Message(
            "The predictions are no better than chance: {found}. Every other number describes a model that tells "
            "nothing apart. {why}",
            found=found,
            why=why,
        ),
    )


def _of_two(subject: Subject) -> Message | None:
    labels, predictions = subject.labels == 1, subject.predictions
    if predictions.ranking is not None or predictions.class_probabilities is not None:
        area = area_at_chance(labels, np.asarray(predictions.scores, dtype=np.float64), subject.sampling)
        if area is None:
            return None
        return Message(
            "the area under the ROC curve is {value:.3f} (95 % CI {low:.3f} to {high:.3f}, n = {n:,}), and chance "
            "gives 0.5",
            value=area.value,
            low=area.low,
            high=area.high,
            n=len(labels),
        )
    rates = rates_at_chance(labels, predictions.labels == 1, subject.sampling)
    if rates is None:
        return None
    return Message(
        "{positive} is decided for {first:.1%} of the {n:,} rows with that label, and for {second:.1%} of the {m:,} "
        "others",
        positive=subject.schema.classes[1],
        first=rates[0],
        n=int(labels.sum()),
        second=rates[1],
        m=int((~labels).sum()),
    )


def _of_several(subject: Subject) -> Message | None:
    found = agreement_at_chance(
        subject.labels, subject.predictions.labels, len(subject.schema.classes), subject.sampling
    )
    if found is None:
        return None
    return Message(
        "labels and predictions agree in {value:.1%} of {n:,} rows (95 % CI {low:.1%} to {high:.1%}), and would by "
        "chance in {chance:.1%}",
        value=found.value,
        n=len(subject.labels),
        low=found.low,
        high=found.high,
        chance=found.chance,
    )
