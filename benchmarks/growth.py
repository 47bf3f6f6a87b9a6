"""How the cost of audited groups grows with rows, groups, columns and bootstrap replicates, as one SVG picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
from common import RESULTS, best_of, write

from auditkit.stats.counts import Counts, tally
from auditkit.stats.gaps import gap_measurements
from auditkit.stats.intervals import multinomial_bootstrap
from auditkit.stats.rates import rate_measurement

mpl.use("svg")
mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "auditkit"}


def counted(row_count: int, group_count: int) -> Counts:
    return tally(("group",), *rows(row_count, group_count), ("0", "1"))


def rows(row_count: int, group_count: int) -> tuple[Any, ...]:
    generator = np.random.default_rng(0)
    names = tuple((f"{place:05}",) for place in range(group_count))
    label, prediction = (generator.integers(0, 2, row_count, dtype=np.uint8) for _ in range(2))
    return names, generator.integers(0, group_count, row_count), label, prediction


def counting(row_count: int) -> Callable[[], Any]:
    given = rows(row_count, 40)
    return lambda: tally(("group",), *given, ("0", "1"))


def measuring(group_count: int) -> Callable[[], Any]:
    counts = counted(1_000_000, group_count)
    return lambda: [rate_measurement(counts, "selection_rate"), *gap_measurements(counts)]


def several(column_count: int) -> Callable[[], Any]:
    given = rows(1_000_000, 8)
    return lambda: [tally((f"column {place}",), *given, ("0", "1")) for place in range(column_count)]


def resampling(replicates: int) -> Callable[[], Any]:
    counts = counted(1_000_000, 8)

    def rates(tables: Any) -> Any:
        return tables[..., 1].sum(axis=-1) / tables.sum(axis=(-2, -1))

    return lambda: multinomial_bootstrap(counts.table, rates, replicates=replicates)


PARTS: dict[str, tuple[Callable[[int], Callable[[], Any]], tuple[int, ...]]] = {
    "rows, 40 groups, counted": (counting, (10_000, 100_000, 1_000_000, 10_000_000)),
    "groups of 1 million rows, rates and gaps with intervals": (measuring, (2, 10, 50, 200)),
    "columns of 1 million rows, counted": (several, (1, 2, 4, 8, 16)),
    "bootstrap replicates, 8 groups": (resampling, (100, 1000, 10_000, 100_000)),
}


def main() -> None:
    from matplotlib import pyplot

    figure, plots = pyplot.subplots(2, 2, figsize=(9, 6), layout="constrained")
    numbers: dict[str, Any] = {}
    for (title, (prepare, sizes)), plot in zip(PARTS.items(), plots.flat, strict=True):
        seconds = [best_of(3, prepare(size))[0] for size in sizes]
        numbers[title] = {str(size): float(f"{value:.3g}") for size, value in zip(sizes, seconds, strict=True)}
        plot.loglog(sizes, seconds, "o-")
        plot.set_xlabel(title)
        plot.set_ylabel("seconds of one core")
        plot.grid(alpha=0.3)
    figure.savefig(RESULTS / "growth.svg", metadata={"Date": None})
    write("growth", numbers)


if __name__ == "__main__":
    main()
