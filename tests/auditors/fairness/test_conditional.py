"""Conditional demographic disparity: a naive loop over rows, a gap that conditioning explains, and coverage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from auditkit.auditors.fairness.conditional import disparity_measurement
from auditkit.stats.counts import Counts, tally

NAMES = tuple((group, condition) for group in "ab" for condition in ("x", "y", "z"))


Codes = NDArray[np.int64]


def counts_of(codes: Codes, decisions: Codes) -> Counts:
    return tally(("g", "c"), NAMES, codes, np.zeros_like(decisions), decisions, ("no", "yes"))


def disparity(counts: Counts, conditions: tuple[str, ...], **options: Any) -> Any:
    return disparity_measurement(counts, conditions, **options)


def naive(codes: Codes, decisions: Codes, group: int) -> float | None:
    """Average, by rows, each stratum's share of the group among the not selected minus among the selected."""
    total, rows = 0.0, 0
    for stratum in range(3):
        inside = [row for row in range(len(codes)) if codes[row] % 3 == stratum]
        passed_over = [row for row in inside if decisions[row] == 0]
        selected = [row for row in inside if decisions[row] == 1]
        if not passed_over or not selected:
            continue
        shares = [sum(codes[row] // 3 == group for row in part) / len(part) for part in (passed_over, selected)]
        total, rows = total + len(inside) * (shares[0] - shares[1]), rows + len(inside)
    return total / rows if rows else None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), min_size=30, max_size=120))
def test_naive_loop_over_rows(rows: Any) -> None:
    codes, decisions = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    found = disparity(counts_of(codes, decisions), ("c",), min_group=1)
    if not found.slices:
        assert found.reason
        return
    for part, group in zip(found.slices, sorted({code // 3 for code in codes}), strict=True):
        assert part.value == pytest.approx(naive(codes, decisions, group), abs=1e-12)
        assert part.interval.low - 1e-12 <= part.value <= part.interval.high + 1e-12
        assert part.simultaneous_interval.low <= part.interval.low


def test_a_gap_that_the_condition_explains() -> None:
    """Within each condition both groups are selected alike; over all of them, they are not (Simpson)."""
    cells = {("a", "x"): (80, 20), ("a", "y"): (10, 10), ("b", "x"): (8, 2), ("b", "y"): (50, 50)}
    codes: list[int] = []
    decisions: list[int] = []
    for key, (passed_over, selected) in cells.items():
        codes += [NAMES.index(key)] * (passed_over + selected)
        decisions += [0] * passed_over + [1] * selected
    counts = counts_of(np.array(codes), np.array(decisions))
    conditional = disparity(counts, ("c",))
    plain = disparity(counts.by(("g",)), ())
    assert conditional.id == "fairness.conditional_demographic_disparity"
    assert plain.id == "fairness.demographic_disparity"
    assert [part.value for part in conditional.slices] == pytest.approx([0, 0])
    assert plain.slices[0].value == pytest.approx(90 / 148 - 30 / 82)
    assert plain.slices[0].interval.low > 0


def test_strata_that_compare_nobody_are_counted() -> None:
    codes = np.array([0] * 20 + [3] * 20 + [1] * 15)
    decisions = np.array(([0, 1] * 20) + [0] * 15)
    found = disparity(counts_of(codes, decisions), ("c",))
    assert "1 of 2 combinations; 15 rows in the others compare nobody" in found.definition
    assert found.count == 40
    nobody = disparity(counts_of(codes, decisions * 0), ("c",))
    assert nobody.reason == "all rows, or none, are selected in every combination of the conditions"


def test_coverage() -> None:
    draws, held = np.random.default_rng(0), []
    chance = np.array([0.5, 0.1, 0.3])
    for _ in range(60):
        codes = draws.integers(0, 6, 240)
        decisions = (draws.random(240) < chance[codes % 3]).astype(np.int64)
        part = disparity(counts_of(codes, decisions), ("c",)).slices[0]
        held.append(part.interval.low <= 0 <= part.interval.high)
    assert np.mean(held) >= 0.93 - 0.05
