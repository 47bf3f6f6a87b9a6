"""The regression task: a number a row, in the unit of the target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.data.values import numbers
from auditkit.errors import NotRun
from auditkit.evidence.measurement import Curve, Exhibit, Facts, Line, Measurement
from auditkit.evidence.messages import Message
from auditkit.stats.counts import Counts
from auditkit.stats.estimates import Breakdown
from auditkit.stats.intervals import mean_interval
from auditkit.stats.odds import odds_of_errors
from auditkit.stats.quality import MetricSpec
from auditkit.stats.regression import REGRESSION_METRICS, regression_measurement
from auditkit.tasks.base import BinaryView, Floats, Predictions, Rows, SingleLabel
from auditkit.tasks.classes import require_one_column, require_targets
from auditkit.tasks.objectives import SquaredError, trainable_output

if TYPE_CHECKING:
    import torch

    from auditkit.schema.schema import Labels, Schema

SHARES = {"Half of the rows": 0.5, "Nine rows in ten": 0.9, "99 rows in 100": 0.99}
CURVE_POINTS = 10
WRONG_BY = 3.0
"""How many standard deviations a wrong label lies from the right one."""


@dataclass(frozen=True)
class Regression:
    """A number a row: the network returns it standardised, and an error is how far it is off."""

    schema: Schema

    metrics: ClassVar[Mapping[str, MetricSpec]] = REGRESSION_METRICS
    headline: ClassVar[str] = "mean_absolute_error"
    axis: ClassVar[tuple[str, ...]] = ()
    part: ClassVar[str] = ""
    wrong: ClassVar[Message] = Message("wrong")
    predicts_numbers: ClassVar[bool] = True
    odds_note: ClassVar[Message | None] = Message(
        "A regression gives no probabilities: the likelihood of a row is that of a normal error, as "
        "spread as the model's errors on the audited rows; the LOSS attack takes the squared error."
    )
    unscored: ClassVar[Message | None] = Message("a regression predicts numbers, and there are no classes to score")
    unpredicted: ClassVar[Message | None] = None
    unrecorded: ClassVar[Message | None] = None
    profile: ClassVar[str] = "default"

    @property
    def classes(self) -> tuple[str, ...]:
        """None: labels are numbers."""
        return ()

    @property
    def positive(self) -> str | None:
        """None: a number selects nobody."""
        return None

    @property
    def width(self) -> int:
        """One column."""
        return 1

    def encode_labels(self, frame: pd.DataFrame) -> Labels:
        """Return the target in its own unit: float64, (rows,), NaN where it is missing.

        Raises:
            DatasetError: the column is missing, or holds something other than numbers.
        """
        require_targets(self.schema, frame)
        return numbers(frame, self.schema.targets[0])

    def unlabelled(self, row_count: int) -> Labels:
        """Return NaN for each row."""
        return np.full(row_count, np.nan)

    def single_labels(self, labels: Labels) -> tuple[SingleLabel, ...]:
        """Return the numbers."""
        return (SingleLabel((), labels, 0),)

    def learnt(self, labels: Labels) -> Labels:
        """Return labels as a network learns them: (labels - mean) / scale."""
        scaled: Labels = (labels - self.schema.target_mean) / self.schema.target_scale
        return scaled

    def transform(self, outputs: Floats) -> Floats:
        """Return the predicted numbers in the target's unit, (rows, 1), from finite standardised outputs."""
        require_one_column(outputs, "value")
        return outputs * self.schema.target_scale + self.schema.target_mean

    def is_possible(self, transformed: Floats) -> bool:
        """Return whether all numbers are finite."""
        return bool(np.isfinite(transformed).all())

    def predictions(self, transformed: Floats, notes: Sequence[str] = ()) -> Predictions:
        """Return the predicted numbers."""
        return Predictions(labels=transformed[:, 0], class_probabilities=None, notes=tuple(notes))

    def binary_views(self, rows: Rows) -> tuple[BinaryView, ...]:
        """Return none: a number selects nobody."""
        return ()

    def tables(
        self,
        places: Sequence[int],
        rows: Rows,
        columns: tuple[str, ...],
        names: tuple[tuple[str, ...], ...],
        codes: NDArray[np.int64],
    ) -> tuple[Counts, ...]:
        """Return none: there are no decisions to count."""
        return ()

    def selected(self, columns: Sequence[str]) -> list[str]:
        """Return that nobody is selected, and what is compared instead."""
        return [
            Message(
                "A regression selects nobody: predictions and errors are compared between groups, in the "
                "unit of {target}. A group's mean prediction may differ because its labels do; its mean "
                "error may not.",
                target=self.schema.target or ", ".join(columns),
            )
        ]

    def threshold_note(self) -> str | None:
        """Return None: a number has no threshold."""
        return None

    def occurrences(self, rows: Rows) -> NDArray[np.int64]:
        """Return nothing: there are no views."""
        return np.zeros(0, dtype=np.int64)

    def outcomes(self, labels: Labels) -> Floats | None:
        """Return None: labels judge predictions."""
        return None

    def numbers(self, predictions: Predictions) -> Floats | None:
        """Return the predictions themselves."""
        numbers: Floats = predictions.labels
        return numbers

    def answers(self, predictions: Predictions) -> Floats:
        """Return the standardised predictions: float64, (rows, 1)."""
        return self.learnt(predictions.labels)[:, None]

    def usual_error(self, answers: Floats, learnt: Labels) -> float:
        """Return the root mean squared error of the standardised predictions; 1 where there is none."""
        return float(np.sqrt(np.mean((answers[:, 0] - learnt) ** 2))) or 1.0

    def odds(self, answers: Floats, learnt: Labels, usual_error: float) -> Floats:
        """Return the log odds of the likelihood of a normal error."""
        return odds_of_errors(answers[..., 0] - learnt, usual_error)

    def nearness(self, predictions: Predictions, learnt: Labels) -> Floats:
        """Return minus the squared error of the standardised predictions."""
        near: Floats = -((self.learnt(predictions.labels) - learnt) ** 2)
        return near

    def mislabelled(self, learnt: Labels, generator: np.random.Generator) -> Labels:
        """Return standardised numbers moved up or down by `WRONG_BY`."""
        moved: Labels = learnt + WRONG_BY * generator.choice([-1.0, 1.0], len(learnt))
        return moved

    def errors(self, rows: Rows) -> NDArray[Any]:
        """Return how far each prediction is off: float64, (rows,)."""
        return np.abs(np.asarray(rows.predictions.labels - rows.labels, dtype=np.float64))

    def unanswered(self) -> Predictions:
        """Return the prediction for one row without a finite answer: NaN."""
        return Predictions(labels=np.full(1, np.nan), class_probabilities=None)

    def sureness(self, probabilities: Floats) -> Floats:
        """Raise NotRun: a number has no probability."""
        raise NotRun(Message("a regression predicts numbers, and no probabilities of classes"))

    def calibrated(self, rows: Rows) -> tuple[Labels, Floats] | None:
        """Return None: there are no probabilities."""
        return None

    def explained(self, predictions: Predictions) -> NDArray[np.int64]:
        """Return the only output of every row."""
        return np.zeros(len(predictions.labels), dtype=np.int64)

    def explained_by_part(self) -> tuple[str, tuple[str, ...]] | None:
        """Return None: there is one output."""
        return None

    def target_name(self) -> str:
        """Return the words for the predicted number."""
        return Message("the predicted {target}", target=self.schema.target)

    def typical(self, predictions: Predictions) -> list[tuple[str, NDArray[np.bool_], int]]:
        """Return all rows."""
        return [(Message("all rows"), np.ones(len(predictions.labels), dtype=bool), 0)]

    def target(self, outputs: torch.Tensor, explained: torch.Tensor) -> torch.Tensor:
        """Return the predicted number in the target's own unit, (rows,)."""
        return outputs[:, 0] * self.schema.target_scale + self.schema.target_mean

    def margin(self, outputs: torch.Tensor, decisions: torch.Tensor) -> torch.Tensor:
        """Raise NotRun: there is no decision."""
        raise NotRun(Message("a regression makes no decision that an attack could turn"))

    def objective(self) -> SquaredError:
        """Return the squared error of the standardised numbers; NotRun for recorded numbers."""
        return SquaredError(trainable_output(self.schema.output))

    def measurable(self, predictions: Predictions) -> tuple[list[str], list[str]]:
        """Return all metrics, and a note on their unit."""
        unit = Message(
            "Predictions and errors are in the unit of {target}; an error is prediction minus label.",
            target=self.schema.target,
        )
        return list(self.metrics), [unit]

    def measure(self, metric: str, rows: Rows, breakdown: Breakdown, *, level: float) -> list[Measurement]:
        """Return the measurement of a metric, over all rows or by group."""
        return [regression_measurement(metric, rows.labels, rows.predictions.labels, breakdown, level=level)]

    def overview(self, rows: Rows, *, level: float, min_group: int) -> list[Exhibit]:
        """Return how far off the predictions are, and the labels against the predictions."""
        return [self._how_far_off(rows, min_group), *self._labels_by_prediction(rows, level, min_group)]

    def _how_far_off(self, rows: Rows, min_group: int) -> Facts:
        errors = self.errors(rows)
        listed = tuple(
            (name, Message("off by at most {quantile:.4g}", quantile=np.quantile(errors, share)))
            for name, share in SHARES.items()
            if len(errors) * (1 - share) >= min_group
        )
        return Facts(title=Message("How far off the predictions are"), rows=listed)

    def _labels_by_prediction(self, rows: Rows, level: float, min_group: int) -> Iterator[Curve]:
        """Yield the mean label over the mean prediction, by tenths of the rows in the order of their predictions."""
        labels, predictions = rows.labels, rows.predictions.labels
        if len(labels) < CURVE_POINTS * max(min_group, 2) or predictions.min() == predictions.max():
            return
        parts = np.array_split(np.argsort(predictions, kind="stable"), CURVE_POINTS)
        means = [float(labels[part].mean()) for part in parts]
        bounds = [mean_interval(labels[part].mean(), labels[part].var(ddof=1), len(part), level) for part in parts]
        yield Curve(
            title=Message("Labels against predictions"),
            note=Message(
                "Each point is a tenth of the rows, in the order of their predictions; on the diagonal both "
                "have the same mean. The band is the interval of the mean label."
            ),
            x_label=Message("mean prediction"),
            y_label=Message("mean label"),
            identity=True,
            lines=(
                Line(
                    name=self.schema.target or Message("label"),
                    x=tuple(float(predictions[part].mean()) for part in parts),
                    y=tuple(means),
                    low=tuple(float(low) for low, _ in bounds),
                    high=tuple(float(high) for _, high in bounds),
                ),
            ),
        )
