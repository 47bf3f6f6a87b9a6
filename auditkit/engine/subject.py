"""What auditors see: a model, the rows that are audited, and what follows from the two, computed once."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.data.bins import Edges, binned
from auditkit.data.dataset import Data, factorize, naming
from auditkit.data.group_names import Merges, recoded
from auditkit.engine.texts import texts_of
from auditkit.engine.work import Work
from auditkit.errors import NotRun
from auditkit.evidence.messages import Message
from auditkit.execution.base import Executor
from auditkit.execution.in_process import InProcess
from auditkit.modalities.base import Modality
from auditkit.models.audited import AskedRows, Audited
from auditkit.models.cache import NO_CACHE, Cache, agree, checked_rows, prediction_key
from auditkit.models.capabilities import LanguageModel, Runnable
from auditkit.models.predict import highest
from auditkit.progress import Progress, silent
from auditkit.schema.schema import Labels, Schema, has_label
from auditkit.stats.counts import MISSING
from auditkit.stats.sampling import SIMPLE, Sampling
from auditkit.tasks.base import (
    LARGE_ROW_COUNT,
    BinaryView,
    Predictions,
    Rows,
    Task,
    code_type,
    labels_of,
    task_for,
)

if TYPE_CHECKING:
    import torch

    from auditkit.models.language import TokenScores
    from auditkit.models.model import Card, Model

NO_VALUE = "(no value)"
"""The group of rows without a value in a sensitive column where these are compared; else `MISSING`."""

MOST_SCORED = 2_000_000
"""Statistics of scores sort and copy them; over more rows than this they are taken over a sample."""

A_MODEL = Message("a model file")
"""What supplies a model where there is none."""


class LeftOut(NamedTuple):
    """Rows that were left out, and how the audited rows and these, one after the other, were sampled."""

    data: Data
    sampling: Sampling


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """A model, or a record of its decisions, and the rows it is audited on.

    `audited` is the model, or the record of decisions. `data` holds the audited rows; `labels` their class codes,
    integer, (rows,), of several labels 0 or 1, (rows, labels), -1 where a label is missing, or the numbers of a
    regression, float64, NaN where one is missing. An auditor that requires labels is given the part of the subject
    that has them (`labelled`); `part_of` is then the whole, with the places of these rows in it. `sampling` has the
    weight and the cluster of each row, if the user named a column of them: `weight`, `cluster`. `bins` gives the
    edges by which a continuous sensitive column is cut into groups. `training` holds the rows that a retraining may
    use, None if there are none. `notes` says what was dropped, sampled or unseen; `row_count_read` and
    `training_row_count_read` count the rows before that. `selection` says in JSON how the rows were chosen. With
    `top_k` so many rows of the highest scores are selected. `expect` names the column of the scores that the model is
    known to give, and `samples` a file of rows of a generator. `undecided` holds the rows that were left out because
    they record no decision, None where all do. `public_data` are the data sets,
    "sha256:..." each, whose single rows the policy lets a report show. `work` says what may be computed. `executor`
    runs parts of it that do not depend on each other.
    `progress(share, text)` tells whoever started the audit how far an auditor is.
    """

    audited: Audited
    data: Data
    labels: Labels
    sampling: Sampling = SIMPLE
    weight: str | None = None
    cluster: str | None = None
    sensitive: tuple[str, ...] = ()
    bins: Mapping[str, Edges] = field(default_factory=dict)
    training: Data | None = None
    seed: int = 0
    device_name: str = "cpu"
    executor: Executor = field(default_factory=InProcess)
    conf_level: float = 0.95
    min_group: int = 10
    compare_missing: bool = False
    merges: Merges = field(default_factory=dict)
    top_k: int | None = None
    notes: tuple[str, ...] = ()
    expect: str | None = None
    samples: Path | None = None
    undecided: LeftOut | None = None
    public_data: tuple[str, ...] = ()
    row_count_read: int
    training_row_count_read: int | None = None
    selection: Mapping[str, Any] = field(default_factory=dict)
    cache: Cache = NO_CACHE
    work: Work = field(default_factory=Work)
    progress: Progress = silent
    part_of: tuple[Subject, NDArray[np.int64]] | None = None

    @functools.cached_property
    def has_labels(self) -> NDArray[np.bool_]:
        """Which of the audited rows have a label, of several labels all of them: bool, (rows,)."""
        return has_label(self.labels)

    @functools.cached_property
    def labelled(self) -> Subject:
        """The subject of the rows that have a label: this one, where all have."""
        return self if self.has_labels.all() else self._part(np.flatnonzero(self.has_labels))

    @functools.cached_property
    def unlabelled(self) -> Subject | None:
        """The subject of the rows without a label, whose labels mean nothing; None where all have one."""
        return None if self.has_labels.all() else self._part(np.flatnonzero(~self.has_labels))

    def _part(self, rows: NDArray[np.int64]) -> Subject:
        return dataclasses.replace(
            self,
            data=dataclasses.replace(self.data, frame=self.data.frame.iloc[rows]),
            labels=self.labels[rows],
            sampling=self.sampling.take(rows),
            part_of=(self, rows),
        )

    @property
    def schema(self) -> Schema:
        """What the columns mean."""
        return self.audited.schema

    @property
    def device(self) -> torch.device:
        """The device that the model runs on."""
        import torch

        return torch.device(self.device_name)

    @property
    def model(self) -> Model:
        """The model, which can be run on any rows.

        Raises:
            NotRun: there is none, only a record of decisions.
        """
        runnable = self.audited.capability(Runnable)
        if runnable is None:
            raise NotRun(self.audited.lack(Runnable), remedy=A_MODEL)
        return runnable.model

    @property
    def guesses(self) -> tuple[str, ...]:
        """What was guessed of how to read model and data, which a reader must know before any number."""
        return self.audited.guesses

    @functools.cached_property
    def task(self) -> Task:
        """What the outputs mean: how they become predictions, and what is measured of them."""
        return task_for(self.schema)

    @functools.cached_property
    def modality(self) -> Modality:
        """How rows become model inputs, what can be deleted of them, and how they get worse."""
        return self.audited.modality

    @functools.cached_property
    def rows(self) -> Rows:
        """The labels and the predictions of the audited rows, and how they were sampled."""
        return Rows(self.labels, self.predictions, self.sampling)

    @functools.cached_property
    def views(self) -> Sequence[BinaryView]:
        """The tasks of two classes that the task can be seen as: itself, each class, each label, or none."""
        return self.task.binary_views(self.rows)

    @property
    def card(self) -> Card | None:
        """The words of the model's file; None where there are none, or no model."""
        return self.audited.card

    @property
    def decision_columns(self) -> tuple[str, ...]:
        """The columns of the data that hold recorded decisions; none where there is a model."""
        return self.audited.decision_columns

    @functools.cached_property
    def inputs(self) -> NDArray[np.float32]:
        """The audited rows as the network reads them: (rows, input_width)."""
        if self.part_of is not None and "inputs" in vars(self.part_of[0]):
            whole, rows = self.part_of
            return whole.inputs[rows]
        return self.encode(slice(None))

    def encode(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Return some of the audited rows, chosen by position, as the network reads them."""
        if not self.schema.features:  # of recorded decisions nobody said how the rows are encoded
            _ = self.model
        with naming(self.data):
            encoded: NDArray[np.float32] = self.modality.encode(self.data.frame.iloc[rows])
            return encoded

    @functools.cached_property
    def predictions(self) -> Predictions:
        """The predictions for the audited rows, made once (or kept from an earlier audit of the same)."""
        if self.part_of is not None:
            whole, rows = self.part_of
            return whole.predictions.take(rows)
        return self.selected(self._predicted())

    @functools.cached_property
    def encoding(self) -> tuple[str, ...]:
        """What is known of whether the model reads the columns as it was trained to; nothing without predictions.

        Raises:
            InputError: the model does not give the scores that it is expected to give.
        """
        try:
            _ = self.model
        except NotRun:
            return ()
        if self.task.unpredicted is not None:
            return ()
        from auditkit.engine.encoding import encoding_statements

        return encoding_statements(self)

    @property
    def prediction_notes(self) -> tuple[str, ...]:
        """What happened while the rows were predicted; nothing where the model predicts nothing."""
        return self.predictions.notes if self.task.unpredicted is None else ()

    def selected(self, predictions: Predictions) -> Predictions:
        """Return predictions for the audited rows as they decide: under `top_k`, the highest scores are positive."""
        return predictions if self.top_k is None else highest(predictions, self.top_k, self.seed)

    @property
    def decision_threshold(self) -> float:
        """From which probability, or score, on a row of a binary task is predicted positive; of `top_k`, the lowest."""
        if self.top_k is None:
            return self.schema.decision_threshold
        if self.part_of is not None:
            return self.part_of[0].decision_threshold
        return float(self.predictions.scores[self.predictions.labels == 1].min())

    def _predicted(self) -> Predictions:
        key = self._prediction_key()
        kept = self._kept(key) if key else None
        if kept is not None:
            return kept
        large = len(self.labels) > LARGE_ROW_COUNT
        encode = self.encode if large else lambda rows: self.inputs[rows]
        predictions = self.audited.answers(AskedRows(self.data, encode, self.device_name, self.progress, self.executor))
        if key:
            self.cache.save(key, predictions)
        return predictions

    def _kept(self, key: str) -> Predictions | None:
        """Return the predictions of an earlier audit of the same, if the model still predicts some of them so."""
        kept = self.cache.load(key, row_count=len(self.labels), task=self.task)
        if kept is None:
            return None
        rows = checked_rows(key, len(self.labels))
        some = dataclasses.replace(self.data, frame=self.data.frame.iloc[rows])
        again = self.audited.answers(AskedRows(some, lambda part: self.encode(rows[part]), self.device_name))
        if not agree(kept, again, rows):
            return None
        note = Message(
            "The predictions were kept from an earlier audit of the same model, data and code by this "
            "user; {rows_count:,} rows were predicted again and agree.",
            rows_count=len(rows),
        )
        return dataclasses.replace(kept, notes=(*kept.notes, note))

    def _prediction_key(self) -> str | None:
        """Return what the predictions are kept under, or None where a hash does not name all that they depend on."""
        model = self.audited
        if not model.known_by_hash or not model.sha256 or not self.data.sha256 or not self.selection:
            return None
        return prediction_key(
            model_sha256=model.sha256,
            data_sha256=self.data.sha256,
            selection={**self.selection, "schema": self.schema.model_dump(mode="json")},
            device=self.device_name,
        )

    def reweighted(self, sampling: Sampling) -> Subject:
        """Return the subject with other weights of its rows; what was predicted stays."""
        other = dataclasses.replace(self, sampling=sampling)
        vars(other).update({name: vars(self)[name] for name in ("predictions", "inputs") if name in vars(self)})
        return other

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
            Message(
                "Statistics of scores are taken over a sample of {most_scored:,} of {labels_count:,} rows, "
                "drawn with seed {seed}; rates and counts over all.",
                most_scored=MOST_SCORED,
                labels_count=len(self.labels),
                seed=self.seed,
            ),
        )

    @functools.cached_property
    def training_inputs(self) -> NDArray[np.float32] | None:
        """The training rows as the network reads them, or None without training data."""
        return None if self.training is None else self.modality.encode(self.training.frame)

    @functools.cached_property
    def training_labels(self) -> Labels | None:
        """The class codes (of a regression, the numbers) of the training rows, or None without training data."""
        return None if self.training is None else labels_of(self.task, self.training.frame)

    @functools.cached_property
    def token_scores(self) -> list[TokenScores]:
        """What a language model says of the tokens of each audited text.

        Raises:
            NotRun: the model is no language model.
        """
        able = self.model.require(LanguageModel)
        return able.score(texts_of(self.data.frame, self.schema), device=self.device, progress=self.progress)

    @functools.cached_property
    def _factorized(self) -> dict[str, tuple[NDArray[np.int64], list[str]]]:
        return {column: self.coded(self.data.frame, column) for column in self.sensitive}

    @property
    def missing_group(self) -> str:
        """The value that stands for a missing one in the key of a group."""
        return NO_VALUE if self.compare_missing else MISSING

    def coded(self, frame: pd.DataFrame, column: str) -> tuple[NDArray[np.int64], list[str]]:
        """Return a column of any rows as codes, (rows,), -1 where missing, into its texts, or the ranges of `bins`."""
        if column in self.bins:
            return binned(frame, column, self.bins[column])
        return recoded(*factorize(frame[column]), self.merges.get(column, {}), missing=(MISSING,))

    def group_codes(self, columns: tuple[str, ...]) -> tuple[tuple[tuple[str, ...], ...], NDArray[np.int64]]:
        """Return the groups that columns divide the audited rows into, and each row's group.

        The names are tuples of one value a column, sorted, of the groups that occur; the codes, integer, (rows,),
        point into them. Two columns or more give their intersections. A missing value is a group of its own.
        """
        parts = [self._factorized.get(column) or self.coded(self.data.frame, column) for column in columns]
        named = [[*words, self.missing_group] for _, words in parts]
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
