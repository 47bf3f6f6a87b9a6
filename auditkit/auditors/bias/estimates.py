"""Rates and means of sentences as measurements with one slice for each kind of sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.bias.preferences import (
    FEWEST_UNITS,
    Codes,
    Ends,
    Floats,
    decided,
    estimated_mean,
    estimated_rate,
    unit_count,
)
from auditkit.evidence.measurement import Group, Interval, Measurement, Slice
from auditkit.evidence.messages import Message
from auditkit.stats.intervals import simultaneous_level

PAIRS = Message("pairs of sentences")

Key = tuple[str, ...]
"""What a kind of sentence is called, by each column that it is told by."""


class Part(NamedTuple):
    """The values of one kind of sentence, floats or truths, (rows,), and their clusters; or why they say nothing."""

    values: Floats | NDArray[np.bool_]
    clusters: Codes | None = None
    reason: str | None = None


def truths_of(part: Part) -> Part:
    """Return for which rows a difference is above 0; ties prefer nothing and are left out."""
    rows = decided(part.values.astype(np.float64))
    clusters = None if part.clusters is None else part.clusters[rows]
    return Part(part.values[rows] > 0, clusters, part.reason)


def measured(
    name: str, by: Key, parts: Mapping[Key, Part], level: float, definition: Message, counted: Message = PAIRS
) -> Measurement:
    """Return the rates of truths, or the means of numbers in nats, of several parts, with both kinds of intervals.

    `counted` is what the parts are made of.

    A part of fewer than 10 independent units (clusters, or rows without any) has no value. Without columns (`by`) the
    measurement has the value of the only part.
    """
    wide = simultaneous_level(level, max(len(parts), 1))
    found = [(key, _measured(part, (level, wide), len(parts), counted)) for key, part in parts.items()]
    rates = any(part.values.dtype == bool for part in parts.values())
    shared = {
        "id": f"bias.{name}",
        "by": by,
        "unit": "rate" if rates else "nats",
        "better": "neither",
        "definition": definition,
        "counted": counted,
    }
    if not by:
        own = found[0][1]
        return Measurement.model_validate(
            {**shared, **{key: own[key] for key in own if key != "simultaneous_interval"}}
        )
    slices = tuple(Slice.model_validate({"group": Group(by=by, key=key), **own}) for key, own in found)
    count = sum(part.count for part in slices)
    reason = None if slices else Message("there are no such sentences")
    return Measurement.model_validate({**shared, "count": count, "slices": slices, "reason": reason})


def _measured(part: Part, levels: tuple[float, float], family: int, counted: Message) -> dict[str, Any]:
    """Return the fields of a slice that say what was measured of a part, or why nothing was."""
    count, units = len(part.values), unit_count(len(part.values), part.clusters)
    if part.reason is not None:
        return {"value": None, "count": count, "reason": part.reason}
    if units < FEWEST_UNITS:
        what = counted if part.clusters is None else Message("templates")
        reason = Message("{units} {what} are too few; {fewest} are needed", units=units, what=what, fewest=FEWEST_UNITS)
        return {"value": None, "count": count, "reason": reason}
    if part.values.dtype == bool:
        found = estimated_rate(part.values.astype(bool), part.clusters, levels)
        method = Message("Wilson or Clopper-Pearson")
    else:
        found = estimated_mean(part.values.astype(np.float64), part.clusters, levels)
        method = Message("Student's t joined with Hall's")
    if part.clusters is not None:
        method = Message("{method}, over templates", method=method)
    alone, together = (_interval(ends, levels[0], method) for ends in found.ends)
    if together is not None and family > 1:
        family_method = Message("{method}, Sidak over {n} tests", method=method, n=family)
        together = together.model_copy(update={"method": family_method})
    return {
        "value": found.value,
        "count": count,
        "interval": alone,
        "simultaneous_interval": together,
        "reason": Message("all values are alike, and tell nothing of their spread") if alone is None else None,
    }


def _interval(ends: Ends | None, level: float, method: str) -> Interval | None:
    return None if ends is None else Interval(low=ends[0], high=ends[1], level=level, method=method)
