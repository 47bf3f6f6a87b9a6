"""How measurements are judged: one finding per limit and number, the verdict over all, and a report judged anew."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from auditkit.evidence.baseline import DIFFERENCE_UNIT, Earlier, Regression, judged_interval, regression
from auditkit.evidence.measurement import Interval, Measurement, Slice, Unit
from auditkit.evidence.messages import regression_sentence, sentence
from auditkit.evidence.policy import Finding, Limit, Verdict

RANK: dict[str, int] = {"error": 6, "fail": 5, "inconclusive": 4, "warn": 3, "not_run": 2, "waived": 1, "pass": 0}
"""How findings are ordered for a reader, worst first."""

NO_BASELINE = "there is no baseline; pass --baseline RESULTS.json"


def judge(limit: Limit, measurements: Iterable[Measurement], baseline: Earlier | None = None) -> list[Finding]:
    """Judge one limit against the measurements that it chooses; one finding per number.

    A measurement with slices and no value of its own is judged slice by slice, on intervals that hold for all
    slices together. A value without an interval is judged by itself; but where the measurement gives a reason why it
    has none, only by a limit that compares points. `baseline` holds the measurements that a regression is judged
    against. Where the limit's measurement was not made, the result is empty: `unmeasured` says so.
    """
    findings = []
    for measurement in measurements:
        if measurement.id != limit.measurement or not limit.chooses(measurement.by):
            continue
        if measurement.value is None and measurement.slices:
            of_groups = [_judge_number(limit, measurement, part, baseline) for part in measurement.slices]
            findings += [_worst(of_groups)] if limit.groups == "worst" else of_groups
        else:
            findings.append(_judge_number(limit, measurement, None, baseline))
    return findings


def unmeasured(limit: Limit, reason: str) -> Finding:
    """Return the finding of a limit that nothing measured, with the reason why."""
    by = () if limit.by == "*" else limit.by
    message = f"{sentence(limit.measurement, by)} was not measured: {reason}"
    return Finding(measurement=limit.measurement, by=by, limit=limit, verdict="not_run", message=message)


def overall(findings: Iterable[Finding]) -> Verdict:
    """Return the verdict over findings: error > fail > inconclusive > warn > pass.

    A limit of which nothing was measured is an error of the audit, not a pass, unless the limit is optional.
    Where nothing at all was judged, the verdict is `not_run`.
    """
    of_limits: dict[Limit, set[Verdict]] = {}
    for finding in findings:
        of_limits.setdefault(finding.limit, set()).add(finding.verdict)
    verdicts = {verdict for of_limit in of_limits.values() for verdict in of_limit}
    if any(of_limit == {"not_run"} and not limit.optional for limit, of_limit in of_limits.items()):
        verdicts.add("error")
    order: tuple[Verdict, ...] = ("error", "fail", "inconclusive", "warn")
    for verdict in order:
        if verdict in verdicts:
            return verdict
    return "pass" if verdicts & {"pass", "waived"} else "not_run"


def _worst(findings: list[Finding]) -> Finding:
    """Return the worst of the groups' findings, saying how many there are; groups that were not judged come last."""
    judged = [finding for finding in findings if finding.verdict != "not_run"]
    worst = max(judged or findings, key=lambda finding: (RANK[finding.verdict], finding.excess))
    left_out = len(findings) - len(judged)
    not_judged = f", {left_out} not judged" if judged and left_out else ""
    said = f" The worst of {len(findings)} groups{not_judged}." if judged else ""
    return worst.model_copy(update={"message": worst.message + said})


def _judge_number(limit: Limit, measurement: Measurement, part: Slice | None, baseline: Earlier | None) -> Finding:
    number: Measurement | Slice = measurement if part is None else part
    value, interval, before, reason = number.value, judged_interval(number), None, number.reason
    unit: Unit = measurement.unit
    if limit.regression_at_most is not None and value is not None:
        change = Regression(reason=NO_BASELINE) if baseline is None else regression(measurement, baseline, part)
        value, interval, before, reason = change.value, change.interval, change.baseline, change.reason
        unit = DIFFERENCE_UNIT.get(unit, unit)
    wanted = limit.level if limit.compare == "interval" else None
    if wanted is not None and interval is not None and not math.isclose(interval.level, wanted):
        reason = (
            f"its interval has {interval.level * 100:g} % and this limit asks for {wanted * 100:g} %, which a record "
            f"cannot be turned into; run the audit with --conf-level {wanted:g}"
        )
        value, interval, before = None, None, None
    if limit.compare == "interval" and interval is None and reason:
        value, before = None, None
    if limit.min_count is not None and value is not None and number.count < limit.min_count:
        value, interval, before = None, None, None
        reason = f"it rests on {number.count:,} rows, and this limit judges from {limit.min_count:,} on"
    verdict, remark = _verdict(limit, value, interval, number.count)
    if value is None:
        message = f"{sentence(measurement.id, measurement.by, part)} was not judged: {reason or 'it is undefined'}."
    elif before is not None and number.value is not None:
        message = regression_sentence(
            measurement,
            part,
            value=value,
            before=before,
            interval=interval,
            unit=unit,
            limit=limit,
            verdict=verdict,
            remark=remark,
        )
    else:
        message = sentence(
            measurement.id,
            measurement.by,
            part,
            measurement=measurement,
            interval=interval,
            limit=limit,
            verdict=verdict,
            remark=remark,
        )
    return Finding(
        measurement=measurement.id,
        by=measurement.by,
        slice=None if part is None else part.name,
        value=value,
        interval=interval,
        baseline=before,
        limit=limit,
        verdict=verdict,
        message=message,
    )


def _verdict(limit: Limit, value: float | None, interval: Interval | None, count: int) -> tuple[Verdict, str]:
    if value is None:
        return "not_run", ""
    point = limit.compare == "point" or interval is None
    low, high = (value, value) if point or interval is None else (interval.low, interval.high)
    broken: Verdict = "fail" if limit.severity == "error" else "warn"
    for bound, beyond in _bounds(limit, broken):
        held, exceeded = (high <= bound, low > bound) if limit.upper else (low >= bound, high < bound)
        if exceeded:
            return beyond, "beyond the limit's warning bound" if bound != limit.bound else ""
        if not held:
            which = "" if bound == limit.bound else " whether it warns"
            remark = rows_to_settle(value, low, high, bound, count, which)
            if limit.inconclusive == "fail":
                return beyond, f"{remark}, and this limit fails what is inconclusive"
            return "inconclusive", remark
    return "pass", ""


def _bounds(limit: Limit, broken: Verdict) -> Iterator[tuple[float, Verdict]]:
    yield limit.bound, broken
    if limit.warn_at is not None:
        yield limit.warn_at, "warn"


def rows_to_settle(value: float, low: float, high: float, bound: float, count: int, which: str = "") -> str:
    """Say how many more rows would take the interval off the bound, if the value stayed where it is.

    The half-width of an interval shrinks with the square root of the count, so the side that crosses the
    bound clears it at `count * ((side - value) / (bound - value))**2` rows. The value will not stay where it is:
    with that many rows, about half of all samples settle it. `which` says what "it" is.

    >>> rows_to_settle(0.08, 0.04, 0.12, 0.10, 1000)
    'about 3,000 more rows would settle it if the value stays'
    """
    it = which or " it"
    side = high if bound > value else low
    if math.isclose(value, bound, rel_tol=1e-9, abs_tol=1e-12):
        return f"the value is on the limit: no number of rows is sure to settle{it}"
    needed = count * ((side - value) / (bound - value)) ** 2
    more = max(needed - count, 1)
    if more > 1e9:
        return f"more than a billion rows would be needed to settle{it}"
    digits = 1 - math.floor(math.log10(more))
    return f"about {max(1, int(round(more, digits))):,} more rows would settle{it} if the value stays"
