"""What the tasks with one class a row share: class codes, decisions, metrics of a confusion table and of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.data.dataset import factorize, origin
from auditkit.data.interned import shown
from auditkit.errors import DatasetError, ModelFileError, closest
from auditkit.evidence.measurement import Exhibit, Measurement
from auditkit.evidence.messages import Message
from auditkit.stats import scores
from auditkit.stats.estimates import Breakdown
from auditkit.stats.odds import odds_of_classes
from auditkit.stats.quality import CLASSIFICATION_METRICS, MetricSpec, quality_measurement
from auditkit.tasks.base import Floats, Predictions, Rows, SingleLabel, code_type
from auditkit.tasks.objectives import CrossEntropy, Objective, trainable_output

if TYPE_CHECKING:
    from auditkit.schema.schema import Labels, Schema


@dataclass(frozen=True)
class ClassTask:
    """A task that predicts one class a row. `Binary` and `Multiclass` add what differs."""

    schema: Schema

    metrics: ClassVar[Mapping[str, MetricSpec]] = CLASSIFICATION_METRICS
    headline: ClassVar[str] = "accuracy"
    axis: ClassVar[tuple[str, ...]] = ()
    part: ClassVar[str] = ""
    wrong: ClassVar[Message] = Message("wrong")
    predicts_numbers: ClassVar[bool] = False
    odds_note: ClassVar[Message | None] = None
    unscored: ClassVar[Message | None] = None
    unpredicted: ClassVar[Message | None] = None
    unrecorded: ClassVar[Message | None] = None
    profile: ClassVar[str] = "default"

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the schema."""
        return self.schema.classes

    @property
    def positive(self) -> str | None:
        """None: there are more than two classes; the binary task has one."""
        return None

    @property
    def width(self) -> int:
        """One column a class."""
        return len(self.schema.classes)

    def encode_labels(self, frame: pd.DataFrame) -> Labels:
        """Return the class codes of the target column: int64, (rows,), -1 where the label is missing.

        Raises:
            DatasetError: the schema names no target, the column is missing, or a label is none of the classes.
        """
        schema = self.schema
        require_targets(schema, frame)
        codes, words = factorize(frame[schema.targets[0]])
        position = {name: code for code, name in enumerate(schema.classes)}
        unknown = [code for code, word in enumerate(words) if word not in position]
        if unknown:
            row = int(np.isin(codes, unknown).argmax())
            listed = ", ".join(shown(name) for name in schema.classes[:5])
            listed += ", ..." if len(schema.classes) > 5 else ""
            raise DatasetError(
                f"target {schema.target!r}, {origin(frame, row)}: {shown(words[codes[row]])} is none of the classes "
                f"that the model knows ({listed})."
            )
        return np.array([*(position[word] for word in words), -1], dtype=np.int64)[codes]

    def unlabelled(self, row_count: int) -> Labels:
        """Return a code of -1 for each row."""
        return np.full(row_count, -1, dtype=code_type(row_count))

    def single_labels(self, labels: Labels) -> tuple[SingleLabel, ...]:
        """Return the codes."""
        return (SingleLabel((), labels, len(self.schema.classes)),)

    def learnt(self, labels: Labels) -> Labels:
        """Return labels as a network learns them: the codes as they are."""
        return labels

    def transform(self, outputs: Floats) -> Floats:
        """Return the probability of every class, (rows, classes), from finite outputs.

        A single column is the positive class of two: its log-odds, or its probability.

        Raises:
            ModelFileError: another number of columns than of classes, or probabilities that are none.
        """
        width, class_count = outputs.shape[1], len(self.schema.classes)
        if width != class_count and (width != 1 or class_count != 2):
            raise wrong_width(width, class_count, "classes")
        if self.schema.output == "probabilities":
            require_probabilities(outputs, outputs.sum(axis=1) if width > 1 else np.ones(len(outputs)))
            outputs = outputs.clip(0, 1)
            return np.column_stack([1 - outputs, outputs]) if width == 1 else outputs
        logits = np.column_stack([np.zeros(len(outputs)), outputs]) if width == 1 else outputs
        softmax: Floats = logits - logits.max(axis=1, keepdims=True)  # one copy: with many classes it is large
        np.exp(softmax, out=softmax)
        softmax /= softmax.sum(axis=1, keepdims=True)
        return softmax

    def is_possible(self, transformed: Floats) -> bool:
        """Return whether all numbers are probabilities."""
        return bool(((transformed >= 0) & (transformed <= 1)).all())

    def predictions(self, transformed: Floats, notes: Sequence[str] = ()) -> Predictions:
        """Return the likeliest class of each row, with two classes the positive one from the threshold on."""
        labels = decided(transformed, self.schema.decision_threshold)
        return Predictions(labels=labels, class_probabilities=transformed, notes=tuple(notes))

    def selected(self, columns: Sequence[str]) -> list[str]:
        """Return nothing: each class is compared with the others."""
        return []

    def threshold_note(self) -> str | None:
        """Return the sentence about the threshold of a probability, or of a score, if one is stated."""
        return threshold_note(self.schema, self.schema.classes[-1]) if self.schema.classes else None

    def occurrences(self, rows: Rows) -> NDArray[np.int64]:
        """Return how often each class is the label or the decision of a row: (classes,)."""
        count = len(self.schema.classes)
        labelled, predicted = (np.bincount(codes, minlength=count) for codes in (rows.labels, rows.predictions.labels))
        return labelled + predicted

    def outcomes(self, labels: Labels) -> Floats | None:
        """Return None: labels judge predictions."""
        return None

    def numbers(self, predictions: Predictions) -> Floats | None:
        """Return None: classes are predicted."""
        return None

    def answers(self, predictions: Predictions) -> Floats:
        """Return the probabilities: float64, (rows, classes)."""
        return predictions.probabilities.astype(np.float64)

    def usual_error(self, answers: Floats, learnt: Labels) -> float:
        """Return 1: probabilities state by themselves how sure they are."""
        return 1.0

    def odds(self, answers: Floats, learnt: Labels, usual_error: float) -> Floats:
        """Return the log odds of the label against all other classes."""
        return odds_of_classes(answers, learnt)

    def nearness(self, predictions: Predictions, learnt: Labels) -> Floats:
        """Return the log odds of the label."""
        return odds_of_classes(predictions.probabilities, learnt)

    def mislabelled(self, learnt: Labels, generator: np.random.Generator) -> Labels:
        """Return another class of each row, each as likely."""
        count = len(self.schema.classes)
        moved: Labels = (learnt + generator.integers(1, count, len(learnt))) % count
        return moved

    def errors(self, rows: Rows) -> NDArray[Any]:
        """Return which rows are predicted wrong: bool, (rows,)."""
        return np.asarray(rows.predictions.labels != rows.labels)

    def unanswered(self) -> Predictions:
        """Return the prediction for one row without a finite answer: class -1, and probabilities that are NaN."""
        return Predictions(labels=np.full(1, -1), class_probabilities=np.full((1, len(self.schema.classes)), np.nan))

    def sureness(self, probabilities: Floats) -> Floats:
        """Return the probability of the likeliest class, (rows,)."""
        highest: Floats = probabilities.max(axis=1)
        return highest

    def calibrated(self, rows: Rows) -> tuple[Labels, Floats] | None:
        """Return the labels and the probabilities as they are, if there are any."""
        probabilities = rows.predictions.class_probabilities
        return None if probabilities is None else (rows.labels, probabilities)

    def typical(self, predictions: Predictions) -> list[tuple[str, NDArray[np.bool_], int]]:
        """Return the rows of each predicted class."""
        named = enumerate(self.schema.classes)
        return [(Message("predicted {name}", name=name), predictions.labels == code, code) for code, name in named]

    def objective(self) -> Objective:
        """Return the cross-entropy of the classes; NotRun for scores that are no probabilities."""
        return CrossEntropy(trainable_output(self.schema.output))

    def measurable(self, predictions: Predictions) -> tuple[list[str], list[str]]:
        """Return the metrics that decisions, scores or probabilities allow, and a note on what is left out."""
        if predictions.class_probabilities is not None:
            return list(self.metrics), []
        if predictions.ranking is not None:
            note = Message("The scores are no probabilities: log loss, Brier score and calibration are left out.")
            return [name for name, metric in self.metrics.items() if metric.of != "probabilities"], [note]
        note = Message("The data hold decisions and no scores: ranking and calibration are left out.")
        return [name for name, metric in self.metrics.items() if metric.of == "decisions"], [note]

    def measure(self, metric: str, rows: Rows, breakdown: Breakdown, *, level: float) -> list[Measurement]:
        """Return the measurement of a metric, over all rows or by group."""
        of_decisions = self.metrics[metric].of == "decisions"
        given = rows.predictions.labels if of_decisions else rows.order
        count = len(self.schema.classes)
        return [quality_measurement(metric, rows.labels, given, breakdown, class_count=count, level=level)]

    def overview(self, rows: Rows, *, level: float, min_group: int) -> list[Exhibit]:
        """Return the calibration curve, where there are probabilities."""
        probabilities = rows.predictions.class_probabilities
        if probabilities is None:
            return []
        return [scores.calibration_curve(rows.labels, probabilities, level=level, min_group=min_group)]


def threshold_note(schema: Schema, outcome: str) -> str | None:
    """Return the sentence that says from which probability, or score, on an outcome is predicted, if that is stated."""
    if schema.threshold is None:
        return None
    at = schema.threshold
    if schema.output == "score":
        return Message("Predicted {outcome} from a score of {threshold:g} on.", outcome=outcome, threshold=at)
    return Message("Predicted {outcome} from a probability of {threshold:g} on.", outcome=outcome, threshold=at)


def require_targets(schema: Schema, frame: pd.DataFrame) -> None:
    """Raise DatasetError unless the schema names a target, and the frame has its columns."""
    if schema.target is None:
        raise DatasetError("the model's schema names no target column; pass --target COLUMN.")
    for target in schema.targets:
        if target not in frame.columns:
            raise DatasetError(f"has no target column {target!r}{closest(target, list(frame.columns))}.")


def require_probabilities(outputs: Floats, sums: Floats) -> None:
    """Raise ModelFileError unless outputs lie from 0 to 1, and the `sums` that must be 1 are."""
    if ((outputs < -1e-6) | (outputs > 1 + 1e-6)).any() or (np.abs(sums - 1) > 1e-3).any():
        raise ModelFileError(
            f"model: its outputs are declared probabilities, but lie from {outputs.min():.3g} to "
            f"{outputs.max():.3g} and sum to {sums.min():.3g} to {sums.max():.3g} a row; declare them logits."
        )


def wrong_width(width: int, expected: int, what: str) -> ModelFileError:
    """Return the error of a network that returns another number of columns than there are classes or labels."""
    return ModelFileError(
        f"model: returns {width} columns of outputs, but the schema names {expected} {what}; name all in the order of "
        "the outputs (--classes), or return a column for each in code of your own: --predictor my_module:function."
    )


def require_one_column(outputs: Floats, what: str) -> None:
    """Raise ModelFileError unless outputs are a single column, as a score or a value is."""
    if outputs.shape[1] != 1:
        raise ModelFileError(
            f"model: returns {outputs.shape[1]} columns of outputs, and a {what} is a single one; return one of them "
            "in code of your own: --predictor my_module:function."
        )


def decided(probabilities: Floats, threshold: float = 0.5) -> Labels:
    """Return the predicted class of each row: with two classes 1 from `threshold` on, else the likeliest."""
    chosen = probabilities[:, 1] >= threshold if probabilities.shape[1] == 2 else probabilities.argmax(axis=1)
    return chosen.astype(code_type(len(probabilities)))
