"""Whether predictions tell the classes apart at all: if not, the first screen says so and asks why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from auditkit.evidence.messages import Message
from auditkit.stats.intervals import newcombe, wilson
from auditkit.stats.ranking import roc_auc, roc_auc_interval

if TYPE_CHECKING:
    from auditkit.engine.subject import Subject

LEVEL = 0.95
FEWEST_ROWS = 100
"""With fewer labelled rows an interval around chance says little of the model."""

NEAR = 0.1
"""Up to so far above chance the interval must end: a wide one does not show that the model is at chance."""


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
    if labels.all() or not labels.any():
        return None
    if predictions.ranking is not None or predictions.class_probabilities is not None:
        area = roc_auc(labels, np.asarray(predictions.scores, dtype=np.float64))
        low, high, _ = roc_auc_interval(area, LEVEL)
        if not low <= 0.5 <= high <= 0.5 + NEAR:
            return None
        return Message(
            "the area under the ROC curve is {value:.3f} (95 % CI {low:.3f} to {high:.3f}, n = {n:,}), and chance "
            "gives 0.5",
            value=area.value,
            low=low,
            high=high,
            n=len(labels),
        )
    decided = predictions.labels == 1
    if decided.all() or not decided.any():
        return None
    sizes = int(labels.sum()), int((~labels).sum())
    hits = int((decided & labels).sum()), int((decided & ~labels).sum())
    low, high = (float(end) for end in newcombe(hits[0], sizes[0], hits[1], sizes[1], LEVEL))
    if not low <= 0 <= high <= NEAR:
        return None
    return Message(
        "{positive} is decided for {first:.1%} of the {n:,} rows with that label, and for {second:.1%} of the {m:,} "
        "others",
        positive=subject.schema.classes[1],
        first=hits[0] / sizes[0],
        n=sizes[0],
        second=hits[1] / sizes[1],
        m=sizes[1],
    )


def _of_several(subject: Subject) -> Message | None:
    labels, decided, count = subject.labels, subject.predictions.labels, len(subject.labels)
    if len(np.unique(decided)) < 2 or len(np.unique(labels)) < 2:
        return None
    classes = len(subject.schema.classes)
    shares, decided_shares = (np.bincount(codes, minlength=classes) / count for codes in (labels, decided))
    hits, chance = int((labels == decided).sum()), float(shares @ decided_shares)
    low, high = (float(end) for end in wilson(hits, count, LEVEL))
    if not low <= chance <= high <= chance + NEAR:
        return None
    return Message(
        "labels and predictions agree in {value:.1%} of {n:,} rows (95 % CI {low:.1%} to {high:.1%}), and would by "
        "chance in {chance:.1%}",
        value=hits / count,
        n=count,
        low=low,
        high=high,
        chance=chance,
    )
