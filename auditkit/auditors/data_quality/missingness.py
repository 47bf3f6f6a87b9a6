"""Whether decisions depend on a value being missing: the selection of rows without one, beside that of the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Interval, Measurement
from auditkit.evidence.messages import Message
from auditkit.stats.intervals import newcombe

MISSING_DECISIONS = "data.missing_decision_difference"


def missing_decisions(subject: Subject) -> list[Measurement]:
    """Return, for each sensitive column with missing values, how far the selection of those rows lies from the others.

    Decisions of two classes only. The value is the distance between the two selection rates, 0 is ideal.
    """
    if len(subject.schema.classes) != 2 or subject.labels.ndim > 1:
        return []
    found = []
    for column in subject.sensitive:
        names, codes = subject.group_codes((column,))
        missing = np.isin(codes, [code for code, key in enumerate(names) if key == (subject.missing_group,)])
        if missing.any() and not missing.all():
            found.append(_difference(column, missing, subject.predictions.labels == 1, subject))
    return found


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
