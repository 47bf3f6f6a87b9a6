"""Means over training runs: by hand, against an exact case, and by simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from keys import group

from auditkit.errors import InputError
from auditkit.evidence.measurement import Interval, Slice
from auditkit.stats.repetitions import mean_of_runs, slice_of_runs


def around(value: float, half: float) -> Interval:
    return Interval(low=value - half, high=value + half, level=0.95, method="m")


def test_one_run_is_returned_as_it_is() -> None:
    assert mean_of_runs([0.4], [around(0.4, 0.1)]) == (0.4, around(0.4, 0.1))
    assert mean_of_runs([0.4, 0.6], [around(0.4, 0.1), None]) == (0.5, None)


def test_without_luck_the_rows_remain_and_without_rows_students_t() -> None:
    assert mean_of_runs([0.4, 0.4], [around(0.4, 0.1)] * 2)[1] is not None
    _, rows = mean_of_runs([0.4, 0.4], [around(0.4, 0.1)] * 2)
    assert rows is not None
    assert (rows.low, rows.high) == pytest.approx((0.3, 0.5))
    values = [0.1, 0.2, 0.4]
    _, luck = mean_of_runs(values, [around(value, 0.0) for value in values])
    assert luck is not None
    assert luck.high - np.mean(values) == pytest.approx(4.3027 * np.std(values, ddof=1) / np.sqrt(3), rel=1e-4)


def test_the_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        rows = rng.normal(scale=0.01)  # the same rows for all runs
        values = [0.8 + rows + luck for luck in rng.normal(scale=0.02, size=3)]
        _, interval = mean_of_runs(values, [around(value, 1.96 * 0.01) for value in values])
        assert interval is not None
        covered += interval.low <= 0.8 <= interval.high
    assert covered >= 940


def test_bounds_and_reasons() -> None:
    parts = [Slice(group=group("x"), value=value, count=5, interval=around(value, 0.2)) for value in (0.05, 0.1)]
    cut = slice_of_runs(group("x"), parts, low=0.0, high=1.0)
    assert cut.interval is not None
    assert cut.interval.low == 0
    undefined = slice_of_runs(group("x"), [*parts, Slice(group=group("x"), value=None, count=5, reason="no rows")])
    assert undefined.value is None
    assert undefined.reason == "no rows"
    with pytest.raises(InputError):
        mean_of_runs([], [])
