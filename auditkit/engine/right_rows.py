"""Which rows are predicted right, by group, and what that share can be whatever the missing labels are."""

from __future__ import annotations

import numpy as np

from auditkit.engine.label_coverage import is_selective
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Measurement
from auditkit.stats.counts import Counts, tally
from auditkit.stats.missing_labels import Unlabelled


def right_rows(subject: Subject, columns: tuple[str, ...]) -> Counts:
    """Count the rows of each group that are predicted right: as the label, and as the decision, that they are."""
    right = (subject.task.errors(subject.rows) == 0).astype(np.int64)
    return _counted(subject, columns, np.ones_like(right), right)


def missing_rows(subject: Subject, columns: tuple[str, ...]) -> Unlabelled | None:
    """Return the rows with a label, right or wrong, and those without, where labels are known for a selection.

    `subject` is that of all rows, or of those that have a label.
    """
    whole = subject if subject.part_of is None else subject.part_of[0]
    without = whole.unlabelled
    if without is None or not is_selective(whole):
        return None
    unknown = np.zeros(len(without.labels), dtype=np.int64)
    return Unlabelled(right_rows(whole.labelled, columns), _counted(without, columns, unknown, unknown))


def bounded_accuracy(subject: Subject, measurement: Measurement, columns: tuple[str, ...]) -> Measurement:
    """Return an accuracy, overall or by `columns`, with intervals that hold whatever the missing labels are.

    It stays as it is where all rows have a label, or where those that have one are no selection.
    """
    missing = missing_rows(subject, columns)
    return measurement if missing is None else missing.rate(measurement, "accuracy", subject.conf_level)


def _counted(subject: Subject, columns: tuple[str, ...], labels: np.ndarray, decisions: np.ndarray) -> Counts:
    names, codes = subject.group_codes(columns) if columns else (((),), np.zeros(len(labels), dtype=np.int64))
    return tally(columns, names, codes, labels, decisions, ("wrong", "right"), subject.sampling)
