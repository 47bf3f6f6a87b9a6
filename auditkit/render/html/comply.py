"""Compliance tables of one framework: as a page, as Markdown, and as CSV that a spreadsheet can open safely."""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from auditkit.compliance.assess import STATES, Assessed, Assessment, Item, State, applicability
from auditkit.compliance.facts import words
from auditkit.compliance.framework import SOURCES
from auditkit.compliance.impact import WEIGHTED, PlacedTable, shown_ratio
from auditkit.evidence.measurement import shown
from auditkit.evidence.messages import Message, in_state, number, semicolons, span, title
from auditkit.evidence.report import Report
from auditkit.render.exports.markdown import escape
from auditkit.render.html.sheet import render_sheet
from auditkit.render.i18n.translation import Translator, page_name
from auditkit.render.summary import WORDS, headline
from auditkit.render.text import counted, shorten, visible

ITEMS_SHOWN = 8
"""Evidence of a clause that the page shows before it folds the rest."""

STATE_CLASSES: dict[State, str] = {
    "evidenced": "evidenced",
    "partial": "partial",
    "human input required": "human",
    "not applicable": "not",
}

CAUTION = Message(
    "These tables list evidence. They are not a legal conclusion, and no row says that a duty is met: “evidence "
    "exists” is not compliance. A number that exceeds its limit is evidence too, and is listed with that verdict."
)

STATE_WORDS: dict[State, Message] = {
    "evidenced": Message("evidence exists"),
    "partial": Message("some evidence"),
    "human input required": Message("your input needed"),
    "not applicable": Message("not applicable"),
}

STATE_TITLES: dict[State, Message] = {
    "evidenced": Message("Evidence exists"),
    "partial": Message("Some evidence"),
    "human input required": Message("Your input needed"),
    "not applicable": Message("Not applicable"),
}

RATE_KIND = {"selection": Message("Selection"), "scoring": Message("Scoring")}


class Proof(NamedTuple):
    """One piece of evidence in words: its name, what it says, its verdict's word, and where it stands."""

    name: str
    said: str
    verdict: str | None
    verdict_word: str
    anchor: str
    pointer: str


def render_comply(report: Report, assessment: Assessment, *, beside: str = "", lang: str = "en") -> dict[str, str]:
    """Return the tables of `assessment` as HTML, Markdown and CSV, by file name; the page is written in `lang`.

    `beside` is the path from the written files to the folder of report.html and results.json, empty or ending in /.
    """
    stem = f"comply-{assessment.framework.key}"
    return {
        page_name(f"{stem}.html", lang): _html(report, assessment, beside, lang),
        f"{stem}.md": _markdown(report, assessment, beside),
        f"{stem}.csv": _csv(assessment, beside),
    }


def summary(assessment: Assessment) -> Message:
    """Say how many clauses are in which state.

    The states are named as they are, so that nothing reads as a pass.
    """
    counts = assessment.counts()
    said = [in_state(counts[state], STATE_WORDS[state]) for state in STATES if counts[state]]
    return Message("{clauses}: {states}.", clauses=counted(len(assessment.clauses), "clause"), states=said)


def to_fill(assessment: Assessment) -> Message | None:
    """Say how many statements of people are missing, and for how many clauses; None where none is."""
    unstated = assessment.unstated()
    if not unstated:
        return None
    return Message.plural(
        "{n} statement is still needed from your organisation, for {waiting} of {clauses}. No audit can know it: write "
        "it into facts.toml.",
        "{n} statements are still needed from your organisation, for {waiting} of {clauses}. No audit can know them: "
        "write them into facts.toml.",
        len(unstated),
        waiting=assessment.waiting_count(),
        clauses=counted(len(assessment.clauses), "clause"),
    )


def commands_to_fill(assessment: Assessment, beside: str) -> tuple[str, ...]:
    """Return the commands that write the facts.toml to fill, where there is none yet, and that read it.

    A file whose name is not plain is called facts.toml: its name is not written into a command to be pasted.
    """
    source = assessment.facts.source
    again = f"auditkit comply {beside}results.json --framework {assessment.framework.key}"
    if source:
        plain = re.fullmatch(r"[\w./ -]{1,200}", source) is not None
        return (f"{again} --facts {shlex.quote(source if plain else 'facts.toml')}",)
    return ("auditkit comply --init-facts facts.toml", f"{again} --facts facts.toml")


def proofs(items: Sequence[Item], beside: str = "") -> list[Proof]:
    """Return evidence in words; what breaks a limit comes first."""
    order = ["error", "fail", "warn", "inconclusive", "waived", "pass", "not_run", None]
    return [
        Proof(
            name=_name(item),
            said=_status_text(item),
            verdict=item.verdict,
            verdict_word=WORDS[item.verdict] if item.verdict else "",
            anchor=f"{beside}report.html#auditor-{item.outcome}" if item.outcome else "",
            pointer=f"{beside}results.json#{item.pointer}",
        )
        for item in sorted(items, key=lambda item: order.index(item.verdict))
    ]


def _name(item: Item) -> str:
    if item.unit is None:
        return item.name
    name = title(item.name)
    return Message("{title} by {columns}", title=name, columns=shown(item.by)) if item.by else name


def _status_text(item: Item) -> str:
    if item.unit is None:
        return item.text
    n = item.count or 0
    if item.value is not None:
        value = number(item.value, item.unit)
        if item.interval is None:
            return Message("{value} (no interval, n = {n:,})", value=value, n=n)
        return Message("{value} ({interval}, n = {n:,})", value=value, interval=span(item.interval, item.unit), n=n)
    known = sorted((part for part in item.slices if part.value is not None), key=lambda part: part.value or 0.0)
    low, high = (
        Message(
            "{value} ({group})", value=number(part.value or 0.0, item.unit), group=part.group.text if part.group else ""
        )
        for part in (known[0], known[-1])
    )
    said = {"low": low, "high": high, "groups": counted(len(item.slices), "group"), "n": n}
    without = len(item.slices) - len(known)
    if without:
        return Message(
            "{low} to {high}, {groups}, {without} of them undefined or withheld, n = {n:,}", **said, without=without
        )
    return Message("{low} to {high}, {groups}, n = {n:,}", **said)


def _html(report: Report, assessment: Assessment, beside: str, lang: str) -> str:
    translator = Translator(lang)
    return render_sheet(
        "comply.html.jinja",
        translator=translator,
        version=report.environment.auditkit,
        report=report,
        assessment=assessment,
        framework=assessment.framework,
        summary=summary(assessment),
        applies=applicability(assessment.framework, assessment.facts),
        caution=CAUTION,
        states=[(state, STATE_CLASSES[state], count) for state, count in assessment.counts().items()],
        state_classes=STATE_CLASSES,
        sources=SOURCES,
        proofs=lambda one: proofs(one.items, beside),
        short_hash=lambda text: _short_hash(translator(text)),
        state_words=STATE_WORDS,
        state_titles=STATE_TITLES,
        rate_kind=RATE_KIND,
        semicolons=semicolons,
        headline=headline(report),
        items_shown=ITEMS_SHOWN,
        words=words,
        ratio=shown_ratio,
        beside=beside,
        stated=_stated(assessment),
        unstated=assessment.unstated(),
        to_fill=to_fill(assessment),
        commands=commands_to_fill(assessment, beside),
    )


def _short_hash(text: str) -> str:
    """Cut a hash to what tells files apart; the page's record has it whole."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", text)


def _stated(assessment: Assessment) -> list[tuple[Message, str]]:
    every = {one.key: one.text for clause in assessment.clauses for one in clause.statements}
    return [(words(key), text) for key, text in every.items() if text is not None]


def _source(text: str, mark: str) -> str:
    return f"{text} ({mark})" if mark else text


def _markdown(report: Report, assessment: Assessment, beside: str) -> str:
    framework, subject = assessment.framework, report.subject
    model = subject.model.name if subject.model else "recorded decisions"
    word, explanation = headline(report)
    lines = [
        f"# {escape(framework.name)}: evidence for {escape(shorten(model, 80))}",
        "",
        f"**Verdict of the audit: {escape(word)}.** {escape(explanation)}",
        "",
        *_question(assessment),
        escape(summary(assessment)),
        "",
        *_incomplete(assessment, beside),
        f"*{escape(CAUTION)}*",
        "",
        f"- {escape(framework.title)}",
        f"- Status: {escape(_source(framework.status, SOURCES[framework.status_source]))}",
        f"- Applies from: {escape(_source(framework.applies_from, SOURCES[framework.applies_from_source]))}",
        f"- This account is as of {framework.as_of.isoformat()}. {escape(framework.note)}",
        f"- Run {escape(report.run_id)}, {report.created:%Y-%m-%d}; data {escape(subject.dataset.path or 'in memory')}",
        "",
        "| Clause | State | Evidence in this run | Missing |",
        "|---|---|---|---|",
    ]
    for one in assessment.clauses:
        clause = one.clause
        mark = SOURCES[clause.source]
        name = f"**{escape(clause.id)}**" + (f" {escape(clause.topic)}" if clause.topic else "")
        evidence = [
            f"{escape(proof.name)}: {escape(shorten(proof.said, 400))}"
            + (f" **{proof.verdict_word}**" if proof.verdict_word else "")
            + f" [where]({proof.anchor or proof.pointer})"
            for proof in proofs(one.items, beside)
        ]
        evidence += [
            f"Stated, not checked: {words(s.key)}: {escape(shorten(s.text, 400))}" for s in one.statements if s.text
        ]
        lacking = [escape(text) for text in _lacking(one)]
        cells = [
            name + (f" *({mark})*" if mark else ""),
            STATE_WORDS[one.state],
            "<br>".join(evidence) or "–",
            "<br>".join(lacking) or "–",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for table in assessment.impact.tables if assessment.impact else ():
        lines += ["", *_impact_markdown(table)]
    if assessment.facts.source:
        lines += ["", f"Statements: {escape(assessment.facts.source)}, sha256 {assessment.facts.sha256}."]
    return "\n".join(lines) + "\n"


def _incomplete(assessment: Assessment, beside: str) -> list[str]:
    missing = to_fill(assessment)
    if missing is None:
        return []
    keys = ", ".join(f"`{key}`" for key in assessment.unstated())
    commands = [f"    {command}" for command in commands_to_fill(assessment, beside)]
    return [f"**Not complete: {escape(missing)}**", "", f"Missing: {keys}.", "", *commands, ""]


def _question(assessment: Assessment) -> list[str]:
    framework = assessment.framework
    answer = applicability(framework, assessment.facts)
    if answer == "not asked":
        return []
    if answer == "asked":
        return [
            f"**First: does this text apply?** {escape(framework.question)} Answer yes or no as "
            f"{escape(framework.question_fact)} in facts.toml.",
            "",
        ]
    applies = "does not apply" if answer == "no" else "applies (not checked)"
    return [f"Stated in facts.toml ({escape(framework.question_fact)}): it {applies}.", ""]


def _impact_markdown(table: PlacedTable) -> list[str]:
    above = "Selected" if table.kind == "selection" else "Above the median"
    lines = [
        f"## {RATE_KIND[table.kind]} rates and impact ratios by {escape(shown(table.by))}",
        "",
        f"{table.applicant_count:,} rows; {table.unknown_count:,} of an unknown category, outside the ratios; "
        f"{table.withheld_count:,} of categories too small to be shown.",
        *([] if table.weight is None else [f"{Message(WEIGHTED, weight=escape(table.weight))}."]),
        "",
        f"| Category | Applicants | {above} | {RATE_KIND[table.kind]} rate | Impact ratio | |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for row in table.rows:
        selected = "–" if row.selected_count is None else f"{row.selected_count:,}"
        rate = "–" if row.rate is None else number(row.rate, "rate")
        remark = row.reason or ("under 2 % of the rows" if row.small else "")
        cells = [escape(row.category), f"{row.applicant_count:,}", selected, rate, shown_ratio(row), remark]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _lacking(one: Assessed) -> list[str]:
    return [*one.missing, *([one.clause.beyond] if one.clause.beyond and one.state != "not applicable" else [])]


COLUMNS = (
    "framework",
    "clause",
    "topic",
    "source",
    "state",
    "kind",
    "name",
    "by",
    "group",
    "value",
    "unit",
    "interval_low",
    "interval_high",
    "interval_level",
    "interval_method",
    "count",
    "verdict",
    "text",
    "where",
)


def _csv(assessment: Assessment, beside: str) -> str:
    """One row for each number, statement and gap; text that a spreadsheet would run gets an apostrophe."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for one in assessment.clauses:
        head = {
            "framework": assessment.framework.key,
            "clause": one.clause.id,
            "topic": one.clause.topic,
            "source": SOURCES[one.clause.source],
            "state": one.state,
        }
        rows: list[dict[str, str | float | None]] = []
        for item in one.items:
            rows += [_csv_item(part, beside) for part in (item, *item.slices)]
        rows += [
            {"kind": "statement", "name": statement.key, "text": statement.text}
            for statement in one.statements
            if statement.text
        ]
        rows += [{"kind": "missing", "text": text} for text in _lacking(one)]
        for row in rows or [{"kind": "nothing"}]:
            writer.writerow({key: safe_cell(value) for key, value in {**head, **row}.items()})
    for table in assessment.impact.tables if assessment.impact else ():
        for entry in table.rows:
            ratios: dict[str, str | float | None] = {
                "framework": assessment.framework.key,
                "kind": "impact ratio",
                "name": f"{table.kind} rate over the highest",
                "by": shown(table.by),
                "group": entry.category,
                "value": entry.impact_ratio,
                "unit": "ratio",
                "count": entry.applicant_count,
                "text": entry.reason or ("under 2 % of the rows" if entry.small else ""),
                "where": f"{beside}results.json#{table.pointer}",
            }
            writer.writerow({key: safe_cell(value) for key, value in ratios.items()})
    return out.getvalue()


def _csv_item(item: Item, beside: str) -> dict[str, str | float | None]:
    interval = item.interval
    return {
        "kind": "evidence",
        "name": item.name,
        "by": shown(item.by) if item.by else None,
        "group": item.group.text if item.group else None,
        "value": item.value,
        "unit": item.unit,
        "interval_low": interval.low if interval else None,
        "interval_high": interval.high if interval else None,
        "interval_level": interval.level if interval else None,
        "interval_method": interval.method if interval else None,
        "count": item.count,
        "verdict": item.verdict,
        "text": item.text,
        "where": f"{beside}results.json#{item.pointer}",
    }


def safe_cell(value: str | float | None) -> str | float:
    """Return a cell that no spreadsheet takes for a formula; numbers stay numbers.

    >>> safe_cell("=cmd|' /C calc'!A0"), safe_cell(-0.5), safe_cell(None)
    ("'=cmd|' /C calc'!A0", -0.5, '')
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
