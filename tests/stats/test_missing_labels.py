"""Worst-case bounds of missing labels: against every labelling of small tables, with weights, and by group."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from auditkit.stats.counts import Counts, tally
from auditkit.stats.gaps import GAPS, gap_measurements
from auditkit.stats.missing_labels import Unlabelled, completed
from auditkit.stats.rates import RATES, group_rates, rate_measurement
from auditkit.stats.sampling import SIMPLE, Sampling

NAMES = (("F",), ("M",))
OF_LABELS = tuple(name for name, rate in RATES.items() if rate.needs_labels)


def counted(
    codes: np.ndarray, labels: np.ndarray, decisions: np.ndarray, classes: int, sampling: Sampling = SIMPLE
) -> Counts:
    return tally(("sex",), NAMES, codes, labels, decisions, tuple(map(str, range(classes))), sampling)


@pytest.mark.parametrize(("name", "classes"), [*((name, 2) for name in OF_LABELS), ("accuracy", 3)])
def test_no_labelling_gives_a_higher_or_a_lower_rate(name: str, classes: int) -> None:
    draws = np.random.default_rng(classes)
    codes, labels, decisions = np.repeat([0, 1], 8), draws.integers(0, classes, 16), draws.integers(0, classes, 16)
    missing = np.array([0, 1, 2, 8, 9, 10])
    kept = np.setdiff1d(np.arange(16), missing)
    values = []
    for given in product(range(classes), repeat=len(missing)):
        filled = labels.copy()
        filled[missing] = given
        values.append(group_rates(counted(codes, filled, decisions, classes), name).values)
    known = counted(codes[kept], labels[kept], decisions[kept], classes)
    unlabelled = counted(codes[missing], np.zeros_like(missing), decisions[missing], classes)
    for best, extreme in ((False, np.nanmin), (True, np.nanmax)):
        found = group_rates(completed(known, unlabelled, name, best=best), name).values
        np.testing.assert_allclose(found, extreme(values, axis=0))


@pytest.mark.parametrize("clusters", [None, np.repeat(np.arange(100), 3)])
def test_weighted_and_clustered_rows_are_completed_row_by_row(clusters: np.ndarray | None) -> None:
    draws = np.random.default_rng(1)
    codes, labels, decisions = (draws.integers(0, 2, 300) for _ in range(3))
    sampling = Sampling(draws.uniform(0.5, 3, 300), clusters)
    known = draws.random(300) < 0.6
    parts = [
        counted(codes[rows], labels[rows] * of, decisions[rows], 2, sampling.take(rows))
        for rows, of in ((known, 1), (~known, 0))
    ]
    for best, filled in ((True, decisions), (False, 1 - decisions)):
        whole = counted(codes, np.where(known, labels, filled), decisions, 2, sampling)
        expected = group_rates(whole, "accuracy")
        found = group_rates(completed(parts[0], parts[1], "accuracy", best=best), "accuracy")
        for field in ("values", "trials", "freedom", "related", "counts"):
            np.testing.assert_allclose(getattr(found, field), getattr(expected, field))


def test_a_group_that_has_no_label_may_have_any_rate() -> None:
    known = counted(np.zeros(40, dtype=int), np.tile([0, 1], 20), np.ones(40, dtype=int), 2)
    unlabelled = counted(np.ones(30, dtype=int), np.zeros(30, dtype=int), np.zeros(30, dtype=int), 2)
    low, high = Unlabelled(known, unlabelled).limits("positive_predictive_value", [("F",), ("M",)], 0.95)
    assert (low[1], high[1]) == (0, 1), "nobody of M was selected"
    assert 0.3 < low[0] < 0.5 < high[0] < 0.7


def test_intervals_of_rates_and_gaps_only_widen_and_hold_the_truth() -> None:
    draws = np.random.default_rng(2)
    for _ in range(30):
        codes, labels, decisions = (draws.integers(0, 2, 400) for _ in range(3))
        known = draws.random(400) < np.where(decisions == 1, 0.9, 0.3)
        whole = counted(codes, labels, decisions, 2)
        tables = Unlabelled(
            counted(codes[known], labels[known], decisions[known], 2),
            counted(codes[~known], labels[~known] * 0, decisions[~known], 2),
        )
        naive, true = (rate_measurement(table, "accuracy") for table in (tables.known, whole))
        bounded = tables.rate(naive, "accuracy", 0.95)
        for part, narrow, right in zip(bounded.slices, naive.slices, true.slices, strict=True):
            assert part.interval is not None
            assert narrow.interval is not None
            assert part.simultaneous_interval is not None
            assert part.interval.low <= min(narrow.interval.low, right.value or 0)
            assert part.interval.high >= max(narrow.interval.high, right.value or 0)
            assert part.simultaneous_interval.low <= part.interval.low
        for gap, true_gap in zip(
            gap_measurements(tables.known, gaps=("accuracy", "equalized_odds")),
            gap_measurements(whole, gaps=("accuracy", "equalized_odds")),
            strict=True,
        ):
            name = gap.id.partition(".")[2].rpartition("_")[0]
            wide = tables.gap(gap, GAPS[name], 0.95, 10).interval
            assert wide is not None
            assert gap.interval is not None
            assert wide.low <= min(gap.interval.low, true_gap.value or 0)
            assert wide.high >= max(gap.interval.high, true_gap.value or 0)
