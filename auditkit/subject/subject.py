"""What auditors see: a model, the rows that are audited, and what follows from the two, computed once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from auditkit.errors import DatasetError, InputError, closest
from auditkit.subject.data import Data, factorize, naming
from auditkit.subject.model import Model
from auditkit.subject.predict import Predictions, Progress, choose_device, predict
from auditkit.subject.schema import Schema

MAXIMUM_GROUPS = 100
MISSING_GROUP = "(missing)"
"""What a missing value of a sensitive column is called: a group of its own."""


def _silent(share: float, text: str) -> None:
    """Report no progress."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """A model and the rows it is audited on.

    `data` holds the audited rows, all with a label; `labels` their class codes, int64, (rows,). `training` holds the
    rows that a retraining may use, None if there are none. `notes` says what was dropped, sampled or unseen;
    `row_count_read` and `training_row_count_read` count the rows before that. `progress(share, text)` tells whoever
    started the audit how far an auditor is.
    """

    model: Model
    data: Data
    labels: NDArray[np.int64]
    sensitive: tuple[str, ...] = ()
    training: Data | None = None
    seed: int = 0
    device: torch.device
    conf_level: float = 0.95
    min_group: int = 10
    notes: tuple[str, ...] = ()
    row_count_read: int
    training_row_count_read: int | None = None
    progress: Progress = _silent

    @property
    def schema(self) -> Schema:
        """The schema between the model and the data."""
        return self.model.schema

    @functools.cached_property
    def inputs(self) -> NDArray[np.float32]:
        """The audited rows as the network reads them: (rows, input_width)."""
        return self.schema.encode(self.data.frame)

    @functools.cached_property
    def predictions(self) -> Predictions:
        """The model's predictions for the audited rows, made once."""
        return predict(
            self.model.module,
            self.inputs,
            output=self.schema.output,
            class_count=len(self.schema.classes),
            device=self.device,
            progress=self.progress,
        )

    @functools.cached_property
    def training_inputs(self) -> NDArray[np.float32] | None:
        """The training rows as the network reads them, or None without training data."""
        return None if self.training is None else self.schema.encode(self.training.frame)

    @functools.cached_property
    def training_labels(self) -> NDArray[np.int64] | None:
        """The class codes of the training rows, or None without training data."""
        return None if self.training is None else self.schema.encode_labels(self.training.frame)

    @functools.cached_property
    def _factorized(self) -> dict[str, tuple[NDArray[np.int64], list[str]]]:
        return {column: factorize(self.data.frame[column]) for column in self.sensitive}

    def group_codes(self, columns: tuple[str, ...]) -> tuple[tuple[tuple[str, ...], ...], NDArray[np.int64]]:
        """Return the groups that columns divide the audited rows into, and each row's group.

        The names are tuples of one value a column, sorted, of the groups that occur; the codes, int64, (rows,), point
        into them. Two columns or more give their intersections. A missing value is a group of its own.
        """
        combined = np.zeros(len(self.labels), dtype=np.int64)
        parts: list[tuple[NDArray[np.int64], list[str]]] = []
        for column in columns:
            codes, words = self._factorized.get(column) or factorize(self.data.frame[column])
            parts.append((np.where(codes < 0, len(words), codes), [*words, MISSING_GROUP]))
            combined = combined * (len(words) + 1) + parts[-1][0]
        _, first, codes = np.unique(combined, return_index=True, return_inverse=True)
        keys = [tuple(words[part[row]] for part, words in parts) for row in first]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        rank = np.empty(len(keys), dtype=np.int64)
        rank[order] = np.arange(len(keys))
        return tuple(keys[position] for position in order), rank[codes.reshape(-1)]


def load_subject(
    model: Model,
    data: Data,
    *,
    sensitive: Sequence[str] | None = None,
    training: Data | None = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "auto",
    conf_level: float = 0.95,
    min_group: int = 10,
    progress: Progress = _silent,
) -> Subject:
    """Check that a data set fits a model, choose the rows that are audited, and return the subject.

    Rows without a label are left out, and of the rest a sample of `limit` is drawn with `seed`; the notes say so.
    `sensitive` defaults to the columns that the schema names.

    Raises:
        DatasetError: a column is missing or holds something else than the schema says, in either data set, or no
            row has a label.
        InputError: an unknown sensitive column or one of more than 100 groups, `limit` below 1, or no such device.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1 row, got {limit}.")
    chosen_device = choose_device(device)
    chosen = tuple(dict.fromkeys(model.schema.sensitive if sensitive is None else sensitive))
    columns = [str(column) for column in data.frame.columns]
    for name in chosen:
        if name not in columns:
            raise InputError(f"sensitive column {name!r} is not in {data.name}{closest(name, columns)}.")
    rows, labels, notes = _labelled(model.schema, data)
    if limit is not None and limit < len(labels):
        sample = np.sort(np.random.default_rng(seed).choice(len(labels), size=limit, replace=False))
        notes.append(f"A sample of {limit:,} of {len(labels):,} rows is audited, drawn with seed {seed}.")
        rows, labels = dataclasses.replace(rows, frame=rows.frame.iloc[sample]), labels[sample]
    training_rows = None
    if training is not None:
        training_rows, _, training_notes = _labelled(model.schema, training)
        notes += [f"Training data: {note}" for note in training_notes]
    subject = Subject(
        model=model,
        data=rows,
        labels=labels,
        sensitive=chosen,
        training=training_rows,
        seed=seed,
        device=chosen_device,
        conf_level=conf_level,
        min_group=min_group,
        notes=(*notes, *_unseen_notes(model.schema, rows)),
        row_count_read=len(data.frame),
        training_row_count_read=None if training is None else len(training.frame),
        progress=progress,
    )
    for name in chosen:
        count = len(subject.group_codes((name,))[0])
        if count > MAXIMUM_GROUPS:
            raise InputError(
                f"sensitive column {name!r} has {count:,} groups, and at most {MAXIMUM_GROUPS} can be compared; "
                "put its values into ranges (bins) in the data set first."
            )
    # Encoded here, so that a value that does not fit stops the run before any auditor starts.
    with naming(rows):
        _ = subject.inputs
    if training_rows is not None:
        with naming(training_rows):
            _ = subject.training_inputs
    return subject


def _labelled(schema: Schema, data: Data) -> tuple[Data, NDArray[np.int64], list[str]]:
    """Return the rows that have a label, their class codes, and a note on those that have none."""
    with naming(data):
        schema.check_columns(data.frame)
        labels = schema.encode_labels(data.frame)
        known = labels >= 0
        if not known.any():
            raise DatasetError(f"no row has a label in column {schema.target!r}.")
    if known.all():
        return data, labels, []
    note = f"{int((~known).sum()):,} of {len(known):,} rows have no label in column {schema.target} and were left out."
    return dataclasses.replace(data, frame=data.frame[known]), labels[known], [note]


def _unseen_notes(schema: Schema, data: Data) -> list[str]:
    with naming(data):
        counts = schema.unseen_counts(data.frame)
    return [
        f"Column {name}: {count:,} of {len(data.frame):,} rows hold a category, or a missing value, that the model "
        "was never trained on."
        for name, count in counts.items()
    ]
