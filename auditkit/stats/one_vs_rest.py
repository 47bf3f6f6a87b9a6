"""Fairness with more than two classes, or with several labels: each one against the rest, and their mean (macro)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.measurement import Group, Interval, Measurement, Slice
from auditkit.evidence.messages import Message
from auditkit.stats import gaps as binary_gaps
from auditkit.stats.counts import Counts, stacked
from auditkit.stats.intervals import simultaneous_level
from auditkit.stats.rates import rate_measurement

CLASS = "class"
LABEL = "label"
"""What stands for the classes, or for the labels of a multi-label task, among the columns of a breakdown."""

OF_PARTS = {CLASS: Message("each class against the rest"), LABEL: Message("each label by itself")}
"""How the parts are judged, in words."""

RATES = ("base_rate", "selection_rate", "true_positive_rate", "false_positive_rate", "positive_predictive_value")
GAPS = ("demographic_parity", "equalized_odds", "equal_opportunity", "predictive_parity")


def most_frequent(occurrences: NDArray[np.int64], most: int) -> tuple[int, ...]:
    """Return the codes of the `most` classes that occur most often, in ascending order.

    >>> most_frequent(np.array([5, 1, 7]), 2)
    (0, 2)
    """
    return tuple(sorted(np.argsort(-occurrences, kind="stable")[:most].tolist()))


def rate_measurements(
    parts: Sequence[Counts],
    axis: str,
    *,
    rates: Sequence[str] = RATES,
    prefix: str = "fairness",
    level: float = 0.95,
    min_group: int = 10,
) -> list[Measurement]:
    """Return the rates of each class, or label, a slice for each group and class; by the columns and `axis`.

    `parts` are tables of two classes, the last of which has the name of the class or label: see `one_vs_rest`.
    The accuracy is a rate of labels that are decided by themselves, and says nothing of one class against the rest.
    """
    table = stacked(parts, axis)
    return [rate_measurement(table, name, prefix=prefix, level=level, min_group=min_group) for name in rates]


def gap_measurements(
    parts: Sequence[Counts],
    axis: str,
    *,
    gaps: Sequence[str] = GAPS,
    total: int | None = None,
    level: float = 0.95,
    min_group: int = 10,
    replicated: Callable[[list[Measurement], int], list[Measurement]] = lambda gaps, code: gaps,
    bounded: Callable[[list[Measurement], int, float], list[Measurement]] = lambda gaps, code, level: gaps,
) -> list[Measurement]:
    """Return each gap twice: a slice for each class (by the columns and `axis`), and the mean over the classes.

    `parts` as in `rate_measurements`. `total` is the number of classes
    where `parts` are only the most frequent ones.

    The mean is over the classes in which the gap is defined; its interval is between the means of the limits that
    hold for all of these classes at once. `replicated` returns the gaps of a part, by its place, with their replicates
    (`with_gap_replicates`); those of the mean are the means. `bounded` returns them, at a level, with
    intervals that hold whatever missing labels are.
    """
    first_part, against = parts[0], OF_PARTS[axis]
    each = simultaneous_level(level, len(parts))
    alone, together = (
        [
            bounded(binary_gaps.gap_measurements(part, gaps=gaps, level=at, min_group=min_group), code, at)
            for code, part in enumerate(parts)
        ]
        for at in (level, each)
    )
    measurements = []
    alone = [replicated(gaps_of, code) for code, gaps_of in enumerate(alone)]
    for place, first in enumerate(alone[0]):
        slices = tuple(
            _slice(axis, part.classes[-1], own[place], _at(wide[place].interval, level, _family(axis, len(parts))))
            for part, own, wide in zip(parts, alone, together, strict=True)
        )
        definition = Message("{definition}, {against}", definition=first.definition, against=against)
        mean = _mean_over_parts(axis, slices, first.definition, total, level)
        measurements += [
            _measurement(first, (*first_part.columns, axis), first_part, definition=definition, slices=slices),
            _measurement(first, first_part.columns, first_part, **{"definition": definition, **mean}),
        ]
    return measurements


def _slice(axis: str, name: str, found: Measurement, together: Interval | None) -> Slice:
    """Return the gap of one class, or label, with the interval that holds `together` with those of the others."""
    return Slice(
        group=Group(by=(axis,), key=(name,)),
        value=found.value,
        count=found.count,
        effective_count=found.effective_count,
        interval=found.interval,
        simultaneous_interval=together,
        replicates=found.replicates,
        one_record=found.one_record,
        reason=found.reason,
    )


def _mean_over_parts(
    axis: str, slices: Sequence[Slice], definition: str, total: int | None, level: float
) -> dict[str, Any]:
    """Return the fields of the mean of a gap over the classes, or labels, in which it is defined; or why there is none.

    `definition` is that of one gap; `total` is the number of classes where the slices are the most frequent ones.
    """
    known = [
        (found.value, found.simultaneous_interval)
        for found in slices
        if found.value is not None and found.simultaneous_interval is not None
    ]
    if not known:
        return {"reason": _undefined(axis, slices[0].reason or "")}
    mean_of = (
        Message("{count} labels", count=len(slices))
        if axis == LABEL
        else Message("{count} classes against the rest", count=len(slices))
    )
    if total is not None and len(slices) < total:
        mean_of = Message(
            "the {count} most frequent of {total} classes, each against the rest", count=len(slices), total=total
        )
    blocks = [found.replicates for found in slices if found.value is not None]
    paired = len({len(replicates) for replicates in blocks}) == 1
    low, high = (float(np.mean(ends)) for ends in zip(*((held.low, held.high) for _, held in known), strict=True))
    return {
        "definition": Message(
            "{definition}, mean over {known} of {parts}", definition=definition, known=len(known), parts=mean_of
        ),
        "value": float(np.mean([value for value, _ in known])),
        "interval": Interval(low=low, high=high, level=level, method=_joint_method(axis, known[0][1].method)),
        "replicates": tuple(float(value) for value in np.mean(blocks, axis=0)) if paired else (),
        "one_record": max((found.one_record for found in slices if found.one_record), default=None),
        "effective_count": max((found.effective_count for found in slices if found.effective_count), default=None),
    }


def _at(interval: Interval | None, level: float, family: str) -> Interval | None:
    if interval is None:
        return None
    return interval.model_copy(update={"level": level, "method": interval.method + family})


def _measurement(like: Measurement, columns: tuple[str, ...], counts: Counts, **fields: Any) -> Measurement:
    """Return a measurement of the id, unit and direction of another, over all rows, with other fields as stated."""
    count = int(counts.sizes.sum())
    return Measurement(id=like.id, by=columns, unit=like.unit, better=like.better, count=count, **fields)


def _family(axis: str, n: int) -> Message:
    return Message(", Sidak over {n} labels", n=n) if axis == LABEL else Message(", Sidak over {n} classes", n=n)


def _undefined(axis: str, reason: str) -> Message:
    if axis == LABEL:
        return Message("it is undefined for every label: {reason}", reason=reason)
    return Message("it is undefined for every class: {reason}", reason=reason)


def _joint_method(axis: str, method: str) -> Message:
    if axis == LABEL:
        return Message("means of limits that hold for all labels: {method}", method=method)
    return Message("means of limits that hold for all classes: {method}", method=method)
