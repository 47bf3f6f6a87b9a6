"""Samples of an evaluation as rows: their scores, what they are clustered by, and fields that groups can be told by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from auditkit.budgets import COLUMNS, ROWS, Budget, check_sparseness
from auditkit.data.interned import is_broken, shown
from auditkit.data.readers.base import ReadRows, Scores
from auditkit.errors import DatasetError
from auditkit.evidence.messages import Message

LOG_BYTES = Budget("bytes", 2**30, 64 * 2**30)
MOST_CHARACTERS = 64
"""A field with a longer text in any sample is a text and no group."""

TASK, SAMPLE, EPOCH = "task", "sample", "epoch"


@dataclass(frozen=True)
class Evaluated:
    """One sample in one epoch: its scores by name, None where it has none, and its other fields."""

    task: str
    sample: str
    epoch: Any
    scores: Mapping[str, float | None]
    fields: Mapping[str, Any]


def number_of(value: float) -> float:
    """Return a number of JSON, which may have thousands of digits, as a float; infinite where it is too large."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def rows_of(
    name: str, size: int, samples: Sequence[Evaluated], notes: Sequence[str], *, dropped: Sequence[str]
) -> ReadRows:
    """Return samples as rows.

    Args:
        name: how messages call the file.
        size: its bytes.
        samples: one entry for each sample and epoch.
        notes: what a reader must know.
        dropped: the names of scores that are no numbers, and were not read.

    Raises:
        DatasetError: there is no sample, none has a score, a score has a name that cannot be a column's, or the samples
            have so many different scores and fields that they are no table.
    """
    ROWS.check(len(samples), name, DatasetError)
    scorers = list(dict.fromkeys(scorer for sample in samples for scorer in sample.scores))
    if not any(value is not None for sample in samples for value in sample.scores.values()):
        raise DatasetError(f"{name}: holds no sample with a score; score the log first, with its samples.")
    _check_names(name, scorers)
    taken = {TASK, SAMPLE, EPOCH, *scorers}
    fields, field_count = _fields(samples, taken)
    column_count = 3 + len(scorers) + len(fields)
    COLUMNS.check(column_count, name, DatasetError)
    check_sparseness(name, len(samples) * column_count, size)
    columns: dict[str, Any] = {
        TASK: _texts([sample.task for sample in samples]),
        SAMPLE: _texts([f"{sample.task} {sample.sample}" for sample in samples]),
    }
    if len({str(sample.epoch) for sample in samples}) > 1:
        columns[EPOCH] = _texts([str(sample.epoch) for sample in samples])
    columns |= {scorer: np.full(len(samples), np.nan) for scorer in scorers}
    columns |= {field: np.full(len(samples), None, dtype=object) for field in fields}
    for row, sample in enumerate(samples):
        for scorer, value in sample.scores.items():
            columns[scorer][row] = math.nan if value is None else value
        for field, value in sample.fields.items():
            if str(field) in columns and str(field) not in taken:
                columns[str(field)][row] = _text(value)
    said = [*notes, Message("Scores: {names}. Epochs of one sample are one cluster.", names=scorers)]
    if dropped:
        said.append(Message("Not read, since they are no numbers: the scores {names}.", names=list(dropped)))
    if len(fields) < field_count:
        said.append(
            Message(
                "{n} fields of the samples were not read: texts of more than {most} characters, lists, and names that "
                "are taken.",
                n=field_count - len(fields),
                most=MOST_CHARACTERS,
            )
        )
    frame = pd.DataFrame(columns, index=pd.RangeIndex(len(samples), name="row"))
    return ReadRows(frame, said, scores=Scores(tuple(scorers), cluster=SAMPLE, group=TASK))


def _check_names(name: str, scorers: Sequence[str]) -> None:
    for scorer in scorers:
        if not scorer.strip() == scorer != "" or is_broken(scorer) or scorer in (TASK, SAMPLE, EPOCH):
            raise DatasetError(
                f"{name}: a score is called {shown(scorer)}, which no column of scores can be; rename it in the log."
            )


def _fields(samples: Sequence[Evaluated], taken: set[str]) -> tuple[list[str], int]:
    """Return the fields that can tell groups, and how many fields there are.

    They are short texts, numbers and truths in every sample that has them.
    """
    usable: dict[str, bool] = {}
    for sample in samples:
        for field, value in sample.fields.items():
            usable[str(field)] = usable.get(str(field), True) and _is_short(value)
    found = [
        name
        for name, is_usable in usable.items()
        if is_usable and name.strip() == name != "" and name not in taken and not is_broken(name)
    ]
    return found, len(usable)


def _is_short(value: Any) -> bool:
    if value is None or isinstance(value, bool | int | float):
        return True
    return isinstance(value, str) and len(value) <= MOST_CHARACTERS and not is_broken(value)


def _text(value: Any) -> str | None:
    """Return a field as text files have it: true and false in lower case."""
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value).strip() or None


def _texts(values: Sequence[str | None]) -> Any:
    return np.array([*values, None], dtype=object)[:-1]
