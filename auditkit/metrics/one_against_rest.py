"""Fairness with more than two classes: each class against the rest, and the mean over the classes (macro)."""

from __future__ import annotations

import numpy as np

from auditkit.evidence.counts import Counts
from auditkit.evidence.intervals import simultaneous_level
from auditkit.evidence.measurement import Interval, Measurement, Slice
from auditkit.metrics import disparity
from auditkit.metrics.rates import rate_measurement

CLASS = "class"
"""What stands for the classes among the columns of a breakdown."""

RATES = ("base_rate", "selection_rate", "true_positive_rate", "false_positive_rate", "positive_predictive_value")
GAPS = ("demographic_parity", "equalized_odds", "equal_opportunity", "predictive_parity")


def rate_measurements(
    counts: Counts, *, prefix: str = "fairness", level: float = 0.95, min_group: int = 10
) -> list[Measurement]:
    """Return the rates of each class against the rest, a slice for each group and class; by the columns and `class`."""
    parts = [counts.one_against_rest(code) for code in range(len(counts.classes))]
    pairs = sorted(
        ((*key, name), group, code)
        for code, name in enumerate(counts.classes)
        for group, key in enumerate(counts.groups)
    )
    stacked = Counts(
        columns=(*counts.columns, CLASS),
        groups=tuple(key for key, _, _ in pairs),
        classes=("any other", "this class"),
        table=np.stack([parts[code].table[group] for _, group, code in pairs]),
    )
    return [rate_measurement(stacked, name, prefix=prefix, level=level, min_group=min_group) for name in RATES]


def gap_measurements(
    counts: Counts, *, prefix: str = "fairness", level: float = 0.95, min_group: int = 10
) -> list[Measurement]:
    """Return each gap twice: a slice for each class (by the columns and `class`), and the mean over the classes.

    The mean is over the classes in which the gap is defined; its interval is between the means of the limits that
    hold for all of these classes at once.
    """
    each = simultaneous_level(level, len(counts.classes))
    by_class = [counts.one_against_rest(code) for code in range(len(counts.classes))]
    alone, together = (
        [disparity.gap_measurements(part, gaps=GAPS, prefix=prefix, level=at, min_group=min_group) for part in by_class]
        for at in (level, each)
    )
    measurements = []
    for place, first in enumerate(alone[0]):
        slices = []
        for name, own, wide in zip(counts.classes, alone, together, strict=True):
            found, held = own[place], wide[place]
            slices.append(
                Slice(
                    name=name,
                    value=found.value,
                    count=found.count,
                    interval=found.interval,
                    simultaneous_interval=_at(held.interval, level, f", Sidak over {len(counts.classes)} classes"),
                    reason=found.reason,
                )
            )
        columns = (*counts.columns, CLASS)
        measurements.append(_measurement(first, columns, counts, slices=tuple(slices)))
        known = [
            (part.value, part.simultaneous_interval)
            for part in slices
            if part.value is not None and part.simultaneous_interval is not None
        ]
        if not known:
            reason = f"it is undefined for every class: {slices[0].reason}"
            measurements.append(_measurement(first, counts.columns, counts, reason=reason))
            continue
        low, high = (float(np.mean([end for _, end in ends])) for ends in _ends(known))
        method = f"means of limits that hold for all classes: {known[0][1].method}"
        measurements.append(
            _measurement(
                first,
                counts.columns,
                counts,
                value=float(np.mean([value for value, _ in known])),
                interval=Interval(low=low, high=high, level=level, method=method),
                source=f"{first.source}, mean over {len(known)} of {len(counts.classes)} classes against the rest",
            )
        )
    return measurements


def _ends(known: list[tuple[float, Interval]]) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    return [(value, held.low) for value, held in known], [(value, held.high) for value, held in known]


def _at(interval: Interval | None, level: float, family: str) -> Interval | None:
    if interval is None:
        return None
    return interval.model_copy(update={"level": level, "method": interval.method + family})


def _measurement(
    like: Measurement,
    columns: tuple[str, ...],
    counts: Counts,
    *,
    value: float | None = None,
    interval: Interval | None = None,
    slices: tuple[Slice, ...] = (),
    source: str = "",
    reason: str | None = None,
) -> Measurement:
    return Measurement(
        id=like.id,
        by=columns,
        value=value,
        unit=like.unit,
        better=like.better,
        count=int(counts.sizes.sum()),
        interval=interval,
        slices=slices,
        source=source or f"{like.source}, each class against the rest",
        reason=reason,
    )
