"""What every task offers: how labels and outputs are read, and what is measured, explained and attacked of them.

Auditors ask the task and never which task it is.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from auditkit import plugins
from auditkit.errors import NotRun
from auditkit.evidence.messages import Message
from auditkit.schema.schema import Labels
from auditkit.stats.quality import MetricSpec
from auditkit.stats.ranking import average_ranks
from auditkit.stats.sampling import SIMPLE, Sampling

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from auditkit.evidence.measurement import Exhibit, Measurement
    from auditkit.schema.schema import Schema
    from auditkit.stats.counts import Counts
    from auditkit.stats.estimates import Breakdown
    from auditkit.tasks.objectives import Objective

Floats = NDArray[np.float64]

LARGE_ROW_COUNT = 2**20
"""From this many rows on, codes are held as int32 and probabilities as float32, and rows are encoded in parts."""


def code_type(row_count: int) -> type[np.int64]:
    """Return the integer type of codes of so many rows: int64, or int32, which takes half of the memory."""
    return np.int32 if row_count > LARGE_ROW_COUNT else np.int64  # type: ignore[return-value]  # int32 behaves alike


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model, or a record of decisions, says about each row.

    `labels` is integer, (rows,): the predicted class; of a model the most probable one, in a binary task the positive
    one from the schema's threshold (0.5) on. In a multi-label task it is 0 or 1, (rows, labels), by the same threshold.
    In a regression it is floating: the predicted number, in the target's own unit. `class_probabilities` is floating,
    (rows, classes), of several labels (rows, labels), each by itself, or None where only decisions are known;
    `ranking`, (rows,), are scores that order the rows without being probabilities. `notes` says what happened on the
    way (a smaller batch, a threshold).
    """

    labels: Labels
    class_probabilities: Floats | None
    ranking: Floats | None = None
    notes: tuple[str, ...] = ()

    @property
    def probabilities(self) -> Floats:
        """The probability of every class: (rows, classes).

        Raises:
            NotRun: the data hold decisions, or scores on another scale, or a regression predicts numbers.
        """
        if np.issubdtype(self.labels.dtype, np.floating):
            raise NotRun(Message("a regression predicts numbers, and no probabilities of classes"))
        if self.class_probabilities is None:
            scores, decisions = Message("scores that are no probabilities"), Message("decisions and no scores")
            what = scores if self.ranking is not None else decisions
            raise NotRun(
                Message("the data hold {what}", what=what), remedy=Message("--score COLUMN with values from 0 to 1")
            )
        return self.class_probabilities

    @property
    def scores(self) -> Floats:
        """What orders the rows: the probability of the positive, that is the last, class, or the ranking: (rows,).

        Raises:
            NotRun: the data hold decisions only.
        """
        scores: Floats = self.probabilities[:, -1] if self.ranking is None else self.ranking
        return scores

    def take(self, rows: NDArray[np.int64] | slice) -> Predictions:
        """Return the predictions for some of the rows."""
        return replace(
            self,
            labels=self.labels[rows],
            class_probabilities=None if self.class_probabilities is None else self.class_probabilities[rows],
            ranking=None if self.ranking is None else self.ranking[rows],
        )


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows as a task judges them: what is true of them (`labels`), what was predicted, and how they were sampled."""

    labels: Labels
    predictions: Predictions
    sampling: Sampling = SIMPLE

    def take(self, rows: NDArray[np.int64] | slice) -> Rows:
        """Return some of the rows."""
        return Rows(self.labels[rows], self.predictions.take(rows), self.sampling.take(rows))

    @functools.cached_property
    def order(self) -> Floats:
        """What orders the rows, as probabilities of two classes, (rows, 2): of a ranking the ranks, from 0 to 1."""
        if self.predictions.ranking is None:
            return self.predictions.probabilities
        ranks = average_ranks(self.predictions.ranking) / len(self.labels)
        return np.column_stack([1 - ranks, ranks])


@dataclass(frozen=True, eq=False)
class BinaryView:
    """A task of two classes that a task can be seen as: the task itself (`name` is empty), a class, or a label.

    `labels` and `decisions` are 0 or 1, (rows,); `scores`, (rows,), order the rows, None where only decisions are
    known.
    """

    name: str
    labels: Labels
    decisions: Labels
    scores: Floats | None


class SingleLabel(NamedTuple):
    """One label of every row: `key` names it by the task's `axis`; `values`, (rows,), are codes, or numbers.

    `class_count` is the number of classes that codes are of, 0 of numbers.
    """

    key: tuple[str, ...]
    values: Labels
    class_count: int


class Task(Protocol):
    """What the outputs of a model mean. Tasks are frozen dataclasses with one field, the schema of the model.

    `metrics` are those that performance measures, by name, in the order of a report; `headline` is the name of the one
    that is drawn for each group. `axis` is what a task is measured by part by part: `("label",)`, else `()`. `wrong`
    says what a wrong prediction is: "the model is ...". `predicts_numbers` says whether labels are numbers, else
    they are classes. `part` says what the binary views are: `class`, `label`, or
    nothing where the task is its own view, or has none. `odds_note` says what `odds` takes for granted, if anything.
    `unscored` is the reason why there are no scores, if so, and `unpredicted` why there are no predictions at all;
    `unrecorded` says why the rows are no records of a data set, if so.
    `profile` names the shipped policy that judges where the user names none.
    """

    metrics: ClassVar[Mapping[str, MetricSpec]]
    headline: ClassVar[str]
    axis: ClassVar[tuple[str, ...]]
    part: ClassVar[str]
    wrong: ClassVar[Message]
    predicts_numbers: ClassVar[bool]
    odds_note: ClassVar[Message | None]
    unscored: ClassVar[Message | None]
    unpredicted: ClassVar[Message | None]
    unrecorded: ClassVar[Message | None]
    profile: ClassVar[str]

    @property
    def schema(self) -> Schema:
        """The schema that names the target and its classes, and says what the network returns."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of which each row has one, whose code is its label; none where labels are something else."""
        ...

    @property
    def positive(self) -> str | None:
        """The class that a row is selected for, where the task is one decision between two classes; else None."""
        ...

    def encode_labels(self, frame: pd.DataFrame) -> Labels:
        """Return the labels of the rows of a frame, with their mark where one is missing."""
        ...

    def unlabelled(self, row_count: int) -> Labels:
        """Return the labels of so many rows of which none has one: their marks."""
        ...

    def single_labels(self, labels: Labels) -> Sequence[SingleLabel]:
        """Return the labels of rows one by one: the only one that a row has, or each of several."""
        ...

    def learnt(self, labels: Labels) -> Labels:
        """Return labels as a network learns them."""
        ...

    def transform(self, outputs: Floats) -> Floats:
        """Return finite raw outputs, (rows, outputs), as what predictions are made of, (rows, `width`)."""
        ...

    @property
    def width(self) -> int:
        """The number of columns of what `transform` returns."""
        ...

    def is_possible(self, transformed: Floats) -> bool:
        """Return whether numbers that were kept, (rows, `width`), can be what `transform` returned."""
        ...

    def predictions(self, transformed: Floats, notes: Sequence[str] = ()) -> Predictions:
        """Return the predictions that follow from transformed outputs, (rows, `width`)."""
        ...

    def selected(self, columns: Sequence[str]) -> list[str]:
        """Return the sentences that say what "selected" means; `columns` hold recorded decisions, if they do."""
        ...

    def threshold_note(self) -> str | None:
        """Return the sentence that says from where on the stated threshold decides; None where none is stated."""
        ...

    def binary_views(self, rows: Rows) -> Sequence[BinaryView]:
        """Return the tasks of two classes that this one can be seen as: itself; one-vs-rest; one per label; none."""
        ...

    def tables(
        self,
        places: Sequence[int],
        rows: Rows,
        columns: tuple[str, ...],
        names: tuple[tuple[str, ...], ...],
        codes: NDArray[np.int64],
    ) -> tuple[Counts, ...]:
        """Return of the binary views at `places` how many rows of each group have each label and each decision.

        The groups are told by `columns`; `names` are their keys, and `codes`, (rows,), the group of each row.
        """
        ...

    def occurrences(self, rows: Rows) -> NDArray[np.int64]:
        """Return how often each binary view is the label or the decision of a row: (views,)."""
        ...

    def outcomes(self, labels: Labels) -> Floats | None:
        """Return recorded outcomes, (rows,), that are compared by themselves; None where labels judge predictions."""
        ...

    def numbers(self, predictions: Predictions) -> Floats | None:
        """Return the predicted numbers, (rows,), by which groups are compared; None where none are predicted."""
        ...

    def unanswered(self) -> Predictions:
        """Return the prediction for one row to which the model gives no finite answer: a code of -1, or NaN."""
        ...

    def sureness(self, probabilities: Floats) -> Floats:
        """Return how sure probabilities are, (rows,), from those of what was predicted.

        Raises:
            NotRun: the task has no probabilities.
        """
        ...

    def calibrated(self, rows: Rows) -> tuple[Labels, Floats] | None:
        """Return class codes, (rows,), and probabilities, (rows, classes), that calibration is measured on, if any."""
        ...

    def answers(self, predictions: Predictions) -> Floats:
        """Return what is said of each row on the scale that is learnt: probabilities, (rows, classes), or (rows, 1).

        Raises:
            NotRun: there are no probabilities.
        """
        ...

    def usual_error(self, answers: Floats, learnt: Labels) -> float:
        """Return how far answers on unseen rows are usually off, as `odds` takes it."""
        ...

    def odds(self, answers: Floats, learnt: Labels, usual_error: float) -> Floats:
        """Return the log odds of labels as they are learnt, (..., rows), under answers (..., rows, answers)."""
        ...

    def nearness(self, predictions: Predictions, learnt: Labels) -> Floats:
        """Return how near predictions lie to labels as they are learnt, (rows,): more is nearer."""
        ...

    def mislabelled(self, learnt: Labels, generator: np.random.Generator) -> Labels:
        """Return a clearly wrong label, as it is learnt, for each row."""
        ...

    def errors(self, rows: Rows) -> NDArray[Any]:
        """Return what each prediction costs, (rows,): whether it is wrong, bool, or how far off it is, float64."""
        ...

    def explained(self, predictions: Predictions) -> NDArray[np.int64]:
        """Return which output of each row is explained, (rows,)."""
        ...

    def explained_by_part(self) -> tuple[str, tuple[str, ...]] | None:
        """Return what differs between rows whose explained outputs differ, with its names by output; None for one."""
        ...

    def target_name(self) -> str:
        """Return what is explained of each row, in words."""
        ...

    def typical(self, predictions: Predictions) -> list[tuple[str, NDArray[np.bool_], int]]:
        """Return the groups of rows whose typical profile is explained: a name, the rows, and the explained output."""
        ...

    def target(self, outputs: torch.Tensor, explained: torch.Tensor) -> torch.Tensor:
        """Return the number that is explained of each row, (rows,), from outputs (rows, outputs)."""
        ...

    def objective(self) -> Objective:
        """Return what a network of this task is trained by: its loss, against labels as they are learnt.

        Raises:
            NotRun: there is no loss to train by.
        """
        ...

    def margin(self, outputs: torch.Tensor, decisions: torch.Tensor) -> torch.Tensor:
        """Return how far outputs, (rows, outputs), are from another decision, (rows,): below 0 beyond it.

        Raises:
            NotRun: the task makes no decision.
        """
        ...

    def measurable(self, predictions: Predictions) -> tuple[list[str], list[str]]:
        """Return the names of the metrics that these predictions allow, and notes on what is measured and what not."""
        ...

    def measure(self, metric: str, rows: Rows, breakdown: Breakdown, *, level: float) -> list[Measurement]:
        """Return the measurements of a metric, over all rows or by group."""
        ...

    def overview(self, rows: Rows, *, level: float, min_group: int) -> list[Exhibit]:
        """Return pictures of predictions beside labels, over all rows."""
        ...


def task_for(schema: Schema) -> Task:
    """Return the task that a schema names, by its entry point in the group `auditkit.tasks`.

    Raises:
        InputError: no such task is installed.
    """
    task: Task = _task_class(schema.task)(schema)
    return task


def labels_of(task: Task, frame: pd.DataFrame) -> Labels:
    """Return the labels of a frame's rows; where it has no column of the target, the marks of rows without a label."""
    targets = task.schema.targets
    if targets and set(targets) <= set(frame.columns):
        return task.encode_labels(frame)
    return task.unlabelled(len(frame))


def every_metric() -> tuple[str, ...]:
    """Return the names of the metrics of every installed task, each once."""
    return tuple(dict.fromkeys(name for task in plugins.installed("tasks") for name in _task_class(task).metrics))


@functools.cache
def _task_class(name: str) -> Any:
    return plugins.load("tasks", name)
