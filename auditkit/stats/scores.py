"""Statistics of labels and probabilities: a value, and an interval for each level asked for.

Labels are class codes, integer, (rows,), probabilities floating, (rows, classes). A statistic that is undefined says
why. `auditkit.stats.confusion` has those of decisions; `auditkit.stats.quality` makes measurements of both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import InputError
from auditkit.evidence.measurement import Curve, Interval
from auditkit.evidence.messages import Message
from auditkit.stats import calibration, intervals, ranking
from auditkit.stats.estimates import Bound, Codes, Estimate, Probabilities, absent, too_few
from auditkit.stats.intervals import clopper_pearson, normal_quantile, proportion_interval, skewed_mean_interval

FEWEST_EVENTS, FEW_EVENTS = 10, 30
"""A mean without a bound has no interval on fewer events than the first; one in [0, 1] has on fewer than the second an
interval that is at least as wide as the exact one of a rate."""


def log_loss(labels: Codes, probabilities: Probabilities, levels: Sequence[float]) -> Estimate:
    """Return the mean negative logarithm of the probability given to the true class, in nats: 0 is ideal.

    Probabilities are clipped to [2.2e-16, 1 - 2.2e-16], as scikit-learn does. Student's t and Hall's
    skewness-corrected t (1992) are joined, with the larger of the variance that was seen and the one that the
    probabilities imply: losses are so skewed that t alone covers 53 % at 20 rows of a rare class. A loss has no upper
    bound, so that there is no interval on fewer than 10 rows with a rarer label, nor where all losses are the
    same: a model that is sure of everything and right in every row gives no hint of what one error would cost.
    """
    epsilon = float(np.finfo(np.float64).eps)
    if not levels:
        own = probabilities[np.arange(len(labels)), labels].clip(epsilon, 1 - epsilon)
        return Estimate(float((-np.log(own)).mean()))
    clipped = probabilities.clip(epsilon, 1 - epsilon)
    surprise = -np.log(clipped)
    losses = surprise[np.arange(len(labels)), labels]
    value = float(losses.mean())
    if len(losses) < 2:
        return Estimate(value, (None,) * len(levels), too_few(2))
    rarer = len(labels) - int(np.bincount(labels).max())
    if levels and rarer < FEWEST_EVENTS:
        reason = Message(
            "fewer than {fewest} rows with a rarer label are too few for an interval", fewest=FEWEST_EVENTS
        )
        return Estimate(value, (None,) * len(levels), reason)
    expected = float((clipped * surprise).sum(axis=1).mean())
    implied = float((clipped * (surprise - expected) ** 2).sum(axis=1).mean())
    seen = float(losses.var(ddof=1))
    third = (
        ((losses - value) ** 3).mean() if seen >= implied else (clipped * (surprise - expected) ** 3).sum(axis=1).mean()
    )
    variance = max(seen, implied)
    if levels and variance < 1e-12:
        reason = Message("all rows cost the same, which says nothing of the spread that an interval needs")
        return Estimate(value, (None,) * len(levels), reason)
    return Estimate(value, _mean_bounds(value, variance, float(third), len(losses), levels, 0.0, np.inf))


def roc_auc(labels: Codes, probabilities: Probabilities, levels: Sequence[float]) -> Estimate:
    """Return the area under the ROC curve: 1 is ideal, 0.5 is chance.

    With over two classes, the mean of each class against the rest. Undefined where a class has no rows, or all.
    """
    classes = probabilities.shape[1]
    rows = np.bincount(labels, minlength=classes)
    if not rows.all():
        return Estimate(reason=absent(rows))
    area = (
        ranking.roc_auc(labels == 1, probabilities[:, 1])
        if classes == 2
        else ranking.macro_roc_auc(labels, probabilities)
    )
    bounds = tuple(ranking.roc_auc_interval(area, level) for level in levels)
    return Estimate(area.value, bounds, one_record=1 / area.smaller)


def calibration_error(labels: Codes, probabilities: Probabilities, levels: Sequence[float]) -> Estimate:
    """Return the expected calibration error over 15 bins of equal width (Guo et al. 2017): 0 is ideal.

    Of the positive class's probability with two classes, of the likeliest class's with more. The value is above
    the truth in small samples; the interval allows for it (`calibration.calibration_error_intervals`).
    """
    bins = calibration.bin_probabilities(*calibration.confidence(labels, probabilities))
    value = calibration.expected_calibration_error(bins)
    method = Message("tangent above, binomial consistency resampling below")
    ends = calibration.calibration_error_intervals(bins, levels) if levels else []
    bounds = tuple(
        (low, max(high, _unseen_calibration_error(bins, level)), method)
        for level, (low, high) in zip(levels, ends, strict=True)
    )
    return Estimate(value, bounds, one_record=2 / len(labels))


def _unseen_calibration_error(bins: calibration.Bins, level: float) -> float:
    """Return how large the calibration error can be where too few of the rarer outcome were seen to tell; else 0.

    Probability and share of an outcome differ by at most their sum, of which the share has the exact upper limit.
    """
    rows, outcomes = int(bins.rows.sum()), int(bins.outcomes.sum())
    promised = float(bins.probabilities.sum())
    if 2 * outcomes > rows:
        outcomes, promised = rows - outcomes, rows - promised
    if outcomes >= FEWEST_EVENTS:
        return 0.0
    return min(1.0, promised / rows + float(clopper_pearson(outcomes, rows, level)[1]))


def brier_score(labels: Codes, probabilities: Probabilities, levels: Sequence[float]) -> Estimate:
    """Return the mean squared error of the probabilities; the interval's variance is at least what they imply."""
    classes = probabilities.shape[1]
    if classes == 2:  # both errors are the same, and one is counted
        errors = (labels - probabilities[:, 1]) ** 2
    else:
        own = probabilities[np.arange(len(labels)), labels]
        errors = np.maximum((probabilities**2).sum(axis=1) - 2 * own + 1, 0)
    value = float(errors.mean())
    if not levels:
        return Estimate(value)
    if len(labels) < 2:
        return Estimate(value, (None,) * len(levels), too_few(2))
    half = 2 if classes == 2 else 1
    # The score of each row for each label that it could have had.
    scores = ((probabilities**2).sum(axis=1)[:, None] - 2 * probabilities + 1) / half
    expected = (probabilities * scores).sum(axis=1).mean()
    moments = [float((probabilities * (scores - expected) ** power).sum(axis=1).mean()) for power in (2, 3)]
    if errors.var(ddof=1) >= moments[0]:
        moments = [float(errors.var(ddof=1)), float(((errors - value) ** 3).mean())]
    bounds = _mean_bounds(value, moments[0], moments[1], len(labels), levels, 0.0, 2.0 / half)
    if len(labels) - int(np.bincount(labels).max()) < FEW_EVENTS:
        bounds = _as_of_a_rate(value * half / 2, len(labels), bounds, levels, 2.0 / half)
    return Estimate(value, bounds, one_record=2 / half / len(labels))


def average_precision(labels: Codes, probabilities: Probabilities, levels: Sequence[float]) -> Estimate:
    """Return the average precision; its interval is that of a rate among the positive rows (Boyd et al. 2013)."""
    classes = probabilities.shape[1]
    rows = np.bincount(labels, minlength=classes)
    asked = [1] if classes == 2 else list(range(classes))
    if not rows[asked].all():
        return Estimate(reason=absent(rows))
    values = np.array([ranking.average_precision(labels == code, probabilities[:, code]) for code in asked])
    bounds = []
    for level in levels:
        low, high = proportion_interval(np.minimum(values * rows[asked], rows[asked]), rows[asked], level)
        method = Message("Wilson or Clopper-Pearson over the positive rows")
        method += Message(", means of the classes' limits") if len(asked) > 1 else ""
        bounds.append((float(low.mean()), float(high.mean()), method))
    return Estimate(float(values.mean()), tuple(bounds))


def calibration_slope(labels: Codes, probabilities: Probabilities, levels: Sequence[float]) -> Estimate:
    """Return Cox's calibration slope (`calibration.calibration_slope`) of the positive, or the most probable, class."""
    slope = calibration.calibration_slope(*calibration.confidence(labels, probabilities))
    if slope is None:
        return Estimate(reason=Message("no slope fits outcomes that are all alike, or that a threshold separates,"))
    halves = [normal_quantile(level) * slope.standard_error for level in levels]
    return Estimate(slope.value, tuple((slope.value - half, slope.value + half, Message("Wald")) for half in halves))


def mean_score(labels: Codes, probabilities: Probabilities, levels: Sequence[float]) -> Estimate:
    """Return the mean probability of the positive class, with more than two classes of the most probable one."""
    _, values = calibration.confidence(labels, probabilities)
    value = float(values.mean())
    if len(values) < 2:
        return Estimate(value, (None,) * len(levels), too_few(2))
    third = float(((values - value) ** 3).mean())
    bounds = _mean_bounds(value, float(values.var(ddof=1)), third, len(values), levels, 0.0, 1.0)
    if len(values) * min(value, 1 - value) < FEW_EVENTS:
        bounds = _as_of_a_rate(value, len(values), bounds, levels, 1.0)
    return Estimate(value, bounds, one_record=1 / len(values))


def _as_of_a_rate(
    share: float, count: int, bounds: tuple[Bound, ...], levels: Sequence[float], highest: float
) -> tuple[Bound, ...]:
    """Return the bounds of a mean in [0, `highest`], each at least as wide as the exact one of a rate of `share`.

    Of all values in [0, 1] with one mean, 0 and 1 vary most: a sample of the others in which the rare large ones do not
    occur cannot tell how large they are.
    """
    joined = []
    for (low, high, method), level in zip(bounds, levels, strict=True):
        exact = clopper_pearson(min(max(share * count, 0.0), count), count, level)
        text = Message("{method}, joined with Clopper-Pearson", method=method)
        joined.append((min(low, float(exact[0]) * highest), max(high, float(exact[1]) * highest), text))
    return tuple(joined)


def _mean_bounds(
    value: float, variance: float, third: float, count: int, levels: Sequence[float], lowest: float, highest: float
) -> tuple[Bound, ...]:
    skewness = third / variance**1.5 if variance > 0 else 0.0
    bounds = [skewed_mean_interval(value, variance, skewness, count, level) for level in levels]
    return tuple(
        (max(low, lowest), min(high, highest), Message("Student's t joined with Hall's")) for low, high in bounds
    )


def calibration_curve(
    labels: Codes, probabilities: Probabilities, *, level: float = 0.95, min_group: int = 10
) -> Curve:
    """Return the observed share over the mean predicted probability, a point a bin of at least `min_group` rows."""
    check(labels, probabilities)
    bins = calibration.bin_probabilities(*calibration.confidence(labels, probabilities))
    return calibration.curve(bins, class_count=probabilities.shape[1], level=level, min_group=min_group)


def paired_difference_interval(
    first: NDArray[np.bool_], second: NDArray[np.bool_], *, level: float = 0.95
) -> tuple[float, Interval]:
    """Return the rate of `first` minus the rate of `second` over the same rows, and its interval.

    >>> value, interval = paired_difference_interval(np.array([True, True, True]), np.array([True, False, True]))
    >>> round(value, 3), interval.method
    (0.333, 'Bonett-Price')
    """
    if len(first) != len(second) or len(first) == 0:
        raise InputError(f"first and second must cover the same rows, at least 1, got {len(first)} and {len(second)}.")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    low, high = intervals.paired_difference_interval(only_first, only_second, len(first), level)
    value = (only_first - only_second) / len(first)
    return value, Interval(low=float(low), high=float(high), level=level, method=Message("Bonett-Price"))


def check(labels: Codes, probabilities: Probabilities) -> None:
    """Refuse what no number can be made of."""
    if probabilities.ndim != 2 or len(probabilities) != len(labels) or probabilities.shape[1] < 2:
        raise InputError(
            f"probabilities must be (rows, classes) for {len(labels):,} labels and 2 classes or more, "
            f"got {probabilities.shape}."
        )
    if len(labels) == 0:
        raise InputError("labels must cover at least 1 row, got 0.")
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise InputError(
            f"labels must be from 0 to {probabilities.shape[1] - 1}, got {labels.min()} to {labels.max()}."
        )
    wrong = ~((probabilities >= 0) & (probabilities <= 1)).all(axis=1)
    if wrong.any():
        raise InputError(
            f"probabilities must lie in [0, 1]: {int(wrong.sum()):,} of {len(labels):,} rows hold NaN or other "
            "numbers; mend the model's outputs first."
        )
