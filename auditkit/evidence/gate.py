"""A report judged by a policy, against a baseline, under waivers: the last step of every run, and all of `gate`."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from auditkit.errors import InputError
from auditkit.evidence.baseline import BaselineMeasurements
from auditkit.evidence.judging import held_back, judge, unmeasured
from auditkit.evidence.messages import Message
from auditkit.evidence.policy import Finding, Policy, check_known, check_measurements_exist, default_policy, read_policy
from auditkit.evidence.records import BaselineRecord
from auditkit.evidence.rederive import ABSENT, was_absent, why_unmeasured
from auditkit.evidence.report import Outcome, Report, read_report_file
from auditkit.evidence.waivers import Waiver, read_waivers, waive


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A report to judge regressions against, the file that it is from, and whether a manifest lists that."""

    report: Report
    path: str | None
    sha256: str
    is_sealed: bool = True


def read_baseline(path: str | Path, *, strict: bool = False) -> Baseline:
    """Read the results.json, or that of the folder of a run, that regressions are judged against.

    Raises:
        InputError: as `read_report`; or, if `strict`, no manifest lists the file.
    """
    report, sha256, is_sealed = read_report_file(path)
    is_sealed = is_sealed and not report.unsealed
    if strict and not is_sealed:
        raise InputError(f"baseline {path}: {_UNSEALED}.")
    return Baseline(report, str(path), sha256, is_sealed)


def gate(
    report: Report | str | Path,
    policy: Policy | str | Path | None = None,
    *,
    baseline: Report | str | Path | None = None,
    waivers: str | Path | None = None,
    strict: bool = False,
    other_baseline: bool = False,
) -> Report:
    """Return a report, or that of a results.json, judged by a policy: what `auditkit gate` does.

    `policy` is a Policy, a file, or the name of a profile; default: the policy that auditkit ships. `baseline` is a
    report, or the results.json or folder of a run, that regressions are judged against; `waivers` a file.

    Raises:
        InputError: a file cannot be read, or the policy or the baseline does not fit the report; or, under `strict`, no
            manifest lists a file.
    """
    audited = report if isinstance(report, Report) else _read(report)
    if strict and audited.unsealed:
        raise InputError(f"results {report}: {_UNSEALED}.")
    limits = policy if isinstance(policy, Policy) else default_policy() if policy is None else read_policy(policy)
    check_policy_fits(limits, audited)
    earlier = baseline if baseline is None or isinstance(baseline, Report) else read_baseline(baseline, strict=strict)
    if isinstance(earlier, Report):
        text = earlier.to_json().encode()
        earlier = Baseline(earlier, None, hashlib.sha256(text).hexdigest())
    waived = () if waivers is None else read_waivers(waivers)
    if waivers is not None:
        check_waivers_fit(waived, waivers, audited)
    return judge_report(audited, limits, baseline=earlier, waivers=waived, strict=strict, other_baseline=other_baseline)


def judge_report(
    report: Report,
    policy: Policy,
    *,
    baseline: Baseline | None = None,
    waivers: tuple[Waiver, ...] = (),
    strict: bool = False,
    other_baseline: bool = False,
    today: date | None = None,
) -> Report:
    """Return `report` with its measurements judged by `policy`, whatever judged them before.

    A limit on an auditor that was not part of the audit counts as not measured. `today` decides which waivers hold;
    default: the day in UTC. It is never a day before the audit, so that a clock that was set back revives no waiver.

    Raises:
        InputError: the baseline is of another task, target or class list than the report; or, under `strict` and
            without `other_baseline`, of another model or data set, or weighted in another way.
    """
    if baseline is not None:
        _check_comparable(report, baseline)
        other = None if other_baseline or not strict else unlike(report, _record(report, baseline))
        if other is not None:
            raise InputError(f"baseline {baseline.path}: {other}; pass --other-baseline if that is meant.")
    judged = max(today or datetime.now(UTC).date(), report.created.date())
    before = None if baseline is None else _earlier(report, baseline.report)
    policy = policy.for_task(report.subject.schema_.get("task"))
    model_sha256 = report.subject.model.sha256 if report.subject.model else None
    audited = [outcome for outcome in report.outcomes if not was_absent(outcome)]
    named = dict.fromkeys(limit.measurement.partition(".")[0] for limit in policy.limits)
    absent = [name for name in named if name not in {outcome.auditor for outcome in audited}]
    outcomes = [*audited, *(Outcome(auditor=name, version="", reason=ABSENT) for name in absent)]
    made = [_findings(outcome, policy, before, report.subject.sensitive) for outcome in outcomes]
    measured = [measurement for outcome in outcomes for measurement in outcome.measurements]
    findings = iter(held_back((finding for part in made for finding in part), measured))
    return report.model_copy(
        update={
            "strict": strict,
            "policy": policy,
            "judged": judged,
            "waivers": waivers,
            "baseline": None if baseline is None else _record(report, baseline),
            "outcomes": tuple(
                outcome.model_copy(
                    update={"findings": tuple(waive(next(findings), waivers, model_sha256, judged) for _ in part)}
                )
                for outcome, part in zip(outcomes, made, strict=True)
            ),
        }
    )


_UNSEALED = (
    "no manifest.json beside it lists it, so that an edit could go unnoticed, and --strict judges no such file; pass "
    "the whole folder that 'auditkit run' wrote"
)


def _read(path: str | Path) -> Report:
    """Return the report of a file, marked where no manifest lists it."""
    report, _, is_sealed = read_report_file(path)
    return report if is_sealed else report.model_copy(update={"unsealed": True})


def check_policy_fits(policy: Policy, report: Report) -> None:
    """Check that every limit names a measurement that the report's auditors declare.

    Limits on an auditor that is not in the report are let through: they come out as not measured. So do those of the
    policies that auditkit ships on what the version that wrote the report did not measure yet.

    Raises:
        PolicyError: a limit names an unknown measurement; the message names the line and the closest one.
    """
    if not policy.shipped:
        measures, undeclared = _declared(report, [limit.measurement for limit in policy.limits])
        check_measurements_exist(policy, measures, open_auditors=undeclared)


def check_waivers_fit(waivers: Sequence[Waiver], path: str | Path, report: Report) -> None:
    """Check that every waiver of a file names a measurement that the report's auditors declare, as a limit does.

    Raises:
        PolicyError: a waiver names an unknown measurement; the message names the line and the closest one.
    """
    named = [(waiver.line, waiver.measurement) for waiver in waivers]
    measures, undeclared = _declared(report, [name for _, name in named])
    check_known(f"waivers {path}", named, measures, open_auditors=undeclared)


def _declared(report: Report, named: Iterable[str]) -> tuple[list[str], set[str]]:
    """Return what a report's auditors declare, and the auditors of the named measurements that declare nothing."""
    measures: list[str] = []
    undeclared = {name.partition(".")[0] for name in named}
    for outcome in report.outcomes:
        if outcome.measures is not None:
            undeclared.discard(outcome.auditor)
            measures += outcome.measures
    return measures, undeclared


def unlike(report: Report, baseline: BaselineRecord | None) -> Message | None:
    """Return how a baseline is of another model or data set than a report, by their names, or weighted in another way.

    None where it is like the report.

    A regression is judged from one version of a model to the next, on the same kind of data. A baseline of something
    else makes any model look better.
    """
    if baseline is None:
        return None
    one, other = report.subject.model, baseline.model
    parts = []
    if (one is None) != (other is None) or (one and other and one.name != other.name):
        was, now = (Message("recorded decisions") if model is None else model.name for model in (other, one))
        parts.append(Message("it is of another model ({was}, not {now})", was=was, now=now))
    data = [Path(record.path).name if record.path else "" for record in (baseline.dataset, report.subject.dataset)]
    if data[0] != data[1] and all(data):
        parts.append(Message("it is of another data set ({was}, not {now})", was=data[0], now=data[1]))
    weight = _weight(report)
    if weight != baseline.weight:
        was, now = (
            Message("unweighted") if column is None else Message("weighted by {column}", column=column)
            for column in (baseline.weight, weight)
        )
        parts.append(Message("its rows are {was}, not {now}", was=was, now=now))
    said = parts[0] if parts else None
    for part in parts[1:]:
        said = Message("{first} and {second}", first=said, second=part)
    return said


def _weight(report: Report) -> str | None:
    return None if report.subject.sampling is None else report.subject.sampling.weight


def same_rows(report: Report, other: Report) -> bool:
    """Whether both audits saw the very same rows, as far as the hashes of the records tell."""
    one, two = report.subject.dataset, other.subject.dataset
    hashes = (one.sha256, one.rows_sha256)
    return None not in hashes and hashes == (two.sha256, two.rows_sha256)


def _findings(
    outcome: Outcome, policy: Policy, before: BaselineMeasurements | None, named: tuple[str, ...]
) -> list[Finding]:
    why = why_unmeasured(outcome)
    findings: list[Finding] = []
    for limit in policy.limits:
        if limit.measurement.partition(".")[0] == outcome.auditor:
            findings += judge(limit, outcome.measurements, before, named=named) or [unmeasured(limit, why)]
    return findings


def _earlier(report: Report, other: Report) -> BaselineMeasurements:
    hashes = [one.subject.model.sha256 if one.subject.model else None for one in (report, other)]
    no_model = report.subject.model is None and other.subject.model is None
    same_decisions = no_model and report.config.model == other.config.model
    return BaselineMeasurements(
        measurements=tuple(measurement for outcome in other.outcomes for measurement in outcome.measurements),
        same_rows=same_rows(report, other),
        same_model=same_decisions or (hashes[0] is not None and hashes[0] == hashes[1]),
    )


def _check_comparable(report: Report, baseline: Baseline) -> None:
    for name in ("task", "target", "classes"):
        mine, theirs = (one.subject.schema_.get(name) for one in (report, baseline.report))
        if mine != theirs:
            raise InputError(
                f"baseline {baseline.path}: its {name} is {theirs!r}, not {mine!r}; name a report of the same task."
            )


def _record(report: Report, baseline: Baseline) -> BaselineRecord:
    subject = baseline.report.subject
    return BaselineRecord(
        path=baseline.path,
        sha256=baseline.sha256,
        run_id=baseline.report.run_id,
        created=baseline.report.created,
        model=subject.model,
        dataset=subject.dataset,
        same_rows=same_rows(report, baseline.report),
        weight=_weight(baseline.report),
        unsealed=not baseline.is_sealed,
    )
