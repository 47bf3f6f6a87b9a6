"""The numbers on predicted numbers as measurements: errors, their spread and the predictions, overall and per group."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import InputError
from auditkit.evidence.measurement import Better, Measurement
from auditkit.evidence.messages import Message, title
from auditkit.stats import sampled
from auditkit.stats.distances import mean_gap_measurement
from auditkit.stats.estimates import Bound, Breakdown, Estimate, Quantity, Statistic, measure, too_few
from auditkit.stats.intervals import skewed_mean_interval
from auditkit.stats.quality import MetricSpec
from auditkit.stats.sampling import SIMPLE, Sampling, effective_rows

Array = NDArray[np.float64]
Simple = Callable[[Array, Array, Sequence[float]], Estimate]

METHOD = Message("Student's t joined with Hall's")


def _mean_error(labels: Array, predictions: Array, levels: Sequence[float]) -> Estimate:
    return mean_estimate(predictions - labels, levels)


def _mean_prediction(labels: Array, predictions: Array, levels: Sequence[float]) -> Estimate:
    return mean_estimate(predictions, levels)


def _mean_label(labels: Array, predictions: Array, levels: Sequence[float]) -> Estimate:
    return mean_estimate(labels, levels)


def _mean_absolute_error(labels: Array, predictions: Array, levels: Sequence[float]) -> Estimate:
    return mean_estimate(np.abs(predictions - labels), levels, sizes=True)


def _root_mean_squared_error(labels: Array, predictions: Array, levels: Sequence[float]) -> Estimate:
    squares = mean_estimate((predictions - labels) ** 2, levels, sizes=True)
    assert squares.value is not None
    roots = [
        (low**0.5, high**0.5, Message("root of {method}", method=method))
        for low, high, method in filter(None, squares.bounds)
    ]
    bounds = tuple(roots) if len(roots) == len(squares.bounds) else squares.bounds
    return Estimate(squares.value**0.5, bounds, squares.reason)


def _r2(labels: Array, predictions: Array, levels: Sequence[float]) -> Estimate:
    """Return 1 - the mean squared error over the variance of the labels, by the influence of each row on that ratio."""
    spread = (labels - labels.mean()) ** 2
    variance = float(spread.mean())
    if variance == 0:
        return Estimate(reason=Message("all labels are alike, and their variance is zero,"))
    errors = (predictions - labels) ** 2
    ratio = float(errors.mean()) / variance
    found = mean_estimate(ratio + (errors - ratio * spread) / variance, levels, sizes=True)
    bounds = tuple(
        None if bound is None else (1 - bound[1], 1 - bound[0], Message("{method}, delta method", method=bound[2]))
        for bound in found.bounds
    )
    return Estimate(1 - ratio, bounds, found.reason)


def _of_values(
    statistic: Simple, of_sampled: Statistic, better: Better, definition: str, fewest_rows: int = 20
) -> MetricSpec:
    """Return a metric of predicted numbers; an interval of fewer than `fewest_rows` rows would cover too little."""
    return MetricSpec(statistic, "values", "number", better, definition, fewest_rows=fewest_rows, sampled=of_sampled)


REGRESSION_METRICS: dict[str, MetricSpec] = {
    "mean_error": _of_values(
        _mean_error,
        sampled.mean_error,
        "neither",
        Message("mean of prediction - label; 0 is ideal, above it predictions are high"),
    ),
    "mean_absolute_error": _of_values(
        _mean_absolute_error, sampled.mean_absolute_error, "lower", "scikit-learn mean_absolute_error"
    ),
    "root_mean_squared_error": _of_values(
        _root_mean_squared_error,
        sampled.root_mean_squared_error,
        "lower",
        "scikit-learn root_mean_squared_error",
        fewest_rows=50,
    ),
    "r2": _of_values(
        _r2, sampled.r2, "higher", Message("scikit-learn r2_score: 1 is ideal, 0 as good as the mean"), fewest_rows=200
    ),
    "mean_prediction": _of_values(
        _mean_prediction, sampled.mean_prediction, "neither", Message("mean of the predictions")
    ),
    "mean_label": _of_values(_mean_label, sampled.mean_label, "neither", Message("mean of the labels")),
}
"""The metrics that `regression_measurement` makes, in the order of a report, all but R2 in the target's unit."""

GAPS = ("mean_prediction", "mean_error", "mean_absolute_error")
"""The numbers whose largest difference between groups `regression_gap` makes."""


def regression_measurement(
    name: str,
    labels: Array,
    predictions: Array,
    breakdown: Breakdown,
    *,
    level: float = 0.95,
    prefix: str = "performance",
) -> Measurement:
    """Return one of `REGRESSION_METRICS`, as `prefix.NAME`, with its interval, in the unit of the target.

    `labels` and `predictions` are finite, (rows,). R2 is undefined, with the reason, where all labels are alike.

    Raises:
        InputError: labels and predictions of different lengths, none, or some that are not finite.
    """
    _check(labels, predictions)
    metric = REGRESSION_METRICS[name]
    quantity = Quantity(f"{prefix}.{name}", "number", metric.better, metric.definition)
    return measure(quantity, _statistic(name), labels, predictions, breakdown, level)


def regression_gap(
    name: str,
    labels: Array,
    predictions: Array,
    breakdown: Breakdown,
    *,
    level: float = 0.95,
    prefix: str = "fairness",
) -> Measurement:
    """Return the highest minus the lowest of the groups' numbers, as `prefix.NAME_difference`: 0 is ideal.

    Groups of fewer rows than an interval needs are left out; the interval bounds all pairs at once. There is none, with
    the reason, where the numbers of a group that is compared are all alike.

    Raises:
        InputError: as `regression_measurement`.
    """
    _check(labels, predictions)
    definition = Message("highest minus lowest value of a group: {metric}", metric=title(f"performance.{name}"))
    return mean_gap_measurement(
        Quantity(f"{prefix}.{name}_difference", "number", "lower", definition),
        _statistic(name),
        labels,
        predictions,
        breakdown,
        level=level,
        fewest_rows=REGRESSION_METRICS[name].fewest_rows,
    )


def _check(labels: Array, predictions: Array) -> None:
    if len(labels) != len(predictions) or not len(labels):
        raise InputError(
            f"predictions must be as many as the {len(labels):,} labels, at least 1: {len(predictions):,}."
        )
    if not (np.isfinite(labels).all() and np.isfinite(predictions).all()):
        raise InputError("labels and predictions must be finite numbers.")


def _statistic(name: str) -> Statistic:
    metric = REGRESSION_METRICS[name]

    def statistic(labels: Array, predictions: Array, levels: Sequence[float], sampling: Sampling = SIMPLE) -> Estimate:
        given = labels.astype(np.float64), predictions.astype(np.float64)
        asked = levels if len(labels) >= metric.fewest_rows else ()
        found: Estimate = (
            metric.statistic(*given, asked)
            if sampling.is_simple or metric.sampled is None
            else metric.sampled(*given, asked, sampling)
        )
        if len(asked) == len(levels):
            return found
        known = None if sampling.is_simple else effective_rows(sampling, len(labels))
        reason = found.reason or too_few(metric.fewest_rows)
        return Estimate(found.value, (None,) * len(levels), reason, effective=known)

    return statistic


def mean_estimate(values: Array, levels: Sequence[float], *, sizes: bool = False) -> Estimate:
    """Return the mean of at least two values, with an interval for each level.

    Of `sizes`, errors without sign or squared, a row that was not drawn can outweigh all that were: none lies below 0,
    and the upper end is what it would be if one row more were as large as the largest. tests/tasks/test_regression.py
    holds the intervals to covering 93 % where they say 95 %, for errors from uniform to exponential ones, and in 200
    rows for lognormal ones.
    """
    value = float(values.mean())
    if not levels:
        return Estimate(value)
    variance, away = float(values.var(ddof=1)), values - value
    if variance == 0:
        reason = Message("all rows are alike, which says nothing of the spread that an interval needs")
        return Estimate(value, (None,) * len(levels), reason)
    skewness, kurtosis = float((away**3).mean()) / variance**1.5, float((away**4).mean()) / float(values.var()) ** 2
    unseen = float(away.max()) / len(values) if sizes else 0.0
    lowest = min(0.0, value) if sizes else -np.inf
    bounds: list[Bound] = []
    for level in levels:
        low, high = skewed_mean_interval(value, variance, skewness, len(values), level, kurtosis=kurtosis)
        bounds.append((max(low, lowest), high + unseen, METHOD))
    return Estimate(value, tuple(bounds))
