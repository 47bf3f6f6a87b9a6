"""What a reader is told first: the verdict in words, how the limits came out, what needs attention."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from auditkit.evidence.judging import RANK, overall
from auditkit.evidence.messages import Message, title
from auditkit.evidence.policy import Finding, Limit, Verdict
from auditkit.evidence.report import Report
from auditkit.render.text import shorten

WORDS: dict[Verdict | None, Message] = {
    "pass": Message("Pass"),
    "warn": Message("Warning"),
    "fail": Message("Fail"),
    "inconclusive": Message("Inconclusive"),
    "waived": Message("Waived"),
    "not_run": Message("Not run"),
    "error": Message("Error"),
    None: Message("Measured, not judged"),
}
"""The word of each verdict; None is an auditor whose measurements no limit judges."""

TALLY_WORDS: dict[Verdict, Message] = {
    "pass": Message("met"),
    "warn": Message("with a warning"),
    "fail": Message("exceeded"),
    "inconclusive": Message("not enough data"),
    "waived": Message("waived"),
    "not_run": Message("not measured"),
    "error": Message("in error"),
}
"""What is said of a limit beside how many there are."""

HELD = Message("not counted")
"""What is said of limits whose numbers are within them, and which do not count without another limit."""


class Judged(NamedTuple):
    """A limit of the policy, its verdict over all numbers that it was judged on, and those findings."""

    limit: Limit
    verdict: Verdict
    findings: tuple[Finding, ...]

    @property
    def held_by(self) -> tuple[str, ...]:
        """The measurements without which the limit does not count, where nothing else keeps it from being met."""
        undecided = [finding for finding in self.findings if finding.verdict == "inconclusive"]
        if self.verdict != "inconclusive" or any(finding.held_by is None for finding in undecided):
            return ()
        return tuple(dict.fromkeys(finding.held_by for finding in undecided if finding.held_by is not None))


class Tally(NamedTuple):
    """How many limits came out alike, and the words for it."""

    verdict: Verdict
    limit_count: int
    words: Message


class Missing(NamedTuple):
    """Something that was not examined ("" where the reason names it), why, and whether the policy required it."""

    what: str
    why: str
    verdict: Verdict


def judged_limits(report: Report) -> list[Judged]:
    """Return every limit of the policy with its verdict, in the policy's order.

    A limit that nothing measured is `not_run` here, whether or not the policy required it; one that holds only
    because of a waiver is `waived`.
    """
    of_limits: dict[Limit, list[Finding]] = {limit: [] for limit in report.policy.limits}
    for finding in report.findings:
        of_limits.get(finding.limit, []).append(finding)
    judged = []
    for limit, found in of_limits.items():
        findings = tuple(found)
        verdict = "not_run" if all(finding.verdict == "not_run" for finding in findings) else overall(findings)
        if verdict == "pass" and any(finding.verdict == "waived" for finding in findings):
            verdict = "waived"
        judged.append(Judged(limit, verdict, findings))
    return judged


def tally(report: Report) -> list[Tally]:
    """Return how many limits came out in each way, worst first; what is zero is left out, except passes."""
    limits = judged_limits(report)
    ways = [(judged.verdict, HELD if judged.held_by else TALLY_WORDS[judged.verdict]) for judged in limits]
    order = sorted({*ways, ("pass", TALLY_WORDS["pass"])}, key=lambda way: (-RANK[way[0]], way[1]))
    return [Tally(verdict, ways.count((verdict, words)), words) for verdict, words in order]


def headline(report: Report) -> tuple[Message, Message]:
    """Return the verdict in a word or two, and the sentence that explains it."""
    limits = judged_limits(report)
    counts = Counter(judged.verdict for judged in limits)
    unmeasured, waived = counts["not_run"], counts["waived"]
    exceeded, undecided = _exceeded(report, limits), _undecided(limits)
    more = _warned_too(counts["warn"]) + undecided
    if report.verdict == "fail":
        return Message("Fail"), exceeded + more
    if report.verdict == "inconclusive":
        return Message("Inconclusive"), Message("No limit was exceeded.") + undecided
    if report.verdict == "warn":
        word = Message("Warning, partly undecided") if undecided else Message("Pass, with warnings")
        return word, _warned(counts["warn"], len(limits) - unmeasured) + undecided
    if report.verdict == "pass":
        return _passed(len(limits) - unmeasured, unmeasured, waived)
    if report.verdict == "not_run":
        said = Message("No limit of the policy could be applied to a measurement, so there is no verdict.")
        return Message("Nothing was judged"), said
    return Message("Incomplete"), _incomplete(report, limits) + (" " + exceeded if counts["fail"] else "") + more


def _exceeded(report: Report, limits: list[Judged]) -> Message:
    measured = sum(judged.verdict != "not_run" for judged in limits)
    return Message.plural(
        "{n} of {measured} measured limits was exceeded.",
        "{n} of {measured} measured limits were exceeded.",
        sum(judged.verdict == "fail" for judged in limits),
        measured=measured,
    )


def _undecided(limits: list[Judged]) -> str:
    held = [judged for judged in limits if judged.held_by]
    open_count = sum(judged.verdict == "inconclusive" for judged in limits) - len(held)
    said = ""
    if open_count:
        said += Message.plural(
            " For {n} more there is not enough data.", " For {n} more there is not enough data.", open_count
        )
    if held:
        said += Message.plural(
            " {n} more does not count without: {names}.",
            " {n} more do not count without: {names}.",
            len(held),
            names=list(dict.fromkeys(title(name) for judged in held for name in judged.held_by)),
        )
    return said


def _warned_too(count: int) -> str:
    """Say how many limits gave a warning beside others that were exceeded."""
    if not count:
        return ""
    return Message.plural(" {n} more gave a warning.", " {n} more gave a warning.", count)


def _warned(count: int, measured: int) -> Message:
    return Message.plural(
        "No limit that fails an audit was exceeded; {n} of {measured} measured limits gave a warning.",
        "No limit that fails an audit was exceeded; {n} of {measured} measured limits gave a warning.",
        count,
        measured=measured,
    )


def _passed(measured: int, unmeasured: int, waived: int) -> tuple[Message, Message]:
    said = Message.plural("The one measured limit was met.", "All {n} measured limits were met.", measured)
    word = Message("Pass")
    if waived:
        word = Message("Pass, with waivers")
        said = Message.plural(
            "No limit fails the audit, but {n} of {measured} measured limits passes only because of a waiver.",
            "No limit fails the audit, but {n} of {measured} measured limits pass only because of waivers.",
            waived,
            measured=measured,
        )
    if unmeasured:
        said += Message.plural(
            " {n} more limit does not apply: nothing measured it.",
            " {n} more limits do not apply: nothing measured them.",
            unmeasured,
        )
    return word, said


def _incomplete(report: Report, limits: list[Judged]) -> Message:
    crashed = [outcome.auditor for outcome in report.outcomes if outcome.error is not None]
    required = sum(
        judged.verdict == "error" or (judged.verdict == "not_run" and not judged.limit.optional) for judged in limits
    )
    parts = [Message("the auditor {name} crashed", name=shorten(name, 60)) for name in crashed[:3]]
    if len(crashed) > 3:
        parts.append(Message.plural("{n} more auditor crashed", "{n} more auditors crashed", len(crashed) - 3))
    if required:
        parts.append(
            Message.plural(
                "{n} required limit could not be measured", "{n} required limits could not be measured", required
            )
        )
    return Message("The audit is incomplete: {reasons}.", reasons=parts)


def attention(report: Report) -> list[Finding]:
    """Return the findings that a reader must see, worst first: what failed, warns, is open, or is waived.

    A required limit that nothing measured leads, as an error: it is why the audit is incomplete. What only waits for
    a limit that failed is left out: the headline counts it, and that limit is here.
    """
    broken = {finding.measurement for finding in report.findings if finding.verdict in ("error", "fail")}
    required = [
        finding.model_copy(update={"verdict": "error"})
        for judged in judged_limits(report)
        if judged.verdict == "not_run" and not judged.limit.optional
        for finding in judged.findings
    ]
    return required + [
        finding
        for finding in report.findings
        if finding.verdict in ("error", "fail", "warn", "inconclusive", "waived") and finding.held_by not in broken
    ]


def not_examined(report: Report) -> list[Missing]:
    """Return what was not examined: auditors that crashed or did not run, limits and numbers without a value.

    The optional limits of an auditor that did not run are not listed beside it: its reason is theirs.
    """
    missing = []
    skipped = {outcome.auditor for outcome in report.outcomes if outcome.reason is not None and outcome.error is None}
    for outcome in report.outcomes:
        name = title(f".{outcome.auditor}")
        if outcome.error is not None:
            missing.append(Missing(name, Message("crashed: {error}", error=outcome.error), "error"))
        elif outcome.reason is not None:
            missing.append(Missing(name, outcome.reason, "not_run"))
    for judged in judged_limits(report):
        required = judged.verdict == "not_run" and not judged.limit.optional
        if not required and judged.limit.measurement.partition(".")[0] in skipped:
            continue
        verdict: Verdict = "error" if required else "not_run"
        if not judged.findings:
            name = title(judged.limit.measurement)
            missing.append(Missing(name, Message("none of the auditors that ran makes this measurement"), verdict))
        missing += [_unjudged(finding, verdict) for finding in judged.findings if finding.verdict == "not_run"]
    return missing


def _unjudged(finding: Finding, verdict: Verdict) -> Missing:
    """A finding without a number: what it is about and why, where its message tells them apart."""
    parts = finding.message.arguments if isinstance(finding.message, Message) else {}
    what, why = parts.get("subject"), parts.get("reason")
    if isinstance(what, str) and isinstance(why, str):
        return Missing(what, why, verdict)
    return Missing("", finding.message, verdict)


class Unexamined(NamedTuple):
    """What was not examined for one and the same reason."""

    names: tuple[str, ...]
    why: str
    verdict: Verdict


def not_examined_by_reason(report: Report) -> list[Unexamined]:
    """Return what was not examined, each reason once."""
    names: dict[tuple[str, Verdict], list[str]] = {}
    for item in not_examined(report):
        names.setdefault((item.why, item.verdict), []).extend([item.what] if item.what else [])
    return [Unexamined(tuple(found), why, verdict) for (why, verdict), found in names.items()]
