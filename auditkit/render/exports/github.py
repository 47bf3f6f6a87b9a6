"""GitHub workflow commands: one annotation per finding that needs attention, on the limit's line in the policy."""

from __future__ import annotations

from auditkit.evidence.messages import title
from auditkit.evidence.policy import Finding, Verdict
from auditkit.evidence.report import Report
from auditkit.render.summary import WORDS, attention, headline
from auditkit.render.text import shorten, visible

PER_STEP = 10
"""GitHub shows this many errors and this many warnings of a step, and drops the rest without a word."""

LEVELS: dict[Verdict, str] = {"error": "error", "fail": "error", "inconclusive": "warning", "warn": "warning"}


def render_annotations(report: Report) -> str:
    """Return workflow commands, worst first: errors and failures as errors, what warns or is open as warnings.

    Waived findings are notices. Beyond ten of a level, the last one says how many were left out.
    """
    word, explanation = headline(report)
    first = [_command("warning", "Unauthenticated", sentence) for sentence in report.unauthenticated]
    lines: list[tuple[str, str]] = []
    for outcome in report.outcomes:
        if outcome.error is not None:
            lines.append(("error", _command("error", f"The {outcome.auditor} auditor crashed", outcome.error)))
    for finding in attention(report):
        level = LEVELS.get(finding.verdict, "notice")
        if finding.verdict == "inconclusive" and report.strict:
            level = "error"
        lines.append((level, _annotation(level, finding, report)))
    if report.verdict == "not_run":
        lines.append(("error", _command("error", word, explanation)))
    chosen: list[str] = []
    for level in ("error", "warning", "notice"):
        of_level = [line for kind, line in lines if kind == level]
        most = PER_STEP - len(first) if level == "warning" else PER_STEP
        if len(of_level) > most:
            left_out = len(of_level) - (most - 1)
            more = _command(level, f"{left_out} more", "GitHub shows ten a step; all are in the step's summary.")
            of_level = [*of_level[: most - 1], more]
        chosen += of_level
    return "".join(f"{line}\n" for line in [*first, *chosen, _data(f"auditkit: {word}. {explanation}")])


def _annotation(level: str, finding: Finding, report: Report) -> str:
    heading = f"{WORDS[finding.verdict]}: {title(finding.measurement)}"
    line = None if report.policy.shipped else finding.limit.line
    return _command(level, heading, finding.message, file=None if line is None else report.policy.source, line=line)


def _command(level: str, heading: str, message: str, *, file: str | None = None, line: int | None = None) -> str:
    at = f"file={_property(file)},line={line}," if file is not None else ""
    return f"::{level} {at}title={_property(shorten(heading, 120))}::{_data(shorten(message, 2000))}"


def _data(text: str) -> str:
    """Escape the message of a workflow command, so that no name in the data can start a command of its own."""
    escaped = visible(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return escaped.removeprefix("::")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
