"""Rates of a confusion table, per group and overall, by Fairlearn's and scikit-learn's own definitions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import InputError, closest
from auditkit.evidence.measurement import Better, Interval, Measurement, Slice
from auditkit.evidence.messages import Message
from auditkit.stats.counts import MISSING, Counts, not_compared
from auditkit.stats.intervals import needs_exact, proportion_interval, simultaneous_level


@dataclass(frozen=True)
class Rate:
    """A rate as a part of a whole: masks over (label, prediction), whose definition it is, what it needs."""

    successes: tuple[tuple[int, int], tuple[int, int]]
    trials: tuple[tuple[int, int], tuple[int, int]]
    better: Better
    definition: str
    needed: str


RATES: dict[str, Rate] = {
    "selection_rate": Rate(((0, 1), (0, 1)), ((1, 1), (1, 1)), "neither", "Fairlearn selection_rate", ""),
    "base_rate": Rate(((0, 0), (1, 1)), ((1, 1), (1, 1)), "neither", "Fairlearn selection_rate of the labels", ""),
    "true_positive_rate": Rate(
        ((0, 0), (0, 1)),
        ((0, 0), (1, 1)),
        "higher",
        "Fairlearn true_positive_rate",
        Message("a positive label"),
    ),
    "false_positive_rate": Rate(
        ((0, 1), (0, 0)),
        ((1, 1), (0, 0)),
        "lower",
        "Fairlearn false_positive_rate",
        Message("a negative label"),
    ),
    "true_negative_rate": Rate(
        ((1, 0), (0, 0)),
        ((1, 1), (0, 0)),
        "higher",
        "Fairlearn true_negative_rate",
        Message("a negative label"),
    ),
    "false_negative_rate": Rate(
        ((0, 0), (1, 0)),
        ((0, 0), (1, 1)),
        "lower",
        "Fairlearn false_negative_rate",
        Message("a positive label"),
    ),
    "positive_predictive_value": Rate(
        ((0, 0), (0, 1)),
        ((0, 1), (0, 1)),
        "higher",
        "scikit-learn precision_score",
        Message("a positive prediction"),
    ),
    "negative_predictive_value": Rate(
        ((1, 0), (0, 0)),
        ((1, 0), (1, 0)),
        "higher",
        "scikit-learn precision_score of the negative class",
        Message("a negative prediction"),
    ),
    "accuracy": Rate(((1, 0), (0, 1)), ((1, 1), (1, 1)), "higher", "scikit-learn accuracy_score", ""),
}
"""The rates that can be asked for, by name. `accuracy` is defined for any number of classes, the rest for two."""


def rate(name: str) -> Rate:
    """Return a rate by its name.

    Raises:
        InputError: no rate has this name.
    """
    if name not in RATES:
        raise InputError(f"rate {name!r} is unknown{closest(name, RATES)}; it must be one of {', '.join(RATES)}.")
    return RATES[name]


def successes_and_trials(table: NDArray[np.int64], name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numerators and the denominators of a rate, int64, for tables (..., labels, predictions).

    Raises:
        InputError: an unknown rate, or one of two classes asked of another number of them.
    """
    chosen = rate(name)
    if table.shape[-1] == 2:
        successes, trials = np.array(chosen.successes), np.array(chosen.trials)
    elif name == "accuracy":
        successes, trials = np.eye(table.shape[-1], dtype=np.int64), np.ones(table.shape[-2:], dtype=np.int64)
    else:
        raise InputError(f"rate {name!r} needs 2 classes, got {table.shape[-1]}; only accuracy is defined for more.")
    return (table * successes).sum(axis=(-2, -1)), (table * trials).sum(axis=(-2, -1))


def point(table: NDArray[np.int64], name: str) -> float:
    """Return a rate of one table (labels, predictions); its denominator must not be zero.

    The value is to the last bit what Fairlearn's or scikit-learn's function returns for the rows: they divide the same
    two whole numbers.
    """
    successes, trials = successes_and_trials(table, name)
    return float(successes / trials)


def overall_rate(counts: Counts, name: str, prefix: str, *, level: float = 0.95) -> Measurement:
    """Return a rate over all rows, with its interval, as the measurement `prefix.name`."""
    table = counts.total()
    successes, trials = successes_and_trials(table, name)
    chosen = rate(name)
    undefined = _reason(chosen) if trials == 0 else None
    return Measurement(
        id=f"{prefix}.{name}",
        value=None if undefined else point(table, name),
        unit="rate",
        better=chosen.better,
        count=int(trials),
        interval=None if undefined else rate_intervals(successes, trials, level)[0],
        one_record=None if undefined else 1 / int(trials),
        definition=chosen.definition,
        reason=undefined,
    )


def rate_measurement(
    counts: Counts, name: str, *, prefix: str = "fairness", level: float = 0.95, min_group: int = 10
) -> Measurement:
    """Return a rate per group as the measurement `prefix.name`: no value of its own, one slice a group.

    Each slice has an interval of its own, and a simultaneous one that holds for all groups of the measurement
    at once. A group with fewer than `min_group` of the rows that the rate is a part of has no value, and says why.
    Groups that are `not_compared` are left out; of the selection rate they have a slice that says so, with their count.
    """
    chosen = rate(name)
    shown = np.flatnonzero(~not_compared(counts.sizes, min_group, counts.groups))
    table = counts.table[shown]
    successes, trials = successes_and_trials(table, name)
    defined = trials >= max(min_group, 1)
    family = int(defined.sum())
    alone = iter(rate_intervals(successes[defined], trials[defined], level))
    together = iter(rate_intervals(successes[defined], trials[defined], level, family_size=family))
    slices = []
    for position, group in enumerate(shown):
        key = counts.group(group)
        if defined[position]:
            value = point(table[position], name)
            intervals = {"interval": next(alone), "simultaneous_interval": next(together)}
            count = int(trials[position])
            slices.append(Slice(group=key, value=value, count=count, one_record=1 / count, **intervals))
        else:
            reason = _reason_in_group(chosen, int(trials[position]), min_group)
            slices.append(Slice(group=key, value=None, count=int(trials[position]), reason=reason))
    others = _not_compared(counts, min_group) if name == "selection_rate" else []
    return Measurement(
        id=f"{prefix}.{name}",
        by=counts.columns,
        unit="rate",
        better=chosen.better,
        count=int(trials.sum()) + sum(part.count for part in others),
        slices=tuple(sorted([*slices, *others], key=lambda part: part.group.key)),
        definition=chosen.definition,
        reason=None if slices or others else too_small(min_group),
    )


def _not_compared(counts: Counts, min_group: int) -> list[Slice]:
    """Return the groups that are counted and not compared, each with the reason instead of a rate."""
    listed = []
    for place in np.flatnonzero(not_compared(counts.sizes, min_group, counts.groups)):
        reason = Message("too few to judge: fewer than {min_group} rows", min_group=min_group)
        if MISSING in counts.groups[place]:
            reason = Message("no value: not compared without --compare-missing")
        listed.append(Slice(group=counts.group(place), value=None, count=int(counts.sizes[place]), reason=reason))
    return listed


def too_small(min_group: int) -> str:
    """Return the reason for a breakdown without a group to show."""
    return Message("fewer than two groups have at least {min_group} rows", min_group=min_group)


def rate_intervals(
    successes: NDArray[np.int64], trials: NDArray[np.int64], level: float, *, family_size: int = 1
) -> list[Interval]:
    """Return the intervals of rates, the method named; with a `family_size`, such as all hold with `level` at once."""
    successes, trials = np.atleast_1d(successes), np.atleast_1d(trials)
    each = simultaneous_level(level, family_size)
    low, high = proportion_interval(successes, trials, each)
    exact = needs_exact(successes, trials, each)
    family = Message(", Sidak over {family_size} groups", family_size=family_size) if family_size > 1 else ""
    return [
        Interval(
            low=float(low[position]),
            high=float(high[position]),
            level=level,
            method=(Message("Clopper-Pearson") if exact[position] else "Wilson") + family,
        )
        for position in range(len(low))
    ]


def _reason(chosen: Rate) -> str:
    return Message("no rows with {needed}", needed=chosen.needed) if chosen.needed else Message("no rows")


def _reason_in_group(chosen: Rate, trials: int, min_group: int) -> str:
    needed = chosen.needed
    if trials and needed:
        return Message("fewer than {min_group} rows with {needed} in this group", min_group=min_group, needed=needed)
    if trials:
        return Message("fewer than {min_group} rows in this group", min_group=min_group)
    return Message("no rows with {needed} in this group", needed=needed) if needed else Message("no rows in this group")
