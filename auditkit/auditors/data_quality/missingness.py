"""Sensitive columns as they were typed: whether decisions depend on a missing value, and names that look alike."""

from __future__ import annotations

import shlex

import numpy as np
from numpy.typing import NDArray

from auditkit.data.group_names import look_alikes
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Interval, Measurement
from auditkit.evidence.messages import Message
from auditkit.stats.intervals import newcombe

MISSING_DECISIONS = "data.missing_decision_difference"
LOOK_ALIKES = "data.look_alike_group_count"


def missing_decisions(subject: Subject) -> list[Measurement]:
    """Return, for each sensitive column with missing values, how far the selection of those rows lies from the others.

    Decisions of two classes only. The value is the distance between the two selection rates, 0 is ideal.
    """
    if subject.task.positive is None:
        return []
    found = []
    for column in subject.sensitive:
        names, codes = subject.group_codes((column,))
        missing = np.isin(codes, [code for code, key in enumerate(names) if key == (subject.missing_group,)])
        if missing.any() and not missing.all():
            found.append(_difference(column, missing, subject.predictions.labels == 1, subject))
    return found


def look_alike_groups(subject: Subject) -> tuple[list[Measurement], list[str]]:
    """Return how many names of each sensitive column look like another one, where any do, and the options to merge."""
    measurements: list[Measurement] = []
    notes: list[str] = []
    for column in (name for name in subject.sensitive if name not in subject.bins):
        names, codes = subject.group_codes((column,))
        sizes = dict(zip((key[0] for key in names), np.bincount(codes, minlength=len(names)).tolist(), strict=True))
        sizes.pop(subject.missing_group, None)
        pairs = look_alikes(sizes)
        if not pairs:
            continue
        value = float(len(pairs))
        exact = Message("exact: all of these rows were counted")
        measurements.append(
            Measurement(
                id=LOOK_ALIKES,
                by=(column,),
                value=value,
                unit="count",
                better="lower",
                count=len(subject.labels),
                interval=Interval(low=value, high=value, level=subject.conf_level, method=exact),
                definition=Message("names that differ in case, accents, punctuation or one letter of a rare name"),
            )
        )
        options = " ".join(f"--merge {shlex.quote(f'{column}:{rare}={common}')}" for rare, common in pairs)
        notes.append(Message("Groups of {column} that may be one: {options}", column=column, options=options))
    return measurements, notes


def _difference(column: str, missing: NDArray[np.bool_], selected: NDArray[np.bool_], subject: Subject) -> Measurement:
    count = int(missing.sum())
    value = interval = None
    if count >= subject.min_group and len(missing) - count >= subject.min_group:
        sides = [(int(selected[side].sum()), int(side.sum())) for side in (missing, ~missing)]
        low, high = (float(end) for end in newcombe(*sides[0], *sides[1], subject.conf_level))
        value = abs(sides[0][0] / sides[0][1] - sides[1][0] / sides[1][1])
        ends = sorted((abs(low), abs(high)))
        interval = Interval(
            low=0.0 if low <= 0 <= high else ends[0],
            high=ends[1],
            level=subject.conf_level,
            method=Message("Newcombe with mid-P limits of weight 0.6"),
        )
    return Measurement(
        id=MISSING_DECISIONS,
        by=(column,),
        value=value,
        unit="rate_difference",
        better="lower",
        count=count,
        interval=interval,
        definition=Message("selection rate of the rows without a value, and of those with one"),
        reason=None
        if value is not None
        else Message("fewer than {min_group} rows have no value, or have one", min_group=subject.min_group),
    )
