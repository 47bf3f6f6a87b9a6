"""Decisions that were made already: a column of labels, probabilities or scores in the place of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NoReturn, TypeVar, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError

from auditkit.data.dataset import Data, factorize, naming, origin
from auditkit.data.interned import shown
from auditkit.data.rows import missing_rows
from auditkit.data.values import FALSE_WORDS, TRUE_WORDS, numbers
from auditkit.errors import DatasetError, InputError, NotRun, closest
from auditkit.evidence.measurement import first_problem
from auditkit.evidence.messages import Message
from auditkit.modalities.base import Modality, modality_for
from auditkit.models.audited import AskedRows
from auditkit.models.capabilities import Capability
from auditkit.schema.infer import infer_task, target_classes
from auditkit.schema.outputs import check_task
from auditkit.schema.positive import positive_last, respelt, with_positive, yes_or_no
from auditkit.schema.schema import Schema, Target, Task, predicts_numbers, target_names, task_of
from auditkit.tasks.base import Predictions, code_type
from auditkit.tasks.recorded import NOTHING_PREDICTED

C = TypeVar("C", bound=Capability)

NO_MODEL = Message("there is no model, only a record of its decisions")


OTHER_WORDS = {"1": ("0",), "0": ("1",), "true": ("false",), "false": ("true",), "yes": ("no",), "no": ("yes",)}
"""The class that no row was decided for, where only the other one occurs."""


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """Where recorded decisions stand in a data set.

    In a regression `prediction` holds numbers in the target's unit. Else it holds each row's class, or a word for yes
    or no, or the positive class's probability, or, with a `threshold`, a score that is positive from the threshold on.
    `score` holds what orders the rows; where all of it lies from 0 to 1 it is taken for the positive class's
    probability. Either may be None, not both. In a multi-label task each names one column a label.
    """

    prediction: Target | None
    score: Target | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        """Refuse a record of nothing."""
        if self.prediction is None and self.score is None:
            raise InputError("there is neither a model nor a record of decisions; pass MODEL or --prediction COLUMN.")
        if self.threshold is not None and not np.isfinite(self.threshold):
            raise InputError(f"threshold must be finite, got {self.threshold}.")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that hold the decisions."""
        return tuple(name for _, name in self._named())

    def _named(self) -> Iterator[tuple[str, str]]:
        for option, given in (("prediction", self.prediction), ("score", self.score)):
            if given is not None:
                yield from ((option, name) for name in target_names(given))

    def present(self, frame: pd.DataFrame) -> NDArray[np.bool_]:
        """Return which rows have a decision: bool, (rows,).

        Raises:
            InputError: a column is not there.
            DatasetError: a row has a decision and no score: to leave it out would change who is compared.
        """
        self.require_columns(frame)
        decided, scored = np.ones(len(frame), dtype=bool), np.ones(len(frame), dtype=bool)
        for option, name in self._named():
            known = decided if option == "prediction" or self.prediction is None else scored
            known &= ~missing_rows(frame, name)
        blank = decided & ~scored
        if blank.any():
            names = target_names(self.score) if self.score is not None else ()
            name = next(name for name in names if (blank & missing_rows(frame, name)).any())
            raise DatasetError(
                f"score column {name!r}: {int(blank.sum()):,} of {int(decided.sum()):,} rows with a decision have no "
                f"score, the first in {origin(frame, int(blank.argmax()))}; leave out --score, or pass "
                f'--where "`{name}` is not missing" to leave those rows out.'
            )
        return decided

    def require_columns(self, frame: pd.DataFrame) -> None:
        """Raise InputError if a column is not there."""
        known = [str(column) for column in frame.columns]
        for option, name in self._named():
            if name not in known:
                raise InputError(f"{option} column {name!r} is not in the data{closest(name, known)}.")

    def read(self, frame: pd.DataFrame, schema: Schema) -> Predictions:
        """Return the decisions for rows that have them all.

        Raises:
            DatasetError: a value is none of what the column may hold (the row is named).
            InputError: scores, or a threshold, for more than two classes.
        """
        if schema.task == "multilabel":
            return self._read_labels(frame, schema)
        for option, given in (("prediction", self.prediction), ("score", self.score)):
            if given is not None and not isinstance(given, str):
                raise InputError(f"{option} names {len(given)} columns, and {schema.target} is one; name one column.")
        prediction, scored = cast("str | None", self.prediction), cast("str | None", self.score)
        return self._read_column(frame, schema, prediction, scored)

    def _read_column(
        self, frame: pd.DataFrame, schema: Schema, prediction: str | None, scored: str | None
    ) -> Predictions:
        """Read the one column of decisions, and the one of scores, if there are any."""
        if predicts_numbers(schema.task):
            if prediction is None or scored is not None or self.threshold is not None:
                raise InputError("a regression has neither scores nor a threshold; pass --prediction alone.")
            note = Message(
                "The numbers in {prediction} are predictions of {target}, in its unit: task {task}.",
                prediction=prediction,
                task=schema.task,
                target=schema.target or prediction,
            )
            return Predictions(labels=numbers(frame, prediction), class_probabilities=None, notes=(note,))
        if schema.task != "binary" and (scored is not None or self.threshold is not None):
            decided = schema.target or prediction
            raise InputError(
                f"scores and thresholds need two classes, and {decided} has {len(schema.classes)}; "
                "pass --prediction alone, with the classes' names."
            )
        score = None if scored is None else numbers(frame, scored)
        positive = schema.classes[-1]
        if prediction is None or self.threshold is not None:
            column = scored if prediction is None else prediction
            assert column is not None
            scores = score if prediction is None else numbers(frame, column)
            assert scores is not None
            return self._by_threshold(frame, column, scored, scores, score, positive)
        labels = self._labels(frame, schema, prediction)
        if labels is not None:
            if score is None:
                return Predictions(labels=labels, class_probabilities=None)
            probabilities, ranking, notes = _read_scores(scored or "", score)
            return Predictions(labels=labels, class_probabilities=probabilities, ranking=ranking, notes=notes)
        scores = numbers(frame, prediction)
        return self._by_threshold(frame, prediction, scored, scores, score, positive)

    def _read_labels(self, frame: pd.DataFrame, schema: Schema) -> Predictions:
        """Read each label's columns as the decisions of a binary task of its own."""
        count = len(schema.classes)
        given = {}
        for option, columns in (("prediction", self.prediction), ("score", self.score)):
            names = (None,) * count if columns is None else target_names(columns)
            if len(names) != count:
                raise InputError(f"{option} must name a column for each of the {count} labels, got {columns!r}.")
            given[option] = names
        found = []
        for label, prediction, score in zip(schema.classes, given["prediction"], given["score"], strict=True):
            alone = Schema(features=(), target=label, task="binary", classes=("0", "1"), output="decisions")
            one = Decisions(prediction=prediction, score=score, threshold=self.threshold)
            found.append(one.read(frame, alone))
        probabilities = [part.class_probabilities[:, 1] for part in found if part.class_probabilities is not None]
        return Predictions(
            labels=np.column_stack([part.labels for part in found]),
            class_probabilities=np.column_stack(probabilities) if len(probabilities) == count else None,
            notes=tuple(note for part in found for note in part.notes),
        )

    def _by_threshold(
        self,
        frame: pd.DataFrame,
        column: str,
        scored: str | None,
        scores: NDArray[np.float64],
        score: NDArray[np.float64] | None,
        positive: str,
    ) -> Predictions:
        threshold = self.threshold
        if threshold is None:
            outside = (scores < 0) | (scores > 1)
            if outside.any():
                row = int(outside.argmax())
                raise DatasetError(
                    f"column {column!r}, {origin(frame, row)}: {scores[row]:g} is no probability; pass --threshold to "
                    f"say from which score on a row counts as {shown(positive)}."
                )
            threshold = 0.5
        labels = (scores >= threshold).astype(code_type(len(scores)))
        note = Message(
            "Predicted {positive} where {column} is at least {threshold:g}.",
            positive=positive,
            column=column,
            threshold=threshold,
        )
        probabilities, ranking, notes = _read_scores(scored or column, scores if score is None else score)
        return Predictions(labels=labels, class_probabilities=probabilities, ranking=ranking, notes=(note, *notes))

    def _labels(self, frame: pd.DataFrame, schema: Schema, prediction: str) -> NDArray[np.int64] | None:
        """Return the class codes of the prediction column, or None where it holds probabilities."""
        codes, words = factorize(frame[prediction])
        position = _codes_of(words, schema)
        unknown = [code for code, word in enumerate(words) if word not in position]
        if not unknown:
            lookup = np.array([*(position[word] for word in words), -1], dtype=code_type(len(frame)))
            return lookup[codes]
        try:
            numbers(frame, prediction)
        except DatasetError:
            numeric = False
        else:
            numeric = schema.task == "binary"
        if numeric:
            return None
        strange = [code for code in unknown if len(schema.classes) > 2 or yes_or_no([words[code]]) is None]
        row = int(np.isin(codes, strange or unknown).argmax())
        listed = ", ".join(shown(name) for name in schema.classes[:5]) + (", ..." if len(schema.classes) > 5 else "")
        raise DatasetError(
            f"column {prediction!r}, {origin(frame, row)}: {shown(words[codes[row]])} is none of the classes"
            f"{f' of {schema.target!r}' if schema.target else ''} ({listed}), nor a probability{_remedy(schema)}."
        )


def _remedy(schema: Schema) -> str:
    """Say how decisions in other words may be written; of more than two classes only by their names."""
    if schema.task != "binary":
        return "; write the decisions as these classes"
    return (
        f"; write the decisions as these classes, or as yes and no, where yes means {shown(schema.classes[-1])} "
        "(--positive CLASS states another)"
    )


def _codes_of(words: Sequence[str], schema: Schema) -> Mapping[str, int]:
    """Return the class code of each word of a decision: by name, by another spelling of it, or by yes and no."""
    position: Mapping[str, int] = {name: code for code, name in enumerate(schema.classes)}
    if set(words) <= set(position):
        return position
    meant = yes_or_no(words) if len(schema.classes) == 2 else None
    return respelt(words, schema.classes) or meant or position


def guesses_of(frame: pd.DataFrame, decisions: Decisions, schema: Schema, *, stated: bool) -> tuple[str, ...]:
    """Return what was guessed of how to read decisions: their words, and the positive class, unless it is stated."""
    found: list[str] = []
    column = decisions.prediction
    if isinstance(column, tuple) or schema.task == "multilabel" or not schema.classes:
        return ()
    if column is not None and decisions.threshold is None:
        _, words = factorize(frame[column])
        position = _codes_of(words, schema)
        read = [(word, schema.classes[position[word]]) for word in words if word in position]
        if len(read) == len(words) and any(word != name for word, name in read) and not stated:
            listed = [Message("{word} as {name}", word=word, name=name) for word, name in read[:6]]
            found.append(
                Message(
                    "Guessed: the values of {column} are read {listed} ({target}). --positive CLASS states it.",
                    column=column,
                    listed=listed,
                    target=schema.target or column,
                )
            )
    usual = yes_or_no(schema.classes) is not None and all(len(name) <= 5 for name in schema.classes)
    if len(schema.classes) == 2 and not stated and not usual and not found:
        found.append(
            Message(
                "Guessed: the positive class is {positive}, not {other}. --positive CLASS states it.",
                positive=schema.classes[1],
                other=schema.classes[0],
            )
        )
    return tuple(found)


@dataclass(frozen=True, eq=False)
class Recorded:
    """Recorded decisions as a model that answers for the rows that hold them, and can do nothing else."""

    schema: Schema
    decisions: Decisions
    guesses: tuple[str, ...] = ()

    asks: ClassVar[bool] = True
    info: ClassVar[None] = None
    card: ClassVar[None] = None
    sha256: ClassVar[None] = None
    known_by_hash: ClassVar[bool] = False
    notes: ClassVar[tuple[str, ...]] = ()

    @property
    def modality(self) -> Modality:
        """What the schema, which has no features, names by default."""
        return modality_for(self.schema)

    @property
    def decision_columns(self) -> tuple[str, ...]:
        """The columns that hold the decisions."""
        return self.decisions.columns

    def capability(self, kind: type[C]) -> C | None:
        """Return None: decisions that were made cannot be made anew."""
        return None

    def lack(self, kind: type[Capability]) -> str:
        """Return that there is no model."""
        return NO_MODEL

    def answered(self, frame: pd.DataFrame) -> NDArray[np.bool_]:
        """Return which rows have a decision: bool, (rows,); see `Decisions.present`."""
        return self.decisions.present(frame)

    def answers(self, rows: AskedRows) -> Predictions:
        """Return the decisions for rows that have them all; see `Decisions.read`."""
        with naming(rows.data):
            return self.decisions.read(rows.data.frame, self.schema)

    def choose_device(self, asked: str) -> str:
        """Return cpu: decisions are read and counted."""
        return "cpu"

    def computed_on(self, device_name: str) -> tuple[str, int]:
        """Return the CPU and the one thread that counts."""
        return "cpu", 1

    def was_trained_on(self, sha256: str | None) -> bool | None:
        """Return None: what decided is not known."""
        return None


@dataclass(frozen=True)
class RecordedOutcomes(Recorded):
    """Recorded outcomes in the place of a model: nothing is predicted or decided."""

    @property
    def decision_columns(self) -> tuple[str, ...]:
        """None: an outcome is no decision."""
        return ()

    def lack(self, kind: type[Capability]) -> str:
        """Return that there is no model."""
        return Message("there is no model, only a record of outcomes")

    def answers(self, rows: AskedRows) -> NoReturn:
        """Raise NotRun: nothing is predicted."""
        raise NotRun(NOTHING_PREDICTED)


def recorded_outcomes(column: str, sensitive: Sequence[str], bins: Mapping[str, str]) -> RecordedOutcomes:
    """Return the outcomes that a column records, as what is audited."""
    schema = Schema(
        features=(), target=column, task="outcome", sensitive=tuple(sensitive), bins=dict(bins), output="decisions"
    )
    return RecordedOutcomes(schema, Decisions(prediction=column))


def decision_schema(
    read_rows: Callable[[], Data],
    decisions: Decisions,
    *,
    target: Target | None,
    sensitive: Sequence[str] | None,
    classes: Sequence[str] | None,
    given: Schema | None,
    task: str | None = None,
    positive: str | None = None,
) -> Schema:
    """Return the schema of recorded decisions: target, classes and sensitive columns, stated or of a `given` schema.

    Without a target, of the data nor of the schema, there are no labels, and the classes are those of the decisions. Of
    two classes that are not stated the `positive` one comes last, or that which the words tell (`positive_of`).

    Raises:
        InputError: the classes cannot be told.
    """
    target = target or (given.target if given else None)
    rows = read_rows()
    check_task(task)
    if task is not None and predicts_numbers(task) and classes:
        raise InputError("a regression has no classes; leave --classes out.")
    with naming(rows):
        if classes is None and task is None and given and given.target == target:
            told, classes = given.task, given.classes
        elif target is None:
            told, classes = _decided_classes(rows.frame, decisions, classes, task)
        else:
            told, found = target_classes(rows.frame, target, classes, task)
            classes = found if classes else positive_last(found)
    classes = with_positive(classes, positive)
    if task is not None and task != told:
        raise InputError(f"task {task}: {target} has {len(classes)} classes ({', '.join(classes[:5])}).")
    try:
        return Schema(
            features=(),
            target=tuple(classes) if told == "multilabel" else target,
            task=told,
            classes=tuple(classes),
            sensitive=tuple(dict.fromkeys(sensitive if sensitive is not None else given.sensitive if given else ())),
            bins=given.bins if given else {},
            output="decisions",
        )
    except ValidationError as error:
        raise InputError(f"classes: {first_problem(error)[1]}.") from error


def _decided_classes(
    frame: pd.DataFrame, decisions: Decisions, classes: Sequence[str] | None, task: str | None
) -> tuple[Task, Sequence[str]]:
    """Return the task that decisions without any label set, and its classes, of two the positive one last."""
    column = decisions.prediction
    if classes:
        return task_of(classes, task), classes
    if task == "multilabel" or isinstance(column, tuple):
        raise InputError("a multilabel task is told by its label columns; pass --target for each of them.")
    if column is None or decisions.threshold is not None:
        return "binary", ("0", "1")
    if column not in frame.columns:
        raise InputError(
            f"prediction column {column!r} is not in the data{closest(column, [str(name) for name in frame.columns])}."
        )
    _, words = factorize(frame[column])
    if task in (None, "binary") and {word.casefold() for word in words} <= TRUE_WORDS | FALSE_WORDS:
        no, yes = ([word for word in words if word.casefold() in of] for of in (FALSE_WORDS, TRUE_WORDS))
        if len(no) <= 1 and len(yes) <= 1:
            other = OTHER_WORDS.get((no + yes)[0].casefold(), ("other",))
            return "binary", (*(no or other), *(yes or other))
        return "binary", ("0", "1")
    told = task or infer_task(frame, column)[0]
    if task is None and predicts_numbers(told):
        values = numbers(frame, column)
        if np.nanmin(values) >= 0 and np.nanmax(values) <= 1:
            return "binary", ("0", "1")
    told, found = target_classes(frame, column, None, told)
    return told, positive_last(found)


def _read_scores(
    column: str, scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None, tuple[str, ...]]:
    """Return the scores as probabilities (rows, 2) if they can be, else as a ranking, and a note on which it is."""
    low, high = float(scores.min()), float(scores.max())
    if low < 0 or high > 1:
        return (
            None,
            scores,
            (
                Message(
                    "The scores in {column}, from {low:g} to {high:g}, rank the rows: no probabilities.",
                    column=column,
                    low=low,
                    high=high,
                ),
            ),
        )
    large = code_type(len(scores)) is not np.int64
    probabilities = np.empty((len(scores), 2), dtype=np.float32 if large else np.float64)
    probabilities[:, 1] = scores
    probabilities[:, 0] = 1 - scores
    return (
        probabilities,
        None,
        (Message("The scores in {column} are read as probabilities of the positive class.", column=column),),
    )
