"""The breakdowns of an audit: its sensitive columns and their intersections, with the groups of every row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import shown
from auditkit.stats.counts import crossings, not_compared_note
from auditkit.stats.estimates import Breakdown


def breakdowns_of(subject: Subject, intersections: int, notes: list[str]) -> Iterator[tuple[Breakdown, str]]:
    """Yield every breakdown and how it is called; say in `notes` which groups are too small to show."""
    breakdowns = crossings(subject.sensitive, intersections)
    for done, columns in enumerate(breakdowns, 1):
        names, codes = subject.group_codes(columns)
        by = shown(columns)
        yield Breakdown(columns, names, codes, subject.min_group, subject.sampling), by
        hidden = not_compared_note(columns, names, np.bincount(codes, minlength=len(names)), subject.min_group)
        notes += [hidden] if hidden else []
        subject.progress(done / len(breakdowns), by)
