"""10,000 bootstrap replicates of the rates per group, at growing numbers of rows: the cost does not grow with them.

Resampling rows with replacement is drawing a multinomial over the cells of the counts table. Checked against
resampling the rows themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from common import best_of, resampled, write
from numpy.typing import NDArray

from auditkit.stats.counts import Counts, tally
from auditkit.stats.intervals import multinomial_bootstrap

REPLICATES = 10_000


def counted(row_count: int) -> Counts:
    frame = resampled(row_count)
    column = frame["race"].cat
    names = tuple((name,) for name in column.categories)
    codes, labels, predictions = column.codes.to_numpy(), frame["label"].to_numpy(), frame["prediction"].to_numpy()
    return tally(("race",), names, codes, labels, predictions, ("0", "1"))


def selection_rates(tables: NDArray[np.int64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return np.asarray(tables[..., 1].sum(axis=-1) / tables.sum(axis=(-2, -1)))


def by_rows(row_count: int, replicates: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    frame = resampled(row_count)
    groups, chosen = frame["race"].cat.codes.to_numpy(), frame["prediction"].to_numpy()
    generator = np.random.default_rng(1)
    rates = []
    for _ in range(replicates):
        rows = generator.integers(0, row_count, row_count)
        rates.append(np.bincount(groups[rows], weights=chosen[rows]) / np.bincount(groups[rows]))
    low, high = np.quantile(rates, [0.025, 0.975], axis=0)
    return low, high


def main() -> None:
    small = counted(20_000)
    mine = multinomial_bootstrap(small.table, selection_rates, replicates=REPLICATES)
    theirs = by_rows(20_000, 2000)
    for bound, other in zip(mine, theirs, strict=True):
        assert np.allclose(bound, other, atol=0.01), (bound, other)
    numbers: dict[str, Any] = {"replicates": REPLICATES, "groups": len(small.groups), "seconds_by_rows": {}}
    for row_count in (1000, 100_000, 1_000_000, 10_000_000):
        table = counted(row_count).table
        seconds, _ = best_of(
            3, lambda table=table: multinomial_bootstrap(table, selection_rates, replicates=REPLICATES)
        )
        numbers["seconds_by_rows"][str(row_count)] = round(seconds, 4)
    assert max(numbers["seconds_by_rows"].values()) < 1
    write("bootstrap", numbers)


if __name__ == "__main__":
    main()
