"""Rates of a confusion table, per group and overall, by Fairlearn's and scikit-learn's own definitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditkit.errors import InputError, closest
from auditkit.evidence.measurement import Better, Interval, Measurement, Slice
from auditkit.evidence.messages import Message
from auditkit.stats.counts import MISSING, Counts, not_compared
from auditkit.stats.intervals import needs_exact, proportion_interval, simultaneous_level, student_share
from auditkit.stats.sampling import Cells, effective_rates


@dataclass(frozen=True)
class Rate:
    """A rate as a part of a whole: masks over (label, prediction), whose definition it is, what it needs."""

    successes: tuple[tuple[int, int], tuple[int, int]]
    trials: tuple[tuple[int, int], tuple[int, int]]
    better: Better
    definition: str
    needed: str

    @property
    def needs_labels(self) -> bool:
        """Whether rows without a label are no part of it: it differs between the labels."""
        return len(set(self.successes)) > 1 or len(set(self.trials)) > 1


RATES: dict[str, Rate] = {
    "selection_rate": Rate(((0, 1), (0, 1)), ((1, 1), (1, 1)), "neither", "Fairlearn selection_rate", ""),
    "base_rate": Rate(
        ((0, 0), (1, 1)), ((1, 1), (1, 1)), "neither", Message("Fairlearn selection_rate of the labels"), ""
    ),
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
        Message("scikit-learn precision_score of the negative class"),
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
    successes, trials = masks(name, table.shape[-1])
    return (table * successes).sum(axis=(-2, -1)), (table * trials).sum(axis=(-2, -1))


def masks(name: str, classes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which cells (labels, predictions) a rate of so many classes counts, and which it is a part of: 0 or 1.

    Raises:
        InputError: as `successes_and_trials`.
    """
    chosen = rate(name)
    if classes == 2:
        return np.array(chosen.successes), np.array(chosen.trials)
    if name == "accuracy":
        return np.eye(classes, dtype=np.int64), np.ones((classes, classes), dtype=np.int64)
    raise InputError(f"rate {name!r} needs 2 classes, got {classes}; only accuracy is defined for more.")


FEWEST_CLUSTERS = 2
FEW_CLUSTERS = Message("fewer than two groups have rows of at least 2 clusters")
ONE_CLUSTER = Message("too few to judge: all rows of this group are of one cluster")


@dataclass(frozen=True, eq=False)
class GroupRates:
    """A rate in each of some groups, (groups,), with what its intervals rest on.

    `counts` is the number of rows that the rate is a part of and `hits` of how many of them it is true; `values` is the
    rate itself, weighted where rows have weights, NaN of no rows. `trials` is the number of independent rows that know
    as much, which is `counts` in a simple sample, and `successes` the value times that; `freedom` and `related` are as
    in `auditkit.stats.intervals.difference_gap_interval`. `units` is the number of clusters, or of rows that are none.
    """

    values: NDArray[np.float64]
    hits: NDArray[np.int64]
    counts: NDArray[np.int64]
    successes: NDArray[np.float64] | NDArray[np.int64]
    trials: NDArray[np.float64] | NDArray[np.int64]
    freedom: NDArray[np.float64]
    units: NDArray[np.int64]
    related: NDArray[np.float64]
    is_simple: bool

    def enough(self, min_group: int) -> NDArray[np.bool_]:
        """Return which groups can be judged: of `min_group` rows of the rate, and of two clusters, or of no clusters.

        One cluster shows nothing of how far clusters lie apart.
        """
        few: NDArray[np.bool_] = (self.units < FEWEST_CLUSTERS) & (self.counts > self.units)
        return np.asarray((self.counts >= max(min_group, 1)) & ~few)

    def take(self, chosen: NDArray[Any]) -> GroupRates:
        """Return the rates of some of the groups, by a mask or by position."""
        return GroupRates(
            self.values[chosen],
            self.hits[chosen],
            self.counts[chosen],
            self.successes[chosen],
            self.trials[chosen],
            self.freedom[chosen],
            self.units[chosen],
            self.related if self.is_simple else self.related[chosen][:, chosen],
            is_simple=self.is_simple,
        )

    def effective(self, position: int) -> float | None:
        """Return the effective number of rows of one group; None in a simple sample, where it is their number."""
        return None if self.is_simple else float(self.trials[position])

    def stated(self, method: str) -> str:
        """Return the method of an interval, with what it is of where that is not the number of rows."""
        return stated(method, is_simple=self.is_simple)


def stated(method: str, *, is_simple: bool) -> str:
    """Return the method of an interval, with the words that it is of effective rows unless a sample is simple."""
    return method if is_simple else Message("{method} of the effective number of rows", method=method)


def group_rates(counts: Counts, name: str, groups: NDArray[Any] | None = None) -> GroupRates:
    """Return a rate of the groups of a table, or of those at some positions, as counted or as weighted.

    In a simple sample a value is to the last bit what Fairlearn's or scikit-learn's function returns for the rows: they
    divide the same two whole numbers.

    Raises:
        InputError: as `successes_and_trials`.
    """
    places = np.arange(len(counts.groups)) if groups is None else np.asarray(groups)
    hits, rows = successes_and_trials(counts.table[places], name)
    if counts.sampled is None:
        with np.errstate(invalid="ignore"):
            values = hits / rows
        return GroupRates(
            values, hits, rows, hits, rows, np.full(len(rows), np.inf), rows, np.zeros(()), is_simple=True
        )
    successes, trials = masks(name, len(counts.classes))
    order = np.full(len(counts.groups), len(places))
    order[places] = np.arange(len(places))
    own = order[counts.sampled.groups]
    kept = own < len(places)
    cells = Cells(own[kept], counts.sampled.cells[kept], counts.sampled.sampling.take(kept))
    found = effective_rates(cells, len(places), successes.ravel(), trials.ravel())
    return GroupRates(
        found.values,
        hits,
        rows,
        found.values * found.trials,
        found.trials,
        found.freedom,
        found.units,
        found.related,
        is_simple=False,
    )


def overall_rate(counts: Counts, name: str, prefix: str, *, level: float = 0.95) -> Measurement:
    """Return a rate over all rows, with its interval, as the measurement `prefix.name`."""
    rates, chosen = group_rates(counts.by(()), name), rate(name)
    count = int(rates.counts.sum())
    undefined = None if count else _reason(chosen)
    return Measurement(
        id=f"{prefix}.{name}",
        value=None if undefined else float(rates.values[0]),
        unit="rate",
        better=chosen.better,
        count=count,
        effective_count=None if undefined else rates.effective(0),
        interval=None if undefined else intervals_of_rates(rates, level)[0],
        one_record=None if undefined else 1 / float(rates.trials[0]),
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
    rates = group_rates(counts, name, shown)
    defined = rates.enough(min_group)
    family = int(defined.sum())
    alone = iter(intervals_of_rates(rates.take(defined), level))
    together = iter(intervals_of_rates(rates.take(defined), level, family_size=family))
    slices = []
    for position, group in enumerate(shown):
        key, count = counts.group(group), int(rates.counts[position])
        if defined[position]:
            slices.append(
                Slice(
                    group=key,
                    value=float(rates.values[position]),
                    count=count,
                    effective_count=rates.effective(position),
                    interval=next(alone),
                    simultaneous_interval=next(together),
                    one_record=1 / float(rates.trials[position]),
                )
            )
        else:
            reason = ONE_CLUSTER if count >= max(min_group, 1) else _reason_in_group(chosen, count, min_group)
            slices.append(Slice(group=key, value=None, count=count, reason=reason))
    others = _not_compared(counts, min_group) if name == "selection_rate" else []
    return Measurement(
        id=f"{prefix}.{name}",
        by=counts.columns,
        unit="rate",
        better=chosen.better,
        count=int(rates.counts.sum()) + sum(part.count for part in others),
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


def intervals_of_rates(rates: GroupRates, level: float, *, family_size: int = 1) -> list[Interval]:
    """Return the intervals of the rates of groups, as `rate_intervals`: of the effective number of rows."""
    each = simultaneous_level(level, family_size)
    share = student_share(each, rates.freedom)
    successes, trials = rates.successes * share, rates.trials * share
    return rate_intervals(successes, trials, level, family_size=family_size, is_simple=rates.is_simple)


def rate_intervals(
    successes: NDArray[Any], trials: NDArray[Any], level: float, *, family_size: int = 1, is_simple: bool = True
) -> list[Interval]:
    """Return the intervals of rates, the method named; with a `family_size`, such as all hold with `level` at once.

    Unless the sample `is_simple`, the method says that trials are effective ones.
    """
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
            method=stated(Message("Clopper-Pearson") if exact[position] else "Wilson", is_simple=is_simple) + family,
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


def lowest_and_highest(values: ArrayLike) -> tuple[int, int]:
    """Return the places of the lowest and of the highest of two values or more: two places, where all are equal too.

    >>> lowest_and_highest([0.5, 0.2, 0.9]), lowest_and_highest([0.5, 0.5])
    ((1, 2), (0, 1))
    """
    low, high = int(np.argmin(values)), int(np.argmax(values))
    return low, high if high != low else high + 1
