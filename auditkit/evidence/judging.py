"""How measurements are judged: one finding per limit and number, the verdict over all, and a report judged anew."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping

from auditkit.evidence.baseline import DIFFERENCE_UNIT, BaselineMeasurements, Regression, judged_interval, regression
from auditkit.evidence.breakdowns import is_of_auditor
from auditkit.evidence.measurement import Interval, Measurement, Slice, Unit
from auditkit.evidence.messages import Message, title
from auditkit.evidence.policy import Finding, Limit, Verdict
from auditkit.evidence.sentences import regression_sentence, sentence, subject

RANK: dict[str, int] = {"error": 6, "fail": 5, "warn": 4, "inconclusive": 3, "not_run": 2, "waived": 1, "pass": 0}
"""How findings are ordered for a reader, worst first: a certain breach stands before an undecided group."""

MOST_TIMES = 10
"""More than so many times the records that there are is no advice: this data set cannot settle the limit."""

Judged = tuple[tuple[str, int], ...]
"""What a judged number rests on: the name and the number of records of one group or two; all rows have no name."""

NO_BASELINE = Message("there is no baseline; pass --baseline RESULTS.json")


def judge(
    limit: Limit,
    measurements: Iterable[Measurement],
    baseline: BaselineMeasurements | None = None,
    *,
    named: Collection[str] = (),
) -> list[Finding]:
    """Judge one limit against the measurements that it chooses; one finding per number.

    A measurement with slices and no value of its own is judged slice by slice, on intervals that hold for all
    slices together. A value without an interval is judged by itself; but where the measurement gives a reason why it
    has none, only by a limit that compares points. `baseline` holds the measurements that a regression is judged
    against. Where the limit's measurement was not made, the result is empty: `unmeasured` says so. `named` are the
    sensitive columns, which the user named: a limit of severity error by which none of such a column's numbers could
    be judged is an error, never a pass.
    """
    findings = []
    for measurement in measurements:
        if measurement.id != limit.measurement or not limit.chooses(measurement.by):
            continue
        if measurement.value is None and measurement.slices:
            of_groups = [_judge_number(limit, measurement, part, baseline) for part in measurement.slices]
            found = _worst(of_groups) if limit.groups == "worst" else of_groups
        else:
            found = [_judge_number(limit, measurement, None, baseline)]
        if _is_missed(limit, measurement, named) and all(finding.verdict == "not_run" for finding in found):
            known = measurement.value is not None or any(part.value is not None for part in measurement.slices)
            found = [_missed(found[0], None if known else measurement.by[0])]
        findings += found
    return findings


def _is_missed(limit: Limit, measurement: Measurement, named: Collection[str]) -> bool:
    """Whether a limit that fails must be judged on this breakdown, which is by one column that the user named.

    An optional limit may go without the measurement, but not without its number once the breakdown was made.
    """
    conditional = limit.severity == "warn" or limit.min_count is not None or limit.regression_at_most is not None
    return not conditional and len(measurement.by) == 1 and measurement.by[0] in named


def _missed(finding: Finding, column: str | None) -> Finding:
    """Return a finding as the error that it is; of a `column` without any number, with what to do."""
    if column is None:
        return finding.model_copy(update={"verdict": "error"})
    message = Message(
        "{finding} To settle it, audit more rows of its groups, lower --min-group, or leave {column} out of "
        "--sensitive.",
        finding=finding.message,
        column=column,
    )
    return finding.model_copy(update={"verdict": "error", "message": message})


def unmeasured(limit: Limit, reason: str) -> Finding:
    """Return the finding of a limit that nothing measured, with the reason why."""
    by = () if limit.by == "*" else limit.by
    message = Message("{subject} was not measured: {reason}", subject=subject(limit.measurement, by), reason=reason)
    return Finding(measurement=limit.measurement, by=by, limit=limit, verdict="not_run", message=message)


def overall(findings: Iterable[Finding]) -> Verdict:
    """Return the verdict over findings: error > fail > warn > inconclusive > pass.

    A limit of which nothing was measured is an error of the audit, not a pass, unless the limit is optional.
    Where nothing at all was judged, the verdict is `not_run`.
    """
    of_limits: dict[Limit, set[Verdict]] = {}
    for finding in findings:
        of_limits.setdefault(finding.limit, set()).add(finding.verdict)
    verdicts = {verdict for of_limit in of_limits.values() for verdict in of_limit}
    if any(of_limit == {"not_run"} and not limit.optional for limit, of_limit in of_limits.items()):
        verdicts.add("error")
    order: tuple[Verdict, ...] = ("error", "fail", "warn", "inconclusive")
    for verdict in order:
        if verdict in verdicts:
            return verdict
    return "pass" if verdicts & {"pass", "waived"} else "not_run"


def _worst(findings: list[Finding]) -> list[Finding]:
    """Return the worst of the groups' findings, saying how many there are; groups that were not judged come last.

    Behind a warning stands the worst undecided group too: it may fail, and a strict run does not pass over it.
    """
    judged = [finding for finding in findings if finding.verdict != "not_run"]
    worst = max(judged or findings, key=lambda finding: (RANK[finding.verdict], finding.excess))
    left_out = len(findings) - len(judged)
    message = worst.message
    if judged and left_out:
        message = Message(
            "{finding} The worst of {n} groups, {left_out} not judged.",
            finding=message,
            n=len(findings),
            left_out=left_out,
        )
    elif judged:
        message = Message("{finding} The worst of {n} groups.", finding=message, n=len(findings))
    undecided = [finding for finding in judged if finding.verdict == "inconclusive"]
    second = [max(undecided, key=lambda finding: finding.excess)] if undecided and worst.verdict == "warn" else []
    return [worst.model_copy(update={"message": message}), *second]


def _judge_number(
    limit: Limit, measurement: Measurement, part: Slice | None, baseline: BaselineMeasurements | None
) -> Finding:
    number: Measurement | Slice = measurement if part is None else part
    value, interval, before, reason = number.value, judged_interval(number), None, number.reason
    unit: Unit = measurement.unit
    paired = False
    if limit.regression_at_most is not None and value is not None:
        change = Regression(reason=NO_BASELINE) if baseline is None else regression(measurement, baseline, part)
        value, interval, before, reason = change.value, change.interval, change.baseline, change.reason
        paired = change.paired
        unit = DIFFERENCE_UNIT.get(unit, unit)
    wanted = limit.level if limit.compare == "interval" else None
    if wanted is not None and interval is not None and not math.isclose(interval.level, wanted):
        reason = Message(
            "its interval has {level:g} % and this limit asks for {asked:g} %, which a record cannot be turned into; "
            "run the audit with --conf-level {option:g}",
            level=interval.level * 100,
            asked=wanted * 100,
            option=wanted,
        )
        value, interval, before = None, None, None
    if limit.compare == "interval" and interval is None and reason:
        value, before = None, None
    if limit.min_count is not None and value is not None and number.count < limit.min_count:
        value, interval, before = None, None, None
        reason = Message(
            "it rests on {n:,} rows, and this limit judges from {least:,} on", n=number.count, least=limit.min_count
        )
    verdict, remark = _verdict(limit, value, interval, _groups_judged(measurement, part), measurement.counted)
    if value is None:
        message = Message(
            "{subject} was not judged: {reason}.",
            subject=subject(measurement.id, measurement.by, part),
            reason=reason or Message("it is undefined"),
        )
    elif before is not None:
        moved = (value, before, interval, paired)
        message = regression_sentence(measurement, part, change=moved, limit=limit, verdict=verdict, remark=remark)
    else:
        message = sentence(measurement, part, interval=interval, limit=limit, verdict=verdict, remark=remark)
    return Finding(
        measurement=measurement.id,
        by=measurement.by,
        group=None if part is None else part.group,
        value=value,
        interval=interval,
        baseline=before,
        limit=limit,
        verdict=verdict,
        message=message,
    )


def _groups_judged(measurement: Measurement, part: Slice | None) -> Judged:
    """Return the names and the numbers of records of what a number rests on: one group, two, or all rows.

    A part that the auditor made, such as a test, is no group of people, nor is a slice among others that rests on all
    records, such as a column: of neither could more be had by itself.
    """
    if part is not None:
        no_group = is_of_auditor(measurement.id, measurement.by)
        no_group |= part.count >= measurement.count < sum(one.count for one in measurement.slices)
        return (("" if no_group else part.group.text, part.count),)
    if measurement.compared is not None and measurement.compared_counts is not None:
        names = (group.text for group in measurement.compared)
        return tuple(zip(names, measurement.compared_counts, strict=True))
    return (("", measurement.count),)


def verdict_of(limit: Limit, value: float | None, interval: Interval | None, count: int) -> Verdict:
    """Return the verdict of one limit on one number that rests on `count` rows."""
    return _verdict(limit, value, interval, (("", count),))[0]


def _verdict(
    limit: Limit, value: float | None, interval: Interval | None, groups: Judged, counted: str = ""
) -> tuple[Verdict, str]:
    if value is None:
        return "not_run", ""
    point = limit.compare == "point" or interval is None
    low, high = (value, value) if point or interval is None else (interval.low, interval.high)
    broken: Verdict = "fail" if limit.severity == "error" else "warn"
    for bound, beyond in _bounds(limit, broken):
        held, exceeded = (high <= bound, low > bound) if limit.upper else (low >= bound, high < bound)
        if exceeded:
            return beyond, Message("beyond the limit's warning bound") if bound != limit.bound else ""
        if not held:
            remark = records_to_settle(value, low, high, bound, groups, counted)
            if bound != limit.bound:
                remark = Message("as to whether it warns, {remark}", remark=remark)
            if limit.inconclusive == "fail":
                return beyond, Message("{remark}, and this limit fails what is inconclusive", remark=remark)
            return "inconclusive", remark
    return "pass", ""


def _bounds(limit: Limit, broken: Verdict) -> Iterator[tuple[float, Verdict]]:
    yield limit.bound, broken
    if limit.warn_at is not None:
        yield limit.warn_at, "warn"


def records_to_settle(
    value: float, low: float, high: float, bound: float, groups: Judged, counted: str = ""
) -> Message:
    """Say how many more records of which group would take the interval off the bound, if the value stayed.

    `counted` is what the groups' numbers count, where they count no records.

    The half-width of an interval shrinks with the square root of the number of records, so the side that crosses the
    bound reaches it at `((side - value) / (bound - value))**2` times the records; twice as many settle it in four of
    five new samples. Of two groups, more records of the smaller one are asked for where they suffice: the variance of
    a difference is about in proportion to `1 / n + 1 / m`.

    >>> records_to_settle(0.08, 0.04, 0.118, 0.10, (("", 1000),))
    'about 6,200 more records would probably be enough'
    >>> records_to_settle(0.08, 0.04, 0.13, 0.10, (("", 1000),))
    'this data set cannot settle it'
    """
    cannot = Message("this data set cannot settle it")
    side = high if bound > value else low
    if math.isclose(value, bound, rel_tol=1e-9, abs_tol=1e-12):
        return cannot
    times = 2 * ((side - value) / (bound - value)) ** 2
    needed = [(name, count, count * times) for name, count in groups]
    if len(groups) == 2:
        (name, small), (_, large) = sorted(groups, key=lambda group: group[1])
        rest = (1 / small + 1 / large) / times - 1 / large if small else 0.0
        if rest > 0 and 1 / rest <= MOST_TIMES * small:
            needed = [(name, small, 1 / rest)]
    if any(not count or total > MOST_TIMES * count for _, count, total in needed):
        return cannot
    what = counted or Message("records")
    more = [
        Message("{n:,} more {counted} of {group}", n=_two_digits(total - count), counted=what, group=name)
        if name
        else Message("{n:,} more {counted}", n=_two_digits(total - count), counted=what)
        for name, count, total in needed
    ]
    records = more[0] if len(more) == 1 else Message("{one} and {other}", one=more[0], other=more[1])
    return Message("about {records} would probably be enough", records=records)


def _two_digits(count: float) -> int:
    digits = 1 - math.floor(math.log10(max(count, 1)))
    return max(1, int(round(count, digits)))


def held_back(findings: Iterable[Finding], measurements: Iterable[Measurement] = ()) -> list[Finding]:
    """Return findings, of a whole report, of which none passes without the limits that it depends on.

    It depends on those that its own limit names by `only_with`, and on those that the measurement names. Where a limit
    on one of these measurements fails, or none was judged, the finding is inconclusive: it was not exceeded, and it
    does not count. The message says so, and `held_by` names the measurement.
    """
    every = list(findings)
    needed = {one.id: one.only_with for one in measurements}
    verdicts: dict[str, set[Verdict]] = {}
    for finding in every:
        verdicts.setdefault(finding.measurement, set()).add(finding.verdict)
    return [_held_back(finding, verdicts, needed.get(finding.measurement, ())) for finding in every]


def _held_back(finding: Finding, verdicts: Mapping[str, set[Verdict]], needed: tuple[str, ...]) -> Finding:
    if finding.verdict not in ("pass", "warn"):
        return finding
    for name in dict.fromkeys((*finding.limit.only_with, *needed)):
        found = verdicts.get(name, set()) - {"not_run", "waived"}
        if found & {"fail", "error"}:
            reason = Message("{what} exceeds its limit", what=title(name))
        elif not found:
            reason = Message("{what} was not judged", what=title(name))
        else:
            continue
        message = Message("{message} It does not count: {reason}.", message=finding.message, reason=reason)
        return finding.model_copy(update={"verdict": "inconclusive", "held_by": name, "message": message})
    return finding
