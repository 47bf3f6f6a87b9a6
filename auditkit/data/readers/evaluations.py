"""Samples of an evaluation as rows: their scores, what they are clustered by, and fields that groups can be told by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from auditkit.budgets import COLUMNS, ROWS, Budget
from auditkit.data.interned import is_broken
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


def rows_of(name: str, samples: Sequence[Evaluated], notes: Sequence[str], *, dropped: Sequence[str]) -> ReadRows:
    """Return samples as rows.

    Args:
        name: how messages call the file.
        samples: one entry for each sample and epoch.
        notes: what a reader must know.
        dropped: the names of scores that are no numbers, and were not read.

    Raises:
        DatasetError: there is no sample, or none has a score.
    """
    ROWS.check(len(samples), name, DatasetError)
    scorers = list(dict.fromkeys(scorer for sample in samples for scorer in sample.scores))
    if not any(value is not None for sample in samples for value in sample.scores.values()):
        raise DatasetError(f"{name}: holds no sample with a score; score the log first, with its samples.")
    fields = _fields(samples, {TASK, SAMPLE, EPOCH, *scorers})
    COLUMNS.check(3 + len(scorers) + len(fields), name, DatasetError)
    columns: dict[str, Any] = {
        TASK: _texts([sample.task for sample in samples]),
        SAMPLE: _texts([f"{sample.task} {sample.sample}" for sample in samples]),
    }
    if len({str(sample.epoch) for sample in samples}) > 1:
        columns[EPOCH] = _texts([str(sample.epoch) for sample in samples])
    for scorer in scorers:
        values = [sample.scores.get(scorer) for sample in samples]
        columns[scorer] = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    for field in fields:
        columns[field] = _texts([_text(sample.fields.get(field)) for sample in samples])
    said = [*notes, Message("Scores: {names}. Epochs of one sample are one cluster.", names=scorers)]
    if dropped:
        said.append(Message("Not read, since they are no numbers: the scores {names}.", names=list(dropped)))
    every = {str(field) for sample in samples for field in sample.fields}
    if len(fields) < len(every):
        said.append(
            Message(
                "{n} fields of the samples were not read: texts of more than {most} characters, lists, and names that "
                "are taken.",
                n=len(every) - len(fields),
                most=MOST_CHARACTERS,
            )
        )
    frame = pd.DataFrame(columns, index=pd.RangeIndex(len(samples), name="row"))
    return ReadRows(frame, said, scores=Scores(tuple(scorers), cluster=SAMPLE, group=TASK))


def _fields(samples: Sequence[Evaluated], taken: set[str]) -> list[str]:
    """Return the fields that can tell groups: short texts, numbers and truths in every sample that has them."""
    names = dict.fromkeys(str(field) for sample in samples for field in sample.fields)
    return [
        name
        for name in names
        if name.strip() == name != ""
        and name not in taken
        and not is_broken(name)
        and all(_is_short(sample.fields.get(name)) for sample in samples)
    ]


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
