"""Performance from labels and probabilities, overall and per group, as measurements ready to report.

Every `*_measurement` takes labels, int64, (rows,), and probabilities, float64, (rows, classes). With `columns`,
`names` (the key of each group) and `codes` (the group of each row) it has no value of its own but one slice a group,
each with an interval of its own and one that holds for all groups at once. A group in which a number is undefined
says why; groups that `auditkit.evidence.counts.suppressed` hides are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import InputError
from auditkit.evidence import intervals
from auditkit.evidence.counts import group_name, suppressed
from auditkit.evidence.intervals import mid_p, needs_exact, proportion_interval, simultaneous_level
from auditkit.evidence.measurement import Better, Curve, Interval, Measurement, Slice, Unit
from auditkit.metrics import calibration
from auditkit.metrics.ranking import macro_roc_auc, roc_auc, roc_auc_interval
from auditkit.metrics.rates import too_small

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]
Groups = tuple[tuple[str, ...], ...]
Bound = tuple[float, float, str]
"""The low and the high end of an interval, and its method."""


@dataclass(frozen=True)
class _Estimate:
    """A value over some rows with one interval for each level asked for, or the reason why there is none."""

    value: float | None = None
    bounds: tuple[Bound | None, ...] = ()
    reason: str | None = None


_Statistic = Callable[[Labels, Probabilities, Sequence[float]], _Estimate]


def predicted(probabilities: Probabilities) -> Labels:
    """Return the predicted class of each row: with two classes 1 from a probability of 0.5 on, else the likeliest."""
    chosen = probabilities[:, 1] >= 0.5 if probabilities.shape[1] == 2 else probabilities.argmax(axis=1)
    return np.asarray(chosen, dtype=np.int64)


def accuracy_measurement(
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
    """Return the share of rows whose predicted class is the label: 1 is ideal. Wilson, or Clopper-Pearson."""

    def statistic(labels: Labels, probabilities: Probabilities, levels: Sequence[float]) -> _Estimate:
        right, rows = int((predicted(probabilities) == labels).sum()), len(labels)
        bounds = []
        for each in levels:
            low, high = proportion_interval(right, rows, each)
            method = "Clopper-Pearson" if needs_exact(right, rows, each) else "Wilson"
            bounds.append((float(low), float(high), method))
        return _Estimate(right / rows, tuple(bounds))

    return _measure(
        f"{prefix}.accuracy",
        statistic,
        labels,
        probabilities,
        _Breakdown(columns, names, codes, min_group),
        level,
        unit="rate",
        better="higher",
        source="scikit-learn accuracy_score",
    )


def balanced_accuracy_measurement(
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
    """Return the mean over the classes of the share of their rows that is predicted right: 1 is ideal.

    Undefined where a class has no rows. The interval adds the squares of the distances to the mid-P limits of
    each class's share (Zou & Donner 2008, MOVER).
    """

    def statistic(labels: Labels, probabilities: Probabilities, levels: Sequence[float]) -> _Estimate:
        classes = probabilities.shape[1]
        rows = np.bincount(labels, minlength=classes)
        if not rows.all():
            return _Estimate(reason=_absent(rows, classes))
        right = np.bincount(labels[predicted(probabilities) == labels], minlength=classes)
        recall = right / rows
        value = float(np.mean(recall))
        bounds = []
        for each in levels:
            low, high = mid_p(right, rows, each)
            down, up = np.linalg.norm(recall - low) / classes, np.linalg.norm(high - recall) / classes
            bounds.append((value - float(down), value + float(up), "MOVER with mid-P limits of weight 0.6"))
        return _Estimate(value, tuple(bounds))

    return _measure(
        f"{prefix}.balanced_accuracy",
        statistic,
        labels,
        probabilities,
        _Breakdown(columns, names, codes, min_group),
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

    def statistic(labels: Labels, probabilities: Probabilities, levels: Sequence[float]) -> _Estimate:
        epsilon = float(np.finfo(np.float64).eps)
        clipped = probabilities.clip(epsilon, 1 - epsilon)
        surprise = -np.log(clipped)
        losses = surprise[np.arange(len(labels)), labels]
        value = float(losses.mean())
        if len(losses) < 2:
            return _Estimate(value, (None,) * len(levels))
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
        return _Estimate(value, tuple((max(low, 0.0), high, method) for low, high in bounds))

    return _measure(
        f"{prefix}.log_loss",
        statistic,
        labels,
        probabilities,
        _Breakdown(columns, names, codes, min_group),
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

    def statistic(labels: Labels, probabilities: Probabilities, levels: Sequence[float]) -> _Estimate:
        classes = probabilities.shape[1]
        rows = np.bincount(labels, minlength=classes)
        if not rows.all():
            return _Estimate(reason=_absent(rows, classes))
        area = roc_auc(labels == 1, probabilities[:, 1]) if classes == 2 else macro_roc_auc(labels, probabilities)
        return _Estimate(area.value, tuple(roc_auc_interval(area, each) for each in levels))

    return _measure(
        f"{prefix}.roc_auc",
        statistic,
        labels,
        probabilities,
        _Breakdown(columns, names, codes, min_group),
        level,
        unit="number",
        better="higher",
        source="scikit-learn roc_auc_score" + (" (ovr, macro)" if probabilities.shape[1] > 2 else ""),
    )


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

    def statistic(labels: Labels, probabilities: Probabilities, levels: Sequence[float]) -> _Estimate:
        bins = calibration.bin_probabilities(*calibration.confidence(labels, probabilities))
        value = calibration.expected_calibration_error(bins)
        method = "tangent above, binomial consistency resampling below"
        bounds = [(*calibration.calibration_error_interval(bins, each), method) for each in levels]
        return _Estimate(value, tuple(bounds))

    which = "positive" if probabilities.shape[1] == 2 else "most probable"
    return _measure(
        f"{prefix}.calibration_error",
        statistic,
        labels,
        probabilities,
        _Breakdown(columns, names, codes, min_group),
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
    _check(labels, probabilities)
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


@dataclass(frozen=True)
class _Breakdown:
    """The groups that rows fall into; no columns for none."""

    columns: tuple[str, ...]
    names: Groups
    codes: Labels | None
    min_group: int


def _measure(
    id: str,
    statistic: _Statistic,
    labels: Labels,
    probabilities: Probabilities,
    breakdown: _Breakdown,
    level: float,
    *,
    unit: Unit,
    better: Better,
    source: str,
) -> Measurement:
    _check(labels, probabilities)
    if breakdown.codes is None:
        whole = statistic(labels, probabilities, (level,))
        return Measurement(
            id=id,
            value=whole.value,
            unit=unit,
            better=better,
            count=len(labels),
            interval=_interval(whole.bounds[0], level) if whole.bounds else None,
            source=source,
            reason=whole.reason,
        )
    slices = _slices(statistic, labels, probabilities, breakdown, breakdown.codes, level)
    return Measurement(
        id=id,
        by=breakdown.columns,
        unit=unit,
        better=better,
        count=sum(part.count for part in slices),
        slices=tuple(slices),
        source=source,
        reason=None if slices else too_small(breakdown.min_group),
    )


def _slices(
    statistic: _Statistic,
    labels: Labels,
    probabilities: Probabilities,
    breakdown: _Breakdown,
    codes: Labels,
    level: float,
) -> list[Slice]:
    if len(codes) != len(labels):
        raise InputError(f"codes must have one group a row, got {len(codes):,} for {len(labels):,} rows.")
    sizes = np.bincount(codes, minlength=len(breakdown.names))
    present = np.flatnonzero(sizes)
    keys = tuple(breakdown.names[code] for code in present)
    shown = present[~suppressed(sizes[present], breakdown.min_group, keys)]
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(sizes)
    each = simultaneous_level(level, len(shown))
    family = f", Sidak over {len(shown)} groups" if len(shown) > 1 else ""
    slices = []
    for code in sorted(shown, key=lambda code: breakdown.names[code]):
        rows = order[ends[code] - sizes[code] : ends[code]]
        part = statistic(labels[rows], probabilities[rows], (level, each))
        alone, together = part.bounds if part.bounds else (None, None)
        slices.append(
            Slice(
                name=group_name(breakdown.names[code]),
                value=part.value,
                count=len(rows),
                interval=_interval(alone, level),
                simultaneous_interval=_interval(together, level, family),
                reason=None if part.reason is None else f"{part.reason} in this group",
            )
        )
    return slices


def _interval(bound: Bound | None, level: float, family: str = "") -> Interval | None:
    if bound is None:
        return None
    low, high, method = bound
    return Interval(low=low, high=high, level=level, method=method + family)


def _absent(rows: Labels, classes: int) -> str:
    """Return the reason for a number that needs every class."""
    absent = int(np.argmin(rows))
    if classes == 2:
        return f"no rows with a {'positive' if absent else 'negative'} label"
    return f"{int((rows == 0).sum())} of {classes} classes have no rows"


def _check(labels: Labels, probabilities: Probabilities) -> None:
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
