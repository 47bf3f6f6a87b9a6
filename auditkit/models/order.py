"""The order of a model's input columns: usual orders, and a search for the one that fits best."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

MOST_COLUMNS = 40
"""With more columns the pairs to exchange are too many to try."""

PASSES, STEP = 12, 1e-3
"""At most so many passes over all pairs; an exchange must help by this share to be kept."""

SEARCHED_ROWS, FEWEST_ROWS = 400, 60
CLEARLY = 0.05
"""By how much a rating from 0 to 1 must be higher in another order, beyond chance, to be a question."""


def column_orders(names: Sequence[str]) -> Iterator[tuple[int, ...]]:
    """Yield orders that code often makes of columns: sorted by name, as letters or without case, and backwards.

    >>> list(column_orders(["b", "a"]))
    [(1, 0)]
    """
    places = range(len(names))
    seen = {tuple(places)}
    for order in (
        tuple(sorted(places, key=lambda place: names[place])),
        tuple(sorted(places, key=lambda place: names[place].casefold())),
        tuple(sorted(places, key=lambda place: names[place], reverse=True)),
        tuple(reversed(places)),
        (*places[1:], places[0]),
        (places[-1], *places[:-1]),
    ):
        if order not in seen:
            seen.add(order)
            yield order


def better_order(
    rate: Callable[[NDArray[np.float32], NDArray[np.int64]], float], cells: NDArray[np.float32], seed: int
) -> tuple[tuple[int, ...], float, float] | None:
    """Return an order of columns in which a model does clearly better, its rating and today's; None if there is none.

    `rate(cells, rows)` rates the model on encoded rows and their places. The order is searched on one half of a sample
    of rows and confirmed on the other.
    """
    count = cells.shape[1]
    chosen = np.random.default_rng(seed).permutation(len(cells))[: 2 * SEARCHED_ROWS]
    searched, confirmed = np.array_split(chosen, 2)
    if count < 2 or count > MOST_COLUMNS or len(searched) < FEWEST_ROWS:
        return None
    order, _ = searched_order(lambda tried: rate(cells[searched][:, list(tried)], searched), count)
    now = rate(cells[confirmed], confirmed)
    then = rate(cells[confirmed][:, list(order)], confirmed)
    return (order, then, now) if then - now > CLEARLY + 1 / np.sqrt(len(confirmed)) else None


def searched_order(fit: Callable[[Sequence[int]], float], count: int) -> tuple[tuple[int, ...], float]:
    """Return the order of so many columns that `fit` rates highest among exchanges of pairs, and its rating.

    Every exchange that helps is kept, until a pass over all pairs finds none. Beyond 40 columns the order stays.
    """
    order = list(range(count))
    best = fit(order)
    for _ in range(PASSES if count <= MOST_COLUMNS else 0):
        before = best
        for one, other in combinations(range(count), 2):
            tried = list(order)
            tried[one], tried[other] = tried[other], tried[one]
            value = fit(tried)
            if value > best + STEP * abs(best):
                best, order = value, tried
        if best == before:
            break
    return tuple(order), best
