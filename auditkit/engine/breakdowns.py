"""The breakdowns of an audit: its sensitive columns and their intersections, with the groups of every row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Group, shown
from auditkit.stats.counts import crossings, not_compared_note
from auditkit.stats.estimates import Breakdown, shown_rows
from auditkit.stats.gaps import one_cluster_note


def breakdowns_of(subject: Subject, intersections: int, notes: list[str]) -> Iterator[tuple[Breakdown, str]]:
    """Yield every breakdown and how it is called; say in `notes` which groups are too small to show."""
    breakdowns = crossings(subject.sensitive, intersections)
    for done, columns in enumerate(breakdowns, 1):
        names, codes = subject.group_codes(columns)
        by = shown(columns)
        breakdown = Breakdown(columns, names, codes, subject.min_group, subject.sampling)
        yield breakdown, by
        hidden = not_compared_note(columns, names, np.bincount(codes, minlength=len(names)), subject.min_group)
        notes += [hidden] if hidden else []
        alone = [
            Group(by=columns, key=key).text
            for key, rows in shown_rows(breakdown, len(codes)).items()
            if subject.sampling.take(rows).is_one_cluster(len(rows))
        ]
        notes += one_cluster_note(columns, alone)
        subject.progress(done / len(breakdowns), by)
