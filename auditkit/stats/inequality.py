"""How unequally a model's errors fall on people, within and between groups: generalised entropy of the benefits.

A row's benefit is 1 + decision - label (Speicher et al. 2018, arXiv:1807.00787): 2 for a selection that the label does
not bear out, 0 for a positive label that was passed over, 1 otherwise. 0 is ideal; the total is the sum of the index
within and the index between the groups.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.measurement import Interval, Measurement
from auditkit.evidence.messages import Message
from auditkit.stats.counts import Counts, not_compared
from auditkit.stats.intervals import mid_p, simultaneous_level
from auditkit.stats.rates import too_small

Array = NDArray[np.float64]
INDICES = ("theil_index", "generalized_entropy_index")
SOURCES = {
    "theil_index": Message("Speicher et al. 2018, generalised entropy of alpha {alpha}", alpha=1),
    "generalized_entropy_index": Message("Speicher et al. 2018, generalised entropy of alpha {alpha}", alpha=2),
}


def index(name: str, benefits: Array, weights: Array) -> Array:
    """Return Theil's index, or the generalised entropy of alpha 2, of benefits (..., k) with weights that sum to 1.

    >>> float(index("generalized_entropy_index", np.array([1.0, 1.0, 2.0, 0.0]), np.full(4, 0.25)))
    0.25
    """
    mean = (benefits * weights).sum(axis=-1, keepdims=True)
    relative = benefits / mean
    if name == "theil_index":
        logs = np.log(relative, where=relative > 0, out=np.zeros(relative.shape))
        return np.asarray((weights * relative * logs).sum(axis=-1))
    return np.asarray(((weights * relative**2).sum(axis=-1) - 1) / 2)


def index_parts(table: NDArray[np.int64]) -> dict[str, Array]:
    """Return every index of tables (..., groups, labels, predictions): the total, the part between, the part within.

    NaN where no row has a benefit.
    """
    rows = table.sum(axis=(-2, -1))
    whole = table.sum(axis=-3) / rows.sum(axis=-1)[..., None, None]
    shares = np.stack([whole[..., 1, 0], whole[..., 0, 0] + whole[..., 1, 1], whole[..., 0, 1]], axis=-1)
    means = 1 + (table[..., 0, 1] - table[..., 1, 0]) / rows
    parts = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for name in INDICES:
            parts[name] = index(name, np.array([0.0, 1.0, 2.0]), shares)
            parts[f"{name}_between"] = index(name, means, rows / rows.sum(axis=-1, keepdims=True))
            parts[f"{name}_within"] = parts[name] - parts[f"{name}_between"]
    return parts


def inequality_measurements(
    counts: Counts, *, prefix: str = "fairness", level: float = 0.95, min_group: int = 10
) -> list[Measurement]:
    """Return Theil's index and the generalised entropy of alpha 2, of two-class counts.

    Without columns the total, `prefix.theil_index`; else its parts within and between the groups that are shown,
    `prefix.theil_index_within` and `_between`. Total: the squares of the distances to the mid-P limits of both
    kinds of error (MOVER). Between: the least and the greatest index of group means within their simultaneous limits,
    which reaches down to 0 where the groups may be equal; a resampled index never would.
    """
    if not counts.columns:
        return [_total(name, counts.total(), prefix, level) for name in INDICES]
    shown = ~not_compared(counts.sizes, min_group, counts.groups)
    table = counts.table[shown]
    measurements = []
    for name in INDICES:
        found: dict[str, tuple[float, Interval]] = {}
        reason = too_small(min_group) if len(table) < 2 else None
        whole = _total(name, table.sum(axis=0), prefix, level)
        reason = reason or whole.reason
        if reason is None and whole.value is not None and whole.interval is not None:
            found["between"] = value, interval = _between(name, table, level)
            rest = max(whole.value - value, 0.0)
            down = np.hypot(whole.value - whole.interval.low, interval.high - value)
            up = np.hypot(whole.interval.high - whole.value, value - interval.low)
            method = Message("MOVER of the total and the part between")
            found["within"] = (
                rest,
                Interval(low=max(rest - float(down), 0.0), high=rest + float(up), level=level, method=method),
            )
        for part in ("within", "between"):
            measurements.append(
                Measurement(
                    id=f"{prefix}.{name}_{part}",
                    by=counts.columns,
                    value=found[part][0] if found else None,
                    unit="number",
                    better="lower",
                    count=int(table.sum()),
                    interval=found[part][1] if found else None,
                    definition=SOURCES[name],
                    reason=reason,
                )
            )
    return measurements


def _total(name: str, table: NDArray[np.int64], prefix: str, level: float) -> Measurement:
    rows = int(table.sum())
    missed, undue = int(table[1, 0]), int(table[0, 1])
    reason = Message("no row has a benefit, and their mean is 0") if missed == rows else None
    value = interval = None
    if reason is None:

        def at(missed_rate: float, undue_rate: float) -> float:
            shares = np.array([missed_rate, max(1 - missed_rate - undue_rate, 0.0), undue_rate])
            return float(index(name, np.array([0.0, 1.0, 2.0]), shares / shares.sum()))

        rates = missed / rows, undue / rows
        value = at(*rates)
        low, high = mid_p([missed, undue], rows, level)
        # Both errors share the rows, so their rates fall together less than independent ones would.
        coupling = float(np.sqrt(rates[0] * rates[1] / ((1 - rates[0]) * (1 - rates[1])))) if undue < rows else 0.0
        corners = [[at(low[0], rates[1]), at(high[0], rates[1])], [at(rates[0], low[1]), at(rates[0], high[1])]]
        down = [max(value - min(pair), 0.0) for pair in corners]
        up = [max(max(pair) - value, 0.0) for pair in corners]
        spans = [np.sqrt(a * a + b * b + 2 * coupling * a * b) for a, b in (down, up)]
        interval = Interval(
            low=max(value - float(spans[0]), 0.0),
            high=value + float(spans[1]),
            level=level,
            method=Message("MOVER of both error shares with mid-P limits of weight 0.6"),
        )
    return Measurement(
        id=f"{prefix}.{name}",
        value=value,
        unit="number",
        better="lower",
        count=rows,
        interval=interval,
        definition=SOURCES[name],
        reason=reason,
    )


def _between(name: str, table: NDArray[np.int64], level: float) -> tuple[float, Interval]:
    rows = table.sum(axis=(1, 2)).astype(np.float64)
    weights = rows / rows.sum()
    means, (low, high) = _mean_benefits(table, simultaneous_level(level, len(table)))
    value = float(index(name, means, weights))
    # The least index within the limits has all means as near to one number as these allow (its derivative in a mean
    # depends on that mean alone); the greatest lies in a corner, where means are driven away from one number.
    levels = np.concatenate([np.linspace(low.min(), high.max(), 400), low, high])
    nearest = np.clip(np.maximum(levels, 1e-9)[:, None], low, np.maximum(high, 1e-9))
    order = np.argsort(low + high)
    farthest = np.array([np.where(np.isin(np.arange(len(means)), order[cut:]), high, low) for cut in range(len(means))])
    farthest = farthest[(farthest * weights).sum(axis=1) > 0]
    interval = Interval(
        low=max(min(float(index(name, nearest, weights).min()), value), 0.0),
        high=max(float(index(name, farthest, weights).max()), value),
        level=level,
        method=Message(
            "extremes within limits of the group means, Sidak over {table_count} groups", table_count=len(table)
        ),
    )
    return max(value, 0.0), interval


def _mean_benefits(table: NDArray[np.int64], level: float) -> tuple[Array, tuple[Array, Array]]:
    """Return the mean benefit of each group, and its limits: a difference of two rates of the same rows, by MOVER."""
    rows = table.sum(axis=(1, 2))
    missed, undue = table[:, 1, 0] / rows, table[:, 0, 1] / rows
    missed_low, missed_high = mid_p(table[:, 1, 0], rows, level)
    undue_low, undue_high = mid_p(table[:, 0, 1], rows, level)
    spread = (1 - missed) * (1 - undue)
    coupling = np.sqrt(np.divide(missed * undue, spread, out=np.zeros(len(rows)), where=spread > 0))

    def span(first: Array, second: Array) -> Array:
        return np.asarray(np.sqrt(first**2 + second**2 + 2 * coupling * first * second))

    means = 1 + undue - missed
    low = means - span(undue - undue_low, missed_high - missed)
    high = means + span(undue_high - undue, missed - missed_low)
    return means, (np.maximum(low, 0.0), np.minimum(high, 2.0))
