"""Generalised entropy: a naive loop over rows, its decomposition, and intervals that reach 0 where groups are alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from auditkit.stats import inequality
from auditkit.stats.counts import Counts
from auditkit.stats.inequality import inequality_measurements
from auditkit.stats.intervals import simultaneous_level

Cells = list[list[int]]

tables = st.lists(st.lists(st.integers(0, 30), min_size=4, max_size=4), min_size=2, max_size=5)


def counts_of(cells: Cells, columns: tuple[str, ...] = ("group",)) -> Counts:
    groups = tuple((f"g{position}",) for position in range(len(cells)))
    counts = Counts(("group",), groups, ("no", "yes"), np.array(cells, dtype=np.int64).reshape(-1, 2, 2))
    return counts.by(columns)


def naive(benefits: Sequence[float], alpha: int) -> float:
    mean = sum(benefits) / len(benefits)
    relative = [benefit / mean for benefit in benefits]
    if alpha == 1:
        return sum(r * math.log(r) if r else 0.0 for r in relative) / len(relative)
    return sum(r**alpha - 1 for r in relative) / len(relative) / (alpha * (alpha - 1))


def benefits_of(cell: list[int]) -> list[int]:
    true_negatives, false_positives, false_negatives, true_positives = cell
    return [1] * (true_negatives + true_positives) + [2] * false_positives + [0] * false_negatives


def values(counts: Counts) -> dict[str, Any]:
    return {m.id.partition(".")[2]: m for m in inequality_measurements(counts, min_group=1)}


@settings(max_examples=60, deadline=None)
@given(tables)
def test_naive_loop_over_rows(cells: Cells) -> None:
    assume(all(sum(cell) for cell in cells) and any(sum(cell) > cell[2] for cell in cells))
    groups = [benefits_of(cell) for cell in cells]
    every = [benefit for group in groups for benefit in group]
    means = [sum(group) / len(group) for group in groups for _ in group]
    total, parts = values(counts_of(cells, ())), values(counts_of(cells))
    for name, alpha in (("theil_index", 1), ("generalized_entropy_index", 2)):
        assert total[name].value == pytest.approx(naive(every, alpha), abs=1e-12)
        assert parts[f"{name}_between"].value == pytest.approx(naive(means, alpha), abs=1e-12)
        whole = parts[f"{name}_within"].value + parts[f"{name}_between"].value
        assert whole == pytest.approx(total[name].value, abs=1e-12)
    for measurement in (*total.values(), *parts.values()):
        assert 0 <= measurement.interval.low <= measurement.value + 1e-12
        assert measurement.value <= measurement.interval.high + 1e-12


def test_no_benefit_has_no_index() -> None:
    cells = [[0, 0, 20, 0], [0, 0, 30, 0]]
    assert values(counts_of(cells, ()))["theil_index"].reason == "no row has a benefit, and their mean is 0"
    assert values(counts_of(cells))["theil_index_between"].value is None


def test_small_groups_are_left_out() -> None:
    measurement = inequality_measurements(counts_of([[40, 5, 3, 10], [1, 1, 1, 1]]))[0]
    assert measurement.value is None
    assert measurement.reason is not None
    assert "fewer than two groups" in measurement.reason


@pytest.mark.parametrize("name", inequality.INDICES)
def test_no_means_within_the_limits_are_farther_or_nearer(name: str) -> None:
    """Random searches find no index outside the interval."""
    draws = np.random.default_rng(0)
    table = np.array([[40, 5, 3, 10], [70, 30, 9, 60], [10, 1, 6, 8], [200, 9, 60, 100]]).reshape(-1, 2, 2)
    _, interval = inequality._between(name, table, 0.95)
    _, (low, high) = inequality._mean_benefits(table, simultaneous_level(0.95, 4))
    weights = table.sum(axis=(1, 2)) / table.sum()
    corners = np.where(draws.random((4000, 4)) < 0.5, low, high)
    inside = low + (high - low) * draws.random((4000, 4))
    found = inequality.index(name, np.concatenate([corners, inside]), weights)
    assert found.max() <= interval.high + 1e-12
    assert found.min() >= interval.low - 1e-9


@pytest.mark.parametrize("groups", [2, 5, 20])
def test_equal_groups_are_told_apart_as_rarely_as_stated(groups: int) -> None:
    draws, apart = np.random.default_rng(1), []
    for shares in ([0.6, 0.1, 0.1, 0.2], [0.88, 0.02, 0.04, 0.06]):
        for _ in range(60):
            table = draws.multinomial(100, shares, size=groups).reshape(-1, 2, 2)
            apart.append(inequality._between("theil_index", table, 0.95)[1].low > 1e-12)
    assert np.mean(apart) <= 0.06


@pytest.mark.parametrize("rows", [30, 300])
@pytest.mark.parametrize("shares", [[0.6, 0.1, 0.1, 0.2], [0.88, 0.02, 0.04, 0.06], [0.4, 0.3, 0.02, 0.28]])
def test_coverage(rows: int, shares: list[float]) -> None:
    draws = np.random.default_rng(2)
    for name in inequality.INDICES:
        truth = inequality._total(name, (np.array(shares) * 10**9).astype(np.int64).reshape(2, 2), "f", 0.95).value
        assert truth is not None
        held = []
        for _ in range(100):
            interval = inequality._total(name, draws.multinomial(rows, shares).reshape(2, 2), "f", 0.95).interval
            assert interval is not None
            held.append(interval.low <= truth <= interval.high)
        assert np.mean(held) >= 0.93 - 0.05
