"""The report card: one self-contained page, without script, that a reader can forward and print."""

from __future__ import annotations

import html as standard_html
import json
from functools import cache
from typing import Any, NamedTuple

from jinja2 import Environment
from markupsafe import Markup

from auditkit.evidence.measurement import Curve, Group, Line, Measurement, Slice, SliceChart, SliceTable, Unit
from auditkit.evidence.messages import number, title
from auditkit.evidence.policy import Finding, Limit
from auditkit.evidence.report import DatasetRecord, Outcome, Report
from auditkit.evidence.sentences import bound_words
from auditkit.evidence.waivers import Waiver
from auditkit.render.html import charts
from auditkit.render.html.environment import page_environment, stylesheet
from auditkit.render.html.pictures import HEAT, INK, picture
from auditkit.render.i18n.translation import names_of, translated
from auditkit.render.next_steps import next_steps
from auditkit.render.renderer import Renderer
from auditkit.render.summary import attention, headline, judged_limits, not_examined, tally, worst_of_each_limit
from auditkit.render.text import counted, shipped_name
from auditkit.render.words import words_of

CURVE_ROWS = 20
"""A table of a curve's points lists at most about this many; all are in results.json."""

OWN_BREAKDOWNS = {"class", "column", "input", "label", "retraining", "slice"}
"""Breakdowns that auditors name; where the data have no such column, they are words and not names."""

DIRECTIONS = {"lower": "lower is better", "higher": "higher is better", "neither": "describes only"}


def render_html(report: Report, lang: str = "en") -> str:
    """Return the report card of `report` as one HTML document, without script and without outside requests."""
    return translated(_page(report, contents=True), lang, names_of(report))


def notebook_frame(report: Report) -> str:
    """Return the report card in an `<iframe>` that a notebook can show as a cell's output."""
    page = standard_html.escape(_page(report, contents=False))
    return (
        f'<iframe srcdoc="{page}" sandbox title="auditkit report" width="100%" height="720" '
        'style="border:1px solid #8886;border-radius:8px"></iframe>'
    )


def _page(report: Report, *, contents: bool) -> str:
    word, explanation = headline(report)
    findings = attention(report)
    worst = worst_of_each_limit(findings)[:2]
    names = names_of(report) - (OWN_BREAKDOWNS - _columns(report))
    template = _environment().get_template("card.html.jinja")
    return template.render(
        headed=lambda text: _headed(text, names),
        curve_figure=lambda curve: _curve_figure(curve, names),
        report=report,
        contents=contents,
        word=word,
        explanation=explanation,
        limits=judged_limits(report),
        tally=tally(report),
        attention=findings,
        worst=worst,
        selection=_selection(report) if any(" selected " in finding.message for finding in worst) else "",
        steps=next_steps(report),
        passed=[finding for finding in report.findings if finding.verdict == "pass"],
        missing=not_examined(report),
        undefined_count=sum(
            part.value is None for outcome in report.outcomes for m in outcome.measurements for part in m.slices
        ),
        waivers=_waivers(report),
        methods=_methods(report),
        units=_units(report),
        css=stylesheet("card.css"),
        strip=_strip,
    )


@cache
def _environment() -> Environment:
    environment = page_environment()
    environment.globals |= {
        "words_of": words_of,
        "directions": DIRECTIONS,
        "bound_words": bound_words,
        "slices_figure": _slices_figure,
        "slice_rows": _slice_rows,
        "curve_tables": _curve_tables,
        "picture": lambda grid, palette: picture(grid, INK if palette == "ink" else HEAT),
        "shows_rows": lambda report: any(outcome.settings.get("show_rows") for outcome in report.outcomes),
        "line_styles": charts.LINE_STYLES,
        "cell": _cell,
        "by_breakdown": _by_breakdown,
        "uncharted": _uncharted,
        "interval_methods": _interval_methods,
        "datasets": _datasets,
        "shipped_name": shipped_name,
        "plain": _plain,
        "conditions": _conditions,
    }
    return environment


def _svg(text: str) -> Markup:
    return Markup(text)  # noqa: S704  # charts.py escapes what comes from outside


def _find(outcome: Outcome, id: str, by: tuple[str, ...]) -> Measurement | None:
    return next((m for m in outcome.measurements if m.id == id and m.by == by), None)


def _strip(finding: Finding) -> Markup:
    if finding.value is None:
        return Markup()
    return _svg(charts.strip(finding.value, finding.interval, finding.limit))


def _slices_figure(report: Report, outcome: Outcome, exhibit: SliceChart) -> dict[str, Any] | None:
    id, by = exhibit.measurement, exhibit.by
    measurement = _find(outcome, id, by)
    if measurement is None or not measurement.slices:
        return None
    per_group = measurement.value is None  # a limit on such a measurement is judged slice by slice
    bounds_it = [x for x in report.policy.limits if x.measurement == id and x.chooses(by)]
    limit = next((x for x in bounds_it if per_group and x.regression_at_most is None), None)
    whole = _find(outcome, id, ()) if by else None
    overall = whole.value if whole else None
    svg = charts.slices_chart(measurement, heading=exhibit.title, limit=limit, overall=overall, zeros=exhibit.zeros)
    return {
        "svg": _svg(svg),
        "measurement": measurement,
        "limit": limit,
        "overall": overall,
        "undrawn": charts.undrawn(measurement, zeros=exhibit.zeros),
        "rows": sorted(measurement.slices, key=lambda p: (p.value is None, -(p.value or 0.0))),
        "level": next((part.interval.level for part in measurement.slices if part.interval), None),
        "simultaneous": any(part.simultaneous_interval for part in measurement.slices),
    }


class SliceRows(NamedTuple):
    """Measurements of one breakdown, and for each group its slices of them, None where it has none."""

    measurements: list[Measurement]
    groups: dict[Group, list[Slice | None]]


def _slice_rows(outcome: Outcome, exhibit: SliceTable) -> SliceRows:
    found = [m for id in exhibit.measurements if (m := _find(outcome, id, exhibit.by)) is not None and m.slices]
    by_group = [{part.group: part for part in m.slices} for m in found]
    every = sorted({group for parts in by_group for group in parts}, key=lambda group: group.key)
    groups: dict[Group, list[Slice | None]] = {group: [parts.get(group) for parts in by_group] for group in every}
    return SliceRows(found, groups)


def _curve_figure(curve: Curve, names: frozenset[str]) -> Markup:
    labels = {"x_label": _headed(curve.x_label, names), "y_label": _headed(curve.y_label, names)}
    return _svg(charts.curve_chart(curve.model_copy(update=labels)))


def _columns(report: Report) -> set[str]:
    schema = report.subject.schema_
    features = (feature.get("name") for feature in schema.get("features") or () if isinstance(feature, dict))
    return {str(name) for name in (*features, schema.get("target"), *report.subject.sensitive)}


def _headed(text: str, names: frozenset[str]) -> str:
    """Begin a heading with a capital, unless it is a name of the data's own, or a symbol such as n."""
    return text if len(text) == 1 or text in names else text[:1].upper() + text[1:]


class CurveTable(NamedTuple):
    """The points of lines that share their x: every `step`th of them, at `places`, both ends among these."""

    lines: tuple[Line, ...]
    step: int
    places: tuple[int, ...]


def _curve_tables(curve: Curve) -> list[CurveTable]:
    by_x: dict[tuple[float, ...], list[Line]] = {}
    for line in curve.lines:
        by_x.setdefault(line.x, []).append(line)
    tables = []
    for x, lines in by_x.items():
        step = max(1, -(-len(x) // CURVE_ROWS))
        places = dict.fromkeys([*range(0, len(x), step), *([len(x) - 1] if x else [])])
        tables.append(CurveTable(tuple(lines), step, tuple(places)))
    return tables


def _cell(value: str | float | None, unit: Unit | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return f"{value:g}" if unit is None else number(value, unit)


def _by_breakdown(outcome: Outcome) -> dict[tuple[str, ...], list[Measurement]]:
    """The measurements that have a number of their own, or a reason for none, by breakdown; overall first."""
    grouped: dict[tuple[str, ...], list[Measurement]] = {}
    for measurement in sorted(outcome.measurements, key=lambda m: len(m.by)):
        if measurement.value is not None or not measurement.slices:
            grouped.setdefault(measurement.by, []).append(measurement)
    return grouped


def _uncharted(outcome: Outcome) -> list[Measurement]:
    """The measurements whose slices no exhibit of the auditor shows."""
    shown = {(e.measurement, e.by) for e in outcome.exhibits if e.kind == "slices"}
    shown |= {(id, e.by) for e in outcome.exhibits if e.kind == "slice_table" for id in e.measurements}
    return [m for m in outcome.measurements if m.slices and (m.id, m.by) not in shown]


def _datasets(report: Report) -> list[tuple[str, DatasetRecord]]:
    subject = report.subject
    training = [("Training data", subject.training_dataset)] if subject.training_dataset else []
    return [("Data", subject.dataset), *training]


def _waivers(report: Report) -> list[tuple[Waiver, str, int]]:
    """Each waiver with its state in words, and how many findings it covers."""
    rows = []
    for waiver in report.waivers:
        count = sum(finding.waiver == waiver.id for finding in report.findings)
        expired = report.judged is not None and waiver.expires < report.judged
        rows.append((waiver, "expired" if expired else "in use" if count else "not needed", count))
    return rows


def _selection(report: Report) -> str:
    """What "selected" means in this report's sentences."""
    notes = (note for outcome in report.outcomes for note in outcome.notes)
    return next((note for note in notes if note.startswith("Selected means")), "")


def _methods(report: Report) -> dict[str, list[str]]:
    """Each method by which an interval was made, with the measurements that it was made for."""
    used: dict[str, dict[str, None]] = {}
    for outcome in report.outcomes:
        for measurement in outcome.measurements:
            for method in _interval_methods(measurement):
                used.setdefault(method, {})[title(measurement.id)] = None
    return {method: list(names) for method, names in sorted(used.items())}


def _interval_methods(measurement: Measurement) -> list[str]:
    parts = measurement.slices
    alone = [measurement.interval, *(part.interval for part in parts)]
    together = [part.simultaneous_interval for part in parts]
    said = [f"{one.method}, {one.level * 100:g} %" for one in alone if one]
    said += [f"{one.method}, {one.level * 100:g} % for all at once" for one in together if one]
    return list(dict.fromkeys(said))


def _units(report: Report) -> dict[str, Unit]:
    return {m.id: m.unit for outcome in report.outcomes for m in outcome.measurements}


def _conditions(limit: Limit) -> list[str]:
    """What a limit says beyond its bound."""
    said = {
        "warns only": limit.severity == "warn",
        "judged on the value alone": limit.compare == "point",
        "fails if inconclusive": limit.inconclusive == "fail",
        "optional": limit.optional,
        "the worst group alone": limit.groups == "worst",
        f"at {(limit.level or 0) * 100:g} %": limit.level is not None,
        f"from {limit.min_count or 0:,} rows on": limit.min_count is not None,
    }
    return [words for words, true in said.items() if true]


def _plain(value: Any) -> str:
    """Print a setting or a part of the schema: short things whole, long lists by their count."""
    if isinstance(value, dict | list | tuple):
        text = json.dumps(value, ensure_ascii=False, default=str)
        return text if len(text) <= 160 else counted(len(value), "entry").replace("entrys", "entries")
    return "none" if value is None else "yes" if value is True else "no" if value is False else str(value)


RENDERER = Renderer("report.html", render_html, ("lang",))
NOTEBOOK = Renderer("notebook.html", notebook_frame)
