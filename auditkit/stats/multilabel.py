"""Performance with several labels a row: each label by itself, the mean over the labels, and whole rows.

Labels and decisions are 0 or 1, (rows, labels), probabilities floating, (rows, labels), each label's by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.measurement import Interval, Measurement, Slice
from auditkit.evidence.messages import Message
from auditkit.stats import confusion
from auditkit.stats.estimates import Breakdown, Codes
from auditkit.stats.intervals import simultaneous_level
from auditkit.stats.one_vs_rest import LABEL
from auditkit.stats.quality import CLASSIFICATION_METRICS, MetricSpec, quality_measurement

WHOLE_ROWS: dict[str, MetricSpec] = {
    "exact_match_rate": MetricSpec(
        confusion.accuracy,
        "decisions",
        "rate",
        "higher",
        "scikit-learn accuracy_score of several labels: all must be right",
    ),
    "hamming_loss": MetricSpec(confusion.accuracy, "decisions", "rate", "lower", "scikit-learn hamming_loss"),
}
"""The metrics on all labels of a row together that `row_measurement` makes: both are accuracies of 0s and 1s."""


def label_measurement(
    name: str,
    labels: Codes,
    given: NDArray[Any],
    breakdown: Breakdown,
    names: Sequence[str],
    *,
    level: float = 0.95,
) -> Measurement:
    """Return a metric for each label: a slice for each label, or each group and label; by them and `label`.

    `given` are decisions or probabilities, as `CLASSIFICATION_METRICS[name].of` says. To the statistic a label is one
    more column of the breakdown, and each row occurs once a label. Over all rows no label is too rare to be shown.
    """
    count, rows = len(names), len(labels)
    label = np.repeat(np.arange(count), rows)
    groups = breakdown.names or ((),)
    codes = label if breakdown.codes is None else np.tile(breakdown.codes.astype(np.int64), count) * count + label
    return quality_measurement(
        name,
        labels.T.ravel(),
        _of_one_label(name, given.T.ravel()),
        Breakdown(
            columns=(*breakdown.columns, LABEL),
            names=tuple((*key, label_name) for key in groups for label_name in names),
            codes=codes,
            min_group=0 if breakdown.codes is None else breakdown.min_group,
            sampling=breakdown.sampling.repeated(count),
        ),
        level=level,
    )


def mean_measurement(
    name: str,
    labels: Codes,
    given: NDArray[Any],
    breakdown: Breakdown,
    names: Sequence[str],
    *,
    level: float = 0.95,
) -> Measurement:
    """Return the mean over the labels (macro) of one of CLASSIFICATION_METRICS, over all rows or by group.

    Its interval lies between the means of limits that hold for all labels at once. Undefined where it is for a label.
    """
    each = simultaneous_level(level, len(names))
    parts = [
        quality_measurement(name, labels[:, code], _of_one_label(name, given[:, code]), breakdown, level=each)
        for code in range(len(names))
    ]
    first = parts[0]
    together = list(zip(*(part.slices for part in parts), strict=True))
    definition = Message("{definition}, mean over {count} labels", definition=first.definition, count=len(names))
    if breakdown.codes is None:
        return first.model_copy(update={**_mean(parts, names, level), "definition": definition})
    slices = []
    for ones in together:
        wide = [part.simultaneous_interval for part in ones]
        more = {"simultaneous_interval": _mean_interval(wide, level)}
        slices.append(ones[0].model_copy(update={**more, **_mean(ones, names, level)}))
    return first.model_copy(update={"slices": tuple(slices), "definition": definition})


def row_measurement(
    name: str, labels: Codes, decisions: Codes, breakdown: Breakdown, names: Sequence[str], *, level: float = 0.95
) -> Measurement:
    """Return one of `WHOLE_ROWS`: how often all labels of a row are right, or the share of labels that are wrong.

    The Hamming loss is 1 less the mean accuracy of the labels, and so are the ends of its interval.
    """
    metric = WHOLE_ROWS[name]
    if name == "exact_match_rate":
        every = (labels == decisions).all(axis=1).astype(np.int64)
        exact = quality_measurement("accuracy", np.ones(len(labels), dtype=np.int64), every, breakdown, level=level)
        return exact.model_copy(update={"id": f"performance.{name}", "definition": metric.definition})
    right = mean_measurement("accuracy", labels, decisions, breakdown, names, level=level)
    return right.model_copy(
        update={
            **_complement(right),
            "id": f"performance.{name}",
            "better": metric.better,
            "definition": metric.definition,
            "slices": tuple(part.model_copy(update=_complement(part)) for part in right.slices),
        }
    )


def _of_one_label(name: str, given: NDArray[Any]) -> NDArray[Any]:
    return given if CLASSIFICATION_METRICS[name].of == "decisions" else np.column_stack([1 - given, given])


def _mean(parts: Sequence[Measurement | Slice], names: Sequence[str], level: float) -> dict[str, Any]:
    """Return the fields of a measurement, or of a slice, that are the mean of those of every label."""
    absent = [(names[place], part.reason) for place, part in enumerate(parts) if part.value is None]
    if absent:
        name, why = absent[0]
        reason = Message(
            "undefined for {absent_count} of {names_count} labels, such as {name}: {why}",
            absent_count=len(absent),
            names_count=len(names),
            name=name,
            why=why,
        )
        unknown = {"value": None, "interval": None, "simultaneous_interval": None, "one_record": None}
        return {**unknown, "replicates": (), "reason": reason}
    replicates = [part.replicates for part in parts]
    paired = all(replicates) and len({len(part) for part in replicates}) == 1
    return {
        "value": float(np.mean([part.value for part in parts if part.value is not None])),
        "interval": _mean_interval([part.interval for part in parts], level),
        "replicates": tuple(float(value) for value in np.mean(replicates, axis=0)) if paired else (),
        "one_record": max((part.one_record for part in parts if part.one_record), default=None),
        "effective_count": min((part.effective_count for part in parts if part.effective_count), default=None),
    }


def _mean_interval(intervals: Sequence[Interval | None], level: float) -> Interval | None:
    known = [interval for interval in intervals if interval is not None]
    if len(known) < len(intervals):
        return None
    return Interval(
        low=float(np.mean([interval.low for interval in known])),
        high=float(np.mean([interval.high for interval in known])),
        level=level,
        method=Message("means of limits that hold for all labels: {method}", method=known[0].method),
    )


def _complement(part: Measurement | Slice) -> dict[str, Any]:
    """Return a rate's fields as those of 1 less the rate."""
    found: dict[str, Any] = {"replicates": tuple(1 - value for value in part.replicates)}
    if part.value is not None:
        found["value"] = 1 - part.value
    kinds = ("interval", "simultaneous_interval") if isinstance(part, Slice) else ("interval",)
    for kind in kinds:
        held: Interval | None = getattr(part, kind)
        if held is not None:
            found[kind] = held.model_copy(update={"low": 1 - held.high, "high": 1 - held.low})
    return found
