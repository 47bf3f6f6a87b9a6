"""Gaps between groups by Fairlearn's definitions, with intervals that hold their level when all groups are equal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.measurement import Group, Interval, Measurement, Pair, Unit, shown
from auditkit.evidence.messages import Message, title
from auditkit.stats.counts import Counts, not_compared
from auditkit.stats.intervals import (
    difference_gap_interval,
    donner_zou,
    newcombe,
    ratio_gap_interval,
    simultaneous_level,
)
from auditkit.stats.rates import (
    FEW_CLUSTERS,
    GroupRates,
    group_rates,
    lowest_and_highest,
    rate,
    successes_and_trials,
    too_small,
)

GAPS: dict[str, tuple[str, ...]] = {
    "demographic_parity": ("selection_rate",),
    "equalized_odds": ("true_positive_rate", "false_positive_rate"),
    "equal_opportunity": ("true_positive_rate",),
    "predictive_parity": ("positive_predictive_value",),
    "accuracy": ("accuracy",),
}
"""The gaps, by the rates whose worst one they take."""

OF_DECISIONS = tuple(gap for gap, rates in GAPS.items() if not any(rate(name).needs_labels for name in rates))
"""The gaps that need no label."""

OF_LABELS = tuple(gap for gap in GAPS if gap not in OF_DECISIONS)
"""The gaps that need labels."""


HIGHEST_RATIO = 1e6
"""An upper limit of a ratio of two rates above this says no more than that the higher rate may be 0."""


@dataclass(frozen=True)
class Spread:
    """One rate over the groups in which it is defined."""

    rate: str
    groups: tuple[Group, ...]
    rates: GroupRates
    few_clusters: bool = False
    """Whether a group has rows enough, and is left out because they are of one cluster."""

    @property
    def ends(self) -> tuple[int, int]:
        """The positions of the groups with the lowest and with the highest rate."""
        return lowest_and_highest(self.rates.values)

    @property
    def compared(self) -> tuple[Group, Group]:
        """The groups with the lowest and with the highest rate."""
        low, high = self.ends
        return self.groups[low], self.groups[high]

    @property
    def compared_counts(self) -> tuple[int, int]:
        """The number of rows that these two rates are of."""
        low, high = self.ends
        return int(self.rates.counts[low]), int(self.rates.counts[high])

    @property
    def effective_count(self) -> float | None:
        """The effective number of rows of all groups; None in a simple sample."""
        return None if self.rates.is_simple else float(self.rates.trials.sum())

    def pair(self, unit: Unit, level: float) -> Pair | None:
        """Return the numbers of the lowest and the highest group, and the interval of these two alone.

        None where the ratio of the two has no upper limit worth the name.
        """
        low, high = self.ends
        rates = self.rates
        first, second = ((rates.successes[group], rates.trials[group]) for group in (low, high))
        related = 0.0 if rates.is_simple else float(rates.related[low, high])
        freedom = float(rates.freedom[low]), float(rates.freedom[high])
        if unit == "ratio":
            ends, method = (
                donner_zou(*first, *second, level, freedom=freedom, related=related),
                Message("Donner-Zou"),
            )
        else:
            ends, method = (
                newcombe(*second, *first, level, freedom=freedom[::-1], related=related),
                Message("Newcombe"),
            )
        if not ends[1] < HIGHEST_RATIO:
            return None
        value = self.ratio if unit == "ratio" else self.difference
        interval = Interval(
            low=min(float(ends[0]), value),
            high=max(float(ends[1]), value),
            level=level,
            method=rates.stated(Message("{pairs} with mid-P limits of weight 0.6", pairs=method)),
        )
        weighted = None
        if (
            not rates.is_simple
            and rates.values[[low, high]].tolist() != (rates.hits / rates.counts)[[low, high]].tolist()
        ):
            weighted = float(rates.values[low]), float(rates.values[high])
        return Pair(
            rate=self.rate,
            successes=(int(rates.hits[low]), int(rates.hits[high])),
            weighted=weighted,
            interval=interval,
        )

    def one_record(self, unit: Unit) -> float | None:
        """Return the most that one record of the lowest or the highest group could change the gap."""
        low, high = (1 / float(self.rates.trials[group]) for group in self.ends)
        if unit != "ratio":
            return max(low, high)
        return max(low, self.ratio * high) / max(self.values)

    @property
    def values(self) -> list[float]:
        """The rate of each group."""
        found: list[float] = self.rates.values.tolist()
        return found

    @property
    def difference(self) -> float:
        """The highest minus the lowest rate."""
        return max(self.values) - min(self.values)

    @property
    def ratio(self) -> float:
        """The lowest over the highest rate."""
        return min(self.values) / max(self.values)


def gap_measurements(
    counts: Counts,
    *,
    gaps: Iterable[str] = ("demographic_parity", "equalized_odds"),
    prefix: str = "fairness",
    level: float = 0.95,
    min_group: int = 10,
) -> list[Measurement]:
    """Return gaps between the groups, each as a difference and as a ratio: `prefix.demographic_parity_difference`...

    A difference is the highest minus the lowest rate of a group (ideal 0), a ratio the lowest over the
    highest (ideal 1); equalized odds take the worse of the true and the false positive rate (Fairlearn's
    `agg="worst_case"`). A group with fewer than `min_group` of the rows that a rate is a part of is left out of that
    rate's gap (`left_out_notes` says so), as are the groups that are `not_compared`. `compared` names the lowest and
    the highest group of the rate that the value is from.
    Undefined, with the reason: fewer than two groups with a rate, or a ratio of rates that are all zero.
    """
    kept = np.flatnonzero(~not_compared(counts.sizes, min_group, counts.groups))
    measurements = []
    for gap in gaps:
        spreads = [_spread(counts, kept, rate, min_group) for rate in GAPS[gap]]
        measurements.append(_difference(f"{prefix}.{gap}_difference", counts, spreads, level, min_group))
        measurements.append(_ratio(f"{prefix}.{gap}_ratio", counts, spreads, level, min_group))
    return measurements


def left_out_notes(counts: Counts, min_group: int, gaps: Iterable[str] = GAPS) -> list[str]:
    """Return the sentences that say which groups the gaps leave out, although they are shown."""
    kept = np.flatnonzero(~not_compared(counts.sizes, min_group, counts.groups))
    notes: list[str] = []
    for needed in dict.fromkeys(rate(name).needed for gap in gaps for name in GAPS[gap]):
        name = next(name for gap in gaps for name in GAPS[gap] if rate(name).needed == needed)
        _, trials = successes_and_trials(counts.table[kept], name)
        few = [counts.group(group).text for group in kept[trials < min_group]]
        if few and needed:
            listed = few if len(few) <= 6 else Message("{groups} and {n} more", groups=few[:6], n=len(few) - 6)
            notes.append(
                Message(
                    "By {columns}, gaps between rates of rows with {needed} leave out {groups}: fewer than "
                    "{min_group} such rows.",
                    columns=shown(counts.columns),
                    needed=needed,
                    groups=listed,
                    min_group=min_group,
                )
            )
    return notes


def one_cluster_notes(counts: Counts, min_group: int) -> list[str]:
    """Return the sentence that says which groups are not compared because all of their rows are of one cluster."""
    if counts.sampled is None:
        return []
    kept = np.flatnonzero(~not_compared(counts.sizes, min_group, counts.groups))
    alone = kept[group_rates(counts, "selection_rate", kept).units == 1]
    return one_cluster_note(counts.columns, [counts.group(group).text for group in alone if counts.sizes[group] > 1])


def one_cluster_note(columns: tuple[str, ...], groups: list[str]) -> list[str]:
    """Return the sentence that names the `groups` of one cluster, told by `columns`; none where there are none."""
    text = Message.plural(
        "By {columns}, all rows of {groups} are of one cluster, too few to judge: not compared.",
        "By {columns}, all rows of each of {n} groups are of one cluster, too few to judge: {groups} are not compared.",
        len(groups),
        columns=shown(columns),
        groups=groups if len(groups) <= 6 else Message("{groups} and {n} more", groups=groups[:6], n=len(groups) - 6),
    )
    return [text] if groups else []


def _spread(counts: Counts, kept: NDArray[np.intp], rate: str, min_group: int) -> Spread:
    rates = group_rates(counts, rate, kept)
    defined = np.flatnonzero(rates.enough(min_group))
    groups = tuple(counts.group(kept[position]) for position in defined)
    return Spread(rate, groups, rates.take(defined), bool((rates.counts >= max(min_group, 1)).sum() > len(defined)))


def _difference(id: str, counts: Counts, spreads: list[Spread], level: float, min_group: int) -> Measurement:
    undefined = _too_few(counts, spreads, min_group)
    if undefined:
        return _measurement(id, counts, spreads, "rate_difference", reason=undefined)
    value, interval, worst = difference_of(spreads, level)
    return _measurement(id, counts, spreads, "rate_difference", value=value, worst=worst, interval=interval)


def _ratio(id: str, counts: Counts, spreads: list[Spread], level: float, min_group: int) -> Measurement:
    undefined = _too_few(counts, spreads, min_group)
    nothing = [spread.rate for spread in spreads if not undefined and max(spread.values) == 0]
    if nothing:
        undefined = Message("{rate} is zero in every group, and 0 / 0 is no ratio", rate=title(f".{nothing[0]}"))
    if undefined:
        return _measurement(id, counts, spreads, "ratio", reason=undefined)
    value, interval, worst = ratio_of(spreads, level)
    return _measurement(id, counts, spreads, "ratio", value=value, worst=worst, interval=interval)


def difference_of(spreads: list[Spread], level: float) -> tuple[float, Interval, Spread]:
    """Return the largest difference between two groups of one of some rates, its interval, and the rate's spread."""
    worst = max(spreads, key=lambda spread: spread.difference)
    each = simultaneous_level(level, len(spreads))
    apart, alone = _intervals(difference_gap_interval, spreads, (each, level))
    # The larger of several gaps is at least each one's lower bound. It is one of them, whose upper bound needs no
    # correction for the others.
    low = min(worst.difference, max(low for low, _ in apart))
    high = max(worst.difference, max(high for _, high in alone))
    return worst.difference, _interval(low, high, level, "Newcombe", spreads), worst


def ratio_of(spreads: list[Spread], level: float) -> tuple[float, Interval, Spread]:
    """Return the smallest ratio between two groups of one of some rates, its interval, and the rate's spread.

    Of each rate at least one group has one above 0.
    """
    worst = min(spreads, key=lambda spread: spread.ratio)
    each = simultaneous_level(level, len(spreads))
    apart, alone = _intervals(ratio_gap_interval, spreads, (each, level))
    low = min(worst.ratio, min(low for low, _ in alone))
    high = max(worst.ratio, min(high for _, high in apart))
    return worst.ratio, _interval(low, high, level, Message("Donner-Zou"), spreads), worst


def _intervals(
    interval: Callable[..., tuple[float, float]], spreads: list[Spread], levels: tuple[float, float]
) -> list[list[tuple[float, float]]]:
    """Return the interval of each spread at the first level, and at the second; of one spread the two are the same."""
    found = {
        level: [
            interval(rates.successes, rates.trials, level, freedom=rates.freedom, related=rates.related)
            for rates in (spread.rates for spread in spreads)
        ]
        for level in set(levels)
    }
    return [found[level] for level in levels]


def _too_few(counts: Counts, spreads: list[Spread], min_group: int) -> str | None:
    if len(counts.groups) < 2:
        return Message("only one group occurs, and a gap needs two")
    if (~not_compared(counts.sizes, min_group, counts.groups)).sum() < 2:
        return too_small(min_group)
    for spread in spreads:
        if len(spread.groups) < 2:
            if spread.few_clusters:
                return FEW_CLUSTERS
            needed = rate(spread.rate).needed
            if min_group <= 1:
                return Message("fewer than two groups have rows with {needed}", needed=needed)
            return Message(
                "fewer than two groups have at least {min_group} rows with {needed}", min_group=min_group, needed=needed
            )
    return None


def _interval(low: float, high: float, level: float, pairs: str, spreads: list[Spread]) -> Interval:
    sizes = sorted({len(spread.groups) for spread in spreads})
    over = sizes[0] if len(sizes) == 1 else Message("{one} and {other}", one=sizes[0], other=sizes[-1])
    end = "lower" if pairs == "Newcombe" else "upper"
    shared = {
        "lower": Message(", lower end for all pairs of {sizes} groups at once", sizes=over),
        "upper": Message(", upper end for all pairs of {sizes} groups at once", sizes=over),
    }
    family = shared[end] if sizes != [2] else ""
    both = Message(", Sidak over both rates") if len(spreads) > 1 else ""
    method = spreads[0].rates.stated(Message("{pairs} with mid-P limits of weight 0.6", pairs=pairs))
    return Interval(low=low, high=high, level=level, method=method + family + both)


def _measurement(
    id: str,
    counts: Counts,
    spreads: list[Spread],
    unit: Literal["rate_difference", "ratio"],
    *,
    value: float | None = None,
    interval: Interval | None = None,
    worst: Spread | None = None,
    reason: str | None = None,
) -> Measurement:
    return Measurement(
        id=id,
        by=counts.columns,
        value=value,
        unit=unit,
        better="lower" if unit == "rate_difference" else "higher",
        count=sum(int(spread.rates.counts.sum()) for spread in spreads),
        effective_count=None if worst is None else sum(spread.effective_count or 0.0 for spread in spreads) or None,
        interval=interval,
        compared=None if worst is None else worst.compared,
        compared_counts=None if worst is None else worst.compared_counts,
        one_record=None if worst is None else worst.one_record(unit),
        pair=None if worst is None or interval is None else worst.pair(unit, interval.level),
        definition=_definition(id.partition(".")[2], spreads),
        reason=reason,
    )


def _definition(gap: str, spreads: list[Spread]) -> str:
    if gap.startswith(("predictive_parity", "accuracy")):
        method = gap.rpartition("_")[2]
        of = rate(spreads[0].rate).definition
        return Message("Fairlearn MetricFrame.{method}() of {definition}", method=method, definition=of)
    return f"Fairlearn {gap}" + (" (agg worst_case)" if len(spreads) > 1 else "")
