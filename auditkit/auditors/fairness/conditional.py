"""Demographic disparity, as it is and among rows that are alike in columns named legitimate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.measurement import Interval, Measurement, Slice, shown
from auditkit.evidence.messages import Message
from auditkit.stats.counts import Counts, not_compared
from auditkit.stats.intervals import mid_p, simultaneous_level
from auditkit.stats.rates import too_small

SOURCE = Message("Wachter, Mittelstadt & Russell 2021 (share among the not selected minus share among the selected)")


def disparity_measurement(
    counts: Counts, conditions: tuple[str, ...], *, prefix: str = "fairness", level: float = 0.95, min_group: int = 10
) -> Measurement:
    """Return each group's share of the rows not selected minus its share of those selected: 0 is ideal, in [-1, 1].

    `counts` are over the sensitive columns and then the `conditions`. With conditions the disparity is taken within
    each combination of their values and averaged, weighted by rows: `prefix.conditional_demographic_disparity`.
    Combinations in which all rows, or none, are selected compare nobody and are left out; the definition says how many
    rows that is. Without conditions it is `prefix.demographic_disparity`. The interval adds the squares of the
    distances to the mid-P limits of all shares (MOVER).
    """
    columns = counts.columns[: len(counts.columns) - len(conditions)]
    own = counts.by(columns)
    kept = np.flatnonzero(~not_compared(own.sizes, min_group, own.groups))
    decided = _decided(counts, own)
    totals = decided.sum(axis=0)
    compared = (totals > 0).all(axis=1)
    weights = totals[compared].sum(axis=1) / max(int(totals[compared].sum()), 1)
    reason = too_small(min_group) if len(kept) < 2 else None
    if reason is None and not compared.any():
        reason = Message("all rows, or none, are selected") + (
            Message(" in every combination of the conditions") if conditions else ""
        )
    slices = []
    each = simultaneous_level(level, len(kept))
    for group in kept if reason is None else ():
        mine = decided[group][compared]
        shares = mine / totals[compared]
        value = float((weights * (shares[:, 0] - shares[:, 1])).sum())
        alone, together = (_interval(value, mine, totals[compared], weights, at, level) for at in (level, each))
        if len(kept) > 1:
            method = Message("{method}, Sidak over {kept_count} groups", method=together.method, kept_count=len(kept))
            together = together.model_copy(update={"method": method})
        slices.append(
            Slice(
                group=own.group(group),
                value=value,
                count=int(mine.sum()),
                interval=alone,
                simultaneous_interval=together,
            )
        )
    return Measurement(
        id=f"{prefix}.conditional_demographic_disparity" if conditions else f"{prefix}.demographic_disparity",
        by=columns,
        unit="rate_difference",
        better="neither",
        count=int(totals[compared].sum()),
        slices=tuple(slices),
        definition=_definition(conditions, totals, compared),
        reason=reason,
    )


def _decided(counts: Counts, own: Counts) -> NDArray[np.int64]:
    """Return how many rows of each group of `own` are not selected, and selected: (groups, strata, 2).

    The strata are the combinations of what `counts` tell rows by besides.
    """
    width = len(own.columns)
    strata = sorted({key[width:] for key in counts.groups})
    place = {key: position for position, key in enumerate(strata)}
    position = {key: number for number, key in enumerate(own.groups)}
    decided = np.zeros((len(own.groups), len(strata), 2), dtype=np.int64)
    for key, table in zip(counts.groups, counts.table, strict=True):
        decided[position[key[:width]], place[key[width:]]] += table.sum(axis=0)
    return decided


def _definition(conditions: tuple[str, ...], totals: NDArray[np.int64], compared: NDArray[np.bool_]) -> str:
    """Return the definition, with the conditions and how many of their combinations are compared."""
    if not conditions:
        return SOURCE
    given = Message(
        ", given {shown} ({count} of {strata_count} combinations",
        shown=shown(conditions),
        count=int(compared.sum()),
        strata_count=len(compared),
    )
    left_out = int(totals[~compared].sum())
    given += Message("; {left_out:,} rows in the others compare nobody)", left_out=left_out)
    return SOURCE + given


def _interval(
    value: float,
    mine: NDArray[np.int64],
    totals: NDArray[np.int64],
    weights: NDArray[np.float64],
    at: float,
    level: float,
) -> Interval:
    shares = mine / totals
    low, high = mid_p(mine, totals, at)
    down = weights * np.hypot(shares[:, 0] - low[:, 0], high[:, 1] - shares[:, 1])
    up = weights * np.hypot(high[:, 0] - shares[:, 0], shares[:, 1] - low[:, 1])
    return Interval(
        low=max(value - float(np.linalg.norm(down)), -1.0),
        high=min(value + float(np.linalg.norm(up)), 1.0),
        level=level,
        method=Message("MOVER with mid-P limits of weight 0.6"),
    )
