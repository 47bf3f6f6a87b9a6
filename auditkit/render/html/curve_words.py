"""The lines of a curve in words, for readers who do not see the picture."""

from __future__ import annotations

from auditkit.evidence.measurement import Curve, Line
from auditkit.evidence.messages import Message, number
from auditkit.render.text import counted, shorten


def point_words(line: Line, x: float, y: float, curve: Curve) -> Message:
    """Say a point of a line."""
    return Message("{line}: {x}, {y}", line=_short_name(line), x=number(x, curve.x_unit), y=number(y, curve.y_unit))


def _short_name(line: Line) -> str:
    """A line's name; one of the data's own that is long is cut, and a message is never."""
    return line.name if isinstance(line.name, Message) or len(line.name) <= 60 else shorten(line.name, 60)


def line_words(line: Line, curve: Curve) -> Message:
    """Say where a line begins and ends, and how many points it has."""
    name = _short_name(line)
    if not line.x:
        return Message("{line} has no points", line=name)
    return Message(
        "{line} goes from {first} to {last} in {points}",
        line=name,
        first=number(line.y[0], curve.y_unit),
        last=number(line.y[-1], curve.y_unit),
        points=counted(len(line.x), "point"),
    )
