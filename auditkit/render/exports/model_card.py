"""A model card in Markdown with Hugging Face metadata: the YAML head that the Hub reads, and the audit in words."""

from __future__ import annotations

import json
from typing import Any

from auditkit.compliance.facts import Facts, words
from auditkit.evidence.measurement import Measurement, shown
from auditkit.evidence.messages import number, span, title
from auditkit.evidence.records import ModelRecord
from auditkit.evidence.report import Report
from auditkit.render.exports.markdown import escape
from auditkit.render.exports.task_names import hub_task
from auditkit.render.renderer import Renderer
from auditkit.render.summary import attention, headline, not_examined
from auditkit.render.text import counted, shorten, visible

MORE = "[More Information Needed]"
"""What the Hub's template says where only people can answer."""


LIBRARIES = {"Hugging Face": "transformers", "ONNX": "onnx", "skops": "sklearn"}
"""The Hub's names of libraries by the kind of model; a network of torch is "pytorch"."""


def render_model_card(report: Report, facts: Facts | None = None) -> str:
    """Return the model card: `model-index` for the Hub, then what was measured, what was not, and by what it stands.

    What only people can say (intended use, owner, licence) comes from `facts`, as a statement of theirs; where nobody
    stated it, the Hub's own mark for that stands.
    """
    stated = facts or Facts()
    model = report.subject.model
    name = visible(model.name) if model else "recorded decisions"
    head = _library(model) | {
        "tags": ["auditkit", "responsible-ai"],
        "model-index": [{"name": name, "results": [_results(report)]}],
    }
    lines = [
        *("---", *_yaml(head), "---", ""),
        *_headline(report, name),
        *_details(report, stated),
        *_uses(stated),
        *_data(report),
        *_limitations(report, stated),
        *_appendix(report),
    ]
    return "\n".join(lines)


def _say(stated: Facts, key: str) -> str:
    """Return what people stated, or the Hub's own mark where nobody did."""
    answer = stated.answer(key)
    return MORE if answer is None else escape(answer)


def _headline(report: Report, name: str) -> list[str]:
    word, explanation = headline(report)
    return [
        f"# Model card of {escape(shorten(name, 120))}",
        "",
        f"Audit of {report.created:%Y-%m-%d}: **{word}**. {escape(explanation)} A verdict is evidence about the limits "
        f"of the policy “{escape(shorten(report.policy.name, 80))}”, not a legal conclusion.",
        "",
        "## What needs attention",
        "",
        *([f"- {escape(shorten(one.message, 400))}" for one in attention(report)] or ["- No limit was exceeded."]),
        "",
    ]


def _details(report: Report, stated: Facts) -> list[str]:
    model = report.subject.model
    lines = ["## Model details", ""]
    if model:
        parameters = f", {model.parameter_count:,} parameters" if model.parameter_count else ""
        lines += [
            f"- Architecture: {escape(model.architecture or model.kind)}{parameters}",
            f"- File: {escape(model.path or 'from memory')}; {escape(model.kind)}; {escape(model.trust)}",
            f"- sha256: {model.sha256 or 'none: not a file'}",
        ]
    return [
        *lines,
        f"- Task: {escape(str(report.subject.schema_.get('task') or 'not recorded'))}",
        f"- Developed by: {_say(stated, 'provider')}",
        f"- Owner: {_say(stated, 'owner')}",
        f"- Version: {_say(stated, 'system_version')}",
        f"- License: {MORE}",
        "",
    ]


def _uses(stated: Facts) -> list[str]:
    return [
        "## Uses",
        "",
        f"- Intended use: {_say(stated, 'intended_purpose')}",
        f"- Where and on whom: {_say(stated, 'deployment_context')}",
        f"- Out-of-scope use: {_say(stated, 'input_specification')}",
        f"- Human oversight: {_say(stated, 'human_oversight')}",
        "",
    ]


def _data(report: Report) -> list[str]:
    subject = report.subject
    lines = ["## Data", ""]
    for what, data in (("Audited", subject.dataset), ("Training", subject.training_dataset)):
        if data is not None:
            rows = f"{data.audited_row_count:,} of {counted(data.row_count, 'row')}"
            lines.append(f"- {what}: {escape(data.path or 'in memory')}, {rows}, sha256 {data.sha256 or 'none'}")
    lines += [f"- {escape(note)}" for note in subject.notes]
    return [*lines, f"- Groups compared by: {escape(', '.join(subject.sensitive) or 'none named')}", ""]


def _limitations(report: Report, stated: Facts) -> list[str]:
    limits = ("limits_of_generalisation", "data_gaps", "harms", "bias_measures", "measures_if_harm", "privacy_risks")
    said = [f"- {words(key)}: {escape(answer)}" for key in limits if (answer := stated.answer(key)) is not None]
    missing = [f"- {escape(item.what)}: {escape(shorten(item.why, 300))}" for item in not_examined(report)]
    lines = ["## Bias, risks and limitations", "", *(said or [MORE])]
    lines += ["", "Not examined:", "", *(missing or ["- nothing left out"])]
    if stated.source:
        lines += ["", f"Statements of people are from {escape(stated.source)} (sha256 {stated.sha256}); not checked."]
    return [*lines, ""]


def _appendix(report: Report) -> list[str]:
    lines = ["## Appendix: measurements", ""]
    for outcome in report.outcomes:
        own = [one for one in outcome.measurements if one.value is not None]
        if own:
            lines += [f"### {escape(title('.' + outcome.auditor))}", "", "| Measurement | Value | Interval | n |"]
            lines += ["|---|---:|---:|---:|", *(_row(one) for one in own), ""]
    return [
        *lines,
        f"Numbers per group, methods and settings are in results.json of run {escape(report.run_id)} "
        f"(auditkit {escape(report.environment.auditkit)}).",
        "",
    ]


def _library(model: ModelRecord | None) -> dict[str, Any]:
    """Return the Hub's name of the library that opens the model, nothing where there is none or it is not known."""
    if model is None:
        return {}
    name = LIBRARIES.get(model.kind, "pytorch" if model.parameter_count else "")
    return {"library_name": name} if name else {}


def _results(report: Report) -> dict[str, Any]:
    subject = report.subject
    data = subject.dataset.path or "in memory"
    metrics = [
        {
            "type": one.id.partition(".")[2],
            "name": title(one.id) + (f" by {shown(one.by)}" if one.by else ""),
            "value": one.value,
        }
        for outcome in report.outcomes
        for one in outcome.measurements
        if one.value is not None and outcome.auditor in ("performance", "fairness")
    ]
    return {
        "task": {"type": hub_task(report)},
        "dataset": {"type": "audit-data", "name": data},
        "metrics": metrics,
    }


def _row(one: Measurement) -> str:
    by = f" by {escape(shown(one.by))}" if one.by else ""
    interval = span(one.interval, one.unit) if one.interval else "–"
    return f"| {escape(title(one.id))}{by} | {number(one.value or 0.0, one.unit)} | {interval} | {one.count:,} |"


def _yaml(value: Any, indent: int = 0) -> list[str]:
    """Write nested mappings, lists, texts and numbers as YAML; texts are quoted as JSON, which YAML reads."""
    pad = "  " * indent
    lines = []
    entries = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    for key, item in entries:
        lead = f"{pad}- " if key is None else f"{pad}{key}:"
        if isinstance(item, dict | list):
            inner = _yaml(item, indent + 1)
            if key is None:
                lines += [lead + inner[0].lstrip(), *inner[1:]]
            else:
                lines += [lead, *inner] if inner else [f"{lead} []"]
        else:
            lines.append(f"{lead.rstrip()} {_scalar(item)}")
    return lines


def _scalar(item: str | float) -> str:
    if isinstance(item, str):
        text = visible(item).replace("\u2028", " ").replace("\u2029", " ").replace("\ufeff", "")
        return json.dumps(text, ensure_ascii=False)
    # YAML 1.1 reads a number with an exponent but no point as text.
    written = repr(item)
    return written.replace("e", ".0e") if "e" in written and "." not in written else written


RENDERER = Renderer("model-card.md", render_model_card, ("facts",))
