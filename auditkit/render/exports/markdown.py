"""A summary for a pull-request comment or a job page: verdict, findings worst first, what was not examined."""

from __future__ import annotations

import re

from auditkit.evidence.messages import Message, in_state
from auditkit.evidence.policy import Verdict
from auditkit.evidence.report import Report
from auditkit.render.i18n.translation import Translator
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
    say = Translator(lang)
    word, explanation = headline(report)
    model = report.subject.model
    name = shorten(model.name, 80) if model else Message("recorded decisions")
    heading = Message("{word}: audit of {model}", word=word, model=name)
    lines = [f"## {MARKS[report.verdict]} {escape(say(heading))}", "", escape(say(explanation)), ""]
    for sentence in report.unauthenticated:
        lines += [f"{MARKS['warn']} **{escape(say(sentence))}**", ""]
    counts = (f"{MARKS[part.verdict]} {say(in_state(part.limit_count, part.words))}" for part in tally(report))
    lines += [" · ".join(counts), ""]
    findings = attention(report)
    # What is waived always stands in the comment, however long the list.
    shown = [f for place, f in enumerate(findings) if place < FINDINGS_SHOWN or f.verdict == "waived"]
    if findings:
        lines += [f"| | {say(Message('Finding'))} |", "|---|---|"]
        lines += [
            f"| {MARKS[f.verdict]} {say(WORDS[f.verdict])} | {escape(shorten(say(f.message), 1000))} |" for f in shown
        ]
        if len(findings) > len(shown):
            more = Message.plural(
                "and {n} more finding, in report.html",
                "and {n} more findings, in report.html",
                len(findings) - len(shown),
            )
            lines.append(f"| | {say(more)} |")
        lines.append("")
    lines += [f"**{say(Message('What to do next'))}**", ""]
    for step in next_steps(report):
        lines.append(f"1. **{escape(say(step.task))}** {escape(say(step.how))}{_code(step.command)}")
    lines.append("")
    missing = not_examined(report)
    if missing:
        lines += [f"**{say(Message('Not examined'))}**", ""]
        for item in missing[:FINDINGS_SHOWN]:
            what = f"**{escape(say(item.what))}** " if item.what else ""
            lines.append(f"- {MARKS[item.verdict]} {what}{escape(shorten(say(item.why), 400))}")
        if len(missing) > FINDINGS_SHOWN:
            more = Message("and {n:,} more, in report.html", n=len(missing) - FINDINGS_SHOWN)
            lines.append(f"- {say(more)}")
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


def _provenance(report: Report, say: Translator) -> str:
    subject, environment = report.subject, report.environment
    data = Message(
        "data {path}, {rows}",
        path=shorten(subject.dataset.path, 60) if subject.dataset.path else Message("in memory"),
        rows=counted(subject.dataset.audited_row_count, "row"),
    )
    if subject.dataset.sha256:
        data += Message(", sha256 {sha256}", sha256=subject.dataset.sha256[:12])
    sampling = () if subject.sampling is None else subject.sampling.sentences
    policy = Message("policy {name}", name=shorten(report.policy.name, 60))
    if report.policy.shipped:
        policy = Message("{policy} shipped with auditkit", policy=shipped_name(report.policy))
    parts: list[str] = [
        data,
        *sampling,
        policy,
        f"auditkit {environment.auditkit}",
        report.created.strftime("%Y-%m-%d %H:%M %Z").strip(),
        Message("run {id}", id=report.run_id),
    ]
    if subject.model and subject.model.sha256:
        parts.insert(0, Message("model sha256 {sha256}", sha256=subject.model.sha256[:12]))
    return f"<sub>{' · '.join(escape(say(part)) for part in parts)}</sub>"


RENDERER = Renderer("summary.md", render_markdown, ("lang",))
