"""What auditors see: a model, the rows that are audited, and what follows from the two, computed once."""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from auditkit.errors import DatasetError, InputError, NotRun, closest
from auditkit.subject.bins import Edges, binned, edges_of
from auditkit.subject.cache import NO_CACHE, Cache, prediction_key
from auditkit.subject.data import Data, factorize, naming
from auditkit.subject.decisions import Decisions
from auditkit.subject.model import Model
from auditkit.subject.predict import (
    LARGE_ROW_COUNT,
    ROWS_AT_ONCE,
    Predictions,
    Progress,
    choose_device,
    code_type,
    highest,
    predict_rows,
)
from auditkit.subject.schema import Labels, Schema, has_label
from auditkit.subject.where import select

MAXIMUM_GROUPS = 100
MISSING_GROUP = "(missing)"
"""What a missing value of a sensitive column is called: a group of its own."""

MOST_SCORED = 2_000_000
"""Statistics of scores sort and copy them; over more rows than this they are taken over a sample."""

NO_MODEL = "there is no model, only a record of its decisions; pass a model file"


def _silent(share: float, text: str) -> None:
    """Report no progress."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """A model, or a record of its decisions, and the rows it is audited on.

    `opened` is the model, None for recorded `decisions`. `data` holds the audited rows, all with a label; `labels`
    their class codes, integer, (rows,), of several labels 0 or 1, (rows, labels), or the numbers of a regression,
    float64. `bins` gives the edges by which a
    continuous sensitive column is cut into groups. `training` holds the rows that a retraining may use, None if there
    are none. `notes` says what was dropped, sampled or unseen; `row_count_read` and `training_row_count_read` count the
    rows before that. `selection` says in JSON how the rows were chosen. With `top_k` so many rows of the highest scores
    are selected. `progress(share, text)` tells whoever started the audit how far an auditor is.
    """

    schema: Schema
    opened: Model | None
    decisions: Decisions | None = None
    data: Data
    labels: Labels
    sensitive: tuple[str, ...] = ()
    bins: Mapping[str, Edges] = field(default_factory=dict)
    training: Data | None = None
    seed: int = 0
    device: torch.device
    conf_level: float = 0.95
    min_group: int = 10
    top_k: int | None = None
    notes: tuple[str, ...] = ()
    row_count_read: int
    training_row_count_read: int | None = None
    selection: Mapping[str, Any] = field(default_factory=dict)
    cache: Cache = NO_CACHE
    progress: Progress = _silent

    @property
    def model(self) -> Model:
        """The model.

        Raises:
            NotRun: there is none, only a record of decisions.
        """
        if self.opened is None:
            raise NotRun(NO_MODEL)
        return self.opened

    @functools.cached_property
    def inputs(self) -> NDArray[np.float32]:
        """The audited rows as the network reads them: (rows, input_width)."""
        return self.encode(slice(None))

    def encode(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Return some of the audited rows, chosen by position, as the network reads them."""
        if self.opened is None:
            raise NotRun(NO_MODEL)
        with naming(self.data):
            return self.schema.encode(self.data.frame.iloc[rows])

    @functools.cached_property
    def predictions(self) -> Predictions:
        """The predictions for the audited rows, made once (or kept from an earlier audit of the same)."""
        return self.selected(self._predicted())

    def selected(self, predictions: Predictions) -> Predictions:
        """Return predictions for the audited rows as they decide: under `top_k`, the highest scores are positive."""
        return predictions if self.top_k is None else highest(predictions, self.top_k, self.seed)

    @property
    def decision_threshold(self) -> float:
        """From which probability, or score, on a row of a binary task is predicted positive; of `top_k`, the lowest."""
        if self.top_k is None:
            return self.schema.decision_threshold
        return float(self.predictions.scores[self.predictions.labels == 1].min())

    def _predicted(self) -> Predictions:
        if self.decisions is not None:
            with naming(self.data):
                return self.decisions.read(self.data.frame, self.schema)
        key = self._prediction_key()
        kept = None
        if key:
            kept = self.cache.load(
                key,
                row_count=len(self.labels),
                class_count=len(self.schema.classes),
                threshold=self.schema.decision_threshold,
                several_labels=self.schema.task == "multilabel",
            )
        if kept is not None:
            predictions, path = kept
            note = f"No forward pass was made: the predictions are those of an earlier audit of the same, in {path}."
            return dataclasses.replace(predictions, notes=(*predictions.notes, note))
        large = len(self.labels) > LARGE_ROW_COUNT
        predictions = predict_rows(
            self.model.module,
            self.encode if large else lambda rows: self.inputs[rows],
            len(self.labels),
            self.schema,
            device=self.device,
            progress=self.progress,
        )
        if key and self.schema.output != "score":
            self.cache.save(key, predictions)
        return predictions

    def _prediction_key(self) -> str | None:
        """Return what the predictions are kept under, or None where a hash does not name all that they depend on."""
        model = self.model
        if not model.known_by_hash or not model.sha256 or not self.data.sha256 or not self.selection:
            return None
        return prediction_key(
            model_sha256=model.sha256,
            data_sha256=self.data.sha256,
            selection={**self.selection, "schema": self.schema.model_dump(mode="json")},
            device=self.device.type,
        )

    @functools.cached_property
    def scored_rows(self) -> NDArray[np.int64] | slice:
        """The rows that statistics of scores are taken over: all, or of more than 2,000,000 a sample by the seed."""
        if len(self.labels) <= MOST_SCORED:
            return slice(None)
        return np.sort(np.random.default_rng(self.seed).choice(len(self.labels), size=MOST_SCORED, replace=False))

    @property
    def scored_note(self) -> tuple[str, ...]:
        """The sentence that says which rows `scored_rows` are, if they are not all."""
        if isinstance(self.scored_rows, slice):
            return ()
        return (
            f"Statistics of scores are taken over a sample of {MOST_SCORED:,} of {len(self.labels):,} rows, drawn with "
            f"seed {self.seed}; rates and counts over all.",
        )

    @functools.cached_property
    def training_inputs(self) -> NDArray[np.float32] | None:
        """The training rows as the network reads them, or None without training data."""
        return None if self.training is None else self.schema.encode(self.training.frame)

    @functools.cached_property
    def training_labels(self) -> Labels | None:
        """The class codes (of a regression, the numbers) of the training rows, or None without training data."""
        return None if self.training is None else self.schema.encode_labels(self.training.frame)

    @functools.cached_property
    def _factorized(self) -> dict[str, tuple[NDArray[np.int64], list[str]]]:
        return {
            column: binned(self.data.frame, column, self.bins[column])
            if column in self.bins
            else factorize(self.data.frame[column])
            for column in self.sensitive
        }

    def group_codes(self, columns: tuple[str, ...]) -> tuple[tuple[tuple[str, ...], ...], NDArray[np.int64]]:
        """Return the groups that columns divide the audited rows into, and each row's group.

        The names are tuples of one value a column, sorted, of the groups that occur; the codes, integer, (rows,),
        point into them. Two columns or more give their intersections. A missing value is a group of its own.
        """
        parts = [self._factorized.get(column) or factorize(self.data.frame[column]) for column in columns]
        named = [[*words, MISSING_GROUP] for _, words in parts]
        sizes = [len(words) for words in named]
        few = math.prod(sizes) <= LARGE_ROW_COUNT
        combined = np.zeros(len(self.labels), dtype=np.min_scalar_type(math.prod(sizes)) if few else np.int64)
        for (codes, _), size in zip(parts, sizes, strict=True):
            combined *= combined.dtype.type(size)
            combined += codes.astype(combined.dtype)  # a missing value, of code -1, wraps round, and back again
            if codes.size and codes.min() < 0:
                combined[codes < 0] += combined.dtype.type(size)
        if few:
            found = np.flatnonzero(np.bincount(combined, minlength=math.prod(sizes)))
            occurs = np.zeros(math.prod(sizes), dtype=bool)
            occurs[found] = True
        else:
            found, combined = np.unique(combined, return_inverse=True)
            occurs = np.ones(len(found), dtype=bool)
        places = np.unravel_index(found, sizes) if parts else ()
        keys = [
            tuple(words[place[index]] for place, words in zip(places, named, strict=True))
            for index in range(len(found))
        ]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        rank = np.zeros(len(occurs), dtype=code_type(len(self.labels)))
        rank[np.flatnonzero(occurs)[order]] = np.arange(len(keys))
        return tuple(keys[position] for position in order), rank.take(combined)


def load_subject(
    model: Model | None,
    data: Data,
    *,
    schema: Schema | None = None,
    decisions: Decisions | None = None,
    sensitive: Sequence[str] | None = None,
    bins: Mapping[str, str] | None = None,
    training: Data | None = None,
    where: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "auto",
    conf_level: float = 0.95,
    min_group: int = 10,
    top_k: int | None = None,
    cache: Cache | None = None,
    progress: Progress = _silent,
) -> Subject:
    """Check that a data set fits a model, choose the rows that are audited, and return the subject.

    `where` chooses rows by an expression (auditkit.subject.where); of these, rows without a label (or, without a
    model, without a decision) are left out, and of the rest a sample of `limit` is drawn with `seed`; the notes say
    so. `sensitive` defaults to the columns that the schema names, `bins` adds to those of the schema. Without a
    model, `schema` names target and classes, and `decisions` the columns of what was decided.

    Raises:
        DatasetError: a column is missing or holds something else than the schema says, in either data set, or no
            row has a label.
        InputError: an unknown sensitive column or one of more than 100 groups, `limit` below 1, a `conf_level`
            outside (0, 1), a `top_k` that is not below the number of rows or has no two classes, or no such device.
    """
    if not 0 < conf_level < 1:
        raise InputError(f"conf_level must lie between 0 and 1, got {conf_level}; 0.95 is usual.")
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1 row, got {limit}.")
    schema = schema or (model.schema if model is not None else None)
    if schema is None or (model is None) == (decisions is None):
        raise InputError("an audit needs either a model or a schema and a record of decisions.")
    chosen_device = choose_device(device)
    chosen = tuple(dict.fromkeys(schema.sensitive if sensitive is None else sensitive))
    columns = [str(column) for column in data.frame.columns]
    for name in chosen:
        if name not in columns:
            raise InputError(f"sensitive column {name!r} is not in {data.name}{closest(name, columns)}.")
    rules = {**schema.bins, **(bins or {})}
    for name in bins or {}:
        if name not in chosen:
            raise InputError(f"bins: {name!r} is no sensitive column{closest(name, chosen)}; pass --sensitive {name}.")
    rows, notes = _where(data, where)
    rows, labels, label_notes = _labelled(schema, rows)
    notes += label_notes
    if decisions is not None:
        rows, labels, decision_notes = _decided(rows, labels, decisions)
        notes += decision_notes
    if limit is not None and limit < len(labels):
        sample = np.sort(np.random.default_rng(seed).choice(len(labels), size=limit, replace=False))
        notes.append(f"A sample of {limit:,} of {len(labels):,} rows is audited, drawn with seed {seed}.")
        rows, labels = dataclasses.replace(rows, frame=rows.frame.iloc[sample]), labels[sample]
    training_rows = None
    if training is not None:
        training_rows, _, training_notes = _labelled(schema, training)
        notes += [f"Training data: {note}" for note in (*training.notes, *training_notes)]
    with naming(rows):
        edges = {name: edges_of(rows.frame, name, rules[name]) for name in chosen if name in rules}
    notes += [
        f"Column {name} is divided into quantiles of the audited rows, at {', '.join(f'{x:g}' for x in edges[name])}."
        for name in edges
        if rules[name].startswith("quantiles")
    ]
    if model is not None and schema.threshold is not None and top_k is None:
        what = "a score" if schema.output == "score" else "a probability"
        which = "each label" if schema.task == "multilabel" else schema.classes[-1]
        notes.append(f"Predicted {which} from {what} of {schema.threshold:g} on.")
    if top_k is not None and (schema.task != "binary" or not 1 <= top_k < len(labels)):
        two = "needs two classes" if schema.task != "binary" else f"must be from 1 to {len(labels) - 1:,} rows"
        raise InputError(f"top_k {two}, got {top_k:,} for {len(labels):,} rows of {len(schema.classes)} classes.")
    subject = Subject(
        schema=schema,
        opened=model,
        decisions=decisions,
        data=rows,
        labels=labels,
        sensitive=chosen,
        bins=edges,
        training=training_rows,
        seed=seed,
        device=chosen_device,
        conf_level=conf_level,
        min_group=min_group,
        top_k=top_k,
        notes=(*(model.notes if model is not None else ()), *data.notes, *notes, *_unseen_notes(schema, rows)),
        row_count_read=len(data.frame),
        training_row_count_read=None if training is None else len(training.frame),
        selection={
            "where": where,
            "limit": limit,
            "seed": seed if limit is not None else None,
            "row_count": len(labels),
        },
        cache=cache or NO_CACHE,
        progress=progress,
    )
    for name in chosen:
        count = len(subject.group_codes((name,))[0])
        if count > MAXIMUM_GROUPS:
            raise InputError(
                f"sensitive column {name!r} has {count:,} groups, and at most {MAXIMUM_GROUPS} can be compared; "
                f"if it holds numbers, pass --bins {name}=quantiles:4 or edges of your own."
            )
    # Encoded here, so that a value that does not fit stops the run before any auditor starts.
    if model is not None and len(labels) <= LARGE_ROW_COUNT:
        _ = subject.inputs
    if training_rows is not None and model is not None:
        with naming(training_rows):
            _ = subject.training_inputs
    return subject


def _where(data: Data, expression: str | None) -> tuple[Data, list[str]]:
    """Return the rows that an expression holds for, and a note on the others."""
    if expression is None:
        return data, []
    with naming(data):
        chosen = select(data.frame, expression)
    kept = int(chosen.sum())
    if not kept:
        raise DatasetError(f"{data.name}: no row has {expression}; nothing is left to audit.")
    note = (
        f"Only rows with {expression} are audited: {kept:,} of {len(chosen):,}; {len(chosen) - kept:,} were left out."
    )
    return dataclasses.replace(data, frame=data.frame[chosen]), [note]


def _labelled(schema: Schema, data: Data) -> tuple[Data, Labels, list[str]]:
    """Return the rows that have a label, the labels, and a note on those that have none."""
    with naming(data):
        schema.check_columns(data.frame)
        kind = np.float64 if schema.task == "regression" else code_type(len(data.frame))
        shape = (len(data.frame), len(schema.classes)) if schema.task == "multilabel" else len(data.frame)
        labels: Labels = np.empty(shape, dtype=kind)
        for start, part in _parts(data.frame):
            labels[start : start + len(part)] = schema.encode_labels(part)
        known = has_label(labels)
        if not known.any():
            raise DatasetError(f"no row has a label in column {schema.target!r}.")
    if known.all():
        return data, labels, []
    note = f"{int((~known).sum()):,} of {len(known):,} rows have no label in column {schema.target} and were left out."
    return dataclasses.replace(data, frame=data.frame[known]), labels[known], [note]


def _decided(data: Data, labels: Labels, decisions: Decisions) -> tuple[Data, Labels, list[str]]:
    """Return the rows that have a decision, their labels, and a note on the others."""
    present = decisions.present(data.frame)
    if not present.any():
        raise DatasetError(f"{data.name}: no row has a value in {' and '.join(decisions.columns)}.")
    if present.all():
        return data, labels, []
    note = (
        f"{int((~present).sum()):,} of {len(present):,} rows have no value in {' or '.join(decisions.columns)} "
        "and were left out."
    )
    return dataclasses.replace(data, frame=data.frame[present]), labels[present], [note]


def _unseen_notes(schema: Schema, data: Data) -> list[str]:
    counts: collections.Counter[str] = collections.Counter()
    cut = 0
    with naming(data):
        for _, part in _parts(data.frame):
            counts.update(schema.unseen_counts(part))
            cut += schema.cut_count(part)
    cut_notes = [
        f"Column {feature.name}: {cut:,} of {len(data.frame):,} texts were cut to their first {feature.length} words."
        for feature in schema.features
        if cut
    ]
    return cut_notes + [
        f"Column {name}: {counts[name]:,} of {len(data.frame):,} rows hold a category, or a missing value, that the "
        "model was never trained on."
        for name in (feature.name for feature in schema.features)
        if counts[name]
    ]


def _parts(frame: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yield a frame whole, or, where it is large, in parts, each with the position of its first row."""
    step = len(frame) if len(frame) <= LARGE_ROW_COUNT else ROWS_AT_ONCE
    for start in range(0, len(frame), step):
        yield start, frame.iloc[start : start + step]
