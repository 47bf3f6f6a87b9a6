"""How like real records synthetic ones are: each column, and how pairs of columns go together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.synthetic.tables import Tables
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Column, Evidence, Group, Interval, Measurement, Slice, Table
from auditkit.evidence.messages import Message
from auditkit.stats.disclosure import Records
from auditkit.stats.drift import Drift, categorical_drift, drift_interval, holm, numeric_drift
from auditkit.stats.intervals import simultaneous_level

Codes = NDArray[np.int64]

BINS = 5
"""Numbers are cut at quantiles of the unseen records into so many parts before associations are measured."""

REPLICATES = 20


def likeness_evidence(subject: Subject, tables: Tables) -> Evidence:
    """Hold synthetic records against unseen ones, column by column and pair by pair, with real ones as the ceiling."""
    level = subject.conf_level
    drifts = [_drift(tables.synthetic, tables.unseen, at) for at in range(len(tables.columns))]
    ceiling = [_drift(tables.training, tables.unseen, at) for at in range(len(tables.columns))]
    measurements = [
        _columns_measurement(dict(zip(tables.columns, drifts, strict=True)), level),
        _association_measurement(tables, level, seed=subject.seed),
    ]
    corrected = holm(np.array([drift.p_value for drift in drifts]))
    table = Table(
        title=Message("Columns of synthetic and of unseen records"),
        note=Message(
            "Tested by Kolmogorov-Smirnov or chi-squared; p-values corrected for {count} columns (Holm). The distance "
            "of training records from unseen ones says what chance alone gives.",
            count=len(drifts),
        ),
        columns=(
            Column(name=Message("column")),
            Column(name=Message("distance"), unit="share"),
            Column(name=Message("training records"), unit="share"),
            Column(name=Message("corrected p-value"), unit="number"),
        ),
        rows=tuple(
            (name, drift.distance, other.distance, float(p_value))
            for name, drift, other, p_value in sorted(
                zip(tables.columns, drifts, ceiling, corrected, strict=True), key=lambda row: -row[1].distance
            )
        ),
    )
    return Evidence(measurements=measurements, exhibits=[table])


def _drift(first: Records, second: Records, at: int) -> Drift:
    mine, other = first.values[:, at], second.values[:, at]
    if first.is_number[at]:
        return numeric_drift(mine, other)
    size = int(max(mine.max(), other.max())) + 1
    return categorical_drift(*(np.bincount(part.astype(np.int64), minlength=size) for part in (mine, other)))


def _columns_measurement(drifts: dict[str, Drift], level: float) -> Measurement:
    each = simultaneous_level(level, len(drifts))
    slices = []
    for name, drift in sorted(drifts.items(), key=lambda item: -item[1].distance):
        alone, together = drift_interval(drift, level), drift_interval(drift, each)
        method = Message("distribution-free bound of {kind}", kind=drift.kind)
        slices.append(
            Slice(
                group=Group(by=("column",), key=(name,)),
                value=drift.distance,
                count=sum(drift.sizes),
                interval=Interval(low=alone[0], high=alone[1], level=level, method=method),
                simultaneous_interval=Interval(
                    low=together[0],
                    high=together[1],
                    level=level,
                    method=Message("{method}, Sidak over {count} columns", method=method, count=len(drifts)),
                ),
            )
        )
    return Measurement(
        id="synthetic.column_distance",
        by=("column",),
        unit="share",
        better="lower",
        count=max(part.count for part in slices),
        slices=tuple(slices),
        definition=Message(
            "distance of a column of synthetic records from that of unseen ones: Kolmogorov-Smirnov of numbers, total "
            "variation of categories"
        ),
    )


def _association_measurement(tables: Tables, level: float, *, seed: int) -> Measurement:
    parts = [_coded(part, tables.unseen) for part in (tables.synthetic, tables.training, tables.unseen)]
    value = _association_error(*parts)
    return Measurement(
        id="synthetic.association_error",
        value=value,
        unit="number",
        better="lower",
        count=len(parts[0]) + len(parts[2]),
        interval=_jackknifed(parts, value, level, seed=seed),
        definition=Message(
            "mean difference of Cramér's V over all pairs of columns between synthetic and unseen records, minus the "
            "same for training records: 0 where columns go together as they do in real records"
        ),
    )


def _association_error(synthetic: Codes, training: Codes, unseen: Codes) -> float:
    """Return how much farther synthetic records' associations are from unseen ones' than training records' are."""
    pairs = list(itertools.combinations(range(unseen.shape[1]), 2))
    if not pairs:
        return 0.0
    mine, known, theirs = (
        np.array([_cramer(part[:, a], part[:, b]) for a, b in pairs]) for part in (synthetic, training, unseen)
    )
    return float(np.abs(mine - theirs).mean() - np.abs(known - theirs).mean())


def _coded(records: Records, cut: Records) -> Codes:
    """Return categories, and numbers by the part that they are in, (rows, columns)."""
    columns = []
    for at, ordered in enumerate(records.is_number):
        values = records.values[:, at]
        edges = np.unique(np.quantile(cut.values[:, at], np.linspace(0, 1, BINS + 1)[1:-1]))
        columns.append(np.searchsorted(edges, values, side="right") if ordered else values.astype(np.int64))
    return np.column_stack(columns).astype(np.int64)


def _cramer(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Return Cramér's V of two columns of codes, corrected for its bias (Bergsma 2013): 0 where independent."""
    height, width = int(first.max()) + 1, int(second.max()) + 1
    table = np.bincount(first * width + second, minlength=height * width).reshape(height, width).astype(np.float64)
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    count = table.sum()
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / count
    rows, columns = table.shape
    if min(rows, columns) < 2:
        return 0.0
    phi = max(0.0, float(((table - expected) ** 2 / expected).sum() / count) - (rows - 1) * (columns - 1) / (count - 1))
    least = min(rows - (rows - 1) ** 2 / (count - 1), columns - (columns - 1) ** 2 / (count - 1)) - 1
    return float(np.sqrt(phi / least)) if least > 0 else 0.0


def _jackknifed(parts: Sequence[Codes], value: float, level: float, *, seed: int) -> Interval:
    """Return the interval by leaving out a twentieth of each table at a time (Student's t over 20 blocks)."""
    from scipy import stats

    rng = np.random.default_rng((seed, 43))
    blocks = [rng.permutation(len(part)) % REPLICATES for part in parts]
    values = np.array(
        [
            _association_error(*(part[block != left_out] for part, block in zip(parts, blocks, strict=True)))
            for left_out in range(REPLICATES)
        ]
    )
    spread = float(np.sqrt((REPLICATES - 1) / REPLICATES * ((values - values.mean()) ** 2).sum()))
    half = float(stats.t.ppf((1 + level) / 2, REPLICATES - 1)) * spread
    return Interval(low=value - half, high=value + half, level=level, method=Message("delete-group jackknife"))
