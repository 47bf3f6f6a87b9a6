"""Rates and gaps computed once more by Fairlearn: they agree, and a planted mistake is an error."""

from __future__ import annotations

import fairlearn
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.auditors.fairness.cross_check import NOTHING, cross_check, cross_check_facts
from auditkit.evidence.measurement import Measurement
from auditkit.stats.counts import Counts
from auditkit.stats.gaps import gap_measurements
from auditkit.stats.rates import RATES, rate_measurement


def measured(cells: list[list[int]], min_group: int = 1) -> tuple[Counts, list[Measurement]]:
    groups = tuple((f"g{place}",) for place in range(len(cells)))
    counts = Counts(("g",), groups, ("no", "yes"), np.array(cells, dtype=np.int64).reshape(-1, 2, 2))
    rates = [rate_measurement(counts, name, min_group=min_group) for name in RATES]
    return counts, [*rates, *gap_measurements(counts, min_group=min_group)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), min_size=4, max_size=4), min_size=2, max_size=5))
def test_every_table_agrees(cells: list[list[int]]) -> None:
    check = cross_check(*measured([[cell + (place == 0) for place, cell in enumerate(row)] for row in cells]))
    assert check.compared >= 2 * len(cells)
    assert check.agreeing == check.compared
    assert check.largest < 1e-12


def test_the_card_says_how_many_numbers_agree() -> None:
    # 3 groups: selection rate, accuracy and the four rates by label of each, and the four gaps.
    check = cross_check(*measured([[40, 10, 10, 40], [30, 20, 20, 30], [35, 15, 5, 45]]))
    rows = dict(cross_check_facts(check.plus(NOTHING)).rows)
    assert rows["Rates and gaps that agree"] == "22 of 22"
    assert rows["Fairlearn"] == fairlearn.__version__


def test_a_mistake_is_an_error() -> None:
    counts, measurements = measured([[40, 10, 10, 40], [30, 20, 20, 30]])
    wrong = [
        one.model_copy(update={"value": 0.2}) if one.id == "fairness.demographic_parity_difference" else one
        for one in measurements
    ]
    check = cross_check(counts, wrong)
    assert (check.compared - check.agreeing, check.where) == (1, "demographic_parity_difference")
    with pytest.raises(
        ArithmeticError, match="computes 1 of 16 rates and gaps otherwise, demographic_parity_difference"
    ):
        cross_check_facts(check)


def test_a_group_of_too_few_rows_is_compared_by_neither() -> None:
    """One row of a third group made Fairlearn's gap another, and the whole audit of fairness an error."""
    check = cross_check(*measured([[40, 10, 10, 40], [30, 20, 20, 30], [1, 0, 0, 0]], min_group=10))
    assert (check.compared, check.agreeing) == (16, 16)
