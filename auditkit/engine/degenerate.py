"""Decisions that are all alike, from which no comparison of groups can tell anything."""

from __future__ import annotations

import numpy as np

from auditkit.engine.subject import Subject
from auditkit.evidence.messages import Message


def one_decision_statement(subject: Subject) -> tuple[str, ...]:
    """Return the sentence that says that all rows get the same decision, where they do."""
    task = subject.task
    if task.unpredicted is not None or task.axis or not subject.schema.classes:
        return ()
    decided = np.unique(subject.predictions.labels)
    if len(decided) != 1 or len(subject.labels) < 2:
        return ()
    return (
        Message(
            "All {n:,} rows are decided {decision}: rates are 0 % or 100 % in every group, gaps are 0 for that reason "
            "alone, and none of this is evidence of equal treatment.",
            n=len(subject.labels),
            decision=subject.schema.classes[int(decided[0])],
        ),
    )
