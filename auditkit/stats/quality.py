"""The numbers on decisions and on probabilities as measurements, overall and per group, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import InputError
from auditkit.evidence.measurement import Better, Measurement, Unit
from auditkit.evidence.messages import Message
from auditkit.stats import confusion, sampled, scores
from auditkit.stats.calibration import BIN_COUNT
from auditkit.stats.confusion import confusion_table
from auditkit.stats.estimates import MAXIMUM_CELLS, Breakdown, Codes, Estimate, Quantity, Statistic, measure
from auditkit.stats.sampling import SIMPLE, Sampling


@dataclass(frozen=True)
class MetricSpec:
    """How a metric is computed, read and defined: one row of a table of metrics.

    `of` says what it is computed from beside the labels: `decisions` (the `statistic` takes their confusion table and
    the levels of its intervals), `probabilities`, only the `order` of those, or `values`, the predictions of a
    regression (the `statistic` takes labels, predictions and levels). `sampled` is the same of rows with weights or
    clusters (`auditkit.stats.sampled`); without it the metric counts all rows alike, and a report says so. `needs`
    says of which labels a group must have `min_group` rows: of `each`, of the `positive` one, or of no certain one.
    With fewer than `fewest_rows` rows there is a value and no interval. `definition_of_several` stands for
    `definition` with more than two classes.
    """

    statistic: Callable[..., Estimate]
    of: Literal["decisions", "order", "probabilities", "values"]
    unit: Unit
    better: Better
    definition: str
    needs: Literal["each", "positive", ""] = ""
    definition_of_several: str = ""
    replicated: bool = True
    fewest_rows: int = 0
    sampled: Callable[..., Estimate] | None = None


_CALIBRATION_ERROR = Message(
    "Guo et al. 2017 (arXiv:1706.04599): {bins} bins of the positive class's probability; "
    "biased upward in small samples",
    bins=BIN_COUNT,
)
_CALIBRATION_ERROR_OF_SEVERAL = Message(
    "Guo et al. 2017 (arXiv:1706.04599): {bins} bins of the most probable class's probability; "
    "biased upward in small samples",
    bins=BIN_COUNT,
)

CLASSIFICATION_METRICS: dict[str, MetricSpec] = {
    "accuracy": MetricSpec(
        confusion.accuracy, "decisions", "rate", "higher", "scikit-learn accuracy_score", sampled=sampled.accuracy
    ),
    "balanced_accuracy": MetricSpec(
        confusion.balanced_accuracy,
        "decisions",
        "rate",
        "higher",
        "scikit-learn balanced_accuracy_score",
        needs="each",
        sampled=sampled.balanced_accuracy,
    ),
    "f1_score": MetricSpec(
        confusion.f1, "decisions", "number", "higher", "scikit-learn f1_score", needs="positive", sampled=sampled.f1
    ),
    "matthews_correlation": MetricSpec(
        confusion.matthews_correlation,
        "decisions",
        "number",
        "higher",
        "scikit-learn matthews_corrcoef",
        needs="each",
        sampled=sampled.matthews_correlation,
    ),
    "roc_auc": MetricSpec(
        scores.roc_auc,
        "order",
        "number",
        "higher",
        "scikit-learn roc_auc_score",
        needs="each",
        definition_of_several="scikit-learn roc_auc_score (ovr, macro)",
        sampled=sampled.roc_auc,
    ),
    "average_precision": MetricSpec(
        scores.average_precision,
        "order",
        "number",
        "higher",
        Message("scikit-learn average_precision_score (area under the PR curve)"),
        needs="positive",
        sampled=sampled.average_precision,
    ),
    "log_loss": MetricSpec(
        scores.log_loss,
        "probabilities",
        "nats",
        "lower",
        Message("scikit-learn log_loss, probabilities clipped to [2.2e-16, 1 - 2.2e-16]"),
        sampled=sampled.log_loss,
    ),
    "brier_score": MetricSpec(
        scores.brier_score,
        "probabilities",
        "number",
        "lower",
        "scikit-learn brier_score_loss",
        sampled=sampled.brier_score,
    ),
    "calibration_error": MetricSpec(
        scores.calibration_error,
        "probabilities",
        "rate_difference",
        "lower",
        _CALIBRATION_ERROR,
        definition_of_several=_CALIBRATION_ERROR_OF_SEVERAL,
        sampled=sampled.calibration_error,
    ),
    "calibration_slope": MetricSpec(
        scores.calibration_slope,
        "probabilities",
        "number",
        "neither",
        Message("Cox 1958; 1 is ideal, under 1 the probabilities are too extreme"),
        needs="each",
        replicated=False,
        sampled=sampled.calibration_slope,
    ),
    "mean_score": MetricSpec(
        scores.mean_score,
        "probabilities",
        "rate",
        "neither",
        Message("mean probability of the positive class"),
        replicated=False,
        sampled=sampled.mean_score,
    ),
}
"""The numbers that `quality_measurement` makes, in the order of a report."""


def quality_measurement(
    name: str,
    labels: Codes,
    given: NDArray[Any],
    breakdown: Breakdown | None = None,
    *,
    class_count: int = 2,
    level: float = 0.95,
    prefix: str = "performance",
) -> Measurement:
    """Return a metric of classification with its interval: over all rows, or a slice for each group of a breakdown.

    `given` are decisions, integer, (rows,), or probabilities, (rows, classes), as `CLASSIFICATION_METRICS[name].of`
    says. Of more than two classes, F1 and the average precision are means over the classes, and the calibration slope
    and the mean score those of the most probable class. In a group with fewer than `min_group` rows of a label that the
    number rests on it is undefined, and says why.

    Raises:
        InputError: labels, decisions or probabilities that are none.
    """
    quality, groups = CLASSIFICATION_METRICS[name], breakdown or Breakdown()
    if quality.of == "decisions":
        _check_decisions(labels, given, class_count)
    else:
        scores.check(labels, given)
        class_count = given.shape[1]
    fewest = groups.min_group if groups.codes is not None else 0
    definition = quality.definition
    if quality.definition_of_several and class_count > 2:
        definition = quality.definition_of_several
    return measure(
        Quantity(f"{prefix}.{name}", quality.unit, quality.better, definition),
        metric_statistic(name, class_count, fewest),
        labels,
        given,
        groups,
        level,
        replicated=quality.replicated and class_count**2 <= MAXIMUM_CELLS,
    )


def metric_statistic(name: str, class_count: int = 2, fewest: int = 0) -> Statistic:
    """Return a metric of classification as a function of labels, decisions or probabilities, levels and sampling.

    It is undefined on fewer than `fewest` rows of a label that it rests on.
    """
    quality = CLASSIFICATION_METRICS[name]

    def statistic(labels: Codes, given: NDArray[Any], levels: Sequence[float], sampling: Sampling = SIMPLE) -> Estimate:
        if quality.needs and fewest:
            few = _too_few(quality.needs, np.bincount(labels, minlength=class_count), fewest)
            if few:
                return Estimate(reason=few)
        if quality.sampled is not None and not sampling.is_simple:
            classes = (class_count,) if quality.of == "decisions" else ()
            return quality.sampled(labels, given, levels, sampling, *classes)
        if quality.of == "decisions":
            return quality.statistic(confusion_table(labels, given, class_count), levels)
        return quality.statistic(labels, given, levels)

    return statistic


def _too_few(needs: str, rows: Codes, fewest: int) -> str | None:
    """Return why too few rows have a label that a number rests on; where there are none, its statistic says so."""
    few = (rows > 0) & (rows < fewest)
    if not few.any():
        return None
    if len(rows) > 2:
        return Message(
            "{count} of {total} classes have fewer than {fewest} rows",
            count=int(few.sum()),
            total=len(rows),
            fewest=fewest,
        )
    needed = Message("a positive label") if few[1] else Message("a negative label")
    if few[1] or needs == "each":
        return Message("fewer than {fewest} rows with {needed}", fewest=fewest, needed=needed)
    return None


def _check_decisions(labels: Codes, decisions: Codes, class_count: int) -> None:
    if len(labels) == 0 or decisions.shape != labels.shape:
        raise InputError(
            f"decisions must have one class a row, at least 1, got {decisions.shape} for {len(labels):,} labels."
        )
    for what, codes in (("labels", labels), ("decisions", decisions)):
        if codes.min() < 0 or codes.max() >= class_count:
            raise InputError(f"{what} must be from 0 to {class_count - 1}, got {codes.min()} to {codes.max()}.")
