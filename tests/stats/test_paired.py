from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from auditkit.stats.paired import differences_from_mean, paired_gap


def test_two_groups_are_students_paired_t() -> None:
    rng = np.random.default_rng(0)
    scores = 0.5 + (rng.normal(size=(30, 2)) + rng.normal(size=(30, 1)) + [0.0, 0.8]) / 20
    oracle = stats.ttest_rel(scores[:, 1], scores[:, 0]).confidence_interval(0.9)
    gap = paired_gap(scores, 0.9)
    assert (gap.lowest, gap.highest) == (0, 1)
    assert (gap.value, gap.low, gap.high) == pytest.approx((np.mean(scores[:, 1] - scores[:, 0]), *oracle))
    value, low, high = differences_from_mean(scores, 0.9)
    assert value.sum() == pytest.approx(0)
    assert (value[1], low[1], high[1]) == pytest.approx((gap.value / 2, oracle.low / 2, oracle.high / 2))


def test_the_order_of_units_and_the_names_of_groups_do_not_matter() -> None:
    scores = np.random.default_rng(1).random((20, 4))
    gap = paired_gap(scores, 0.95)
    again = paired_gap(scores[::-1][:, [2, 0, 3, 1]], 0.95)
    assert again[:3] == pytest.approx(gap[:3])
    assert [2, 0, 3, 1][again.lowest] == gap.lowest


def test_equal_versions_have_no_gap() -> None:
    scores = np.repeat(np.random.default_rng(2).random((5, 1)), 3, axis=1)
    gap = paired_gap(scores, 0.95)
    assert gap[:2] == (0, 0)
    assert gap.high == pytest.approx(1 - 0.025 ** (1 / 5))  # of five alike units: so large a share may differ by 1
    value, low, high = differences_from_mean(scores, 0.95)
    assert value == pytest.approx(0)
    assert high == pytest.approx(-low)
    assert high == pytest.approx(2 / 3 * (1 - 0.025 ** (1 / 5)))  # at most 1 - (1 + 0 + 0) / 3 each


def test_the_gap_of_like_groups_excludes_zero_in_at_most_one_of_twenty() -> None:
    rng = np.random.default_rng(3)
    samples = [0.5 + (rng.normal(size=(25, 5)) + rng.normal(size=(25, 1))) / 20 for _ in range(600)]
    assert np.mean([paired_gap(sample, 0.95).low > 0 for sample in samples]) <= 0.06
