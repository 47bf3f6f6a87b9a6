"""What a reader is told first: the verdict in words, how the limits came out, what needs attention."""

from __future__ import annotations

from typing import NamedTuple

from auditkit.evidence.judging import RANK, overall
from auditkit.evidence.messages import title
from auditkit.evidence.policy import Finding, Limit, Verdict
from auditkit.evidence.report import Report
from auditkit.render.text import counted, shorten

WORDS: dict[Verdict | None, str] = {
    "pass": "Pass",
    "warn": "Warning",
    "fail": "Fail",
    "inconclusive": "Inconclusive",
    "waived": "Waived",
    "not_run": "Not run",
    "error": "Error",
    None: "Measured, not judged",
}
"""The word of each verdict; None is an auditor whose measurements no limit judges."""


class Judged(NamedTuple):
    """A limit of the policy, its verdict over all numbers that it was judged on, and those findings."""

    limit: Limit
    verdict: Verdict
    findings: tuple[Finding, ...]


class Missing(NamedTuple):
    """Something that was not examined, why, and whether the policy required it."""

    what: str
    why: str
    verdict: Verdict


def judged_limits(report: Report) -> list[Judged]:
    """Return every limit of the policy with its verdict, in the policy's order.

    A limit that nothing measured is `not_run` here, whether or not the policy required it; one that holds only
    because of a waiver is `waived`.
    """
    judged = []
    for limit in dict.fromkeys(report.policy.limits):
        findings = tuple(finding for finding in report.findings if finding.limit == limit)
        verdict = "not_run" if all(finding.verdict == "not_run" for finding in findings) else overall(findings)
        if verdict == "pass" and any(finding.verdict == "waived" for finding in findings):
            verdict = "waived"
        judged.append(Judged(limit, verdict, findings))
    return judged


def tally(report: Report) -> list[tuple[Verdict, int]]:
    """Return how many limits came out in each verdict, worst first; what is zero is left out, except passes."""
    verdicts = [judged.verdict for judged in judged_limits(report)]
    order = sorted(WORDS.keys() - {None}, key=lambda verdict: -RANK[str(verdict)])
    counts = [(verdict, verdicts.count(verdict)) for verdict in order if verdict is not None]
    return [(verdict, count) for verdict, count in counts if count or verdict == "pass"]


def headline(report: Report) -> tuple[str, str]:
    """Return the verdict in a word or two, and the sentence that explains it."""
    limits = judged_limits(report)
    counts = dict(tally(report))
    broken, open_, warned = (counts.get(verdict, 0) for verdict in ("fail", "inconclusive", "warn"))
    of_all = f"of {counted(len(limits), 'limit')}"
    is_are = "is" if broken == 1 else "are"
    unmeasured = counts.get("not_run", 0)
    also = f", and the data do not settle {open_} more" if open_ else ""
    if report.verdict == "fail":
        return "Fail", f"{broken} {of_all} {is_are} broken{also}."
    if report.verdict == "inconclusive":
        return "Inconclusive", f"No limit is broken, but the data do not settle {open_} {of_all}."
    if report.verdict == "warn":
        warn = "warns" if warned == 1 else "warn"
        word = "Warning, partly undecided" if open_ else "Pass, with warnings"
        return word, f"No limit fails the audit; {warned} {of_all} {warn}{also}."
    if report.verdict == "pass":
        without = f"; {counted(unmeasured, 'limit')} had nothing to measure" if unmeasured else ""
        if waived := counts.get("waived", 0):
            passes = "passes" if waived == 1 else "pass"
            return "Pass, with waivers", f"No limit fails, but {waived} {of_all} {passes} by waiver only{without}."
        return "Pass", f"Every limit that was judged holds ({len(limits) - unmeasured} {of_all}){without}."
    if report.verdict == "not_run":
        return "Nothing was judged", "No limit of the policy met a measurement, so there is no verdict to give."
    crashed = [outcome.auditor for outcome in report.outcomes if outcome.error is not None]
    required = sum(
        judged.verdict == "error" or (judged.verdict == "not_run" and not judged.limit.optional) for judged in limits
    )
    parts = [f"the {shorten(name, 60)} auditor crashed" for name in crashed[:3]]
    parts += [f"{counted(len(crashed) - 3, 'more auditor')} crashed"] if len(crashed) > 3 else []
    if required:
        parts.append(f"{counted(required, 'required limit')} could not be measured")
    besides = f" Besides, {broken} {of_all} {is_are} broken." if broken else ""
    return "Incomplete", f"The audit did not finish: {' and '.join(parts)}.{besides}"


def attention(report: Report) -> list[Finding]:
    """Return the findings that a reader must see, worst first: what failed, warns, is open, or is waived.

    A required limit that nothing measured leads, as an error: it is why the audit is incomplete.
    """
    required = [
        finding.model_copy(update={"verdict": "error"})
        for judged in judged_limits(report)
        if judged.verdict == "not_run" and not judged.limit.optional
        for finding in judged.findings
    ]
    return required + [f for f in report.findings if f.verdict in ("error", "fail", "warn", "inconclusive", "waived")]


def worst_of_each_limit(findings: list[Finding]) -> list[Finding]:
    """Return the first finding of each limit, in their order."""
    first: dict[Limit, Finding] = {}
    for finding in findings:
        first.setdefault(finding.limit, finding)
    return list(first.values())


def not_examined(report: Report) -> list[Missing]:
    """Return what was not examined: auditors that crashed or did not run, limits and numbers without a value."""
    missing = []
    for outcome in report.outcomes:
        if outcome.error is not None:
            missing.append(Missing(f"Auditor {outcome.auditor}", f"crashed: {outcome.error}", "error"))
        elif outcome.reason is not None:
            missing.append(Missing(f"Auditor {outcome.auditor}", outcome.reason, "not_run"))
    for judged in judged_limits(report):
        required = judged.verdict == "not_run" and not judged.limit.optional
        verdict: Verdict = "error" if required else "not_run"
        if not judged.findings:
            name = f"Limit on {title(judged.limit.measurement).lower()}"
            missing.append(Missing(name, "no auditor that ran makes this measurement", verdict))
        missing += [Missing("Limit", f.message, verdict) for f in judged.findings if f.verdict == "not_run"]
    return missing
