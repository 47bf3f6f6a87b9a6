"""How much worse a number is than in a baseline report, with the interval of the difference."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from auditkit.evidence.measurement import Interval, Measurement, Slice, Unit
from auditkit.evidence.messages import Message

DIFFERENCE_UNIT: dict[Unit, Unit] = {"rate": "rate_difference", "share": "rate_difference"}
"""The unit of a difference, where it is not that of the numbers."""


@dataclass(frozen=True)
class Regression:
    """A value's worsening against the baseline, positive is worse; or None, or no interval, and the reason why.

    `paired` says that both values are of the same rows, and compared row by row.
    """

    value: float | None = None
    interval: Interval | None = None
    baseline: float | None = None
    reason: str | None = None
    paired: bool = False


@dataclass(frozen=True)
class BaselineMeasurements:
    """The measurements of the baseline, and whether they are of the same rows, and of the same model."""

    measurements: tuple[Measurement, ...]
    same_rows: bool = False
    same_model: bool = False

    def find(self, now: Measurement) -> Measurement | None:
        """Return the measurement with the id and the breakdown of `now`, or None."""
        return next((m for m in self.measurements if m.id == now.id and m.by == now.by), None)


def regression(now: Measurement, earlier: BaselineMeasurements, part: Slice | None = None) -> Regression:
    """Return how much worse `now` is than the same measurement in the baseline; for one group, its `part`.

    On the same rows the interval is that of pairs (`paired_interval`), simultaneous over the groups where there are
    several; and no wider than zero for the same model with the same value. On other rows, or where a record does not
    hold what pairs need, it is MOVER's (Zou & Donner 2008) from the two intervals, as for independent samples: on the
    same rows wider than it need be, because two models mostly err on the same ones.
    """
    before = _counterpart(now, earlier, part)
    if isinstance(before, Message):
        return Regression(reason=before)
    after: Measurement | Slice = now if part is None else part
    if after.value is None:
        return Regression(reason=after.reason or Message("it has no value"))
    if before.value is None:
        return Regression(
            reason=Message("in the baseline, {reason}", reason=before.reason or Message("it has no value"))
        )
    sign = 1 if now.better == "lower" else -1
    value = sign * (after.value - before.value)
    intervals = [judged_interval(one) for one in (after, before)]
    if intervals[0] is None or intervals[1] is None:
        return Regression(value=value, baseline=before.value, reason=after.reason or before.reason)
    if intervals[0].level != intervals[1].level:
        return Regression(
            reason=Message(
                "its interval and the baseline's have different levels, {now:g} % and {then:g} %",
                now=intervals[0].level * 100,
                then=intervals[1].level * 100,
            )
        )
    level = intervals[0].level
    pairs: Interval | None = None
    if earlier.same_rows and earlier.same_model and value == 0:
        pairs = interval = Interval(low=0.0, high=0.0, level=level, method=Message("same model and rows, paired"))
    else:
        family = 1 if part is None else sum(other.value is not None for other in now.slices)
        pairs = paired_interval(before, after, level, family) if earlier.same_rows else None
        interval = pairs or difference_interval(before.value, intervals[1], after.value, intervals[0])
        if sign < 0:
            interval = interval.model_copy(update={"low": -interval.high, "high": -interval.low})
    return Regression(value=value, interval=interval, baseline=before.value, paired=pairs is not None)


def _counterpart(now: Measurement, earlier: BaselineMeasurements, part: Slice | None) -> Measurement | Slice | Message:
    """Return what the baseline holds of a measurement, or of one group of it; else the reason why it is no help."""
    then = earlier.find(now)
    if then is None:
        return Message("the baseline has no such measurement")
    if now.better == "neither":
        return Message("neither more nor less of it is better, so that there is no worse")
    if now.unit != then.unit or now.better != then.better:
        return Message("the baseline measured it in another unit or direction")
    if part is None:
        return then
    group = next((other for other in then.slices if other.group == part.group), None)
    return Message("the baseline has no such group") if group is None else group


def paired_interval(
    before: Measurement | Slice, after: Measurement | Slice, level: float, family: int = 1
) -> Interval | None:
    """Return the interval of `after - before` on the same rows; None where the records do not hold what it needs.

    The replicates, one without each block of rows, give the variance of the difference (the delete-a-group
    jackknife). With the effect of one record (`one_record`) they also give how many records changed, and by how many
    more one way than the other: a table of pairs, whose interval is never of width zero (`table_of_pairs_interval`).
    Without it the jackknife stands by itself, if at least half of the blocks tell the two models apart. With a
    `family`, Sidak's over that many differences at once.
    """
    pairs = list(zip(before.replicates, after.replicates, strict=False))
    if after.value is None or before.value is None or len(pairs) < 2 or len(after.replicates) != len(before.replicates):
        return None
    value, blocks = after.value - before.value, len(pairs)
    differences = [now - then for then, now in pairs]
    quantile = student_quantile(level ** (1 / family), blocks - 1)
    variance = (blocks - 1) * statistics.pvariance(differences)
    over = Message(", Sidak over {n} groups", n=family) if family > 1 else ""
    if before.one_record is not None and after.one_record is not None:
        effect = max(before.one_record, after.one_record)
        low, high = table_of_pairs_interval(value, variance, effect, quantile)
        method = Message("Bonett-Price and MOVER over {n} blocks of rows{over}, paired", n=blocks, over=over)
        return Interval(low=low, high=high, level=level, method=method)
    usual = max(differences.count(one) for one in differences)
    if blocks - usual < blocks / 2:
        return None
    half = quantile * math.sqrt(variance)
    method = Message("jackknife over {n} blocks of rows{over}, paired", n=blocks, over=over)
    return Interval(low=value - half, high=value + half, level=level, method=method)


def table_of_pairs_interval(value: float, variance: float, effect: float, quantile: float) -> tuple[float, float]:
    """Return the interval of a paired difference of which one record makes `effect`: of rates, one over the trials.

    `variance` is that of the difference, which tells how many records changed; `quantile` is that of its standard
    error. The wider of two on each side: Bonett & Price's (2012), which adds a change each way, and MOVER of the
    score limits of the share changed one way and the other, which is as wide as the rule of three where nothing
    changed. Each by itself errs up to half as often again as it says.

    >>> low, high = table_of_pairs_interval(0.0, 0.0, 0.01, 1.96)  # 100 pairs, none of which differs
    >>> round(low, 3), round(high, 3)
    (-0.037, 0.037)
    """
    count, net = 1 / effect, value / effect
    changed = max(variance / effect**2 + net * net / count, abs(net))
    ways = ((changed - net) / 2, (changed + net) / 2)
    centre = net / (count + 2)
    spread = quantile * math.sqrt(max(changed + 2 - net * centre, 0.0)) / (count + 2)
    (down_low, down_high), (up_low, up_high) = (_score_limits(way, count, quantile) for way in ways)
    low = value - math.hypot(ways[1] / count - up_low, down_high - ways[0] / count)
    high = value + math.hypot(up_high - ways[1] / count, ways[0] / count - down_low)
    return min(low, centre - spread), max(high, centre + spread)


def _score_limits(successes: float, trials: float, quantile: float) -> tuple[float, float]:
    """Return Wilson's limits of a rate, without SciPy, of numbers that need not be whole."""
    square = quantile * quantile
    centre = (successes + square / 2) / (trials + square)
    half = quantile / (trials + square) * math.sqrt(max(successes * (trials - successes) / trials, 0.0) + square / 4)
    return max(centre - half, 0.0), centre + half


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
    method = Message("MOVER of the two intervals, unpaired")
    return Interval(low=value - down, high=value + up, level=now.level, method=method)


def judged_interval(number: Measurement | Slice) -> Interval | None:
    """Return the interval that a limit is compared with: of a group, the one that holds for all groups at once."""
    if isinstance(number, Slice):
        return number.simultaneous_interval or number.interval
    return number.interval
