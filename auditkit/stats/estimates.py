"""From a statistic of some rows to a measurement: overall, or one slice a group with both kinds of intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import InputError
from auditkit.evidence.measurement import Better, Group, Interval, Measurement, Slice, Unit
from auditkit.evidence.messages import Message
from auditkit.stats.counts import not_compared
from auditkit.stats.intervals import clopper_pearson, simultaneous_level
from auditkit.stats.jackknife import replicates
from auditkit.stats.rates import ONE_CLUSTER, too_small
from auditkit.stats.sampling import SIMPLE, Sampling

Codes = NDArray[np.int64]
Probabilities = NDArray[np.float64]
Groups = tuple[tuple[str, ...], ...]
Bound = tuple[float, float, str]
"""The low and the high end of an interval, and its method."""


@dataclass(frozen=True)
class Estimate:
    """A value over some rows with one interval for each level asked for, or the reason why there is none of either.

    `one_record` is the most that another outcome of one row could change the value, where that is known. `effective` is
    the effective number of rows and `influence` that of each row on the value, (rows,), where rows have weights or
    clusters.
    """

    value: float | None = None
    bounds: tuple[Bound | None, ...] = ()
    reason: str | None = None
    one_record: float | None = None
    effective: float | None = None
    influence: NDArray[np.float64] | None = None


MAXIMUM_CELLS = 2**20
"""Of larger predictions (rows x classes) no replicates are made: twenty copies cost more than they bring."""

Statistic = Callable[..., Estimate]
"""Takes the labels and the predictions (or probabilities) of some rows, and the levels of its intervals; of rows with
weights or clusters, their `Sampling` too."""


def applied(
    statistic: Statistic, labels: NDArray[Any], predictions: NDArray[Any], levels: Sequence[float], sampling: Sampling
) -> Estimate:
    """Return a statistic of some rows, by their weights and clusters if they have any."""
    return statistic(labels, predictions, levels, *(() if sampling.is_simple else (sampling,)))


@dataclass(frozen=True)
class Breakdown:
    """The groups that rows fall into: the columns, the key of each group, the group of each row.

    No columns and no codes: all rows together. `sampling` has the weights and the clusters of the rows, if any.
    """

    columns: tuple[str, ...] = ()
    names: Groups = ()
    codes: Codes | None = None
    min_group: int = 10
    sampling: Sampling = SIMPLE

    def take(self, rows: NDArray[Any] | slice) -> Breakdown:
        """Return the breakdown of some of the rows."""
        codes = None if self.codes is None else self.codes[rows]
        return replace(self, codes=codes, sampling=self.sampling.take(rows))


@dataclass(frozen=True)
class Quantity:
    """What is measured: the id of its measurement, its unit, which direction is better, and its definition.

    `counted` is what it counts, in the plural, where these are no records.
    """

    id: str
    unit: Unit
    better: Better
    definition: str
    counted: str = ""


def measure(
    quantity: Quantity,
    statistic: Statistic,
    labels: NDArray[Any],
    predictions: NDArray[Any],
    breakdown: Breakdown,
    level: float,
    *,
    replicated: bool = True,
) -> Measurement:
    """Return the measurement of a quantity: the statistic of all rows, or of each group that is not suppressed.

    With `replicated` it carries what two audits of the same rows are compared by (`auditkit.stats.jackknife`).
    """
    if breakdown.codes is None:
        whole = applied(statistic, labels, predictions, (level,), breakdown.sampling)
        return Measurement(
            id=quantity.id,
            value=whole.value,
            unit=quantity.unit,
            better=quantity.better,
            count=len(labels),
            effective_count=whole.effective,
            interval=interval_of(whole.bounds[0], level) if whole.bounds else None,
            replicates=_replicates(statistic, labels, predictions, breakdown.sampling) if replicated else (),
            one_record=whole.one_record,
            definition=quantity.definition,
            counted=quantity.counted,
            reason=whole.reason,
        )
    slices = _slices(statistic, labels, predictions, breakdown, level, replicated)
    return Measurement(
        id=quantity.id,
        by=breakdown.columns,
        unit=quantity.unit,
        better=quantity.better,
        count=sum(part.count for part in slices),
        slices=tuple(slices),
        definition=quantity.definition,
        counted=quantity.counted,
        reason=None if slices else too_small(breakdown.min_group),
    )


Estimator = Callable[[Sequence[float]], Estimate]
"""Takes the levels of intervals and returns an estimate of rows that it holds."""


Parts = Mapping[tuple[str, ...], tuple[int, Estimator]]
"""The number of rows of each part and its estimator, by its key."""


def measure_parts(quantity: Quantity, by: tuple[str, ...], parts: Parts, level: float) -> Measurement:
    """Return a measurement of one slice a part, which is counted and estimated by itself, under its key of `by`.

    Each slice has an interval of its own, and one of those that hold for all parts at once.
    """
    each = simultaneous_level(level, max(len(parts), 1))
    family = Message(", Sidak over {n} parts", n=len(parts)) if len(parts) > 1 else ""
    slices = []
    for key, (count, estimate) in parts.items():
        found = estimate((level, each))
        alone, together = found.bounds if found.bounds else (None, None)
        slices.append(
            Slice(
                group=Group(by=by, key=key),
                value=found.value,
                count=count,
                interval=interval_of(alone, level),
                simultaneous_interval=interval_of(together, level, family),
                reason=found.reason,
            )
        )
    return Measurement(
        id=quantity.id,
        by=by,
        unit=quantity.unit,
        better=quantity.better,
        count=sum(part.count for part in slices),
        slices=tuple(slices),
        definition=quantity.definition,
        counted=quantity.counted,
    )


def exact_rate(hits: int, count: int) -> Estimator:
    """Return the estimator of a rate of independent trials, with Clopper and Pearson's interval."""

    def estimate(levels: Sequence[float]) -> Estimate:
        ends = [clopper_pearson(hits, count, level) for level in levels]
        return Estimate(
            hits / count, tuple((float(low), float(high), Message("Clopper-Pearson")) for low, high in ends)
        )

    return estimate


def too_few(fewest: int) -> str:
    """Return the reason for a value without an interval, which a limit on intervals does not judge."""
    return Message("fewer than {fewest} rows are too few for an interval", fewest=fewest)


def absent(rows: Codes) -> str:
    """Return the reason for a number that needs every class, of the number of rows of each: (classes,)."""
    if len(rows) == 2:
        needed = Message("a positive label") if int(np.argmin(rows)) else Message("a negative label")
        return Message("no rows with {needed}", needed=needed)
    return Message("{count} of {total} classes have no rows", count=int((rows == 0).sum()), total=len(rows))


def shown_rows(breakdown: Breakdown, row_count: int) -> dict[tuple[str, ...], NDArray[np.intp]]:
    """Return the rows of each group that a report may show, by its key, in the order of the keys."""
    codes = np.zeros(row_count, dtype=np.int64) if breakdown.codes is None else breakdown.codes
    if len(codes) != row_count:
        raise InputError(f"codes must have one group a row, got {len(codes):,} for {row_count:,} rows.")
    sizes = np.bincount(codes, minlength=len(breakdown.names))
    present = np.flatnonzero(sizes)
    keys = tuple(breakdown.names[code] for code in present)
    shown = present[~not_compared(sizes[present], breakdown.min_group, keys)]
    order, ends = np.argsort(codes, kind="stable"), np.cumsum(sizes)
    return {
        breakdown.names[code]: order[ends[code] - sizes[code] : ends[code]]
        for code in sorted(shown, key=lambda code: breakdown.names[code])
    }


def _slices(
    statistic: Statistic,
    labels: NDArray[Any],
    predictions: NDArray[Any],
    breakdown: Breakdown,
    level: float,
    replicated: bool,
) -> list[Slice]:
    groups = shown_rows(breakdown, len(labels))
    compared = sum(not breakdown.sampling.take(rows).is_one_cluster(len(rows)) for rows in groups.values())
    each = simultaneous_level(level, max(compared, 1))
    family = Message(", Sidak over {groups_count} groups", groups_count=compared) if compared > 1 else ""
    slices = []
    for key, rows in groups.items():
        group, sampling = Group(by=breakdown.columns, key=key), breakdown.sampling.take(rows)
        if sampling.is_one_cluster(len(rows)):
            slices.append(Slice(group=group, value=None, count=len(rows), reason=ONE_CLUSTER))
            continue
        part = applied(statistic, labels[rows], predictions[rows], (level, each), sampling)
        paired = replicated and len(key) == 1
        alone, together = part.bounds if part.bounds else (None, None)
        slices.append(
            Slice(
                group=group,
                value=part.value,
                count=len(rows),
                effective_count=part.effective,
                interval=interval_of(alone, level),
                simultaneous_interval=interval_of(together, level, family),
                replicates=_replicates(statistic, labels[rows], predictions[rows], sampling) if paired else (),
                one_record=part.one_record,
                reason=None if part.reason is None else Message("{reason} in this group", reason=part.reason),
            )
        )
    return slices


def _replicates(
    statistic: Statistic, labels: NDArray[Any], predictions: NDArray[Any], sampling: Sampling
) -> tuple[float, ...]:
    if predictions.size > MAXIMUM_CELLS:
        return ()

    def without(rows: NDArray[np.intp]) -> float | None:
        return applied(statistic, labels[rows], predictions[rows], (), sampling.take(rows)).value

    return replicates(without, len(labels), sampling)


def interval_of(bound: Bound | None, level: float, family: str = "") -> Interval | None:
    """Return a bound as an interval of a stated level, `family` said behind its method."""
    if bound is None:
        return None
    low, high, method = bound
    return Interval(low=low, high=high, level=level, method=method + family)
