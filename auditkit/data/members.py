"""One data set for both sides: a column says which rows trained the model, and which are audited."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from auditkit.data.dataset import Data
from auditkit.errors import DatasetError, InputError, closest

SEEN, UNSEEN = ("1", "1.0", "true"), ("0", "0.0", "false")
"""What a row holds that trained the model, and one that it never saw."""


def divided(data: Data, column: str) -> tuple[Data, Data]:
    """Return the rows that a model never saw, and those that trained it, both without the column that says it.

    Neither the hash of the file nor its notes are those of the training rows alone: they have no hash, and no notes.

    Raises:
        InputError: there is no such column.
        DatasetError: it holds something else than 1 and 0 (or true and false), or nothing in a row, or one side has no
            rows.
    """
    names = [str(name) for name in data.frame.columns]
    if column not in names:
        raise InputError(f"member column {column!r} is not in {data.name}{closest(column, names)}.")
    values = data.frame[column]
    words = values.astype(str).str.strip().str.lower().to_numpy()
    seen, unseen = np.isin(words, SEEN), np.isin(words, UNSEEN)
    wrong = np.flatnonzero(~(seen | unseen))
    if len(wrong):
        value = values.iloc[wrong[0]]
        found = "no value" if pd.isna(value) else repr(str(value))
        place = f"{data.frame.index.name or 'row'} {data.frame.index[wrong[0]]}"
        raise DatasetError(
            f"{data.name}: {place}: member column {column!r} must be 1, where the row trained the model, or 0, got "
            f"{found}; {len(wrong):,} of {len(words):,} rows hold neither."
        )
    for side, value in ((seen, 1), (unseen, 0)):
        if not side.any():
            raise DatasetError(f"{data.name}: member column {column!r} is {value} in no row; both sides are needed.")
    rest = data.frame.drop(columns=column)
    return (
        dataclasses.replace(data, frame=rest[unseen]),
        dataclasses.replace(data, frame=rest[seen], sha256=None, notes=()),
    )
