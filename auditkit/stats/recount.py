"""Rates and gaps of a report that is read back, derived again from its counts.

A results.json can be edited so that it contradicts nothing at a glance: a wider interval turns a limit that failed into
one that is undecided, and a number that is taken out is judged by no limit. What an audit measures of two counts
follows from them. So it is computed again by the same functions, and must be equal.

Only of rows without weights and clusters: of others a report does not hold all that their intervals rest on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditkit.evidence.measurement import Interval, Measurement, Slice
from auditkit.evidence.rederive import ContradictionError, place_of
from auditkit.evidence.report import Outcome, Report
from auditkit.stats.counts import MISSING, crossings
from auditkit.stats.gaps import GAPS, Spread, difference_of, ratio_of
from auditkit.stats.hypergeometric import fisher_exact
from auditkit.stats.intervals import ratio_to_highest_interval, simultaneous_level
from auditkit.stats.one_vs_rest import CLASS, LABEL
from auditkit.stats.rates import RATES, GroupRates, rate, rate_intervals

TOLERANCE = 1e-8
"""How far two computations of one number may lie apart, relative to its size: another SciPy rounds differently."""

RATE_OF_RATIO = {"impact_ratio": "selection_rate", "scoring_impact_ratio": "scoring_rate"}
AXES = (CLASS, LABEL)

Columns = tuple[str, ...]
Part = tuple[str, str]
"""The axis, `class` or `label`, and one of its values: a gap or a rate of this class against the rest."""


@dataclass(frozen=True)
class Recount:
    """The numbers of one outcome by the name of the metric and its breakdown, and what they are derived with.

    `is_labelled` says whether every audited row has a label, `is_decided` whether every row of the data was audited:
    where not, an interval may be wider than the counts give, since it holds whatever the missing labels, or decisions,
    are.
    """

    measured: dict[tuple[str, Columns], Measurement]
    level: float
    min_group: int
    is_labelled: bool
    is_decided: bool

    @classmethod
    def of(cls, outcome: Outcome, report: Report) -> Recount:
        """Return what the numbers of an outcome are derived from."""
        data = report.subject.dataset
        measured = {(one.id.partition(".")[2], one.by): one for one in outcome.measurements}
        return cls(
            measured,
            level=report.config.policy.conf_level,
            min_group=max(report.config.groups.min_group, 1),
            is_labelled=_labelled_count(measured) >= data.audited_row_count,
            is_decided=data.row_count == data.audited_row_count,
        )

    def may_be_wider(self, rates: Sequence[str]) -> bool:
        """Return whether intervals of these rates, or of a gap between them, may be wider than their counts give."""
        return not (self.is_labelled if any(rate(name).needs_labels for name in rates) else self.is_decided)

    def spread(self, name: str, by: Columns, part: Part | None) -> Spread | None:
        """Return a rate over the groups that have it, of one part of a task or of the decisions; None where absent."""
        one = self.measured.get((name, by if part is None else (*by, part[0])))
        if one is None:
            return None
        groups = [
            group
            for group in one.slices
            if group.value is not None and (part is None or group.group.key[-1] == part[1])
        ]
        return Spread(name, tuple(group.group for group in groups), _rates(groups))

    def axis(self, name: str, by: Columns) -> Measurement | None:
        """Return the measurement of a gap for each class, or label, whose mean is that by these columns."""
        return next((self.measured[name, (*by, axis)] for axis in AXES if (name, (*by, axis)) in self.measured), None)


def recount_performance(outcome: Outcome, report: Report) -> None:
    """Check the accuracy of an outcome against its counts.

    Raises:
        ContradictionError: a number is another one than its counts give.
    """
    if report.subject.sampling is not None:
        return
    _check_effective(outcome)
    found = Recount.of(outcome, report)
    if any(by[-1:] == (LABEL,) for _, by in found.measured):  # then it is a mean over labels
        return
    whole = found.measured.get(("accuracy", ()))
    wider = whole is None or whole.count < report.subject.dataset.audited_row_count
    for (name, _), one in found.measured.items():
        if name == "accuracy":
            _check_rate(one, found, wider=wider)


def recount_fairness(outcome: Outcome, report: Report) -> None:
    """Check the rates, ratios and gaps between groups of an outcome against their counts, and that none was taken out.

    Raises:
        ContradictionError: a number is another one than its counts give, or is missing.
    """
    if report.subject.sampling is not None:
        return
    _check_effective(outcome)
    found = Recount.of(outcome, report)
    for (name, by), one in found.measured.items():
        gap, _, kind = name.rpartition("_")
        if name in RATES or name == "scoring_rate":
            _check_rate(one, found, wider=name in RATES and found.may_be_wider([name]))
        elif name in RATE_OF_RATIO:
            _check_impact(one, found.measured.get((RATE_OF_RATIO[name], by)), found)
        elif name == "fisher_exact_p":
            _check_fisher(one, found.measured.get(("selection_rate", by)))
        elif gap in GAPS and kind in ("difference", "ratio"):
            _check_gap(one, gap, kind, found)
    _check_complete(found, report.subject.sensitive, outcome.settings.get("intersections"))


def _labelled_count(measured: dict[tuple[str, Columns], Measurement]) -> int:
    """Return how many rows have a label, as far as the rates tell that are of all of them."""
    whole = measured.get(("base_rate", ()))
    if whole is not None:
        return whole.count
    counts: list[int] = []
    for (name, by), one in measured.items():
        if name == "base_rate" and by[-1:] and by[-1] in AXES:
            rows: dict[str, int] = {}
            for part in one.slices:
                rows[part.group.key[-1]] = rows.get(part.group.key[-1], 0) + part.count
            counts.append(min(rows.values(), default=0))
    return max(counts, default=0)


def _rates(groups: Sequence[Slice]) -> GroupRates:
    """Return the rates of groups, which all have one, as counted."""
    counts = np.array([group.count for group in groups], dtype=np.int64)
    values = np.array([group.value for group in groups], dtype=np.float64)
    hits = np.rint(values * counts).astype(np.int64)
    freedom = np.full(len(groups), np.inf)
    return GroupRates(hits / counts, hits, counts, hits, counts, freedom, counts, np.zeros(()), is_simple=True)


def _check_effective(outcome: Outcome) -> None:
    for one in outcome.measurements:
        numbers: list[Measurement | Slice] = [one, *one.slices]
        for number in numbers:
            if number.effective_count is not None:
                raise ContradictionError(
                    f"{place_of(one, number)} has an effective number of rows, of an audit with neither weights nor "
                    "clusters"
                )


def _check_rate(one: Measurement, found: Recount, *, wider: bool) -> None:
    """Check a rate of all rows, or of each group, against its counts."""
    if one.slices and sum(part.count for part in one.slices) != one.count:
        total = sum(part.count for part in one.slices)
        raise ContradictionError(f"{place_of(one)} rests on {one.count:,} rows, and its groups have {total:,}")
    for part in one.slices:
        if part.value is None and part.count >= found.min_group and MISSING not in part.group.key:
            raise ContradictionError(f"{place_of(one, part)} has {part.count:,} rows, and no value")
    every: list[Measurement | Slice] = [one, *one.slices]
    numbers = [number for number in every if number.value is not None]
    for number in numbers:
        if not number.count or not _close(
            number.value or 0.0, round((number.value or 0.0) * number.count) / number.count
        ):
            raise ContradictionError(
                f"{place_of(one, number)} is {number.value!r}, which no count of its {number.count:,} rows gives"
            )
        if number.one_record is not None and not _close(number.one_record, 1 / number.count):
            raise ContradictionError(f"{place_of(one, number)} states another effect of one record than its rows have")
    for number, (alone, together) in zip(numbers, _rate_intervals(numbers, found.level), strict=True):
        _check_interval(number.interval, alone, place_of(one, number), wider=wider)
        if isinstance(number, Slice):
            _check_interval(number.simultaneous_interval, together, place_of(one, number), wider=wider)


def _rate_intervals(numbers: Sequence[Measurement | Slice], level: float) -> list[tuple[Interval, Interval]]:
    """Return the interval of each of some rates alone, and that of all of them together."""
    if not numbers:
        return []
    counts = np.array([number.count for number in numbers], dtype=np.int64)
    hits = np.rint(np.array([number.value for number in numbers], dtype=np.float64) * counts)
    alone = rate_intervals(hits, counts, level)
    return list(zip(alone, rate_intervals(hits, counts, level, family_size=len(numbers)), strict=True))


def _check_impact(one: Measurement, rates: Measurement | None, found: Recount) -> None:
    """Check each group's rate over the highest one's."""
    groups = [part for part in rates.slices if part.value is not None] if rates is not None else []
    counted = _rates(groups)
    if len(groups) < 2 or not counted.hits.any():
        expected: dict[object, tuple[float, float, float]] = {}
    else:
        low, high = ratio_to_highest_interval(counted.successes, counted.trials, found.level)
        values = counted.values / counted.values.max()
        expected = {
            part.group: (float(value), min(float(least), float(value)), max(float(most), float(value)))
            for part, value, least, most in zip(groups, values, low, high, strict=True)
        }
    _check_groups(one, [part.group for part in one.slices], list(expected))
    wider = one.id.endswith(".impact_ratio") and found.may_be_wider(["selection_rate"])
    for part in one.slices:
        value, least, most = expected[part.group]
        _check_value(part.value, value, place_of(one, part))
        interval = Interval(low=least, high=most, level=found.level, method="")
        for stated in (part.interval, part.simultaneous_interval):
            _check_interval(stated, interval, place_of(one, part), wider=wider)


def _check_fisher(one: Measurement, rates: Measurement | None) -> None:
    """Check the p value of each group against the one that has none: the group that it is compared with."""
    groups = [part for part in rates.slices if part.value is not None] if rates is not None else []
    tested = {part.group for part in one.slices}
    against = [part for part in groups if part.group not in tested]
    if not one.slices and (len(groups) < 2 or one.reason is not None):
        return
    _check_groups(one, list(tested), [part.group for part in groups if part not in against[:1]])
    counted = {part.group: (round((part.value or 0.0) * part.count), part.count) for part in groups}
    hits, count = counted[against[0].group]
    for part in one.slices:
        own, rows = counted[part.group]
        _check_value(part.value, fisher_exact((own, rows - own), (hits, count - hits)), place_of(one, part))


def _check_gap(one: Measurement, gap: str, kind: str, found: Recount) -> None:
    """Check a gap between groups; with several classes that of each, and their mean."""
    name, wider = f"{gap}_{kind}", found.may_be_wider(GAPS[gap])
    if not one.by:  # of no row with a label
        return
    parts = found.axis(name, one.by)
    if one.slices:
        together = simultaneous_level(found.level, len(one.slices))
        for part in one.slices:
            spreads = _spreads(one, gap, one.by[:-1], (one.by[-1], part.group.key[-1]), found)
            _check_one_gap(part, kind, spreads, (found.level, together), place_of(one, part), wider=wider)
    elif parts is not None:
        _check_mean(one, parts)
    else:
        _check_one_gap(one, kind, _spreads(one, gap, one.by, None, found), (found.level,), place_of(one), wider=wider)


def _spreads(one: Measurement, gap: str, by: Columns, part: Part | None, found: Recount) -> list[Spread]:
    spreads = []
    for name in GAPS[gap]:
        spread = found.spread(name, by, part)
        if spread is None:
            raise ContradictionError(f"{place_of(one)} is between groups whose {name} the record does not hold")
        spreads.append(spread)
    return spreads


def _check_one_gap(
    number: Measurement | Slice, kind: str, spreads: list[Spread], levels: tuple[float, ...], where: str, *, wider: bool
) -> None:
    """Check a gap against the rates of its groups; at the second of the levels, its simultaneous interval."""
    few = any(len(spread.groups) < 2 for spread in spreads)
    if few or (kind == "ratio" and any(max(spread.values) == 0 for spread in spreads)):
        if number.value is not None:
            raise ContradictionError(f"{where} is {number.value!r}, and the rates of its groups give no gap")
        return
    derive = ratio_of if kind == "ratio" else difference_of
    value, interval, worst = derive(spreads, levels[0])
    if number.value is None:
        raise ContradictionError(f"{where} has no value, and the rates of its groups give {value!r}")
    _check_value(number.value, value, where)
    _check_interval(number.interval, interval, where, wider=wider)
    if isinstance(number, Slice):
        wide = derive(spreads, levels[1])[1].model_copy(update={"level": levels[0]})
        _check_interval(number.simultaneous_interval, wide, where, wider=wider)
    elif number.pair is None or number.compared_counts is None or number.compared is None:
        raise ContradictionError(f"{where} does not state the two rates that it lies between")
    else:
        own = _rates_of_pair(number.pair.successes, number.compared_counts)
        pair = Spread(worst.rate, number.compared, own).pair(number.unit, levels[0])
        if pair is None:
            raise ContradictionError(f"{where} has an interval of two groups, whose ratio has no upper limit")
        _check_interval(number.pair.interval, pair.interval, f"{where}, of two groups,", wider=wider)


def _rates_of_pair(successes: tuple[int, int], counts: tuple[int, int]) -> GroupRates:
    hits, rows = np.array(successes, dtype=np.int64), np.array(counts, dtype=np.int64)
    return GroupRates(hits / rows, hits, rows, hits, rows, np.full(2, np.inf), rows, np.zeros(()), is_simple=True)


def _check_mean(one: Measurement, parts: Measurement) -> None:
    """Check the mean of a gap over classes, or labels, between the means of the limits of all of them."""
    known = [part for part in parts.slices if part.value is not None and part.simultaneous_interval is not None]
    if not known:
        if one.value is not None:
            raise ContradictionError(f"{place_of(one)} is {one.value!r}, and the gap is defined for no class")
        return
    ends = [part.simultaneous_interval for part in known if part.simultaneous_interval is not None]
    low, high = float(np.mean([end.low for end in ends])), float(np.mean([end.high for end in ends]))
    _check_value(one.value, float(np.mean([part.value for part in known])), place_of(one))
    mean = Interval(low=low, high=high, level=ends[0].level, method="")
    _check_interval(one.interval, mean, place_of(one), wider=False)


def _check_complete(found: Recount, sensitive: Columns, depth: object) -> None:
    """Check that every breakdown has every rate that one of them has, and every gap between these rates."""
    measured = found.measured
    crossed = crossings(sensitive, depth if isinstance(depth, int) else 1)
    for name in RATES:
        for axis in ((), *((axis,) for axis in AXES)):
            has = [(name, (*by, *axis)) in measured for by in crossed]
            if any(has) and not all(has):
                by = crossed[has.index(False)]
                raise ContradictionError(f"fairness.{name} is missing by {', '.join((*by, *axis))}")
    for gap, rates in GAPS.items():
        for by in crossed:
            due = any(all((name, (*by, *axis)) in measured for name in rates) for axis in ((), *((a,) for a in AXES)))
            for kind in ("difference", "ratio"):
                if due and (f"{gap}_{kind}", by) not in measured:
                    raise ContradictionError(f"fairness.{gap}_{kind} is missing by {', '.join(by)}")


def _check_groups(one: Measurement, stated: Sequence[object], expected: Sequence[object]) -> None:
    if len(stated) != len(expected) or set(stated) != set(expected):
        raise ContradictionError(f"{place_of(one)} has {len(stated)} groups, and their rates give {len(expected)}")


def _check_value(stated: float | None, expected: float, where: str) -> None:
    if stated is None or not _close(stated, expected):
        raise ContradictionError(f"{where} is {stated!r}, and its counts give {expected!r}")


def _check_interval(stated: Interval | None, expected: Interval, where: str, *, wider: bool) -> None:
    if stated is None:
        raise ContradictionError(f"{where} has no interval, and its counts give one")
    if not _close(stated.level, expected.level):
        raise ContradictionError(
            f"{where} has an interval of {stated.level:g}, and the audit asked for {expected.level:g}"
        )
    low, high = _close(stated.low, expected.low), _close(stated.high, expected.high)
    if wider:
        low, high = low or stated.low < expected.low, high or stated.high > expected.high
    if not (low and high):
        raise ContradictionError(
            f"{where} has an interval from {stated.low!r} to {stated.high!r}, and its counts give {expected.low!r} to "
            f"{expected.high!r}"
        )


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= TOLERANCE * max(1.0, abs(one), abs(other))
