"""Bars of the groups of one column, a row each, with the line of a limit: the pictures in the cells of a table.

All rows share one scale from zero, so that the line runs through them. The numbers stand beside them as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from auditkit.evidence.messages import Message
from auditkit.render.first_page import GroupBars
from auditkit.render.html.charts import PERCENT, Say, scale, tick_words, ticks

ROW, HEAD, FOOT = 30, 18, 20
"""Heights in pixels: a bar's row, the name of the line over the rows, the scale under them."""


def bars_table(bars: GroupBars, say: Say) -> dict[str, Any]:
    """Return what a template needs for the table of `bars`: its head, each row's picture, and its scale."""
    ends = [part.value or 0.0 for part in bars.rows] + [bars.line]
    ends += [part.interval.high for part in bars.rows if part.interval]
    marks = ticks(0.0, max(ends), most=4)
    x = scale(marks[0], marks[-1], 0, 100)
    line = x(max(bars.line, 0.0))
    return {
        "bars": bars,
        "head": _picture(HEAD, _named_line(line, say)),
        "rows": [(part, _picture(ROW, _row(bars, index, marks))) for index, part in enumerate(bars.rows)],
        "foot": _picture(FOOT, _scale_words(bars, marks, say)),
    }


def _named_line(line: str, say: Say) -> list[str]:
    place = float(line[:-1])
    anchor = "start" if place < 15 else "end" if place > 85 else "middle"
    return [f'<text class="limit-name" x="{line}" y="13" text-anchor="{anchor}">{say(Message("limit"))}</text>']


def _row(bars: GroupBars, index: int, marks: Sequence[float]) -> list[str]:
    part, x = bars.rows[index], scale(marks[0], marks[-1], 0, 100)
    value = part.value or 0.0
    beyond = " beyond" if value < bars.line else ""
    pieces = [f'<line class="grid" x1="{x(mark)}" x2="{x(mark)}" y1="0" y2="{ROW}"/>' for mark in marks]
    pieces.append(f'<rect class="bar{beyond}" x="0" y="8" width="{x(value)}" height="{ROW - 16}"/>')
    if part.interval:
        low, high = x(max(part.interval.low, 0.0)), x(part.interval.high)
        pieces.append(f'<line class="whisker" x1="{low}" x2="{high}" y1="{ROW / 2:g}" y2="{ROW / 2:g}"/>')
    line = x(max(bars.line, 0.0))
    return [*pieces, f'<line class="limit" x1="{line}" x2="{line}" y1="0" y2="{ROW}"/>']


def _scale_words(bars: GroupBars, marks: Sequence[float], say: Say) -> list[str]:
    x = scale(marks[0], marks[-1], 0, 100)
    pieces = []
    for index, mark in enumerate(marks):
        anchor = "start" if index == 0 else "end" if index == len(marks) - 1 else "middle"
        words = tick_words(mark, bars.rates.unit, marks) + (say(PERCENT) if index == len(marks) - 1 else "")
        # On a phone the marks next to the ends would run into them.
        kind = "tick between" if len(marks) > 3 and index in (1, len(marks) - 2) else "tick"
        pieces.append(f'<text class="{kind}" x="{x(mark)}" y="14" text-anchor="{anchor}">{words}</text>')
    return pieces


def _picture(height: int, body: Sequence[str]) -> Markup:
    svg = f'<svg class="cell" aria-hidden="true" width="100%" height="{height}">{"".join(body)}</svg>'
    return Markup(svg)  # noqa: S704  # numbers, and a word of auditkit's own
