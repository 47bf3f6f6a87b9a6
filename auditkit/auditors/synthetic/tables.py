"""The three tables that are compared: synthetic records, training records, and records that nobody generated from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.data.rows import column_values
from auditkit.engine.subject import Subject
from auditkit.models.capabilities import SampleTable
from auditkit.stats.disclosure import Records, as_records


class Tables(NamedTuple):
    """Records of the same columns: synthetic, training and unseen ones, and the names of the columns.

    A label with classes is the last column. `frames` are the rows, in the same order, and `unseen_rows` the places of
    the unseen ones among the audited rows.
    """

    synthetic: Records
    training: Records
    unseen: Records
    columns: tuple[str, ...]
    frames: tuple[pd.DataFrame, ...]
    unseen_rows: NDArray[np.int64]


MOST_ROWS = 20_000
"""As many records of each table are read at most: an attacker would have all synthetic ones."""


def tables_of(subject: Subject) -> Tables:
    """Return the columns of the schema, and the label, of at most 20,000 rows of each table, drawn with the seed."""
    training, samples = subject.training, subject.audited.capability(SampleTable)
    assert training is not None
    assert samples is not None
    count = min(len(training.frame), MOST_ROWS)
    made = samples.table(count, seed=subject.seed + 1, device=subject.device)
    sources = (made, training.frame, subject.data.frame)
    rng = np.random.default_rng((subject.seed, 41))
    drawn = [np.sort(rng.permutation(len(frame))[:MOST_ROWS]).astype(np.int64) for frame in sources]
    frames = tuple(frame.iloc[rows] for frame, rows in zip(sources, drawn, strict=True))
    names = [feature.name for feature in subject.schema.features]
    names += [name for name in subject.schema.targets if name not in names]
    parts = [[_column(frame, name) for name in names] for frame in frames]
    synthetic, training_records, unseen = as_records(parts)
    return Tables(synthetic, training_records, unseen, tuple(names), frames, drawn[2])


def _column(frame: pd.DataFrame, name: str) -> NDArray[np.float64] | list[str]:
    """Return numbers, or the texts of a column, "" where one is missing."""
    values = column_values(frame, name)
    if isinstance(values, tuple):
        codes, words = values
        return [words[code] if code >= 0 else "" for code in codes]
    assert values is not None
    return values
