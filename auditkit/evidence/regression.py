"""How much worse a number is than in a baseline report, with the interval of the difference."""

from __future__ import annotations

import math
from dataclasses import dataclass

from auditkit.evidence.measurement import Interval, Measurement, Slice, Unit

DIFFERENCE_UNIT: dict[Unit, Unit] = {"rate": "rate_difference", "share": "rate_difference"}
"""The unit of a difference, where it is not that of the numbers."""


@dataclass(frozen=True)
class Regression:
    """A value's worsening against the baseline, positive is worse; or None and the reason why."""

    value: float | None = None
    interval: Interval | None = None
    baseline: float | None = None
    reason: str | None = None


def regression(now: Measurement, then: Measurement | None, part: Slice | None = None) -> Regression:
    """Return how much worse `now` is than `then`, the same measurement in the baseline; for one group, its `part`.

    The interval is MOVER's (Zou & Donner 2008) from the two intervals, as for independent samples. Where both models
    saw the same rows it is wider than it need be, because their errors mostly fall on the same rows.
    """
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
        return Regression(value=value, baseline=before.value)
    if intervals[0].level != intervals[1].level:
        levels = " and ".join(f"{one.level * 100:g} %" for one in intervals if one)
        return Regression(reason=f"its interval and the baseline's have different levels, {levels}")
    return Regression(
        value=value,
        interval=_mover(sign, after.value, intervals[0], before.value, intervals[1]),
        baseline=before.value,
    )


def judged_interval(number: Measurement | Slice) -> Interval | None:
    """Return the interval that a limit is compared with: of a group, the one that holds for all groups at once."""
    if isinstance(number, Slice):
        return number.simultaneous_interval or number.interval
    return number.interval


def _mover(sign: int, after: float, now: Interval, before: float, then: Interval) -> Interval:
    up = math.hypot(now.high - after, before - then.low)
    down = math.hypot(after - now.low, then.high - before)
    value = after - before
    low, high = (value - down, value + up) if sign > 0 else (-value - up, -value + down)
    return Interval(low=low, high=high, level=now.level, method="MOVER of the two intervals, unpaired")
