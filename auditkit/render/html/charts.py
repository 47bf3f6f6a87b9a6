"""Pictures of measurements and curves as inline SVG: pure functions from evidence to text.

Positions along x are percentages and heights are pixels, so that a chart takes the width it is given while its
text keeps its size, on a telephone as in print. Colours and strokes are classes that card.css fills in: one
picture serves light, dark and paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from itertools import groupby

from auditkit.evidence.measurement import Curve, Group, Line, Measurement, Slice, Unit
from auditkit.evidence.messages import Message, number, semicolons, span
from auditkit.evidence.policy import Finding, Limit
from auditkit.evidence.sentences import bound_words
from auditkit.render.html.curve_words import line_words, point_words
from auditkit.render.html.detectable import (
    Reference,
    centre_line,
    detectable_marks,
    detectable_words,
    reference_ends,
)
from auditkit.render.text import counted, shorten, visible

ROWS_SHOWN = 40
"""A picture of slices draws at most this many; the rest are in the table beside it."""

LINE_STYLES = 6
"""How many colours and dash patterns card.css knows; further lines start over."""

Say = Callable[[str], str]
"""What turns a text into the language of the page."""

BAR_UNITS = ("rate", "share")
"""Units of which a value is drawn as a bar from zero."""

_PERCENT_UNITS = ("rate", "rate_difference", "share")

PERCENT = Message(" %")
"""What stands behind a number in percent."""
_ROW, _AXIS = 40, 30  # pixels: one slice with its label, the axis under them
_AXIS_CHARACTERS = 34  # what fits under the narrowest chart
_LEFT, _RIGHT = 1.0, 99.0  # percent of the width that the slices span
_CURVE_LEFT, _CURVE_WIDTH, _CURVE_TOP = 11.0, 86.0, 30  # percent, percent, pixels
_CURVE_HEIGHT, _CURVE_FOOT = 230, 44


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers (steps of 1, 2, 2.5 or 5 times a power of ten) that cover `low` to `high`.

    The first is at or under `low`, the last at or over `high`; the step is at least their distance over `most`.

    >>> ticks(0.07, 0.31)
    [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35]
    >>> ticks(3.0, 3.0)
    [2.0, 2.5, 3.0, 3.5, 4.0]
    >>> ticks(1.0, 1.0 + 2**-50)
    [0.0, 0.5, 1.0, 1.5, 2.0]
    """
    if high <= low or math.isclose(low, high, rel_tol=1e-9, abs_tol=1e-11):  # or they differ by rounding alone
        low, high = low - 1, high + 1
    exact = (high - low) / most
    power = 10.0 ** math.floor(math.log10(exact))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= exact * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def slices_chart(
    measurement: Measurement,
    *,
    heading: str,
    limit: Limit | None = None,
    overall: float | None = None,
    ceilings: Mapping[Group, float] | None = None,
    zeros: bool = True,
    reference: Reference | None = None,
    say: Say = str,
) -> str:
    """Draw one row per slice: its value, the interval of the slice alone, and the simultaneous one, thinner.

    Rates and shares are bars from zero, other units are dots. `limit` shades the side on which its bound holds;
    `overall` is the value over all rows, `ceilings` what each slice could reach, `reference` the value of no
    difference, with how far from it each slice must be to be detected. Slices without a value are not
    drawn, nor, without `zeros`, those of zero: `omitted_slices` names them.
    """
    drawn = drawn_slices(measurement, zeros=zeros)
    if not drawn:
        return ""
    unit, bars = measurement.unit, measurement.unit in BAR_UNITS
    ends = [end for part in drawn for end in _ends(part)] + ([0.0] if bars else [])
    ends += [limit.bound] if limit else []
    ends += [overall] if overall is not None else []
    ends += (ceilings or {}).values()
    ends += [] if reference is None else reference_ends(reference, (part.group for part in drawn))
    marks = ticks(min(ends), max(ends))
    x = scale(marks[0], marks[-1], _LEFT, _RIGHT)
    height = len(drawn) * _ROW
    body = _x_axis(marks, unit, x, top=0, bottom=height, percent=say(PERCENT))
    if reference is not None:
        body.append(centre_line(reference, x, height))
    for index, part in enumerate(drawn):
        middle = index * _ROW + 26
        body += detectable_marks(reference, part.group, x, middle) if reference is not None else []
        body += [_limit_band(limit, marks, x, middle)] if limit else []
        if overall is not None:
            body.append(
                f'<line class="overall" x1="{x(overall)}" x2="{x(overall)}" y1="{middle - 8}" y2="{middle + 8}"/>'
            )
        body.append(_slice_row(part, unit, x, middle, bars, marks, say))
        top = (ceilings or {}).get(part.group)
        if top is not None:
            body.append(f'<line class="ceiling" x1="{x(top)}" x2="{x(top)}" y1="{middle - 8}" y2="{middle + 8}"/>')
    description: str = Message(
        "{values}, highest first: {names}.",
        values=counted(len(drawn), "value"),
        names=[_named_value(part, unit, reference) for part in drawn[:8]]
        + ([Message("and more")] if len(drawn) > 8 else []),
    )
    if limit:
        description += Message(" The limit is {limit}.", limit=bound_words(limit, unit))
    return _svg("slices", say(heading), say(description), height + _AXIS, body)


def _named_value(part: Slice, unit: Unit, reference: Reference | None) -> Message:
    """Return a slice with its value, and what could be detected of it."""
    named = Message("{group} {value}", group=shorten(part.group.text, 40), value=number(part.value or 0.0, unit))
    detectable = None if reference is None else detectable_words(reference, part.group, unit)
    return named if detectable is None else Message("{named} ({detectable})", named=named, detectable=detectable)


def drawn_slices(measurement: Measurement, *, zeros: bool = True) -> list[Slice]:
    """Return the slices that a picture shows, highest value first: all, or the highest and the lowest of many.

    Without `zeros`, those of exactly zero are left out.
    """
    known = [part for part in measurement.slices if part.value is not None and (zeros or part.value)]
    known.sort(key=lambda part: -(part.value or 0.0))
    if len(known) <= ROWS_SHOWN:
        return known
    return known[: ROWS_SHOWN // 2] + known[-ROWS_SHOWN // 2 :]


def omitted_slices(measurement: Measurement, *, zeros: bool = True) -> list[Message]:
    """Return one sentence per reason for which slices of the measurement are not in its picture."""
    reasons: dict[str, list[Message]] = {}
    for part in measurement.slices:
        if part.value is None:
            named = Message("{group} (n = {n:,})", group=part.group.text, n=part.count)
            reasons.setdefault(part.reason or Message("undefined"), []).append(named)
    sentences = [
        Message("Not shown: {groups}: {reason}.", groups=groups, reason=reason) for reason, groups in reasons.items()
    ]
    known = sum(part.value is not None for part in measurement.slices)
    if zero_count := 0 if zeros else sum(part.value == 0 for part in measurement.slices):
        sentences.append(
            Message(
                "{zeros:,} of {known:,} values are zero and not drawn; the table lists all.",
                zeros=zero_count,
                known=known,
            )
        )
        known -= zero_count
    if known > ROWS_SHOWN:
        sentences.append(
            Message(
                "The chart shows the {half} highest and the {half} lowest of {known:,} values; the table lists all.",
                half=ROWS_SHOWN // 2,
                known=known,
            )
        )
    return sentences


def curve_chart(curve: Curve, say: Say = str) -> str:
    """Draw the lines of a curve with their bands over its axes, and the diagonal if it asks for one."""
    lines = [_logarithms(line) for line in curve.lines] if curve.scale == "log" else list(curve.lines)
    xs = [value for line in lines for value in line.x]
    ys = [value for line in lines for part in (line.y, line.low, line.high) for value in part or ()]
    if not xs or not ys:
        return ""
    if curve.identity:
        xs = ys = xs + ys
    marks_of = _decades if curve.scale == "log" else ticks
    tick = _power_of_ten if curve.scale == "log" else tick_words
    x_marks, y_marks = marks_of(min(xs), max(xs)), marks_of(min(ys), max(ys))
    height = _CURVE_HEIGHT + (70 if curve.identity else 0)
    bottom = _CURVE_TOP + height
    x = scale(x_marks[0], x_marks[-1], _CURVE_LEFT, _CURVE_LEFT + _CURVE_WIDTH)
    y = _pixels(y_marks[0], y_marks[-1], bottom, _CURVE_TOP)
    # The lines live in an inner picture of 1000 by 1000 units that is stretched to the plot.
    inside_x, inside_y = _units(x_marks, 0, 1000), _units(y_marks, 1000, 0)
    body = [f'<text class="axis-label" x="0" y="12">{_axis_label(curve.y_label, curve.y_unit, say)}</text>']
    for mark in y_marks:
        body.append(
            f'<line class="grid" x1="{_CURVE_LEFT}%" x2="{_CURVE_LEFT + _CURVE_WIDTH}%" y1="{y(mark)}" y2="{y(mark)}"/>'
        )
        body.append(
            f'<text class="tick" x="{_CURVE_LEFT - 1.5}%" y="{y(mark) + 4:g}" text-anchor="end">'
            f"{tick(mark, curve.y_unit, y_marks)}</text>"
        )
    body += _x_axis(x_marks, curve.x_unit, x, top=_CURVE_TOP, bottom=bottom, percent="", tick=tick)
    body.append(
        f'<text class="axis-label" x="{_CURVE_LEFT + _CURVE_WIDTH / 2}%" y="{bottom + 38}" text-anchor="middle">'
        f"{_axis_label(curve.x_label, curve.x_unit, say)}</text>"
    )
    body.append(
        f'<svg x="{_CURVE_LEFT}%" y="{_CURVE_TOP}" width="{_CURVE_WIDTH}%" height="{height}" '
        'viewBox="0 0 1000 1000" preserveAspectRatio="none">'
    )
    if curve.identity:
        # The axes are equal, so that the diagonal of the plot is the line y = x.
        body.append('<line class="identity" x1="0" y1="1000" x2="1000" y2="0"/>')
    body += [_band(line, index, inside_x, inside_y) for index, line in enumerate(lines)]
    body += [_path(line, index, inside_x, inside_y, say) for index, line in enumerate(lines)]
    body.append("</svg>")
    for index, (line, drawn) in enumerate(zip(curve.lines, lines, strict=True)):
        if len(line.x) <= 15:
            body += [
                f'<circle class="point line-{index % LINE_STYLES}" cx="{x(across)}" cy="{y(up)}" r="3.5">'
                f"<title>{_escape(say(point_words(line, at, value, curve)))}</title></circle>"
                for at, value, across, up in zip(line.x, line.y, drawn.x, drawn.y, strict=True)
            ]
    lines_said: list[Message] = [line_words(line, curve) for line in curve.lines[:6]]
    lines_said += [Message("and more")] if len(curve.lines) > 6 else []
    description = Message("{y} over {x}. {lines}.", y=curve.y_label, x=curve.x_label, lines=semicolons(lines_said))
    kind = "curve square" if curve.identity else "curve"
    return _svg(kind, say(curve.title), say(description), bottom + _CURVE_FOOT, body)


def strip_marks(findings: Iterable[Finding], unit: Unit) -> list[float]:
    """Return the marks of a scale that the numbers of all `findings` of one limit share.

    It holds zero, or, for rates such as an accuracy that all lie above a half, a half; and some of the allowed side.
    """
    ends = []
    for finding in findings:
        bound = finding.limit.bound
        ends += [bound, bound if finding.limit.upper else bound + 0.2 * abs(bound)]
        if finding.value is not None:
            ends += [finding.value, *((finding.interval.low, finding.interval.high) if finding.interval else ())]
    start = 0.5 if unit in BAR_UNITS and min(ends) > 0.5 else 0.0
    highest = min(max(ends), 1.0) if unit in BAR_UNITS else max(ends)
    return ticks(min(start, *ends), highest, most=4)


def strip(finding: Finding, marks: Sequence[float]) -> str:
    """Draw one judged number on the scale of its limit: the side that the limit allows, the interval, the value.

    It repeats what the sentence beside it says, so it is hidden from screen readers.
    """
    value, limit = finding.value or 0.0, finding.limit
    low, high = (finding.interval.low, finding.interval.high) if finding.interval else (value, value)
    x = scale(marks[0], marks[-1], 2, 98)
    edges = ("2%", x(limit.bound)) if limit.upper else (x(limit.bound), "98%")
    left, right = (float(edge[:-1]) for edge in edges)
    return (
        '<svg class="strip" aria-hidden="true" width="100%" height="22">'
        f'<rect class="allowed" x="{left:g}%" y="1" width="{right - left:g}%" height="20"/>'
        f'<line class="axis" x1="2%" x2="98%" y1="11" y2="11"/>'
        f'<line class="limit" x1="{x(limit.bound)}" x2="{x(limit.bound)}" y1="0" y2="22"/>'
        f'<line class="interval" x1="{x(low)}" x2="{x(high)}" y1="11" y2="11"/>'
        f'<circle class="dot {finding.verdict}" cx="{x(value)}" cy="11" r="4.5"/></svg>'
    )


def strip_scale(marks: Sequence[float], unit: Unit, say: Say) -> str:
    """Draw the two ends of the scale under the strips of one limit, with their unit."""
    sign: str = Message(" points") if unit == "rate_difference" else PERCENT if unit in _PERCENT_UNITS else ""
    pieces = [
        f'<text class="tick" x="{place}" y="12" text-anchor="{anchor}">{_escape(words)}</text>'
        for place, anchor, words in (
            ("2%", "start", tick_words(marks[0], unit, marks)),
            ("98%", "end", tick_words(marks[-1], unit, marks) + say(sign)),
        )
    ]
    return f'<svg class="strip" aria-hidden="true" width="100%" height="16">{"".join(pieces)}</svg>'


def _slice_row(
    part: Slice, unit: Unit, x: Callable[[float], str], middle: int, bars: bool, marks: Sequence[float], say: Say
) -> str:
    value = part.value or 0.0
    text = middle - 11
    shown = number(value, unit)
    said = Message("{group}: {value} (n = {n:,})", group=visible(part.group.text), value=shown, n=part.count)
    if part.interval:
        said = Message(
            "{group}: {value} ({interval}, n = {n:,})",
            group=visible(part.group.text),
            value=shown,
            interval=span(part.interval, unit),
            n=part.count,
        )
    pieces = [
        f"<g><title>{_escape(say(said))}</title>",
        f'<line class="axis" x1="{x(marks[0])}" x2="{x(marks[-1])}" y1="{middle}" y2="{middle}"/>',
        # The inner picture cuts off a name that is wider than its place, whatever the letters.
        f'<svg class="name" x="{_LEFT}%" y="{text - 15}" width="62%" height="20">{_names(part.group.text)}</svg>',
        f'<text class="value" x="{_RIGHT}%" y="{text}" text-anchor="end">'
        f'<tspan class="count">n = {part.count:,}\u2003</tspan>{_escape(say(shown))}</text>',
    ]
    if bars:
        start, end = sorted((float(x(0.0)[:-1]), float(x(value)[:-1])))
        pieces.append(
            f'<rect class="bar" x="{start:g}%" y="{middle - 5}" width="{end - start:g}%" height="10" rx="1.5"/>'
        )
    if part.simultaneous_interval:
        low, high = x(part.simultaneous_interval.low), x(part.simultaneous_interval.high)
        pieces.append(f'<line class="simultaneous" x1="{low}" x2="{high}" y1="{middle}" y2="{middle}"/>')
        pieces += [
            f'<line class="simultaneous" x1="{at}" x2="{at}" y1="{middle - 4}" y2="{middle + 4}"/>'
            for at in (low, high)
        ]
    if part.interval:
        low, high = x(part.interval.low), x(part.interval.high)
        pieces.append(
            f'<line class="interval{" on-bar" if bars else ""}" x1="{low}" x2="{high}" y1="{middle}" y2="{middle}"/>'
        )
    if not bars:
        pieces.append(f'<circle class="dot" cx="{x(value)}" cy="{middle}" r="5"/>')
    return "".join([*pieces, "</g>"])


def _names(name: str) -> str:
    """The name as far as it fits under a picture of half the page, and as far as it fits under a wide one."""
    short, long = shorten(name, 30), shorten(name, 54)
    if short == long:
        return f'<text x="0" y="15">{_escape(short)}</text>'
    return (
        f'<text class="short-name" x="0" y="15">{_escape(short)}</text>'
        f'<text class="whole-name" x="0" y="15">{_escape(long)}</text>'
    )


def _ends(part: Slice) -> Iterable[float]:
    yield part.value or 0.0
    for interval in (part.interval, part.simultaneous_interval):
        if interval:
            yield from (interval.low, interval.high)


def _limit_band(limit: Limit, marks: Sequence[float], x: Callable[[float], str], middle: int) -> str:
    edges = (marks[0], limit.bound) if limit.upper else (limit.bound, marks[-1])
    left, right = (float(x(edge)[:-1]) for edge in edges)
    return (
        f'<rect class="allowed" x="{left:g}%" y="{middle - 8}" width="{right - left:g}%" height="16"/>'
        f'<line class="limit" x1="{x(limit.bound)}" x2="{x(limit.bound)}" y1="{middle - 9}" y2="{middle + 9}"/>'
    )


def _x_axis(
    marks: Sequence[float],
    unit: Unit,
    x: Callable[[float], str],
    *,
    top: int,
    bottom: int,
    percent: str,
    tick: Callable[[float, Unit, Sequence[float]], str] | None = None,
) -> list[str]:
    pieces = [f'<line class="grid" x1="{x(mark)}" x2="{x(mark)}" y1="{top}" y2="{bottom}"/>' for mark in marks]
    labels = [(tick or tick_words)(mark, unit, marks) for mark in marks]
    # Long labels would run into each other on a telephone: then every second one is printed.
    step = 1 if sum(len(label) + 2 for label in labels) <= _AXIS_CHARACTERS else 2
    if unit in _PERCENT_UNITS:
        labels[(len(marks) - 1) // step * step] += percent
    for index in range(0, len(marks), step):
        edge = "start" if index == 0 and top == 0 else "end" if index == len(marks) - 1 and top == 0 else "middle"
        place = f'x="{x(marks[index])}" y="{bottom + 18}" text-anchor="{edge}"'
        pieces.append(f'<text class="tick" {place}>{labels[index]}</text>')
    return pieces


def _axis_label(label: str, unit: Unit, say: Say) -> str:
    sign: str = Message(", points") if unit == "rate_difference" else Message(", %") if unit in _PERCENT_UNITS else ""
    return _escape(shorten(say(label), 44) + say(sign))


def tick_words(value: float, unit: Unit, marks: Sequence[float]) -> str:
    """Print a mark of a scale with as many digits as its steps need; rates and shares in percent, without the sign."""
    scale = 100 if unit in _PERCENT_UNITS else 1
    step = (marks[1] - marks[0]) * scale
    digits = next((digits for digits in range(6) if math.isclose(step, round(step, digits), rel_tol=1e-6)), 6)
    if abs(value * scale) >= 1e5:
        return f"{value * scale:.3g}"
    return f"{round(value * scale, digits) + 0.0:,.{digits}f}".replace("-", "\u2212")


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(low + 1e-9), math.ceil(high - 1e-9)
    return [float(power) for power in range(first, max(last, first + 1) + 1)]


def _logarithms(line: Line) -> Line:
    parts = (line.x, line.y, line.low, line.high)
    x, y, low, high = (part and tuple(math.log10(value) for value in part) for part in parts)
    return Line(name=line.name, x=x or (), y=y or (), low=low, high=high)


def _power_of_ten(power: float, unit: Unit, marks: Sequence[float]) -> str:
    return f"{10.0**power * (100 if unit in _PERCENT_UNITS else 1):,.6g}"


def _band(line: Line, index: int, x: Callable[[float], float], y: Callable[[float], float]) -> str:
    if line.low is None or line.high is None or not line.x:
        return ""
    upper = [(x(at), y(value)) for at, value in zip(line.x, line.high, strict=True)]
    lower = [(x(at), y(value)) for at, value in zip(line.x, line.low, strict=True)]
    return f'<polygon class="band line-{index % LINE_STYLES}" points="{_points(upper + lower[::-1])}"/>'


def _path(line: Line, index: int, x: Callable[[float], float], y: Callable[[float], float], say: Say) -> str:
    points = [(x(at), y(value)) for at, value in zip(line.x, line.y, strict=True)]
    name = _escape(shorten(say(line.name), 60))
    return (
        f'<polyline class="line line-{index % LINE_STYLES}" points="{_points(points)}"><title>{name}</title></polyline>'
    )


def _points(points: Iterable[tuple[float, float]]) -> str:
    printed = (f"{across:g},{down:g}" for across, down in ((round(a, 1), round(d, 1)) for a, d in points))
    return " ".join(point for point, _ in groupby(printed))  # neighbours that fall on one spot are drawn once


def scale(low: float, high: float, left: float, right: float) -> Callable[[float], str]:
    """Return what places a value from `low` to `high` between `left` and `right` percent of the width."""

    def place(value: float) -> str:
        return f"{left + (value - low) / (high - low) * (right - left):.2f}%"

    return place


def _pixels(low: float, high: float, bottom: float, top: float) -> Callable[[float], float]:
    def place(value: float) -> float:
        return round(bottom + (value - low) / (high - low) * (top - bottom), 1)

    return place


def _units(marks: Sequence[float], start: float, end: float) -> Callable[[float], float]:
    return _pixels(marks[0], marks[-1], start, end)


def _svg(kind: str, heading: str, description: str, height: int, body: Iterable[str]) -> str:
    return (
        f'<svg class="chart {kind}" role="img" width="100%" height="{height}">'
        f"<title>{_escape(heading)}</title><desc>{_escape(description)}</desc>{''.join(body)}</svg>"
    )


def _escape(text: str) -> str:
    return escape(visible(text))
