"""Rows without a recorded decision, or outcome: whether they are a selection by group, and what they could change.

An empty cell may stand for a refusal. Where such rows are left out of one group more often than of another, the rates
of the others tell little of that group: gaps in selection then have an interval that holds whatever was decided.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from auditkit.engine.label_coverage import SMALLEST
from auditkit.engine.subject import Subject
from auditkit.evidence.messages import Message, number
from auditkit.stats.counts import Counts, not_compared, tally
from auditkit.stats.drift import holm
from auditkit.stats.missing_labels import dependence


def undecided_counts(subject: Subject, columns: tuple[str, ...], classes: tuple[str, ...]) -> Counts | None:
    """Count the rows without a decision by group, all as decided the first of two classes.

    None where all rows have a decision, or where those that have one are no selection by group.
    """
    others = _others(subject)
    if others is None or not selected_by(subject):
        return None
    names, codes = others.group_codes(columns)
    nothing = np.zeros(len(codes), dtype=np.int64)
    return tally(columns, names, codes, nothing, nothing, classes, others.sampling)


def beside_undecided(subject: Subject) -> Subject:
    """Return the subject with weights and clusters on the scale of those of the rows without a decision."""
    if subject.undecided is None:
        return subject
    return subject.reweighted(subject.undecided.sampling.take(slice(len(subject.labels))))


def selected_by(subject: Subject) -> list[tuple[str, tuple[str, float], tuple[str, float]]]:
    """Return the sensitive columns that the rows with a decision are a selection by.

    For each the group with the least, and that with the greatest, share of rows with a decision, and these shares.
    Groups that are too small to compare are left out; p-values are corrected for all columns (Holm 1979).
    """
    others = _others(subject)
    if others is None:
        return []
    found = []
    for column in subject.sensitive:
        sizes: dict[str, list[int]] = {}
        for place, part in enumerate((subject, others)):
            names, codes = part.group_codes((column,))
            for (name,), count in zip(names, np.bincount(codes, minlength=len(names)), strict=True):
                sizes.setdefault(name, [0, 0])[place] += int(count)
        table = np.array(list(sizes.values()), dtype=np.int64)
        keys = tuple((name,) for name in sizes)
        kept = np.flatnonzero(~not_compared(table.sum(axis=1), subject.min_group, keys))
        if len(kept) > 1:
            known, rows = table[kept, 0], table[kept].sum(axis=1)
            found.append((column, [keys[place][0] for place in kept], known / rows, dependence(known, rows)))
    corrected = holm(np.array([one[3] for one in found])) if found else ()
    return [
        (column, (names[shares.argmin()], float(shares.min())), (names[shares.argmax()], float(shares.max())))
        for (column, names, shares, _), p in zip(found, corrected, strict=True)
        if p < 1 - subject.conf_level and np.ptp(shares) >= SMALLEST
    ]


BOUNDED = Message(
    " Rates by group, their gaps and their ratios have intervals that hold whatever was decided of them, and whatever "
    "their labels are; all other numbers, such as those of performance, are of the rows with a decision alone."
)
UNBOUNDED = Message(" The values that are missing could be any numbers, so that no interval of a mean allows for them.")


def undecided_statement(subject: Subject) -> tuple[str, ...]:
    """Return the sentence that says that the rows with a decision are a selection by group, where they are."""
    columns = subject.decision_columns or subject.schema.targets
    decided = subject.task.positive is not None or bool(subject.task.part)
    return tuple(
        Message(
            "{columns}: a value is recorded for {low} of {least} and {high} of {most} ({column}). Rows without one are "
            "left out of every rate; if an empty cell stands for a decision, write it into the cell.",
            columns=" or ".join(columns),
            low=number(least[1], "rate"),
            least=least[0],
            high=number(most[1], "rate"),
            most=most[0],
            column=column,
        )
        + (BOUNDED if decided else UNBOUNDED)
        for column, least, most in selected_by(subject)
    )


def _others(subject: Subject) -> Subject | None:
    """Return the subject of the rows without a decision, of which groups alone are read."""
    if subject.undecided is None:
        return None
    data, sampling = subject.undecided
    labels, own = subject.task.unlabelled(len(data.frame)), sampling.take(slice(len(subject.labels), None))
    return dataclasses.replace(subject, data=data, labels=labels, sampling=own, undecided=None, part_of=None)
