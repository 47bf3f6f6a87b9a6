"""Which rows of a table are explained, their groups, and measurements sliced by group or by column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Group, Interval, Measurement, Slice, Unit
from auditkit.evidence.messages import Message
from auditkit.stats.intervals import proportion_interval, simultaneous_level


def sample_rows(subject: Subject, count: int) -> NDArray[np.int64]:
    """Return the audited rows that are explained: a seeded sample of `count`, in their order."""
    total = len(subject.labels)
    rng = np.random.default_rng(subject.seed)
    return np.sort(rng.choice(total, size=min(count, total), replace=False)).astype(np.int64)


def groups_of(
    subject: Subject, rows: NDArray[np.int64], column: str, *, least: int
) -> list[tuple[Group, NDArray[np.int64]]]:
    """Return the groups with at least `least` of the given audited rows, with their positions in `rows`."""
    names, codes = subject.group_codes((column,))
    members = [(Group(by=(column,), key=name), np.flatnonzero(codes[rows] == code)) for code, name in enumerate(names)]
    return [(group, part) for group, part in members if len(part) >= least]


def sliced(
    name: str, by: tuple[str, ...], slices: Sequence[Slice], count: int, unit: Unit, definition: str
) -> Measurement:
    """Return a measurement of these slices; without any, the reason that no group is large enough."""
    return Measurement(
        id=f"explainability.{name}",
        by=by,
        unit=unit,
        better="neither",
        count=count,
        slices=tuple(slices),
        definition=definition,
        reason=None if slices else Message("no group has enough rows"),
    )


def rate_slices(hits: Mapping[Group, NDArray[np.bool_]], level: float) -> list[Slice]:
    """Return the rate of each group of hits, (rows,), with its interval, alone and at once."""
    wide = simultaneous_level(level, len(hits)) if hits else level
    slices = []
    for group, rows in hits.items():
        low, high = proportion_interval(rows.sum(), len(rows), level)
        wide_low, wide_high = proportion_interval(rows.sum(), len(rows), wide)
        slices.append(
            Slice(
                group=group,
                value=float(rows.mean()),
                count=len(rows),
                interval=Interval(
                    low=float(low), high=float(high), level=level, method=Message("Wilson or Clopper-Pearson")
                ),
                simultaneous_interval=Interval(
                    low=float(wide_low),
                    high=float(wide_high),
                    level=level,
                    method=Message("Wilson or Clopper-Pearson, Sidak over {hits_count}", hits_count=len(hits)),
                ),
            )
        )
    return slices
