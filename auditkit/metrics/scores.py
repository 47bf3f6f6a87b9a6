"""Performance from labels and probabilities, overall and per group, as measurements ready to report.

Every `*_measurement` takes labels, int64, (rows,), and probabilities, float64, (rows, classes). With `columns`,
`names` (the key of each group) and `codes` (the group of each row) it has no value of its own but one slice a group,
each with an interval of its own and one that holds for all groups at once. A group in which a number is undefined
says why; groups that `auditkit.evidence.counts.suppressed` hides are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import InputError
from auditkit.evidence import intervals
from auditkit.evidence.intervals import mid_p, needs_exact, proportion_interval
from auditkit.evidence.measurement import Better, Curve, Interval, Measurement, Unit
from auditkit.metrics import calibration
from auditkit.metrics.estimates import Breakdown, Estimate, Groups, Labels, Probabilities, Statistic, measure
from auditkit.metrics.ranking import macro_roc_auc, roc_auc, roc_auc_interval


def predicted(probabilities: Probabilities) -> Labels:
    """Return the predicted class of each row: with two classes 1 from a probability of 0.5 on, else the likeliest."""
    chosen = probabilities[:, 1] >= 0.5 if probabilities.shape[1] == 2 else probabilities.argmax(axis=1)
    return np.asarray(chosen, dtype=np.int64)


def accuracy_measurement(
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
    """Return the share of rows whose predicted class is the label: 1 is ideal. Wilson, or Clopper-Pearson."""

    def statistic(labels: Labels, probabilities: Probabilities, levels: Sequence[float]) -> Estimate:
        right, rows = int((predicted(probabilities) == labels).sum()), len(labels)
        bounds = []
        for each in levels:
            low, high = proportion_interval(right, rows, each)
            method = "Clopper-Pearson" if needs_exact(right, rows, each) else "Wilson"
            bounds.append((float(low), float(high), method))
        return Estimate(right / rows, tuple(bounds))

    return _measured(
        f"{prefix}.accuracy",
        statistic,
        labels,
        probabilities,
        Breakdown(columns, names, codes, min_group),
        level,
        unit="rate",
        better="higher",
        source="scikit-learn accuracy_score",
    )


def balanced_accuracy_measurement(
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
    """Return the mean over the classes of the share of their rows that is predicted right: 1 is ideal.

    Undefined where a class has no rows. The interval adds the squares of the distances to the mid-P limits of
    each class's share (Zou & Donner 2008, MOVER).
    """

    def statistic(labels: Labels, probabilities: Probabilities, levels: Sequence[float]) -> Estimate:
        classes = probabilities.shape[1]
        rows = np.bincount(labels, minlength=classes)
        if not rows.all():
            return Estimate(reason=absent(rows, classes))
        right = np.bincount(labels[predicted(probabilities) == labels], minlength=classes)
        recall = right / rows
        value = float(np.mean(recall))
        bounds = []
        for each in levels:
            low, high = mid_p(right, rows, each)
            down, up = np.linalg.norm(recall - low) / classes, np.linalg.norm(high - recall) / classes
            bounds.append((value - float(down), value + float(up), "MOVER with mid-P limits of weight 0.6"))
        return Estimate(value, tuple(bounds))

    return _measured(
        f"{prefix}.balanced_accuracy",
        statistic,
        labels,
        probabilities,
        Breakdown(columns, names, codes, min_group),
        level,
        unit="rate",
        better="higher",
        source="scikit-learn balanced_accuracy_score",
    )


def log_loss_measurement(
    labels: Labels,
    probabilities: Probabilities,
    *,
    columns: tuple[str, ...] = (),
    names: Groups = (),
    codes: Labels | None = None,
    level: float = 0.95,
    min_group: int = 10,
    prefix: str = "performance",
) -> Measurement:
    """Return the mean negative logarithm of the probability given to the true class, in nats: 0 is ideal.

    Probabilities are clipped to [2.2e-16, 1 - 2.2e-16], as scikit-learn does. Student's t and Hall's
    skewness-corrected t (1992) are joined, with the larger of the variance that was seen and the one that the
    probabilities imply: losses are so skewed that t alone covers 53 % at 20 rows of a rare class. A model that is
    sure of everything and right in every row of the sample gives no hint of how much one error would cost.
    """

    def statistic(labels: Labels, probabilities: Probabilities, levels: Sequence[float]) -> Estimate:
        epsilon = float(np.finfo(np.float64).eps)
        clipped = probabilities.clip(epsilon, 1 - epsilon)
        surprise = -np.log(clipped)
        losses = surprise[np.arange(len(labels)), labels]
        value = float(losses.mean())
        if len(losses) < 2:
            return Estimate(value, (None,) * len(levels))
        expected = float((clipped * surprise).sum(axis=1).mean())
        implied = float((clipped * (surprise - expected) ** 2).sum(axis=1).mean())
        seen = float(losses.var(ddof=1))
        third = (
            ((losses - value) ** 3).mean()
            if seen >= implied
            else (clipped * (surprise - expected) ** 3).sum(axis=1).mean()
        )
        variance = max(seen, implied)
        skewness = float(third) / variance**1.5 if variance > 0 else 0.0
        method = "Student's t joined with Hall's"
        bounds = [intervals.skewed_mean_interval(value, variance, skewness, len(losses), each) for each in levels]
        return Estimate(value, tuple((max(low, 0.0), high, method) for low, high in bounds))

    return _measured(
        f"{prefix}.log_loss",
        statistic,
        labels,
        probabilities,
        Breakdown(columns, names, codes, min_group),
        level,
        unit="nats",
        better="lower",
        source="scikit-learn log_loss, probabilities clipped to [2.2e-16, 1 - 2.2e-16]",
    )


def roc_auc_measurement(
    labels: Labels,
    probabilities: Probabilities,
    *,
    columns: tuple[str, ...] = (),
    names: Groups = (),
    codes: Labels | None = None,
    level: float = 0.95,
    min_group: int = 10,
    prefix: str = "performance",
) -> Measurement:
    """Return the area under the ROC curve: 1 is ideal, 0.5 is chance. With over two classes, the mean of each
    class against the rest. Undefined where a class has no rows, or all.
    """

    def statistic(labels: Labels, probabilities: Probabilities, levels: Sequence[float]) -> Estimate:
        classes = probabilities.shape[1]
        rows = np.bincount(labels, minlength=classes)
        if not rows.all():
            return Estimate(reason=absent(rows, classes))
        area = roc_auc(labels == 1, probabilities[:, 1]) if classes == 2 else macro_roc_auc(labels, probabilities)
        return Estimate(area.value, tuple(roc_auc_interval(area, each) for each in levels))

    return _measured(
        f"{prefix}.roc_auc",
        statistic,
        labels,
        probabilities,
        Breakdown(columns, names, codes, min_group),
        level,
        unit="number",
        better="higher",
        source="scikit-learn roc_auc_score" + (" (ovr, macro)" if probabilities.shape[1] > 2 else ""),
    )


def calibration_error(labels: Labels, probabilities: Probabilities, levels: Sequence[float]) -> Estimate:
    """Return the expected calibration error of some rows, with an interval for each level."""
    bins = calibration.bin_probabilities(*calibration.confidence(labels, probabilities))
    value = calibration.expected_calibration_error(bins)
    method = "tangent above, binomial consistency resampling below"
    bounds = [(*calibration.calibration_error_interval(bins, each), method) for each in levels]
    return Estimate(value, tuple(bounds))


def calibration_error_measurement(
    labels: Labels,
    probabilities: Probabilities,
    *,
    columns: tuple[str, ...] = (),
    names: Groups = (),
    codes: Labels | None = None,
    level: float = 0.95,
    min_group: int = 10,
    prefix: str = "performance",
) -> Measurement:
    """Return the expected calibration error over 15 bins of equal width (Guo et al. 2017): 0 is ideal.

    Of the positive class's probability with two classes, of the likeliest class's with more. The value is above
    the truth in small samples; the interval allows for it (`calibration.calibration_error_interval`).
    """
    which = "positive" if probabilities.shape[1] == 2 else "most probable"
    return _measured(
        f"{prefix}.calibration_error",
        calibration_error,
        labels,
        probabilities,
        Breakdown(columns, names, codes, min_group),
        level,
        unit="rate_difference",
        better="lower",
        source=f"Guo et al. 2017 (arXiv:1706.04599): {calibration.BIN_COUNT} bins of the {which} class's probability; "
        "biased upward in small samples",
    )


def calibration_curve(
    labels: Labels, probabilities: Probabilities, *, level: float = 0.95, min_group: int = 10
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
    return value, Interval(low=float(low), high=float(high), level=level, method="Bonett-Price")


def _measured(
    id: str,
    statistic: Statistic,
    labels: Labels,
    probabilities: Probabilities,
    breakdown: Breakdown,
    level: float,
    *,
    unit: Unit,
    better: Better,
    source: str,
) -> Measurement:
    check(labels, probabilities)
    return measure(id, statistic, labels, probabilities, breakdown, level, unit=unit, better=better, source=source)


def absent(rows: Labels, classes: int) -> str:
    """Return the reason for a number that needs every class."""
    absent = int(np.argmin(rows))
    if classes == 2:
        return f"no rows with a {'positive' if absent else 'negative'} label"
    return f"{int((rows == 0).sum())} of {classes} classes have no rows"


def check(labels: Labels, probabilities: Probabilities) -> None:
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
