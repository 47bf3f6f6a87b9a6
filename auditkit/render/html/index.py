"""The history of a folder of runs: each model's measurements over time as small multiples, on one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from markupsafe import Markup

from auditkit.evidence.breakdowns import breakdown_of
from auditkit.evidence.measurement import Interval, Measurement, Unit
from auditkit.evidence.messages import Message, in_state, number, span, title
from auditkit.evidence.report import Report
from auditkit.render.html.sheet import render_sheet
from auditkit.render.i18n.translation import Translator
from auditkit.render.summary import tally
from auditkit.render.text import counted

WIDTH, HEIGHT, MARGIN = 200.0, 56.0, 6.0

NO_MODEL = Message("Recorded decisions (no model)")
"""The heading of audits of decisions that were already made."""


@dataclass(frozen=True)
class Run:
    """One report, and the folder that it lies in, as a link from the page (empty or ending in a slash)."""

    report: Report
    href: str
    has_page: bool


@dataclass(frozen=True)
class Unreadable:
    """A results.json that is none, with the reason."""

    path: str
    reason: str


@dataclass(frozen=True)
class _Point:
    at: datetime
    value: float
    interval: Interval | None
    count: int


@dataclass(frozen=True)
class _Panel:
    heading: str
    by: str
    latest: str
    interval: str
    change: str
    picture: Markup


def render_index(runs: Sequence[Run], unreadable: Sequence[Unreadable] = (), lang: str = "en") -> str:
    """Return the history of `runs` as one HTML document without script; runs are put in the order of their dates.

    What cannot be read is listed as such, so that a missing run is never silent.
    """
    ordered = sorted(runs, key=lambda run: (run.report.created, run.report.run_id))
    by_model: dict[str, list[Run]] = {}
    for run in ordered:
        model = run.report.subject.model
        by_model.setdefault(model.name if model else NO_MODEL, []).append(run)
    say = Translator(lang)
    return render_sheet(
        "index.html.jinja",
        translator=say,
        no_model=NO_MODEL,
        version=ordered[-1].report.environment.auditkit if ordered else "",
        headline=Message(
            "{runs} of {models}.", runs=counted(len(ordered), "run"), models=counted(len(by_model), "model")
        ),
        overview=[_overview(name, of_model) for name, of_model in by_model.items()],
        models=[(name, *_panels(of_model, say), list(reversed(of_model))) for name, of_model in by_model.items()],
        unreadable=unreadable,
    )


class Overview(NamedTuple):
    """The latest run of a model, and how its limits came out."""

    name: str
    latest: Run
    run_count: int
    tally: Message


def _overview(name: str, runs: Sequence[Run]) -> Overview:
    latest = runs[-1]
    counts = [in_state(part.limit_count, part.words) for part in tally(latest.report)]
    return Overview(name, latest, len(runs), Message("{counts}", counts=counts))


def _panels(runs: Sequence[Run], say: Translator) -> tuple[list[_Panel], dict[str, list[_Panel]]]:
    """One panel for each measurement with a value: those that a limit concerns, and the others by auditor."""
    limited = {(finding.measurement, finding.by) for run in runs for finding in run.report.findings}
    history: dict[tuple[str, tuple[str, ...]], list[tuple[Measurement, _Point]]] = {}
    for run in runs:
        for outcome in run.report.outcomes:
            for one in outcome.measurements:
                if one.value is not None:
                    point = _Point(run.report.created, one.value, one.interval, one.count)
                    history.setdefault((one.id, one.by), []).append((one, point))
    first: list[_Panel] = []
    others: dict[str, list[_Panel]] = {}
    for (id, by), every in history.items():
        panels = first if (id, by) in limited else others.setdefault(id.partition(".")[0], [])
        panels.append(_panel(id, by, every, say))
    return first, others


def _panel(id: str, by: tuple[str, ...], every: list[tuple[Measurement, _Point]], say: Translator) -> _Panel:
    unit = every[-1][0].unit
    points = [point for measurement, point in every if measurement.unit == unit]
    latest = points[-1]
    interval = latest.interval
    before = Message("one run so far")
    if len(points) > 1:
        before = Message("{value} in the run before", value=number(points[-2].value, unit))
    return _Panel(
        heading=title(id),
        by=Message("by {columns}", columns=breakdown_of(id, by)) if by else "",
        latest=number(latest.value, unit),
        interval=span(interval, unit) if interval else Message("no interval"),
        change=before,
        picture=_sparkline(points, unit, title(id), say),
    )


def _sparkline(points: Sequence[_Point], unit: Unit, heading: str, say: Translator) -> Markup:
    """Draw values in the order of the runs with the intervals around them; the scale is the panel's own."""
    ends = [end for p in points for end in ((p.interval.low, p.interval.high) if p.interval else (p.value, p.value))]
    low, high = min(ends), max(ends)
    spread = (high - low) or abs(high) or 1.0

    def x(index: int) -> float:
        step = (WIDTH - 2 * MARGIN) / max(1, len(points) - 1)
        return round(WIDTH / 2 if len(points) == 1 else MARGIN + index * step, 1)

    def y(value: float) -> float:
        return round(HEIGHT - MARGIN - (value - low) / spread * (HEIGHT - 2 * MARGIN), 1)

    marks = [
        f'<line class="whisker" x1="{x(i)}" x2="{x(i)}" y1="{y(p.interval.low)}" y2="{y(p.interval.high)}"/>'
        for i, p in enumerate(points)
        if p.interval
    ]
    if len(points) > 1:
        path = " ".join(f"{x(i)},{y(p.value)}" for i, p in enumerate(points))
        marks.append(f'<polyline class="line" points="{path}"/>')
    marks += [f'<circle class="dot" cx="{x(i)}" cy="{y(p.value)}" r="3"/>' for i, p in enumerate(points)]
    first, last = number(points[0].value, unit), number(points[-1].value, unit)
    runs = counted(len(points), "run")
    said = Message("{heading}: {runs}, from {first} to {last}", heading=heading, runs=runs, first=first, last=last)
    label = Markup.escape(say(said))
    picture = f'<svg class="spark" role="img" aria-label="{label}" viewBox="0 0 {WIDTH:g} {HEIGHT:g}">'
    return Markup(picture + "".join(marks) + "</svg>")  # noqa: S704  # numbers, and an escaped label
