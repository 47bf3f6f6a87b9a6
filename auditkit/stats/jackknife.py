"""Leave-a-block-out replicates: what lets the numbers of two models on the same rows be compared as pairs.

A report holds no row, so that two reports alone cannot say on which rows both models erred. Instead each number is
recorded once more for each of up to 20 blocks of rows, with that block left out. The same rows always fall into the
same blocks; the replicates of two models on the same rows then differ as the models do, and their spread gives the
standard error of the difference (the delete-a-group jackknife: Kott 2001; Shao & Tu 1995).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.measurement import Measurement
from auditkit.stats.counts import not_compared
from auditkit.stats.gaps import GAPS
from auditkit.stats.inequality import INDICES, index_parts
from auditkit.stats.rates import RATES, successes_and_trials
from auditkit.stats.sampling import SIMPLE, Sampling

BLOCKS, FEWEST_BLOCKS = 20, 10
MAXIMUM_ROWS = 100_000
"""With more rows than this the plain intervals are short, and the replicates cost more than they bring."""

Codes = NDArray[np.int64]


def block_count(row_count: int, min_group: int = 10) -> int:
    """Return into how many blocks rows are block_of: each has `min_group` rows at least; 0 where that gives too few.

    >>> block_count(1000), block_count(150), block_count(99), block_count(10**6)
    (20, 15, 0, 0)
    """
    blocks = min(BLOCKS, row_count // max(min_group, 1))
    return blocks if blocks >= FEWEST_BLOCKS and row_count <= MAXIMUM_ROWS else 0


def assign_blocks(row_count: int, blocks: int, groups: Codes | None = None) -> Codes:
    """Deal rows into blocks of equal size: int64, (rows,). It depends on nothing but the arguments.

    With `groups`, the group of each row, the rows of each group are block_of by themselves.
    """
    order = np.random.default_rng(0).permutation(row_count)
    if groups is None:
        place = np.arange(row_count)
    else:
        order = order[np.argsort(groups[order], kind="stable")]
        sizes = np.bincount(groups)
        place = np.arange(row_count) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    block_of = np.empty(row_count, dtype=np.int64)
    block_of[order] = place % blocks
    return block_of


def assign_unit_blocks(
    row_count: int,
    sampling: Sampling = SIMPLE,
    min_group: int = 10,
    groups: Codes | None = None,
    fewest: int | None = None,
) -> Codes | None:
    """Deal rows into blocks, whole clusters where they have any: int64, (rows,); None where there are too few for it.

    Without clusters there are as many blocks as `fewest` rows, by default all, allow (`block_count`), and with `groups`
    the rows of each group are block_of by themselves.
    """
    if sampling.clusters is None:
        blocks = block_count(row_count if fewest is None else fewest, min_group)  # before rows are block_of, for memory
        return assign_blocks(row_count, blocks, groups) if blocks and row_count <= MAXIMUM_ROWS else None
    _, units = np.unique(sampling.clusters, return_inverse=True)
    count = int(units.max(initial=-1)) + 1
    enough = count >= FEWEST_BLOCKS and row_count <= MAXIMUM_ROWS
    return assign_blocks(count, min(BLOCKS, count))[units] if enough else None


def replicates(
    statistic: Callable[[NDArray[np.intp]], float | None], row_count: int, sampling: Sampling = SIMPLE
) -> tuple[float, ...]:
    """Return the statistic of all rows but one block's, for each block; empty where it is somewhere undefined.

    `statistic` takes the places of the rows that it is computed on. Clusters of rows are left out whole.
    """
    block_of = assign_unit_blocks(row_count, sampling)
    if block_of is None:
        return ()
    return rounded([statistic(np.flatnonzero(block_of != block)) for block in range(int(block_of.max()) + 1)])


def with_rate_replicates(
    measurements: list[Measurement],
    names: tuple[tuple[str, ...], ...],
    groups: Codes,
    labels: Codes,
    predictions: Codes,
    min_group: int = 10,
    sampling: Sampling = SIMPLE,
) -> list[Measurement]:
    """Return rates of all rows, or of each group by itself (`overall_rate`, `rate_measurement`), with their replicates.

    `groups`, `labels` and `predictions` hold the codes of each row, the last two of 0 and 1; `names` is the key of
    each group. What is no rate stays as it is.
    """
    tables = {}
    for code, size in enumerate(np.bincount(groups, minlength=len(names))):
        table: NDArray[Any] = np.zeros((0, 2, 2))
        if FEWEST_BLOCKS <= size <= MAXIMUM_ROWS:
            rows = np.flatnonzero(groups == code)
            of_group = sampling.take(rows)
            block_of = assign_unit_blocks(len(rows), of_group, min_group)
            if block_of is not None:
                blocks = int(block_of.max()) + 1
                cells = (block_of * 2 + labels[rows]) * 2 + predictions[rows]
                table = np.bincount(cells, of_group.weights, minlength=blocks * 4).reshape(blocks, 2, 2)
        tables[names[code]] = table
    found = []
    for measurement in measurements:
        rate = measurement.id.partition(".")[2]
        if rate in RATES and not measurement.by:
            own = _rate_replicates(next(iter(tables.values())), rate)
            measurement = measurement.model_copy(update={"replicates": own})
        elif rate in RATES:
            slices = tuple(
                part.model_copy(update={"replicates": _rate_replicates(tables[part.group.key], rate)})
                if part.value is not None
                else part
                for part in measurement.slices
            )
            measurement = measurement.model_copy(update={"slices": slices})
        found.append(measurement)
    return found


def _rate_replicates(blocks: NDArray[Any], rate: str) -> tuple[float, ...]:
    successes, trials = (counts.sum() - counts for counts in successes_and_trials(blocks, rate))
    return rounded((successes / trials).tolist()) if len(blocks) and trials.all() else ()


def with_gap_replicates(
    measurements: list[Measurement],
    names: tuple[tuple[str, ...], ...],
    groups: Codes,
    labels: NDArray[Any],
    predictions: NDArray[Any],
    min_group: int = 10,
    sampling: Sampling = SIMPLE,
) -> list[Measurement]:
    """Return gaps between groups (`gap_measurements`) or inequality indices with their replicates.

    `groups`, `labels` and `predictions` hold the codes of each row, the last two of 0 and 1 or bool; `names` is the key
    of each group, () where all rows are one. Where a group that is compared has too few rows for blocks, the replicates
    stay empty.
    """
    sizes = np.bincount(groups, minlength=len(names))
    present = np.flatnonzero(sizes)
    shown = present[~not_compared(sizes[present], min_group, tuple(names[code] for code in present))]
    block_of = None
    if len(shown):
        block_of = assign_unit_blocks(len(groups), sampling, min_group, groups, fewest=int(sizes[shown].min()))
    if block_of is None:
        return measurements
    blocks = int(block_of.max()) + 1
    cells = ((groups * blocks + block_of) * 2 + labels) * 2 + predictions
    counted, summed = (
        np.bincount(cells, weights, minlength=len(sizes) * blocks * 4).reshape(len(sizes), blocks, 2, 2)[shown]
        for weights in (None, sampling.weights)
    )
    return [_with_replicates(measurement, summed, counted, min_group) for measurement in measurements]


def _with_replicates(
    measurement: Measurement, blocks: NDArray[Any], counted: NDArray[np.int64], min_group: int
) -> Measurement:
    name = measurement.id.partition(".")[2]
    if measurement.value is not None and name.startswith(INDICES):
        left = counted.sum(axis=1, keepdims=True) - counted
        found = index_parts(left.swapaxes(0, 1))[name]
        return measurement.model_copy(update={"replicates": rounded([v if np.isfinite(v) else None for v in found])})
    gap, _, kind = name.rpartition("_")
    if measurement.value is None or gap not in GAPS or kind not in ("difference", "ratio"):
        return measurement
    values = []
    for rate in GAPS[gap]:
        by_block = successes_and_trials(blocks, rate)
        successes, trials = (counts.sum(axis=1, keepdims=True) - counts for counts in by_block)
        defined = successes_and_trials(counted, rate)[1].sum(axis=1) >= max(min_group, 1)
        if not defined.any() or not trials[defined].all():
            return measurement
        rates = successes[defined] / trials[defined]
        low, high = rates.min(axis=0), rates.max(axis=0)
        if kind == "ratio" and not high.all():
            return measurement
        values.append(high - low if kind == "difference" else low / high)
    worst = np.max(values, axis=0) if kind == "difference" else np.min(values, axis=0)
    return measurement.model_copy(update={"replicates": rounded(worst.tolist())})


def rounded(values: Sequence[float | None]) -> tuple[float, ...]:
    """Return replicates as a report holds them, to eight digits; none at all where one is undefined."""
    known = [float(f"{value:.8g}") for value in values if value is not None]
    return tuple(known) if len(known) == len(values) else ()
