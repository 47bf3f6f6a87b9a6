"""The same rates and gaps computed once more by Fairlearn, whose definitions the report states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from auditkit.evidence.measurement import Facts, Measurement
from auditkit.evidence.messages import Message
from auditkit.stats.counts import Counts

TOLERANCE = 1e-9

GAPS = {
    "demographic_parity": ("selection_rate",),
    "equalized_odds": ("true_positive_rate", "false_positive_rate"),
}


class CrossCheck(NamedTuple):
    """How many numbers both computed, how many of them agree, and the largest difference with the number's name."""

    compared: int
    agreeing: int
    largest: float
    where: str

    def plus(self, other: CrossCheck) -> CrossCheck:
        """Return both checks as one."""
        most = max(self, other, key=lambda one: one.largest)
        return CrossCheck(self.compared + other.compared, self.agreeing + other.agreeing, most.largest, most.where)


NOTHING = CrossCheck(0, 0, 0.0, "")


def _metrics() -> dict[str, Callable[..., float]]:
    """Return what MetricFrame computes in a group, by the name of the rate."""
    from fairlearn.metrics import (
        false_negative_rate,
        false_positive_rate,
        selection_rate,
        true_negative_rate,
        true_positive_rate,
    )
    from sklearn.metrics import accuracy_score

    return {
        "selection_rate": selection_rate,
        "true_positive_rate": true_positive_rate,
        "false_positive_rate": false_positive_rate,
        "true_negative_rate": true_negative_rate,
        "false_negative_rate": false_negative_rate,
        "accuracy": accuracy_score,
    }


def cross_check(counts: Counts, measurements: Iterable[Measurement]) -> CrossCheck:
    """Compare the rates and gaps of one breakdown with those of Fairlearn's MetricFrame, over the groups measured.

    MetricFrame sees one row for each cell of the table of counts, weighted by its count, or by the sum of its rows'
    weights: the same numbers as of all rows, in milliseconds. What is undefined here is left out, because Fairlearn
    says 0 of no rows.
    """
    from fairlearn.metrics import MetricFrame

    functions = _metrics()
    found = {one.id.partition(".")[2]: one for one in measurements if one.by == counts.columns}
    rates = {name: found[name] for name in functions if name in found}
    compared = {name: [part for part in one.slices if part.group is not None] for name, one in rates.items()}
    keys = {part.group.key for parts in compared.values() for part in parts if part.value is not None}
    shown = [place for place, key in enumerate(counts.groups) if key in keys]
    if not shown:
        return NOTHING
    group, label, decision = np.nonzero(counts.table[shown])
    summed = counts.table if counts.sampled is None else counts.sums()
    weights = {"sample_weight": summed[shown][group, label, decision]}
    names = [counts.groups[shown[code]] for code in range(len(shown))]
    frame = MetricFrame(
        metrics={name: functions[name] for name in rates},
        y_true=label,
        y_pred=decision,
        sensitive_features=group,
        sample_params=dict.fromkeys(rates, weights),
    )
    pairs = [
        (name, part.value, float(frame.by_group[name][names.index(part.group.key)]))
        for name, one in rates.items()
        for part in one.slices
        if part.value is not None and part.group is not None
    ]
    between = {"difference": frame.difference(method="between_groups"), "ratio": frame.ratio(method="between_groups")}
    for gap, parts in GAPS.items():
        # The selection rate alone lists the groups that are not compared, without a value: Fairlearn gets none of them.
        whole = all(
            name in rates and all(part.value is not None for part in compared[name] if part.group.key in keys)
            for name in parts
        )
        for kind, worst in (("difference", max), ("ratio", min)):
            mine = found.get(f"{gap}_{kind}")
            if whole and mine is not None and mine.value is not None:
                pairs.append((f"{gap}_{kind}", mine.value, float(worst(between[kind][name] for name in parts))))
    if not pairs:
        return NOTHING
    return _agreement(pairs)


def _agreement(pairs: Sequence[tuple[str, float, float]]) -> CrossCheck:
    """Return how many numbers, by name, our own and Fairlearn's, agree."""
    away = [abs(own - other) for _, own, other in pairs]
    agreeing = sum(one <= TOLERANCE for one in away)
    largest = max(range(len(away)), key=away.__getitem__)
    return CrossCheck(len(pairs), agreeing, away[largest], pairs[largest][0])


def cross_check_facts(check: CrossCheck) -> Facts:
    """Return what the fairness card says of the check.

    Raises:
        ArithmeticError: a number disagrees.
    """
    from fairlearn import __version__

    if check.agreeing < check.compared:
        raise ArithmeticError(
            f"Fairlearn {__version__} computes {check.compared - check.agreeing} of {check.compared} rates and gaps "
            f"otherwise, {check.where} by {check.largest:.3g}; the report cannot be relied on"
        )
    return Facts(
        title=Message("Checked against Fairlearn"),
        rows=(
            (
                Message("Rates and gaps that agree"),
                Message("{agreeing:,} of {compared:,}", agreeing=check.agreeing, compared=check.compared),
            ),
            (Message("Largest difference"), f"{check.largest:.2g}"),
            (Message("Fairlearn"), str(__version__)),
        ),
    )
