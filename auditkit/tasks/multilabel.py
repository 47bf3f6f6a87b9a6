"""The multi-label task: several labels a row, each of them there or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from auditkit.data.values import numbers
from auditkit.evidence.measurement import Exhibit, Measurement, SliceChart, SliceTable
from auditkit.evidence.messages import Message
from auditkit.stats.counts import Counts, tally
from auditkit.stats.estimates import Breakdown
from auditkit.stats.multilabel import WHOLE_ROWS, label_measurement, mean_measurement, row_measurement
from auditkit.stats.one_vs_rest import LABEL
from auditkit.stats.quality import CLASSIFICATION_METRICS, MetricSpec
from auditkit.tasks.base import BinaryView, Floats, Predictions, Rows, SingleLabel, code_type
from auditkit.tasks.classes import require_probabilities, require_targets, threshold_note, wrong_width
from auditkit.tasks.objectives import BinaryCrossEntropy, trainable_output

if TYPE_CHECKING:
    import torch

    from auditkit.schema.schema import Labels, Schema

CHARTED = {"f1_score": Message("F1 score"), "roc_auc": "ROC AUC"}


@dataclass(frozen=True)
class Multilabel:
    """Several labels a row. Each label is judged as a binary task; a row is right where all of its labels are."""

    schema: Schema

    metrics: ClassVar[Mapping[str, MetricSpec]] = {**WHOLE_ROWS, **CLASSIFICATION_METRICS}
    headline: ClassVar[str] = "accuracy"
    axis: ClassVar[tuple[str, ...]] = (LABEL,)
    part: ClassVar[str] = LABEL
    wrong: ClassVar[Message] = Message("wrong about at least one label")
    predicts_numbers: ClassVar[bool] = False
    odds_note: ClassVar[Message | None] = None
    unscored: ClassVar[Message | None] = None
    unpredicted: ClassVar[Message | None] = None
    unrecorded: ClassVar[Message | None] = None
    profile: ClassVar[str] = "default"

    @property
    def classes(self) -> tuple[str, ...]:
        """None: a row may have several labels."""
        return ()

    @property
    def positive(self) -> str | None:
        """None: there is a decision for each label."""
        return None

    @property
    def width(self) -> int:
        """One column a label."""
        return len(self.schema.classes)

    def encode_labels(self, frame: pd.DataFrame) -> Labels:
        """Return 0 or 1 for each label: int64, (rows, labels), -1 where it is missing.

        Raises:
            DatasetError: a column is missing, or holds something other than 0 and 1, or yes and no.
        """
        require_targets(self.schema, frame)
        values = np.column_stack([numbers(frame, name, boolean=True) for name in self.schema.classes])
        return np.where(np.isnan(values), -1, values).astype(np.int64)

    def unlabelled(self, row_count: int) -> Labels:
        """Return -1 for each label of each row."""
        return np.full((row_count, self.width), -1, dtype=code_type(row_count))

    def single_labels(self, labels: Labels) -> tuple[SingleLabel, ...]:
        """Return each label, 0 or 1, by its name."""
        return tuple(SingleLabel((name,), own, 2) for name, own in zip(self.schema.classes, labels.T, strict=True))

    def learnt(self, labels: Labels) -> Labels:
        """Return labels as a network learns them: as they are."""
        return labels

    def transform(self, outputs: Floats) -> Floats:
        """Return the probability of each label, (rows, labels), from finite outputs.

        Raises:
            ModelFileError: another number of columns than of labels, or probabilities that are none.
        """
        if outputs.shape[1] != self.width:
            raise wrong_width(outputs.shape[1], self.width, "labels")
        if self.schema.output == "probabilities":
            require_probabilities(outputs, np.ones(len(outputs)))
            return outputs.clip(0, 1)
        sigmoid: Floats = special.expit(outputs)
        return sigmoid

    def is_possible(self, transformed: Floats) -> bool:
        """Return whether all numbers are probabilities."""
        return bool(((transformed >= 0) & (transformed <= 1)).all())

    def predictions(self, transformed: Floats, notes: Sequence[str] = ()) -> Predictions:
        """Return the labels that are predicted, each from the threshold on."""
        labels = (transformed >= self.schema.decision_threshold).astype(code_type(len(transformed)))
        return Predictions(labels=labels, class_probabilities=transformed, notes=tuple(notes))

    def binary_views(self, rows: Rows) -> tuple[BinaryView, ...]:
        """Return each label by itself."""
        told = rows.predictions
        return tuple(
            BinaryView(
                name,
                rows.labels[:, place],
                told.labels[:, place],
                None if told.class_probabilities is None else told.class_probabilities[:, place],
            )
            for place, name in enumerate(self.schema.classes)
        )

    def tables(
        self,
        places: Sequence[int],
        rows: Rows,
        columns: tuple[str, ...],
        names: tuple[tuple[str, ...], ...],
        codes: NDArray[np.int64],
    ) -> tuple[Counts, ...]:
        """Return of the labels at `places` the tables of their being there and being predicted."""
        told = rows.predictions.labels
        classes = self.schema.classes
        return tuple(
            tally(
                columns,
                names,
                codes,
                rows.labels[:, place],
                told[:, place],
                ("not this label", classes[place]),
                rows.sampling,
            )
            for place in places
        )

    def selected(self, columns: Sequence[str]) -> list[str]:
        """Return what it takes for a label to be predicted."""
        if columns:
            return [Message('"Selected" means that a label is predicted; each label is compared by itself.')]
        return [
            Message(
                '"Selected" means that a label is predicted (probability {threshold:g} or more); each label is '
                "compared by itself.",
                threshold=self.schema.decision_threshold,
            )
        ]

    def threshold_note(self) -> str | None:
        """Return the sentence about the threshold of each label, if one is stated."""
        return threshold_note(self.schema, Message("each label"))

    def occurrences(self, rows: Rows) -> NDArray[np.int64]:
        """Return how often each label is there, or is predicted: (labels,)."""
        return np.asarray(rows.labels.sum(axis=0) + rows.predictions.labels.sum(axis=0))

    def outcomes(self, labels: Labels) -> Floats | None:
        """Return None: labels judge predictions."""
        return None

    def numbers(self, predictions: Predictions) -> Floats | None:
        """Return None: labels are predicted."""
        return None

    def answers(self, predictions: Predictions) -> Floats:
        """Return the probability of each label: float64, (rows, labels)."""
        return predictions.probabilities.astype(np.float64)

    def usual_error(self, answers: Floats, learnt: Labels) -> float:
        """Return 1: probabilities state by themselves how sure they are."""
        return 1.0

    def odds(self, answers: Floats, learnt: Labels, usual_error: float) -> Floats:
        """Return the mean over the labels of the log odds of what is there, or not there."""
        true = np.where(learnt == 1, answers, 1 - answers)
        tiny = np.finfo(np.float64).tiny
        found: Floats = (np.log(np.maximum(true, tiny)) - np.log(np.maximum(1 - true, tiny))).mean(axis=-1)
        return found

    def nearness(self, predictions: Predictions, learnt: Labels) -> Floats:
        """Return the mean log odds of the labels."""
        return self.odds(predictions.probabilities, learnt, 1.0)

    def mislabelled(self, learnt: Labels, generator: np.random.Generator) -> Labels:
        """Return the opposite of every label."""
        turned: Labels = 1 - learnt
        return turned

    def errors(self, rows: Rows) -> NDArray[Any]:
        """Return which rows have a label that is predicted wrong: bool, (rows,)."""
        return np.asarray((rows.predictions.labels != rows.labels).any(axis=1))

    def unanswered(self) -> Predictions:
        """Return the prediction for one row without a finite answer: -1 for each label, and probabilities of NaN."""
        nothing = np.full((1, self.width), np.nan)
        return Predictions(labels=np.full((1, self.width), -1), class_probabilities=nothing)

    def sureness(self, probabilities: Floats) -> Floats:
        """Return the probability of what is likelier of each label, the mean over the labels, (rows,)."""
        likelier: Floats = np.maximum(probabilities, 1 - probabilities).mean(axis=1)
        return likelier

    def calibrated(self, rows: Rows) -> tuple[Labels, Floats] | None:
        """Return None: the labels of a row are not independent, and an interval would take them so."""
        return None

    def explained(self, predictions: Predictions) -> NDArray[np.int64]:
        """Return the label that is explained of each row: the labels in turn, each in its share of the rows."""
        return np.arange(len(predictions.labels), dtype=np.int64) % self.width

    def explained_by_part(self) -> tuple[str, tuple[str, ...]] | None:
        """Return the labels: each is explained of its share of the rows."""
        return LABEL, self.schema.classes

    def target_name(self) -> str:
        """Return the words for the output of one label a row."""
        if self.schema.output == "probabilities":
            return Message("the probability of one label for each row, the labels in turn")
        return Message("the log-odds of one label for each row, the labels in turn")

    def typical(self, predictions: Predictions) -> list[tuple[str, NDArray[np.bool_], int]]:
        """Return the rows of each label that is predicted."""
        named = enumerate(self.schema.classes)
        return [(Message("predicted {name}", name=name), predictions.labels[:, at] == 1, at) for at, name in named]

    def target(self, outputs: torch.Tensor, explained: torch.Tensor) -> torch.Tensor:
        """Return the output of the explained label, (rows,)."""
        return outputs.gather(1, explained[:, None])[:, 0]

    def margin(self, outputs: torch.Tensor, decisions: torch.Tensor) -> torch.Tensor:
        """Return how far the label that is nearest to its threshold lies on the decided side of it, (rows,)."""
        threshold = self.schema.output_at(self.schema.decision_threshold)
        return ((2 * decisions - 1) * (outputs - threshold)).amin(dim=1)

    def objective(self) -> BinaryCrossEntropy:
        """Return the cross-entropy of each label, of which the mean is taken; NotRun for mere decisions."""
        return BinaryCrossEntropy(trainable_output(self.schema.output))

    def measurable(self, predictions: Predictions) -> tuple[list[str], list[str]]:
        """Return the metrics that decisions or probabilities allow, and notes on what they are and what is left out."""
        notes: list[str] = [
            Message(
                "Each label is measured by itself, and without a label the mean over the labels is given. A "
                "row is an exact match where all of its labels are right; the Hamming loss is the share of "
                "single labels that are wrong."
            )
        ]
        if predictions.class_probabilities is not None:
            return list(self.metrics), notes
        notes.append(Message("The data hold decisions and no scores: ranking and calibration are left out."))
        return [name for name, metric in self.metrics.items() if metric.of == "decisions"], notes

    def measure(self, metric: str, rows: Rows, breakdown: Breakdown, *, level: float) -> list[Measurement]:
        """Return the mean over the labels and the metric of each label, over all rows or by group."""
        labels, told, names = rows.labels, rows.predictions, self.schema.classes
        if metric in WHOLE_ROWS:
            return [row_measurement(metric, labels, told.labels, breakdown, names, level=level)]
        given = told.labels if self.metrics[metric].of == "decisions" else told.probabilities
        return [
            mean_measurement(metric, labels, given, breakdown, names, level=level),
            label_measurement(metric, labels, given, breakdown, names, level=level),
        ]

    def overview(self, rows: Rows, *, level: float, min_group: int) -> list[Exhibit]:
        """Return charts and a table of the labels side by side."""
        possible = [name for name in self.measurable(rows.predictions)[0] if name not in WHOLE_ROWS]
        charts: list[Exhibit] = [
            SliceChart(
                title=Message("{charted} by label", charted=title), measurement=f"performance.{name}", by=self.axis
            )
            for name, title in CHARTED.items()
            if name in possible
        ]
        ids = tuple(f"performance.{name}" for name in possible)
        return [*charts, SliceTable(title=Message("Performance by label"), measurements=ids, by=self.axis)]
