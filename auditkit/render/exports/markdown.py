"""A summary for a pull-request comment or a job page: verdict, findings worst first, what was not examined."""

from __future__ import annotations

import re
from collections.abc import Callable

from auditkit.evidence.policy import Verdict
from auditkit.evidence.report import Report
from auditkit.render.i18n.translation import names_of, speaker
from auditkit.render.next_steps import next_steps
from auditkit.render.renderer import Renderer
from auditkit.render.summary import WORDS, attention, headline, not_examined, tally
from auditkit.render.text import counted, shipped_name, shorten, visible

MARKS: dict[Verdict, str] = {
    "pass": "✅",
    "warn": "⚠️",
    "fail": "❌",
    "inconclusive": "❔",
    "waived": "☑️",
    "not_run": "➖",
    "error": "🛑",
}
"""A sign beside each verdict's word, of a different shape for each."""

FINDINGS_SHOWN = 30
"""A comment lists at most this many findings, and says how many more there are."""


def render_markdown(report: Report, lang: str = "en") -> str:
    """Return `report` as GitHub-flavoured Markdown, in `lang`; text from outside is escaped."""
    say = speaker(lang, names_of(report))
    word, explanation = headline(report)
    model = report.subject.model
    heading = f"{word}: audit of {shorten(model.name if model else 'recorded decisions', 80)}"
    lines = [f"## {MARKS[report.verdict]} {escape(say(heading))}", "", escape(say(explanation)), ""]
    counts = (f"{MARKS[verdict]} {count} {say(WORDS[verdict]).lower()}" for verdict, count in tally(report))
    lines += [" · ".join(counts), ""]
    findings = attention(report)
    # What is waived always stands in the comment, however long the list.
    shown = [f for place, f in enumerate(findings) if place < FINDINGS_SHOWN or f.verdict == "waived"]
    if findings:
        lines += [f"| | {say('Finding')} |", "|---|---|"]
        lines += [
            f"| {MARKS[f.verdict]} {say(WORDS[f.verdict])} | {escape(shorten(say(f.message), 1000))} |" for f in shown
        ]
        if len(findings) > len(shown):
            more = say(f"and {counted(len(findings) - len(shown), 'more finding')}, in report.html")
            lines.append(f"| | {more} |")
        lines.append("")
    lines += [f"**{say('What to do next')}**", ""]
    for step in next_steps(report):
        lines.append(f"1. **{escape(say(step.task))}** {escape(say(step.how))}{_code(step.command)}")
    lines.append("")
    missing = not_examined(report)
    if missing:
        lines += [f"**{say('Not examined')}**", ""]
        for item in missing[:FINDINGS_SHOWN]:
            what = "" if item.what == "Limit" else f"**{escape(say(item.what))}** "
            lines.append(f"- {MARKS[item.verdict]} {what}{escape(shorten(say(item.why), 400))}")
        if len(missing) > FINDINGS_SHOWN:
            lines.append(f"- {say(f'and {len(missing) - FINDINGS_SHOWN:,} more, in report.html')}")
        lines.append("")
    return "\n".join([*lines, _provenance(report, say), ""])


def escape(text: str) -> str:
    r"""Escape what Markdown, its tables and HTML would read as markup; line breaks become spaces.

    >>> escape("a|b\n<script> *x* [y](z) @team #1")
    'a\\|b &lt;script&gt; \\*x\\* \\[y\\](z) @\u200bteam #\u200b1'
    >>> escape("https://a.example www.b.example")
    'https\u200b://a.example www\u200b.b.example'
    """
    text = " ".join(visible(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_\[\]|~])", r"\\\1", text)
    # A name must not be able to mention a person or an issue, or to link: a zero-width space keeps all from linking.
    text = re.sub(r"(?i)(https?|ftp|mailto|xmpp)(?=:)|(www)(?=\.)", "\\g<0>\u200b", text)
    return re.sub(r"([@#])(?=\w)", "\\1\u200b", text)


def _code(command: str) -> str:
    return f" `{' '.join(visible(command).split()).replace('`', '?')}`" if command else ""


def _provenance(report: Report, say: Callable[[str], str]) -> str:
    subject, environment = report.subject, report.environment
    parts = [
        f"model sha256 {subject.model.sha256[:12]}" if subject.model and subject.model.sha256 else None,
        f"data {shorten(subject.dataset.path or 'in memory', 60)}, "
        f"{counted(subject.dataset.audited_row_count, 'row')}"
        + (f", sha256 {subject.dataset.sha256[:12]}" if subject.dataset.sha256 else ""),
        f"{shipped_name(report.policy)} shipped with auditkit"
        if report.policy.shipped
        else f"policy {shorten(report.policy.name, 60)}",
        f"auditkit {environment.auditkit}",
        report.created.strftime("%Y-%m-%d %H:%M %Z").strip(),
        f"run {report.run_id}",
    ]
    return f"<sub>{' · '.join(escape(say(part)) for part in parts if part)}</sub>"


RENDERER = Renderer("summary.md", render_markdown, ("lang",))
