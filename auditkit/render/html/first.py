"""The first page of the report card, and the one-page summary that is signed: one template, the same values."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from auditkit.compliance.facts import Facts
from auditkit.evidence.gate import unlike
from auditkit.evidence.messages import Message
from auditkit.evidence.records import ModelRecord
from auditkit.evidence.report import Report
from auditkit.render.first_page import first_page
from auditkit.render.html.bars import bars_table
from auditkit.render.html.environment import render_page, stylesheet
from auditkit.render.i18n.translation import Translator
from auditkit.render.summary import Unexamined, headline, not_examined_by_reason, tally
from auditkit.render.text import shipped_name


def summary_html(report: Report, lang: str = "en", facts: Facts | None = None) -> str:
    """Return the first page of the report card as a document of its own, for paper."""
    translator = Translator(lang)
    values = first_values(report, translator, facts, linked=False)
    return render_page("summary.html.jinja", translator=translator, css=stylesheet("card.css"), **values)


def first_values(report: Report, translator: Translator, facts: Facts | None, *, linked: bool) -> dict[str, Any]:
    """Return what the template of the first page needs; `linked` pages have the findings below it."""
    word, explanation = headline(report)
    first = first_page(report, facts)
    return {
        "report": report,
        "word": word,
        "explanation": explanation,
        "tally": tally(report),
        "first": first,
        "linked": linked,
        "bar_tables": [bars_table(bars, translator) for bars in first.bars],
        "missing": not_examined_by_reason(report),
        **HELPERS,
    }


def _model_words(model: ModelRecord) -> Message:
    """Say what a model is, and in which file it lies."""
    what: str = model.architecture or model.kind
    if model.architecture and model.parameter_count:
        what = Message(
            "neural network ({architecture}, {n:,} parameters)",
            architecture=model.architecture,
            n=model.parameter_count,
        )
    if model.path is None:
        return Message("{what}, from memory", what=what)
    return Message("{what}, file {file}", what=what, file=_file_name(model.path))


def _file_name(path: str | None) -> str:
    return PurePath(path).name or path if path else Message("data in memory")


def _listed_reason(item: Unexamined) -> str:
    return Message("{names}: {reason}", names=item.names, reason=item.why) if item.names else item.why


HELPERS: dict[str, Any] = {
    "unlike": unlike,
    "model_words": _model_words,
    "file_name": _file_name,
    "listed_reason": _listed_reason,
    "shipped_name": shipped_name,
    "counted_crashes": lambda report: Message.plural(
        "{n} auditor crashed; nothing that it was to measure was judged.",
        "{n} auditors crashed; nothing that they were to measure was judged.",
        sum(outcome.error is not None for outcome in report.outcomes),
    ),
    "more_findings": lambda n: Message.plural(
        "{n} more comparison needs attention", "{n} more comparisons need attention", n
    ),
    "omitted_groups": lambda n: Message.plural(
        "{n} more group lies between these.", "{n} more groups lie between these.", n
    ),
    "more_notes": lambda n: Message.plural("{n} more note, in the report", "{n} more notes, in the report", n),
    "more_items": lambda n: Message.plural("{n} more, listed in the report", "{n} more, listed in the report", n),
}
"""What the template of the first page calls."""
