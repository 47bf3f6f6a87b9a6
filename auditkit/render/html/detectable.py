"""What a chart of slices shows beside its values: the line of no difference, and what the data could detect."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from auditkit.evidence.measurement import Group, SliceChart, Unit
from auditkit.evidence.messages import Message, number

BELOW = 11
"""How far under the middle of a row the marks of its detectable effect lie."""


class Reference(NamedTuple):
    """The value of no difference, and how far from it each slice, by its key, must truly be to be detected."""

    centre: float
    sizes: Mapping[tuple[str, ...], float]


def reference_of(exhibit: SliceChart) -> Reference | None:
    """Return what a chart is held against; None where it states no value of no difference."""
    if exhibit.centre is None:
        return None
    return Reference(exhibit.centre, {one.key: one.size for one in exhibit.detectable})


def reference_ends(reference: Reference, drawn: Iterable[Group]) -> list[float]:
    """Return the values that the axis must reach: the centre, and the marks on both sides of it."""
    sizes = [reference.sizes[group.key] for group in drawn if group.key in reference.sizes]
    return [reference.centre, *(reference.centre + side * size for size in sizes for side in (-1, 1))]


def centre_line(reference: Reference, x: Callable[[float], str], bottom: int) -> str:
    """Draw the line of no difference through all rows."""
    return f'<line class="centre" x1="{x(reference.centre)}" x2="{x(reference.centre)}" y1="0" y2="{bottom}"/>'


def detectable_marks(reference: Reference, group: Group, x: Callable[[float], str], middle: int) -> list[str]:
    """Draw a bracket under a row from the smallest effect that is detectable below no difference to that above."""
    size = reference.sizes.get(group.key)
    if size is None:
        return []
    low, high, y = x(reference.centre - size), x(reference.centre + size), middle + BELOW
    line = f'<line class="detectable" x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>'
    ends = [f'<line class="detectable" x1="{at}" x2="{at}" y1="{y - 4}" y2="{y}"/>' for at in (low, high)]
    return [line, *ends]


def detectable_words(reference: Reference, group: Group, unit: Unit) -> Message | None:
    """Return what is detectable of a slice, for those who do not see the marks."""
    size = reference.sizes.get(group.key)
    return None if size is None else Message("detectable from {size} on", size=number(size, unit))
