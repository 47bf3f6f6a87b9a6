"""Labels that are known for some rows only: whether that depends on something, and what the missing ones could change.

No assumption is made about the missing labels. The tests ask whether the rows with a label are a selection; the bounds
hold whatever the missing labels are (Manski 2003).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.measurement import Interval, Measurement
from auditkit.evidence.messages import Message
from auditkit.stats.counts import Counts, not_compared, stacked
from auditkit.stats.hypergeometric import fisher_exact
from auditkit.stats.intervals import proportion_interval, simultaneous_level, student_share
from auditkit.stats.rates import group_rates, masks
from auditkit.stats.sampling import Cells, joined_sampling

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def dependence(known: Ints, rows: Ints) -> float:
    """Return the p-value that a label is known equally often in every group.

    Each group is tested against the rest by Fisher's exact test, and the smallest p-value is multiplied by their number
    (Bonferroni), which holds for groups of any size.

    Args:
        known: how many rows of each group have a label, (groups,).
        rows: how many rows each group has, (groups,).

    >>> dependence(np.array([0, 50]), np.array([50, 50])) < 1e-6, dependence(np.array([25, 25]), np.array([50, 50]))
    (True, 1.0)
    """
    known, rows = np.asarray(known), np.asarray(rows)
    if len(rows) < 2 or not 0 < known.sum() < rows.sum():
        return 1.0
    tests = range(1 if len(rows) == 2 else len(rows))
    total, labelled = int(rows.sum()), int(known.sum())
    found = []
    for group in tests:
        inside, size = int(known[group]), int(rows[group])
        rest = labelled - inside, total - size - (labelled - inside)
        found.append(fisher_exact((inside, size - inside), rest))
    return min(1.0, min(found) * len(found))


def quarters(scores: Floats) -> Ints:
    """Return which quarter of the rows, in the order of their scores, each row is in: (rows,), equal scores together.

    >>> quarters(np.array([0.1, 0.2, 0.3, 0.4, 0.9, 0.9, 0.9, 0.9])).tolist()
    [0, 0, 1, 1, 2, 2, 2, 2]
    """
    edges = np.quantile(scores, [0.25, 0.5, 0.75])
    placed: Ints = np.searchsorted(edges, scores, side="left")
    _, codes = np.unique(placed, return_inverse=True)
    return codes.astype(np.int64)


def completed(known: Counts, unlabelled: Counts, name: str, *, best: bool) -> Counts:
    """Return the table of all rows with the missing labels such that a rate is the highest, or the lowest, possible.

    Rows without a label get the one that makes them a success of the rate, or else no part of it, where the `best` is
    asked for; the one that makes them a failure, or else no part of it, for the worst. No other labels give any group a
    higher, or lower, rate.

    Args:
        known: rows with a label, by group, label and prediction.
        unlabelled: rows without one; of their labels nothing is read.
        name: one of `auditkit.stats.rates.RATES`.
        best: whether the rate is to be the highest.

    >>> columns, groups, classes = ("sex",), (("F",),), ("no", "yes")
    >>> known = Counts(columns, groups, classes, np.array([[[40, 10], [10, 40]]]))
    >>> unlabelled = Counts(columns, groups, classes, np.array([[[0, 20], [0, 0]]]))
    >>> [completed(known, unlabelled, "accuracy", best=best).table.tolist() for best in (False, True)]
    [[[[40, 30], [10, 40]]], [[[40, 10], [10, 60]]]]
    """
    hit, counted = masks(name, len(known.classes))
    adds = np.where(counted > 0, 2 * hit - 1, 0)  # 1 for a success, -1 for a failure, 0 for no part of the rate
    given = adds.argmax(axis=0) if best else adds.argmin(axis=0)
    table = np.zeros_like(unlabelled.table)
    decisions = np.arange(len(known.classes))
    table[:, given, decisions] = unlabelled.table.sum(axis=1)
    cells = None if unlabelled.sampled is None else _filled(unlabelled.sampled.cells, given)
    return _with_filled(known, unlabelled, table, cells)


def _with_filled(known: Counts, unlabelled: Counts, table: Ints, filled: Ints | None) -> Counts:
    """Return the table of all rows, where those of `unlabelled` fill `table`, and lie in the cells `filled`."""
    whole = dataclasses.replace(known, sampled=None) + dataclasses.replace(unlabelled, table=table, sampled=None)
    if known.sampled is None or unlabelled.sampled is None or filled is None:
        return whole
    place = {key: position for position, key in enumerate(whole.groups)}
    parts = [(known, known.sampled.cells), (unlabelled, filled)]
    groups = [
        np.array([place[key] for key in part.groups], dtype=np.int64)[part.sampled.groups]
        for part, _ in parts
        if part.sampled is not None
    ]
    sampling = joined_sampling([known.sampled.sampling, unlabelled.sampled.sampling])
    cells = np.concatenate([cells for _, cells in parts])
    return dataclasses.replace(whole, sampled=Cells(np.concatenate(groups), cells, sampling))


def _filled(cells: Ints, given: Ints) -> Ints:
    """Return cells (label * classes + prediction) with the label that is `given` to each prediction."""
    decisions = cells % len(given)
    return np.asarray(given[decisions] * len(given) + decisions, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Unlabelled:
    """The tables of rows with a label and of those without one, over the same columns and classes."""

    known: Counts
    unlabelled: Counts

    def by(self, columns: tuple[str, ...]) -> Self:
        """Return both tables over fewer columns."""
        return type(self)(self.known.by(columns), self.unlabelled.by(columns))

    @classmethod
    def stacked(cls, parts: Sequence[Self], axis: str) -> Self:
        """Return the tables of two classes as one, whose last column, `axis`, names the part."""
        return cls(stacked([part.known for part in parts], axis), stacked([part.unlabelled for part in parts], axis))

    def completed(self, name: str, *, best: bool) -> Counts:
        """Return the table of all rows such that a rate is the highest, or the lowest, possible."""
        return completed(self.known, self.unlabelled, name, best=best)

    def limits(self, name: str, groups: Sequence[tuple[str, ...]], level: float) -> tuple[Floats, Floats]:
        """Return the limits of a rate in each of some groups, whatever the missing labels are: (groups,) twice.

        The lower is that of the interval of the lowest possible rate, the upper that of the highest; 0 and 1 where such
        a group would have no row of the rate.
        """
        ends = []
        for best in (False, True):
            whole = self.completed(name, best=best)
            rates = group_rates(whole, name, np.array([whole.groups.index(group) for group in groups], dtype=np.intp))
            defined = rates.counts > 0
            rates = rates.take(defined)
            share = student_share(level, rates.freedom)
            limits = np.full(len(groups), float(best))
            limits[defined] = proportion_interval(rates.successes * share, rates.trials * share, level)[int(best)]
            ends.append(limits)
        return ends[0], ends[1]

    def rate(self, measurement: Measurement, name: str, level: float) -> Measurement:
        """Return a rate, over all rows or by group, with intervals that hold whatever the missing labels are."""
        if measurement.value is not None:
            low, high = self.by(()).limits(name, [()], level)
            return measurement.model_copy(update={"interval": self._widened(measurement.interval, low[0], high[0])})
        shown = [part for part in measurement.slices if part.value is not None]
        if not shown:
            return measurement
        keys = [part.group.key for part in shown]
        alone = zip(*self.limits(name, keys, level), strict=True)
        together = zip(*self.limits(name, keys, simultaneous_level(level, len(keys))), strict=True)
        return _with_bounds(measurement, zip(alone, together, strict=True), self._widened)

    def gap(self, measurement: Measurement, rates: Sequence[str], level: float, min_group: int) -> Measurement:
        """Return the largest gap in any of some rates with an interval that holds whatever the missing labels are.

        It reaches from the least to the greatest gap that the missing labels allow.
        """
        if measurement.interval is None:
            return measurement
        whole = dataclasses.replace(self.known, sampled=None) + dataclasses.replace(self.unlabelled, sampled=None)
        kept = np.flatnonzero(~not_compared(whole.sizes, min_group, whole.groups))
        keys = [whole.groups[place] for place in kept]
        each = simultaneous_level(level, 2 * len(keys))
        of_gap, worst = (ratio_bounds, min) if measurement.unit == "ratio" else (gap_bounds, max)
        bounds = [of_gap(*self.limits(name, keys, each)) for name in rates]
        low, high = (worst(pair[end] for pair in bounds) for end in (0, 1))
        return measurement.model_copy(update={"interval": self._widened(measurement.interval, low, high)})

    def differences(self, measurement: Measurement, name: str, reference: tuple[str, ...], level: float) -> Measurement:
        """Return each group's rate minus that of the `reference`, with intervals as of `rate`."""
        shown = [part for part in measurement.slices if part.value is not None]
        keys = [part.group.key for part in shown]
        if not keys:
            return measurement
        alone, together = (
            zip(*_differences(*self.limits(name, [*keys, reference], each)), strict=True)
            for each in (simultaneous_level(level, 2), simultaneous_level(level, len(keys) + 1))
        )
        return _with_bounds(measurement, zip(alone, together, strict=True), self._apart)

    def _apart(self, interval: Interval | None, low: float, high: float) -> Interval | None:
        return self._widened(interval, low, high)

    def _widened(self, interval: Interval | None, low: float, high: float) -> Interval | None:
        return widened(interval, low, high)


@dataclass(frozen=True, eq=False)
class Undecided(Unlabelled):
    """The tables of rows with a decision and of those without one: `unlabelled` are the latter.

    Their labels count as unknown too, so that a rate lies between those with all of them a success and all a failure.
    Of gaps and ratios the worse end is bounded, and the other stays that of the recorded decisions: what is missing may
    hide a breach, and does not excuse one. With `labels`, rows that have a decision may lack a label besides.
    """

    labels: Unlabelled | None = None

    def by(self, columns: tuple[str, ...]) -> Self:
        """Return the tables over fewer columns."""
        labels = None if self.labels is None else self.labels.by(columns)
        return type(self)(self.known.by(columns), self.unlabelled.by(columns), labels)

    @classmethod
    def stacked(cls, parts: Sequence[Self], axis: str) -> Self:
        """Return the tables of two classes as one, whose last column, `axis`, names the part."""
        whole = super().stacked(parts, axis)
        labels = [part.labels for part in parts if part.labels is not None]
        return dataclasses.replace(whole, labels=Unlabelled.stacked(labels, axis)) if labels else whole

    def completed(self, name: str, *, best: bool) -> Counts:
        """Return the table of all rows with all, or none, of those without a decision a success of the rate."""
        hit, counted = masks(name, len(self.known.classes))
        adds = np.where(counted > 0, 2 * hit - 1, 0).ravel()  # as of missing labels
        given = int(adds.argmax() if best else adds.argmin())
        table = np.zeros_like(self.unlabelled.table)
        table.reshape(len(table), -1)[:, given] = self.unlabelled.table.sum(axis=(1, 2))
        sampled = self.unlabelled.sampled
        cells = None if sampled is None else np.full_like(sampled.cells, given)
        known = self.known if self.labels is None else self.labels.completed(name, best=best)
        return _with_filled(known, self.unlabelled, table, cells)

    def gap(self, measurement: Measurement, rates: Sequence[str], level: float, min_group: int) -> Measurement:
        """Return the largest gap with an interval up to the worst that the missing decisions allow."""
        own, bounded = measurement.interval, super().gap(measurement, rates, level, min_group)
        if own is None or bounded.interval is None:
            return measurement
        kept = {"high": own.high} if measurement.unit == "ratio" else {"low": own.low}
        return bounded.model_copy(update={"interval": bounded.interval.model_copy(update=kept)})

    def ratios_to_highest(self, measurement: Measurement, name: str, level: float) -> Measurement:
        """Return each group's rate over the highest, with intervals down to the least that the missing decisions allow.

        All intervals hold at once.
        """
        keys = [part.group.key for part in measurement.slices]
        if not keys:
            return measurement
        low, high = self.limits(name, keys, simultaneous_level(level, len(keys)))
        slices = []
        for place, part in enumerate(measurement.slices):
            highest = float(np.delete(high, place).max(initial=0.0))
            least = 1.0 if highest <= low[place] else float(low[place]) / highest
            wider = self._widened(part.interval, least, 0.0)
            slices.append(part.model_copy(update={"interval": wider, "simultaneous_interval": wider}))
        return measurement.model_copy(update={"slices": tuple(slices)})

    def _apart(self, interval: Interval | None, low: float, high: float) -> Interval | None:
        """Return an interval of a difference, either of whose ends stays where it shows that there is one."""
        if interval is None:
            return None
        kept = interval.low if interval.low > 0 else low, interval.high if interval.high < 0 else high
        return self._widened(interval, *kept)

    def _widened(self, interval: Interval | None, low: float, high: float) -> Interval | None:
        wider = widened(interval, low, high)
        method = Message("bounds that hold whatever the missing decisions are (Manski 2003)")
        return None if wider is None else wider.model_copy(update={"method": method})


def _with_bounds(
    measurement: Measurement,
    bounds: Iterable[tuple[tuple[float, float], tuple[float, float]]],
    wider: Callable[[Interval | None, float, float], Interval | None],
) -> Measurement:
    """Return a measurement whose parts with a value have `wider` intervals, by their bounds alone and together."""
    left = iter(bounds)
    slices = []
    for part in measurement.slices:
        if part.value is not None:
            own, all_ = next(left)
            ends = wider(part.interval, *own), wider(part.simultaneous_interval, *all_)
            part = part.model_copy(update={"interval": ends[0], "simultaneous_interval": ends[1]})
        slices.append(part)
    return measurement.model_copy(update={"slices": tuple(slices)})


def widened(interval: Interval | None, low: float, high: float) -> Interval | None:
    """Return an interval that reaches at least from `low` to `high`, the bounds whatever the missing labels are."""
    if interval is None:
        return None
    return interval.model_copy(
        update={
            "low": min(float(low), interval.low),
            "high": max(float(high), interval.high),
            "method": Message("bounds that hold whatever the missing labels are (Manski 2003)"),
        }
    )


def _differences(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Return the bounds of each rate minus the last, from the bounds of the rates: (rates,) to (rates - 1,) twice."""
    return low[:-1] - high[-1], high[:-1] - low[-1]


def gap_bounds(low: Floats, high: Floats) -> tuple[float, float]:
    """Return the least and the greatest that the largest difference between groups' rates can be.

    `low` and `high` are the bounds of each group's rate, (groups,); at least two groups.

    >>> gap_bounds(np.array([0.1, 0.5]), np.array([0.3, 0.6]))
    (0.2, 0.5)
    """
    count = len(low)
    apart = [(high[one] - low[other], low[one] - high[other]) for one in range(count) for other in range(count)
             if one != other]  # fmt: skip
    return float(max(0.0, round(max(least for _, least in apart), 12))), float(round(max(m for m, _ in apart), 12))


def ratio_bounds(low: Floats, high: Floats) -> tuple[float, float]:
    """Return the least and the greatest that the lowest rate of a group over the highest can be.

    `low` and `high` are the bounds of each group's rate, (groups,); at least two groups.

    >>> ratio_bounds(np.array([0.15, 0.5]), np.array([0.3, 0.6]))
    (0.25, 0.6)
    """
    least = float(low.min() / high.max()) if high.max() > 0 else 0.0
    greatest = float(high.min() / low.max()) if low.max() > 0 else 1.0
    return least, min(1.0, greatest)
