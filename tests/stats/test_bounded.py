from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from auditkit.errors import InputError
from auditkit.stats.bounded import bounded_student_interval


def test_alike_values_are_as_uncertain_as_the_rule_of_three_says() -> None:
    """Of 20 alike, a share of 1 - 0.025 ** (1 / 20) = 0.1684 may differ: from 0.9 by 0.1 up and by 0.9 down."""
    low, high, _ = bounded_student_interval(np.full(20, 0.9), 0.0, 1.0, 0.95)
    assert (low, high) == pytest.approx((0.9 - 0.168433 * 0.9, 0.9 + 0.168433 * 0.1), abs=1e-6)


def test_one_that_differs_counts_on_its_side() -> None:
    """1 of 100 above: at most 5.4459 % (Clopper and Pearson) are, and at most 3.6217 % below."""
    low, high, _ = bounded_student_interval(np.array([0.1] + [0.0] * 99), -1.0, 1.0, 0.95)
    assert (low, high) == pytest.approx((-0.036217, 0.054459), abs=1e-6)


def test_values_that_vary_have_students_t() -> None:
    values = np.random.default_rng(0).uniform(-0.1, 0.3, 12)
    oracle = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert bounded_student_interval(values, -1.0, 1.0, 0.9)[:2] == pytest.approx((oracle.low, oracle.high))


def test_order_sign_scale_and_rounding_change_nothing() -> None:
    rng = np.random.default_rng(1)
    values = np.where(rng.random(60) < 0.1, rng.random(60), 0.0)
    low, high, _ = bounded_student_interval(values, -1.0, 1.0, 0.95)
    assert bounded_student_interval(-values[::-1], -1.0, 1.0, 0.95)[:2] == pytest.approx((-high, -low))
    assert bounded_student_interval(5 * values, -5.0, 5.0, 0.95)[:2] == pytest.approx((5 * low, 5 * high))
    noisy = values + rng.normal(0, 1e-8, 60)
    assert bounded_student_interval(noisy, -1.0, 1.0, 0.95)[:2] == pytest.approx((low, high), abs=1e-6)


@pytest.mark.parametrize("count", [20, 50, 200])
def test_rare_differences_are_covered(count: int) -> None:
    """Of differences one way, by 1, by 0.3 or by anything between 0 and 1: t alone misses up to 91 % at 20 units."""
    rng = np.random.default_rng(2)
    for share in (0.005, 0.02, 0.1, 0.3):
        for least, most in ((1.0, 1.0), (0.3, 0.3), (0.0, 1.0)):
            sizes = rng.uniform(least, most, (200, count))
            samples, truth = np.where(rng.random((200, count)) < share, sizes, 0.0), share * (least + most) / 2
            ends = np.array([bounded_student_interval(sample, -1.0, 1.0, 0.95)[:2] for sample in samples])
            assert (ends[:, 0] < ends[:, 1]).all()
            assert ((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean() >= 0.91


def test_values_outside_the_bounds_and_single_ones_are_refused() -> None:
    with pytest.raises(InputError, match=r"from 0 to 1, got 0\.5 to 1\.2"):
        bounded_student_interval(np.array([0.5, 1.2]), 0.0, 1.0, 0.95)
    with pytest.raises(InputError, match="at least 2"):
        bounded_student_interval(np.array([0.5]), 0.0, 1.0, 0.95)


def test_what_t_is_joined_with_is_what_moved_the_ends() -> None:
    """Where it is Student's t alone the ends are those of SciPy's t test, and otherwise they reach further."""
    varied = np.random.default_rng(2).uniform(-0.2, 0.2, 40)
    few, many = np.zeros(40), np.zeros(40)
    few[:3], many[:12] = 0.3, varied[:12]
    said = {
        "": (varied, True),
        ", joined with Clopper-Pearson": (few, False),
        ", joined with Hall's": (many, False),
    }
    for joined, (values, alone) in said.items():
        low, high, stated = bounded_student_interval(values, -1.0, 1.0, 0.95)
        oracle = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert stated == joined
        assert ((low, high) == pytest.approx((oracle.low, oracle.high))) is alone
