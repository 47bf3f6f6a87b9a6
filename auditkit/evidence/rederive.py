"""A report that is read back: what its own numbers contradict is refused, and every finding is derived anew.

A results.json is evidence only as far as it can be checked. Without the manifest of its folder anybody can have written
it; so nothing in it is believed that follows from something else in it: findings, verdicts and the exit code are
derived again from the measurements, the policy, the waivers and the day of the judgement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from auditkit import plugins
from auditkit.evidence.judging import held_back, judge, unmeasured, verdict_of
from auditkit.evidence.measurement import Interval, Measurement, Slice, Unit
from auditkit.evidence.messages import Message
from auditkit.evidence.policy import Finding, Limit, Policy, profile, shipped_profile
from auditkit.evidence.waivers import waive

if TYPE_CHECKING:
    from auditkit.evidence.report import Outcome, Report

TOLERANCE = 1e-9
"""How far a value may lie outside its interval, relative to its size: the last digits of a sum."""

RANGES: dict[Unit, tuple[float, float]] = {
    "rate": (0, 1), "share": (0, 1), "rate_difference": (-1, 1), "rows": (0, float("inf")),
    "count": (0, float("inf")), "epsilon": (0, float("inf")),
}  # fmt: skip
"""Between which numbers a value of a unit lies; of the others any is possible."""

NAMED_RANGES: dict[str, tuple[float, float]] = {
    "_auc": (0, 1), "_precision": (0, 1), "_f1_score": (0, 1), "_matthews_correlation": (-1, 1),
    "_perplexity": (1, float("inf")), "_exposure": (0, float("inf")), "_density": (0, float("inf")),
    "_parity_ratio": (0, 1), "_odds_ratio": (0, 1), "_opportunity_ratio": (0, 1), "_accuracy_ratio": (0, 1),
}  # fmt: skip
"""Likewise by how the name of the metric ends, behind an underscore or the auditor's name."""

COUNTS_OF_ROWS = ("data", "performance", "fairness")
"""The auditors whose groups are parts of the rows that a measurement's own count is of."""

ABSENT = Message("this auditor was not part of the audit")


class ContradictionError(ValueError):
    """A record contradicts itself; the message says where."""


def check_outcome(outcome: Outcome) -> None:
    """Check one auditor's part: numbers that can be, each within its interval, and under the auditor's own name.

    Raises:
        ContradictionError: a number cannot be, or an outcome that crashed or did not run has measurements.
    """
    name = outcome.auditor
    if outcome.error is not None and outcome.reason is not None:
        raise ContradictionError(f"{name} both crashed and did not run")
    if (outcome.error is not None or outcome.reason is not None) and outcome.measurements:
        raise ContradictionError(f"{name} did not finish, and has measurements")
    counts = Counter((measurement.id, measurement.by) for measurement in outcome.measurements)
    for (id, by), count in counts.items():
        if count > 1:
            raise ContradictionError(f"{id}{_by(by)} is stated {count} times")
    for measurement in outcome.measurements:
        where = place_of(measurement)
        if measurement.id.partition(".")[0] != name:
            raise ContradictionError(f"{where} is no measurement of {name}")
        _check_groups(measurement, where)
        _check_number(measurement, measurement, where)
        whole = name in COUNTS_OF_ROWS
        _check_pair(measurement, outcome.measurements, where)
        for part in measurement.slices:
            inner = place_of(measurement, part)
            _check_number(part, measurement, inner)
            if whole and part.count > measurement.count:
                raise ContradictionError(f"{inner} rests on {part.count:,} rows of {measurement.count:,}")


def rederived(report: Report, *, same_version: bool, recounted: bool = True) -> Report:
    """Return the report with its findings derived from its measurements.

    Regressions are held against what the record says of the baseline, whose measurements it does not hold. A report of
    another version of auditkit is judged as this one judges; one of this version must say the same, and if `recounted`
    its rates and gaps are computed again from their counts.

    Raises:
        ContradictionError: the report contradicts itself.
    """
    data = report.subject.dataset
    if data.audited_row_count > data.row_count:
        raise ContradictionError(f"{data.audited_row_count:,} rows were audited of {data.row_count:,}")
    if report.judged is not None and report.judged < report.created.date():
        raise ContradictionError(f"it was judged on {report.judged}, before the audit of {report.created.date()}")
    _check_policy(report.policy, report.subject.schema_.get("task"))
    names = [outcome.auditor for outcome in report.outcomes]
    if len(set(names)) != len(names):
        raise ContradictionError("an auditor has two outcomes")
    for limit in report.policy.limits:
        if limit.measurement.partition(".")[0] not in names:
            raise ContradictionError(f"the policy has a limit on {limit.measurement}, and no outcome answers it")
    outcomes = []
    for outcome in report.outcomes:
        check_outcome(outcome)
        _check_counts(outcome, report)
        if same_version and recounted:
            _recount(outcome, report)
    for outcome, derived in zip(report.outcomes, _every_finding(report), strict=True):
        if same_version and [_judged(one) for one in derived] != [_judged(one) for one in outcome.findings]:
            raise ContradictionError(_difference(outcome, derived))
        outcomes.append(outcome.model_copy(update={"findings": derived}))
    return report.model_copy(update={"outcomes": tuple(outcomes)})


def why_unmeasured(outcome: Outcome) -> str:
    """Return why a limit on an auditor's measurement found none."""
    return outcome.error or outcome.reason or Message("it does not apply to this model, these data or these settings")


def was_absent(outcome: Outcome) -> bool:
    """Return whether an outcome only stands for an auditor that was not part of the audit; a crashed one never does."""
    return outcome.reason == ABSENT and outcome.error is None and not outcome.version and not outcome.measurements


def _every_finding(report: Report) -> list[tuple[Finding, ...]]:
    """Return the findings of every outcome, as its measurements, the policy and the waivers give them."""
    day: date = report.judged or report.created.date()
    model_sha256 = report.subject.model.sha256 if report.subject.model else None
    made = [_findings(outcome, report, day) for outcome in report.outcomes]
    held = iter(held_back(finding for part in made for finding in part))

    def waived(finding: Finding) -> Finding:
        stated = finding.waiver is not None  # of a regression, whose finding was checked as it stands
        return finding if stated else waive(finding, report.waivers, model_sha256, day)

    return [tuple(waived(next(held)) for _ in part) for part in made]


def _findings(outcome: Outcome, report: Report, day: date) -> list[Finding]:
    findings: list[Finding] = []
    for limit in report.policy.limits:
        if limit.measurement.partition(".")[0] != outcome.auditor:
            continue
        if limit.regression_at_most is not None and report.baseline is not None:
            findings += _regressions(outcome, limit, report, day)
            continue
        named = report.subject.sensitive
        findings += judge(limit, outcome.measurements, named=named) or [unmeasured(limit, why_unmeasured(outcome))]
    return findings


def _regressions(outcome: Outcome, limit: Limit, report: Report, day: date) -> list[Finding]:
    """Return the stated findings of a regression limit, once each agrees with the value that it is about."""
    stated = [finding for finding in outcome.findings if finding.limit == limit]
    if not stated:
        raise ContradictionError(f"the limit on {limit.measurement} in line {limit.line} has no finding")
    for finding in stated:
        where = f"the finding on {finding.measurement}{_by(finding.by)}"
        if finding.value is None:
            if finding.verdict != "not_run":
                raise ContradictionError(f"{where} has no value, and the verdict {finding.verdict}")
            continue
        number = _number_of(outcome, finding)
        if number is None or number.value is None or finding.baseline is None:
            raise ContradictionError(f"{where} is about no number of the report")
        if not _close(abs(finding.value), abs(number.value - finding.baseline)):
            raise ContradictionError(f"{where} states a change of {finding.value!r} that its two values do not give")
        _check_interval(finding.value, finding.interval, where)
        verdict = verdict_of(limit, finding.value, finding.interval, number.count)
        if finding.verdict == "waived" or finding.waiver is not None:
            bare = finding.model_copy(update={"verdict": verdict, "waiver": None})
            sha256 = report.subject.model.sha256 if report.subject.model else None
            verdict = waive(bare, report.waivers, sha256, day).verdict
        if finding.verdict != verdict:
            raise ContradictionError(f"{where} states {finding.verdict}, and its numbers give {verdict}")
    return stated


def _check_counts(outcome: Outcome, report: Report) -> None:
    """Compare the counts of auditors that count audited rows with how many there are, once a class at most."""
    rows, classes = report.subject.dataset.audited_row_count, len(report.subject.schema_.get("classes") or ())
    stated = next((one for one in outcome.measurements if one.id == "data.row_count" and not one.by), None)
    if stated is not None and (stated.value, stated.count) != (rows, rows):
        raise ContradictionError(f"{stated.id} is {stated.value} over {stated.count:,} rows, and {rows:,} were audited")
    if outcome.auditor not in ("performance", "fairness"):
        return
    for measurement in outcome.measurements:
        if measurement.unit in ("rate", "share", "rate_difference") and measurement.count > rows * max(1, classes):
            raise ContradictionError(f"{measurement.id} rests on {measurement.count:,} rows, and {rows:,} were audited")


def _recount(outcome: Outcome, report: Report) -> None:
    """Derive the numbers of an auditor of auditkit's own again from their counts, where it has a function for that.

    That needs SciPy, which an installation for `gate` alone has not; what is read then is said to be unauthenticated.
    """
    recounts = plugins.installed("recounts")
    own = recounts.get(outcome.auditor)
    if own is None or not own.value.startswith("auditkit."):  # no code of another package judges evidence
        return
    try:
        recount = own.load()
    except ModuleNotFoundError as error:
        if (error.name or "auditkit").partition(".")[0] not in ("numpy", "scipy"):
            raise
        return
    recount(outcome, report)


def _number_of(outcome: Outcome, finding: Finding) -> Measurement | Slice | None:
    for measurement in outcome.measurements:
        if (measurement.id, measurement.by) == (finding.measurement, finding.by):
            if finding.group is None:
                return measurement
            return next((part for part in measurement.slices if part.group == finding.group), None)
    return None


def _check_groups(measurement: Measurement, where: str) -> None:
    """Check that groups are told by columns, and that those compared are no larger than all rows."""
    if (measurement.slices or measurement.compared) and not measurement.by:
        raise ContradictionError(f"{where} has groups, and no column that they are told by")
    whole = measurement.id.partition(".")[0] in COUNTS_OF_ROWS
    if whole and measurement.compared_counts and max(measurement.compared_counts) > measurement.count:
        raise ContradictionError(f"{where} compares groups of more rows than its {measurement.count:,}")


def _check_number(number: Measurement | Slice, of: Measurement, where: str) -> None:
    if number.value is None:
        return
    name = f"_{of.id.partition('.')[2]}"
    named = next((limits for ending, limits in NAMED_RANGES.items() if name.endswith(ending)), None)
    low, high = named or RANGES.get(of.unit, (-float("inf"), float("inf")))
    if "_excess" in of.id:  # a difference of two such numbers
        low = -high
    if not low - TOLERANCE <= number.value <= high + TOLERANCE:
        kind = f"a {of.unit}" if named is None else "such a number"
        raise ContradictionError(f"{where} is {number.value!r}, and {kind} lies from {low:g} to {high:g}")
    _check_interval(number.value, number.interval, where)
    if isinstance(number, Slice):
        _check_interval(number.value, number.simultaneous_interval, where)


def _check_pair(gap: Measurement, measured: Sequence[Measurement], where: str) -> None:
    """Compare a gap with the two rates that it lies between, and these with the rates of their groups."""
    if gap.pair is None or gap.value is None or gap.compared_counts is None or gap.compared is None:
        return
    if any(hits > count for hits, count in zip(gap.pair.successes, gap.compared_counts, strict=True)):
        raise ContradictionError(f"{where} counts more successes in a group than the group has rows")
    if 0 in gap.compared_counts:
        raise ContradictionError(f"{where} compares a group without rows")
    low, high = gap.pair.rates(gap.compared_counts)
    if gap.unit == "rate_difference" and not _close(gap.value, high - low):
        raise ContradictionError(f"{where} is {gap.value!r}, and its two rates differ by {high - low!r}")
    if gap.unit == "ratio" and high > 0 and not _close(gap.value, low / high):
        raise ContradictionError(f"{where} is {gap.value!r}, and its two rates give {low / high!r}")
    _check_interval(gap.value, gap.pair.interval, f"{where}, of two groups,")
    id = f"{gap.id.partition('.')[0]}.{gap.pair.rate}"
    of_groups = {part.group: part.value for one in measured if (one.id, one.by) == (id, gap.by) for part in one.slices}
    for group, rate in zip(gap.compared, (low, high), strict=True):
        stated = of_groups.get(group)
        if stated is not None and not _close(stated, rate):
            raise ContradictionError(f"{where} has {rate!r} for {group.text!r}, and {id} states {stated!r}")


def _check_interval(value: float, interval: Interval | None, where: str) -> None:
    slack = TOLERANCE * max(1.0, abs(value))
    if interval is not None and not interval.low - slack <= value <= interval.high + slack:
        raise ContradictionError(f"{where} is {value!r}, outside its interval {interval.low!r} to {interval.high!r}")


def _check_policy(policy: Policy, task: str | None) -> None:
    """Compare a policy that is said to be auditkit's own with that one, if it is of this version."""
    name = shipped_profile(policy)
    if (
        name is not None
        and (own := profile(name)).sha256 == policy.sha256
        and own.for_task(task).limits != policy.limits
    ):
        raise ContradictionError(f"its limits are not those of the policy {name!r} that it names")


def _judged(finding: Finding) -> tuple[object, ...]:
    """Return what must be equal in a finding: everything but its sentence."""
    return (
        finding.measurement, finding.by, finding.group, finding.value, finding.interval, finding.baseline,
        finding.limit, finding.verdict, finding.waiver,
    )  # fmt: skip


def _difference(outcome: Outcome, derived: tuple[Finding, ...]) -> str:
    for stated, found in zip(outcome.findings, derived, strict=False):
        if _judged(stated) != _judged(found):
            return (
                f"its finding on {stated.measurement}{_by(stated.by)} states {stated.verdict}, and its measurements "
                f"give {found.verdict}"
            )
    return f"{outcome.auditor} has {len(outcome.findings)} findings, and its measurements give {len(derived)}"


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= TOLERANCE * max(1.0, abs(one), abs(other))


def place_of(measurement: Measurement, number: Measurement | Slice | None = None) -> str:
    """Return how a message names a measurement, or the number of one of its groups."""
    where = f"{measurement.id}{_by(measurement.by)}"
    return f"{where}, {number.group.text!r}" if isinstance(number, Slice) else where


def _by(by: tuple[str, ...]) -> str:
    return f" by {', '.join(by)}" if by else ""
