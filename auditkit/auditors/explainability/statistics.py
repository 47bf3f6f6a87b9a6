"""Statistics over attributions: shares of a total and their intervals, as pure functions over arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.measurement import Group, Interval, Slice
from auditkit.evidence.messages import Message
from auditkit.stats.jackknife import replicates
from auditkit.stats.regression import mean_estimate

Floats = NDArray[np.float64]

RATIO_METHOD = Message("delta method for a ratio of means")


def sum_by_column(attributions: Floats, cells: dict[str, slice]) -> Floats:
    """Sum the attributions of a column's encoded cells (its one-hot and missing cells) per row.

    Args:
        attributions: (rows, cells).
        cells: for each column of the user's data, its cells.

    Returns:
        (rows, columns), in the order of `cells`.
    """
    return np.stack([attributions[:, part].sum(axis=1) for part in cells.values()], axis=1)


def ratio_replicates(numerators: Floats, denominators: Floats) -> tuple[float, ...]:
    """Return the ratio of the means of (rows,) each without each block of rows (`auditkit.stats.jackknife`)."""

    def ratio(rows: NDArray[np.intp]) -> float | None:
        total = float(denominators[rows].sum())
        return float(numerators[rows].sum()) / total if total > 0 else None

    return replicates(ratio, len(denominators))


def ratio_of_means(
    numerators: Floats, denominators: Floats, *, level: float, family_size: int = 1
) -> tuple[Floats, Floats, Floats]:
    """Return mean(numerators) / mean(denominators) per column, with its delta-method interval.

    For R = mean(a) / mean(t), var(R) is approximately var(a - R t) / (n mean(t)^2) (Cochran 1977, eq. 6.13): R moves
    like the mean of each row's influence on it, whose interval allows for skewness and heavy tails (`mean_estimate`).
    `family_size` > 1 widens the intervals so that that many hold at once (Bonferroni).

    Args:
        numerators: (rows, columns), not negative.
        denominators: (rows,), not negative, with a positive mean.
        level: confidence level in (0, 1).
        family_size: number of intervals that must hold together.

    Returns:
        value, low, high: (columns,) each; low is not below 0.

    >>> value, low, high = ratio_of_means(np.array([[1.0], [3.0]]), np.array([4.0, 4.0]), level=0.95)
    >>> float(value[0])
    0.5
    """
    total = denominators.mean()
    value = numerators.mean(axis=0) / total
    if len(denominators) < 2:
        return value, np.zeros(len(value)), np.full(len(value), np.inf)
    influence = value + (numerators - value * denominators[:, None]) / total
    each = 1 - (1 - level) / family_size
    found = [mean_estimate(column, (each,)).bounds[0] for column in influence.T]
    # A column with the same share of every row, mostly none at all, has that share.
    ends = [(share, share) if bound is None else bound[:2] for bound, share in zip(found, value, strict=True)]
    low, high = np.array(ends).T
    return value, np.clip(low, 0.0, value), np.maximum(high, value)


def ratio_interval(low: float, high: float, level: float, *, family: str = "", most: float = 1.0) -> Interval:
    """Return the ends that `ratio_of_means` gives as an interval of a ratio that cannot pass `most`."""
    return Interval(low=float(low), high=float(min(high, most)), level=level, method=RATIO_METHOD + family)


def ratio_slices(
    groups: Sequence[Group],
    numerators: Floats,
    denominators: Floats,
    *,
    level: float,
    what: str,
    chosen_from: int | None = None,
    counts: Sequence[int] | None = None,
    most: float = 1.0,
) -> list[Slice]:
    """Return the ratio of means of each column, (rows, columns), with an interval for it and one for all at once.

    Args:
        groups: what each column stands for.
        numerators: (rows, columns), not negative.
        denominators: (rows,), not negative, with a positive mean.
        level: confidence level in (0, 1).
        what: what the columns are, in the plural.
        chosen_from: of how many columns these were chosen; the intervals at once hold for all of them.
        counts: on how many rows each column rests; default: all.
        most: what no ratio can pass.
    """
    size = chosen_from or len(groups)
    value, low, high = ratio_of_means(numerators, denominators, level=level)
    _, wide_low, wide_high = ratio_of_means(numerators, denominators, level=level, family_size=size)
    family = Message(", Bonferroni over {size:,} {what}", size=size, what=what)
    return [
        Slice(
            group=group,
            value=float(value[place]),
            count=len(denominators) if counts is None else int(counts[place]),
            interval=ratio_interval(low[place], high[place], level, most=most),
            simultaneous_interval=ratio_interval(wide_low[place], wide_high[place], level, family=family, most=most),
        )
        for place, group in enumerate(groups)
    ]


def keyed(by: str, names: Iterable[str]) -> list[Group]:
    """Return names of one kind, such as columns, as the keys of slices.

    >>> keyed("column", ["age"])
    [Group(by=('column',), key=('age',))]
    """
    return [Group(by=(by,), key=(name,)) for name in names]


def largest_first(slices: Sequence[Slice]) -> list[Slice]:
    """Return slices by their value, the largest first."""
    return sorted(slices, key=lambda part: -(part.value or 0.0))


def scaled(count: int, share: float) -> int:
    """Return a share of a number of rows, ten of them at least."""
    return max(min(count, 10), int(count * share))
