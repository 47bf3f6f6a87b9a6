"""Numbers that are repeated over training runs on the same rows: their mean, and an interval for rows and luck."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from auditkit.errors import InputError
from auditkit.evidence.measurement import Group, Interval, Measurement, Slice
from auditkit.evidence.messages import Message


def mean_of_runs(values: Sequence[float], intervals: Sequence[Interval | None]) -> tuple[float, Interval | None]:
    """Return the mean over runs, and its interval over audited rows and training runs.

    Each run's interval allows for the choice of rows. To the mean distance of its ends from the value comes, by
    root of squares (Zou & Donner 2008), Student's t over the runs; two runs have wide intervals. One run is
    returned as it is. None where a run has no interval.

    >>> values = [0.8, 0.82, 0.84]
    >>> rows = [Interval(low=value - 0.03, high=value + 0.03, level=0.95, method="Wilson") for value in values]
    >>> mean, interval = mean_of_runs(values, rows)
    >>> round(mean, 3), round(interval.low, 3), round(interval.high, 3)
    (0.82, 0.762, 0.878)
    """
    if not values or len(values) != len(intervals):
        raise InputError(f"runs: {len(values)} values and {len(intervals)} intervals; each run has one of both.")
    mean = float(np.mean(values))
    known = [interval for interval in intervals if interval is not None]
    if len(known) < len(values):
        return mean, None
    if len(values) == 1:
        return mean, known[0]
    level, count = known[0].level, len(values)
    luck = float(special.stdtrit(count - 1, (1 + level) / 2) * np.std(values, ddof=1) / np.sqrt(count))
    below = float(np.mean([value - interval.low for value, interval in zip(values, known, strict=True)]))
    above = float(np.mean([interval.high - value for value, interval in zip(values, known, strict=True)]))
    return mean, Interval(
        low=mean - float(np.hypot(below, luck)),
        high=mean + float(np.hypot(above, luck)),
        level=level,
        method=Message("{method}, joined with Student's t over {n} training runs", method=known[0].method, n=count),
    )


def slice_of_runs(
    group: Group, parts: Sequence[Measurement | Slice], *, low: float | None = None, high: float | None = None
) -> Slice:
    """Return one slice for the runs' numbers, its interval cut off at the bounds `low` and `high` of such a number.

    Undefined, with the first reason, where it is undefined in any run.
    """
    values = [part.value for part in parts if part.value is not None]
    if len(values) < len(parts):
        reason = next((part.reason for part in parts if part.reason), Message("undefined in a training run"))
        return Slice(group=group, value=None, count=parts[0].count, reason=reason)
    value, interval = mean_of_runs(values, [part.interval for part in parts])
    if interval is not None:
        ends = {
            "low": interval.low if low is None else max(interval.low, low),
            "high": interval.high if high is None else min(interval.high, high),
        }
        interval = interval.model_copy(update=ends)
    why = next((part.reason for part in parts if part.interval is None), None)
    return Slice(group=group, value=value, count=parts[0].count, interval=interval, reason=why)
