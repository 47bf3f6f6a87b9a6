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
    values, ends = differences_from_mean(scores, 0.9)
    assert values.sum() == pytest.approx(0)
    assert (values[1], ends[1].low, ends[1].high) == pytest.approx((gap.value / 2, oracle.low / 2, oracle.high / 2))


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
    values, ends = differences_from_mean(scores, 0.95)
    assert values == pytest.approx(0)
    most = 2 / 3 * (1 - 0.025 ** (1 / 5))  # at most 1 - (1 + 0 + 0) / 3 each
    assert [end[:2] for end in ends] == [pytest.approx((-most, most))] * 3


def test_a_gap_says_what_its_ends_are_joined_with() -> None:
    """Two groups are alike in all of 5 units, which bounds the gap from above; a third one is higher by about 0.1."""
    alike = np.repeat(np.random.default_rng(2).random((5, 1)) / 2, 2, axis=1)
    assert paired_gap(alike, 0.95).joined == ", joined with Clopper-Pearson"
    higher = alike[:, 0] + [0.10, 0.11, 0.09, 0.12, 0.08]
    assert paired_gap(np.column_stack([alike[:, 0], higher]), 0.95).joined == ""
    gap = paired_gap(np.column_stack([alike, higher]), 0.95)
    assert gap.joined == ", joined with Clopper-Pearson"
    assert gap.low > 0.05
    assert gap.high == pytest.approx(1 - 0.025 ** (1 / 5))


def test_the_gap_of_like_groups_excludes_zero_in_at_most_one_of_twenty() -> None:
    rng = np.random.default_rng(3)
    samples = [0.5 + (rng.normal(size=(25, 5)) + rng.normal(size=(25, 1))) / 20 for _ in range(600)]
    assert np.mean([paired_gap(sample, 0.95).low > 0 for sample in samples]) <= 0.06
