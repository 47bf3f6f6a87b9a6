"""The report card: one self-contained page, without script, that a reader can forward and print."""

from __future__ import annotations

import html as standard_html
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from auditkit.compliance.facts import Facts
from auditkit.evidence.baseline import DIFFERENCE_UNIT
from auditkit.evidence.breakdowns import OWN_BREAKDOWNS
from auditkit.evidence.judging import RANK
from auditkit.evidence.measurement import Curve, Group, Line, Measurement, Slice, SliceChart, SliceTable, Unit, shown
from auditkit.evidence.messages import Message, number, semicolons, title
from auditkit.evidence.policy import Finding, Limit, Verdict
from auditkit.evidence.records import DatasetRecord
from auditkit.evidence.report import Outcome, Report
from auditkit.evidence.sentences import bound_words
from auditkit.evidence.waivers import Waiver
from auditkit.render.first_page import held_limits, met_limits
from auditkit.render.html import charts
from auditkit.render.html.detectable import reference_of
from auditkit.render.html.environment import key_order, render_page, stylesheet
from auditkit.render.html.first import first_values
from auditkit.render.html.pictures import HEAT, INK, picture
from auditkit.render.i18n.translation import Translator
from auditkit.render.next_steps import next_steps
from auditkit.render.renderer import Renderer
from auditkit.render.summary import attention, judged_limits
from auditkit.render.words_by_task import words_of

FINDINGS_SHOWN = 6
"""Of one limit, so many findings stand open; the rest are folded."""

CURVE_ROWS = 20
"""A table of a curve's points lists at most about this many; all are in results.json."""

DIRECTIONS = {
    "lower": Message("lower is better"),
    "higher": Message("higher is better"),
    "neither": Message("describes only"),
}


def render_html(report: Report, lang: str = "en", facts: Facts | None = None) -> str:
    """Return the report card of `report` as one HTML document, without script and without outside requests.

    `facts`, what people stated in facts.toml, fills in purpose and owner.
    """
    return _page(report, Translator(lang), facts, contents=True)


def notebook_frame(report: Report) -> str:
    """Return the report card in an `<iframe>` that a notebook can show as a cell's output."""
    page = standard_html.escape(_page(report, Translator(), None, contents=False))
    return (
        f'<iframe srcdoc="{page}" sandbox title="auditkit report" width="100%" height="720" '
        'style="border:1px solid #8886;border-radius:8px"></iframe>'
    )


def _page(report: Report, translator: Translator, facts: Facts | None, *, contents: bool) -> str:
    names = _names(report)
    return render_page(
        "card.html.jinja",
        translator=translator,
        data_columns=_columns(report),
        contents=contents,
        limits=judged_limits(report),
        blocks=_blocks(report),
        held=held_limits(report),
        met=met_limits(report),
        steps=next_steps(report),
        passed=[finding for finding in report.findings if finding.verdict == "pass"],
        carded=[(place, outcome) for place, outcome in enumerate(report.outcomes, 1) if _has_card(outcome)],
        undefined_count=sum(
            part.value is None for outcome in report.outcomes for m in outcome.measurements for part in m.slices
        ),
        waivers=_waivers(report),
        methods=_methods(report),
        units=_units(report),
        css=stylesheet("card.css"),
        headed=lambda text: _headed(text, translator, names),
        strip_scale=lambda marks, unit: _svg(charts.strip_scale(marks, unit, translator)),
        curve_figure=lambda curve: _curve_figure(curve, translator, names),
        slices_figure=lambda outcome, exhibit: _slices_figure(report, outcome, exhibit, translator),
        **first_values(report, translator, facts, linked=True),
        **HELPERS,
    )


class Block(NamedTuple):
    """A limit that was not met: its findings that need attention, whole groups first, and the scale of their strips.

    Of many findings some are `folded`.
    """

    limit: Limit
    verdict: Verdict
    unit: Unit
    shown: list[Finding]
    folded: list[Finding]
    marks: list[float]


def _blocks(report: Report) -> list[Block]:
    """The limits that need attention, worst first; of each, the findings on whole groups before intersections."""
    units = _units(report)
    of_limits: dict[Limit, list[Finding]] = {}
    for finding in attention(report):
        of_limits.setdefault(finding.limit, []).append(finding)
    blocks = []
    for judged in judged_limits(report):
        findings = sorted(of_limits.get(judged.limit, ()), key=lambda one: (-RANK[one.verdict], len(one.by) > 1))
        if findings:
            unit = units.get(judged.limit.measurement, "number")
            if judged.limit.regression_at_most is not None:
                unit = DIFFERENCE_UNIT.get(unit, unit)
            known = [finding for finding in findings if finding.value is not None]
            marks = charts.strip_marks(known, unit) if known else []
            shown, folded = findings[:FINDINGS_SHOWN], findings[FINDINGS_SHOWN:]
            verdict = findings[0].verdict
            blocks.append(Block(judged.limit, verdict, unit, shown, folded, marks))
    return sorted(blocks, key=lambda block: -RANK[block.verdict])


def _has_card(outcome: Outcome) -> bool:
    """Whether an auditor has a card of its own; what only did not run is listed as not examined."""
    return outcome.reason is None or bool(outcome.measurements or outcome.exhibits or outcome.error)


def _headline_numbers(outcome: Outcome) -> list[Measurement]:
    """The two numbers that stand beside the title of a card: judged ones first, then those of all rows."""
    judged = [_find(outcome, finding.measurement, finding.by) for finding in outcome.findings]
    whole = [m for m in outcome.measurements if not m.by]
    known = {m.id: m for m in (*whole, *judged)[::-1] if m is not None and m.value is not None}
    ids = dict.fromkeys(m.id for m in (*judged, *whole) if m is not None and m.value is not None)
    return [known[id] for id in ids][:2]


def _svg(text: str) -> Markup:
    return Markup(text)  # noqa: S704  # charts.py escapes what comes from outside


def _find(outcome: Outcome, id: str, by: tuple[str, ...]) -> Measurement | None:
    return next((m for m in outcome.measurements if m.id == id and m.by == by), None)


def _strip(finding: Finding, marks: Sequence[float]) -> Markup:
    if finding.value is None:
        return Markup()
    return _svg(charts.strip(finding, marks))


def _slices_figure(report: Report, outcome: Outcome, exhibit: SliceChart, say: Translator) -> dict[str, Any] | None:
    id, by = exhibit.measurement, exhibit.by
    measurement = _find(outcome, id, by)
    if measurement is None or not measurement.slices:
        return None
    per_group = measurement.value is None  # a limit on such a measurement is judged slice by slice
    bounds_it = [x for x in report.policy.limits if x.measurement == id and x.chooses(by)]
    limit = next((x for x in bounds_it if per_group and x.regression_at_most is None), None)
    whole = _find(outcome, id, ()) if by else None
    overall = whole.value if whole else None
    ceilings = _ceilings(measurement, _find(outcome, exhibit.shortfall, by)) if exhibit.shortfall else {}
    svg = charts.slices_chart(
        measurement,
        heading=exhibit.title,
        limit=limit,
        overall=overall,
        ceilings=ceilings,
        zeros=exhibit.zeros,
        reference=reference_of(exhibit),
        say=say,
    )
    return {
        "svg": _svg(svg),
        "measurement": measurement,
        "limit": limit,
        "overall": overall,
        "has_ceilings": bool(ceilings),
        "centre": exhibit.centre,
        "has_detectable": bool(exhibit.detectable),
        "omitted": charts.omitted_slices(measurement, zeros=exhibit.zeros),
        "rows": sorted(measurement.slices, key=lambda p: (p.value is None, -(p.value or 0.0))),
        "level": next((part.interval.level for part in measurement.slices if part.interval), None),
        "simultaneous": any(part.simultaneous_interval for part in measurement.slices),
    }


def _ceilings(measurement: Measurement, shortfall: Measurement | None) -> dict[Group, float]:
    """Return the value of each slice plus how far it falls short, where both are known."""
    short = {part.group: part.value for part in shortfall.slices} if shortfall else {}
    return {
        part.group: part.value + missing
        for part in measurement.slices
        if part.value is not None and (missing := short.get(part.group)) is not None
    }


class SliceRows(NamedTuple):
    """Measurements of one breakdown, and for each group its slices of them, None where it has none."""

    measurements: list[Measurement]
    groups: dict[Group, list[Slice | None]]


def _slice_rows(outcome: Outcome, exhibit: SliceTable) -> SliceRows:
    found = [m for id in exhibit.measurements if (m := _find(outcome, id, exhibit.by)) is not None and m.slices]
    by_group = [{part.group: part for part in m.slices} for m in found]
    every = sorted({group for parts in by_group for group in parts}, key=key_order)
    groups: dict[Group, list[Slice | None]] = {group: [parts.get(group) for parts in by_group] for group in every}
    return SliceRows(found, groups)


def _curve_figure(curve: Curve, say: Translator, names: set[str]) -> Markup:
    labels = {"x_label": _headed(curve.x_label, say, names), "y_label": _headed(curve.y_label, say, names)}
    return _svg(charts.curve_chart(curve.model_copy(update=labels), say))


def _columns(report: Report) -> set[str]:
    schema = report.subject.schema_
    features = (feature.get("name") for feature in schema.get("features") or () if isinstance(feature, dict))
    target = schema.get("target")
    targets = target if isinstance(target, list | tuple) else [target]
    return {str(name) for name in (*features, *targets, *report.subject.sensitive)}


def _names(report: Report) -> set[str]:
    """The names of the data's columns and groups, as a page shows them."""
    measurements = [m for outcome in report.outcomes for m in outcome.measurements]
    shown_by = {shown(m.by) for m in measurements if m.by} - set(OWN_BREAKDOWNS)
    groups = {name for m in measurements for part in m.slices for name in (part.group.text, *part.group.key)}
    return _columns(report) | shown_by | groups


def _headed(text: str, say: Translator, names: set[str]) -> str:
    """Begin a heading with a capital, unless it is a name of the data's own, or a symbol such as n."""
    said = say(text)
    own = not isinstance(text, Message) and text in names
    return said if own or len(said) == 1 else said[:1].upper() + said[1:]


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


def _datasets(report: Report) -> list[tuple[Message, DatasetRecord]]:
    subject = report.subject
    training = [(Message("Training data"), subject.training_dataset)] if subject.training_dataset else []
    return [(Message("Data"), subject.dataset), *training]


def _rows_used(data: DatasetRecord) -> Message:
    if data.audited_row_count == data.row_count:
        return Message.plural("{n:,} row used", "{n:,} rows used", data.row_count)
    return Message("{used:,} of {read:,} rows used", used=data.audited_row_count, read=data.row_count)


def _undefined_values(count: int) -> Message:
    return Message.plural(
        "{n:,} value of a group is undefined or suppressed; the reason is given in its place.",
        "{n:,} values of groups are undefined or suppressed; the reason is given in their place.",
        count,
    )


def _waivers(report: Report) -> list[tuple[Waiver, Message, int]]:
    """Each waiver with its state in words, and how many findings it covers."""
    rows = []
    for waiver in report.waivers:
        count = sum(finding.waiver == waiver.id for finding in report.findings)
        expired = report.judged is not None and waiver.expires < report.judged
        state = Message("expired") if expired else Message("in use") if count else Message("not needed")
        rows.append((waiver, state, count))
    return rows


def _methods(report: Report) -> dict[Message, Message]:
    """Each method by which an interval was made, with the measurements that it was made for."""
    used: dict[Message, dict[Message, None]] = {}
    for outcome in report.outcomes:
        for measurement in outcome.measurements:
            for method in _interval_methods(measurement):
                used.setdefault(method, {})[title(measurement.id)] = None
    return {method: Message("{names}", names=list(names)) for method, names in sorted(used.items())}


def _interval_methods(measurement: Measurement) -> list[Message]:
    parts = measurement.slices
    alone = [measurement.interval, *(part.interval for part in parts)]
    together = [part.simultaneous_interval for part in parts]
    said = [Message("{method}, {level:g} %", method=one.method, level=one.level * 100) for one in alone if one]
    said += [
        Message("{method}, simultaneous {level:g} %", method=one.method, level=one.level * 100)
        for one in together
        if one
    ]
    return list(dict.fromkeys(said))


def _units(report: Report) -> dict[str, Unit]:
    return {m.id: m.unit for outcome in report.outcomes for m in outcome.measurements}


def _conditions(limit: Limit) -> Message:
    """What a limit says beyond its bound."""
    said = {
        Message("warns only"): limit.severity == "warn",
        Message("judged on the value alone"): limit.compare == "point",
        Message("fails if inconclusive"): limit.inconclusive == "fail",
        Message("optional"): limit.optional,
        Message("the worst group alone"): limit.groups == "worst",
        Message("at {level:g} %", level=(limit.level or 0) * 100): limit.level is not None,
        Message("from {n:,} rows on", n=limit.min_count or 0): limit.min_count is not None,
    }
    return Message("{conditions}", conditions=[words for words, true in said.items() if true])


def _plain(value: Any) -> str:
    """Print a setting or a part of the schema: short things whole, long lists by their count."""
    if isinstance(value, dict | list | tuple):
        text = json.dumps(value, ensure_ascii=False, default=str)
        return text if len(text) <= 160 else Message.plural("{n:,} entry", "{n:,} entries", len(value))
    yes_or_no = {None: Message("none"), True: Message("yes"), False: Message("no")}
    return yes_or_no[value] if value is None or isinstance(value, bool) else str(value)


HELPERS: dict[str, Any] = {
    "words_of": words_of,
    "directions": DIRECTIONS,
    "bound_words": bound_words,
    "slice_rows": _slice_rows,
    "curve_tables": _curve_tables,
    "picture": lambda grid, palette: picture(grid, INK if palette == "ink" else HEAT),
    "shows_rows": lambda report: any(outcome.settings.get("show_rows") for outcome in report.outcomes),
    "shows_public_rows": lambda report: any(
        getattr(exhibit, "public_rows", False) for outcome in report.outcomes for exhibit in outcome.exhibits
    ),
    "line_styles": charts.LINE_STYLES,
    "cell": _cell,
    "by_breakdown": _by_breakdown,
    "uncharted": _uncharted,
    "interval_methods": lambda measurement: semicolons(_interval_methods(measurement)),
    "datasets": _datasets,
    "plain": _plain,
    "conditions": _conditions,
    "rows_used": _rows_used,
    "undefined_values": _undefined_values,
    "strip": _strip,
    "headline_numbers": _headline_numbers,
    "limits_held": lambda n, names: Message.plural(
        "{n} limit does not count without: {names}",
        "{n} limits do not count without: {names}",
        n,
        names=list(map(title, names)),
    ),
    "limits_met": lambda n: Message.plural("{n} limit was met", "{n} limits were met", n),
    "passed_in_words": lambda n: Message.plural("{n} passed comparison in words", "{n} passed comparisons in words", n),
}
"""What the template of the card calls."""

RENDERER = Renderer("report.html", render_html, ("lang", "facts"))
NOTEBOOK = Renderer("notebook.html", notebook_frame)
