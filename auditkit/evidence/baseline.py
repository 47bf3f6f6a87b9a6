"""How much worse a number is than in a baseline report, with the interval of the difference."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from auditkit.evidence.measurement import Interval, Measurement, Slice, Unit

DIFFERENCE_UNIT: dict[Unit, Unit] = {"rate": "rate_difference", "share": "rate_difference"}
"""The unit of a difference, where it is not that of the numbers."""


@dataclass(frozen=True)
class Regression:
    """A value's worsening against the baseline, positive is worse; or None, or no interval, and the reason why."""

    value: float | None = None
    interval: Interval | None = None
    baseline: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Earlier:
    """The measurements of the baseline, and whether they are of the same rows, and of the same model."""

    measurements: tuple[Measurement, ...]
    same_rows: bool = False
    same_model: bool = False

    def find(self, now: Measurement) -> Measurement | None:
        """Return the measurement with the id and the breakdown of `now`, or None."""
        return next((m for m in self.measurements if m.id == now.id and m.by == now.by), None)


def regression(now: Measurement, earlier: Earlier, part: Slice | None = None) -> Regression:
    """Return how much worse `now` is than the same measurement in the baseline; for one group, its `part`.

    On the same rows the interval is that of pairs: Student's t over the replicates' differences (the delete-a-group
    jackknife), simultaneous over the groups where there are several; and no wider than zero for the same model with
    the same value. On other rows, or where a record holds no replicates, it is MOVER's (Zou & Donner 2008) from the
    two intervals, as for independent samples: on the same rows wider than it need be, because two models mostly err
    on the same ones.
    """
    then = earlier.find(now)
    if then is None:
        return Regression(reason="the baseline has no such measurement")
    if now.better == "neither":
        return Regression(reason="neither more nor less of it is better, so that there is no worse")
    if now.unit != then.unit or now.better != then.better:
        return Regression(reason="the baseline measured it in another unit or direction")
    after: Measurement | Slice = now if part is None else part
    before: Measurement | Slice | None = then
    if part is not None:
        before = next((other for other in then.slices if other.name == part.name), None)
    if before is None:
        return Regression(reason="the baseline has no such group")
    if after.value is None or before.value is None:
        which, reason = ("", after.reason) if after.value is None else ("in the baseline, ", before.reason)
        return Regression(reason=f"{which}{reason or 'it has no value'}")
    sign = 1 if now.better == "lower" else -1
    value = sign * (after.value - before.value)
    intervals = [judged_interval(one) for one in (after, before)]
    if intervals[0] is None or intervals[1] is None:
        return Regression(value=value, baseline=before.value, reason=after.reason or before.reason)
    if intervals[0].level != intervals[1].level:
        levels = " and ".join(f"{one.level * 100:g} %" for one in intervals if one)
        return Regression(reason=f"its interval and the baseline's have different levels, {levels}")
    level = intervals[0].level
    if earlier.same_rows and earlier.same_model and value == 0:
        interval = Interval(low=0.0, high=0.0, level=level, method="same model and rows, paired")
    elif earlier.same_rows and len(after.replicates) == len(before.replicates) > 1:
        family = 1 if part is None else sum(other.value is not None for other in now.slices)
        differences = [sign * (a - b) for a, b in zip(after.replicates, before.replicates, strict=True)]
        interval = jackknife_interval(value, differences, level, family)
    else:
        interval = difference_interval(before.value, intervals[1], after.value, intervals[0])
        if sign < 0:
            interval = interval.model_copy(update={"low": -interval.high, "high": -interval.low})
    return Regression(value=value, interval=interval, baseline=before.value)


def jackknife_interval(value: float, replicates: list[float], level: float, family: int = 1) -> Interval:
    """Return the interval of a paired difference from its replicates, one without each block of rows.

    Student's t over the delete-a-group jackknife; with a `family`, Sidak's over that many differences at once.
    """
    blocks = len(replicates)
    error = math.sqrt((blocks - 1) * statistics.pvariance(replicates))
    half = student_quantile(level ** (1 / family), blocks - 1) * error
    over = f", Sidak over {family} groups" if family > 1 else ""
    method = f"jackknife over {blocks} blocks of rows{over}, paired"
    return Interval(low=value - half, high=value + half, level=level, method=method)


def student_quantile(level: float, freedom: int) -> float:
    """Return t, with `level` of Student's distribution of `freedom` degrees between -t and t.

    By bisection of the distribution's finite sum for whole degrees (Abramowitz & Stegun 26.7.3 and 26.7.4): SciPy has
    the same, but importing it takes longer than all the rest of a gate.

    >>> round(student_quantile(0.95, 19), 6)
    2.093024
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        low, high = (angle, high) if _student_share(angle, freedom) < level else (low, angle)
    return math.sqrt(freedom) * math.tan(low)


def _student_share(angle: float, freedom: int) -> float:
    """Return the share between -t and t, for t = sqrt(freedom) * tan(angle)."""
    cosine, odd = math.cos(angle), freedom % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for power in range(1 + odd, freedom, 2):
        total += term
        term *= cosine * cosine * power / (power + 1)
    share = math.sin(angle) * total
    return (angle + share) * 2 / math.pi if odd else share


def difference_interval(before: float, then: Interval, after: float, now: Interval) -> Interval:
    """Return the interval of `after - before` from the intervals of both, which have one level.

    MOVER: the distances of each value to the ends of its interval are squared and added (Zou & Donner 2008; for two
    Wilson intervals this is Newcombe's method 10), as for independent samples.

    >>> wide = Interval(low=0.1, high=0.3, level=0.95, method="Wilson")
    >>> difference_interval(0.2, wide, 0.2, wide).high
    0.1414213562373095
    """
    up = math.hypot(max(0.0, now.high - after), max(0.0, before - then.low))
    down = math.hypot(max(0.0, after - now.low), max(0.0, then.high - before))
    value = after - before
    method = "MOVER of the two intervals, unpaired"
    return Interval(low=value - down, high=value + up, level=now.level, method=method)


def judged_interval(number: Measurement | Slice) -> Interval | None:
    """Return the interval that a limit is compared with: of a group, the one that holds for all groups at once."""
    if isinstance(number, Slice):
        return number.simultaneous_interval or number.interval
    return number.interval
