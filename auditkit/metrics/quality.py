"""Further numbers on decisions and probabilities, overall and per group: one function, the numbers by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.intervals import normal_quantile, proportion_interval, skewed_mean_interval
from auditkit.evidence.measurement import Better, Measurement, Unit
from auditkit.metrics import calibration, confusion
from auditkit.metrics.estimates import Bound, Breakdown, Estimate, Groups, Labels, Probabilities, measure
from auditkit.metrics.ranking import average_precision
from auditkit.metrics.scores import absent, check, predicted


@dataclass(frozen=True)
class Quality:
    """How a number is called, read and defined; `of_decisions` ones do not look at the probabilities."""

    unit: Unit
    better: Better
    source: str
    of_decisions: bool = False


QUALITIES: dict[str, Quality] = {
    "f1_score": Quality("number", "higher", "scikit-learn f1_score", of_decisions=True),
    "matthews_correlation": Quality("number", "higher", "scikit-learn matthews_corrcoef", of_decisions=True),
    "brier_score": Quality("number", "lower", "scikit-learn brier_score_loss"),
    "average_precision": Quality("number", "higher", "scikit-learn average_precision_score (area under the PR curve)"),
    "calibration_slope": Quality(
        "number", "neither", "Cox 1958; 1 is ideal, under 1 the probabilities are too extreme"
    ),
    "mean_score": Quality("rate", "neither", "mean probability of the positive class"),
}
"""The numbers that `quality_measurement` makes."""


def quality_measurement(
    name: str,
    labels: Labels,
    probabilities: Probabilities,
    *,
    decisions: Labels | None = None,
    columns: tuple[str, ...] = (),
    names: Groups = (),
    codes: Labels | None = None,
    level: float = 0.95,
    min_group: int = 10,
    prefix: str = "performance",
) -> Measurement:
    """Return one of `QUALITIES`, with its interval; `decisions` default to the more probable class.

    The calibration slope, the average precision and the mean score are those of the positive class; with more than two
    classes the first is of the most probable class being right, the second the mean over the classes, and the third
    the mean probability of the most probable class.
    """
    check(labels, probabilities)
    quality, classes = QUALITIES[name], probabilities.shape[1]
    second: NDArray[Any] = probabilities
    if quality.of_decisions:
        second = predicted(probabilities) if decisions is None else decisions

    def statistic(labels: Labels, given: NDArray[Any], levels: Sequence[float]) -> Estimate:
        if name == "f1_score":
            return confusion.f1(confusion.confusion_table(labels, given, classes), levels)
        if name == "matthews_correlation":
            return confusion.matthews_correlation(confusion.confusion_table(labels, given, classes), levels)
        if name == "brier_score":
            return _brier_score(labels, given, levels)
        if name == "average_precision":
            return _average_precision(labels, given, levels)
        outcomes, confidences = calibration.confidence(labels, given)
        if name == "calibration_slope":
            return _calibration_slope(outcomes, confidences, levels)
        return _mean(confidences, levels)

    return measure(
        f"{prefix}.{name}",
        statistic,
        labels,
        second,
        Breakdown(columns, names, codes, min_group),
        level,
        unit=quality.unit,
        better=quality.better,
        source=quality.source,
        replicated=name not in ("calibration_slope", "mean_score"),
    )


def _brier_score(labels: Labels, probabilities: Probabilities, levels: Sequence[float]) -> Estimate:
    """Return the mean squared error of the probabilities; the interval's variance is at least what they imply."""
    classes = probabilities.shape[1]
    if classes == 2:  # both errors are the same, and one is counted
        errors = (labels - probabilities[:, 1]) ** 2
    else:
        errors = ((np.eye(classes)[labels] - probabilities) ** 2).sum(axis=1)
    value = float(errors.mean())
    if not levels or len(labels) < 2:
        return Estimate(value, (None,) * len(levels))
    half = 2 if classes == 2 else 1
    # The score of each row for each label that it could have had.
    scores = ((probabilities**2).sum(axis=1)[:, None] - 2 * probabilities + 1) / half
    expected = (probabilities * scores).sum(axis=1).mean()
    moments = [float((probabilities * (scores - expected) ** power).sum(axis=1).mean()) for power in (2, 3)]
    if errors.var(ddof=1) >= moments[0]:
        moments = [float(errors.var(ddof=1)), float(((errors - value) ** 3).mean())]
    return Estimate(value, _mean_bounds(value, moments[0], moments[1], len(labels), levels, 0.0, 2.0 / half))


def _mean(values: Probabilities, levels: Sequence[float]) -> Estimate:
    value = float(values.mean())
    if len(values) < 2:
        return Estimate(value, (None,) * len(levels))
    third = float(((values - value) ** 3).mean())
    return Estimate(value, _mean_bounds(value, float(values.var(ddof=1)), third, len(values), levels, 0.0, 1.0))


def _mean_bounds(
    value: float, variance: float, third: float, count: int, levels: Sequence[float], lowest: float, highest: float
) -> tuple[Bound, ...]:
    skewness = third / variance**1.5 if variance > 0 else 0.0
    bounds = [skewed_mean_interval(value, variance, skewness, count, level) for level in levels]
    return tuple((max(low, lowest), min(high, highest), "Student's t joined with Hall's") for low, high in bounds)


def _average_precision(labels: Labels, probabilities: Probabilities, levels: Sequence[float]) -> Estimate:
    """Return the average precision; its interval is that of a rate among the positive rows (Boyd et al. 2013)."""
    classes = probabilities.shape[1]
    rows = np.bincount(labels, minlength=classes)
    asked = [1] if classes == 2 else list(range(classes))
    if not rows[asked].all():
        return Estimate(reason=absent(rows, classes))
    values = np.array([average_precision(labels == code, probabilities[:, code]) for code in asked])
    bounds = []
    for level in levels:
        low, high = proportion_interval(np.minimum(values * rows[asked], rows[asked]), rows[asked], level)
        method = "Wilson or Clopper-Pearson over the positive rows"
        method += ", means of the classes' limits" if len(asked) > 1 else ""
        bounds.append((float(low.mean()), float(high.mean()), method))
    return Estimate(float(values.mean()), tuple(bounds))


def _calibration_slope(outcomes: NDArray[np.bool_], confidences: Probabilities, levels: Sequence[float]) -> Estimate:
    slope = calibration.calibration_slope(outcomes, confidences)
    if slope is None:
        return Estimate(reason="no slope fits outcomes that are all alike, or that a threshold separates,")
    halves = [normal_quantile(level) * slope.standard_error for level in levels]
    return Estimate(slope.value, tuple((slope.value - half, slope.value + half, "Wald") for half in halves))
