"""What corruptions cost: by hand, by naive loops, on the same rows, and for the group that surely loses most."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from auditkit.auditors.robustness.statistics import (
    added_error,
    added_error_measurement,
    added_line,
    flip_rate,
    odd_input_confidence,
    share_line,
    worst_group,
)
from auditkit.evidence.baseline import BaselineMeasurements, regression
from auditkit.evidence.measurement import Group
from auditkit.stats.estimates import Breakdown

GROUPS = (("a",), ("b",))


def test_accuracy_lost_by_hand() -> None:
    # Ten rows: two become wrong, one becomes right. Bonett and Price: (2 + 1) / 12 and (1 + 1) / 12.
    before = np.array([False] * 8 + [True] * 2)
    after = np.array([True] * 2 + [False] * 6 + [False, True])
    found = added_error(before, after, (0.95,))
    assert found.value == pytest.approx(0.1)
    half = stats.norm.ppf(0.975) * np.sqrt((5 / 12 - (1 / 12) ** 2) / 12)
    assert found.bounds[0] is not None
    assert found.bounds[0][:2] == pytest.approx((1 / 12 - half, 1 / 12 + half))
    assert flip_rate(np.array([0, 1, 2]), np.array([0, 2, -1]), ()).value == pytest.approx(2 / 3)


def test_distances_are_compared_row_by_row() -> None:
    rng = np.random.default_rng(0)
    before = rng.exponential(size=400)
    after = before + rng.normal(0.1, 0.2, 400)
    found = added_error(before, after, (0.95,))
    naive = sum(b - a for a, b in zip(before, after, strict=True)) / 400
    low, high = stats.t.interval(0.95, 399, naive, stats.sem(after - before))
    assert found.value == pytest.approx(naive)
    assert found.bounds[0] is not None
    assert found.bounds[0][:2] == pytest.approx((low, high), abs=2e-3)  # joined with Hall's, never shorter
    assert found.bounds[0][0] <= low + 1e-12
    assert found.bounds[0][1] >= high - 1e-12
    order = rng.permutation(400)
    assert added_error(before[order], after[order], ()).value == pytest.approx(naive)


def test_rows_without_an_answer_leave_the_mean_and_not_the_rate() -> None:
    before, after = np.array([1.0, 2.0, 3.0]), np.array([2.0, np.nan, 4.0])
    assert added_error(before, after, ()).value == 1.0
    nothing = added_error(before, np.full(3, np.nan), (0.95,))
    assert nothing.value is None
    assert nothing.reason == "no row has an answer"
    line = added_line("x", (1.0, 2.0), before, [after, np.full(3, np.nan)], level=0.95)
    assert line.x == (0.0, 1.0), "a strength without any answer is no point"


def test_the_worst_group_is_the_one_that_surely_loses() -> None:
    before = np.zeros(1010, dtype=bool)
    after = before.copy()
    after[:200] = True  # a fifth of the large group
    after[1000:1003] = True  # three rows of ten: more, and less sure
    large, small = (Group(by=("size",), key=(name,)) for name in ("large", "small"))
    groups = {large: np.arange(1000), small: np.arange(1000, 1010)}
    group, found = worst_group(before, after, groups, level=0.95)
    assert (group, found.value) == (large, 0.2)
    alone = added_error(before[:1000], after[:1000], (0.95,))
    assert found.bounds[0] is not None
    assert alone.bounds[0] is not None
    assert found.bounds[0][0] < alone.bounds[0][0], "its interval holds for both groups at once"


def test_choosing_the_worst_of_equal_groups_claims_a_loss_no_more_often_than_stated() -> None:
    rng = np.random.default_rng(1)
    groups = {Group(by=("g",), key=(f"{code}",)): np.arange(code * 60, (code + 1) * 60) for code in range(6)}
    claimed = 0
    for _ in range(400):
        before, after = rng.random(360) < 0.2, rng.random(360) < 0.2
        bound = worst_group(before, after, groups, level=0.95)[1].bounds[0]
        assert bound is not None
        claimed += bound[0] > 0
    assert claimed / 400 <= 0.05  # one side of a two-sided interval for all groups: 2.5 % expected


def test_measurements_by_group_and_their_replicates() -> None:
    rng = np.random.default_rng(2)
    before, after = rng.random(1000) < 0.1, rng.random(1000) < 0.2
    codes = rng.integers(0, 2, 1000)
    by = Breakdown(("g",), GROUPS, codes)
    found = added_error_measurement("blur", before, after, by, level=0.95, definition="s")
    assert (found.id, found.unit) == ("robustness.blur_accuracy_loss", "rate_difference")
    for part, code in zip(found.slices, (0, 1), strict=True):
        mine = codes == code
        assert part.value == pytest.approx(after[mine].mean() - before[mine].mean())
    number = added_error_measurement("blur", before * 2.0, after * 3.0, Breakdown(), level=0.95, definition="s")
    assert (number.id, number.unit, len(number.replicates)) == ("robustness.blur_error_increase", "number", 20)


def test_two_models_on_the_same_rows_are_compared_as_pairs() -> None:
    rng = np.random.default_rng(3)
    truths, covered, shorter = 0.05, 0, []
    for _ in range(100):
        easy = rng.random(1000)
        before = easy > 0.9  # both models err on the same rows, and lose nearly the same ones
        losses = (easy > 0.75) | before, ((easy > 0.75) | (rng.random(1000) < 0.05 / 0.75)) | before
        first, second = (
            added_error_measurement("blur", before, loss, Breakdown(), level=0.95, definition="s") for loss in losses
        )
        paired = regression(second, BaselineMeasurements((first,), same_rows=True)).interval
        unpaired = regression(second, BaselineMeasurements((first,))).interval
        assert paired is not None
        assert unpaired is not None
        covered += paired.low <= truths <= paired.high
        shorter.append((paired.high - paired.low) / (unpaired.high - unpaired.low))
    assert covered >= 90
    assert np.median(shorter) < 0.7


def test_confidence_on_odd_inputs() -> None:
    rng = np.random.default_rng(4)
    noise = rng.uniform(0.5, 1, 200)
    found = odd_input_confidence({"noise": noise, "nothing": np.array([0.9])}, level=0.95, definition="s")
    assert [part.value for part in found.slices] == [pytest.approx(noise.mean()), 0.9]
    assert found.slices[0].interval is not None
    assert found.slices[1].interval is not None
    assert (found.slices[1].interval.low, found.slices[1].interval.high) == (0.9, 0.9)
    assert (
        odd_input_confidence({}, level=0.95, definition="s").reason == "the model gives no finite answer to any of them"
    )


def test_a_share_starts_at_none() -> None:
    line = share_line("turned", (0.1,), [np.array([True, False])], level=0.95)
    assert line.x == (0.0, 0.1)
    assert line.y == (0.0, 0.5)


@pytest.mark.parametrize("size", [1e60, 1e120, 1e200])
def test_numbers_that_a_corruption_blows_up_have_the_interval_of_smaller_ones(size: float) -> None:
    before, after = np.zeros(5), np.array([1.0, 0.2, 0.3, 0.0, 0.1])
    usual, large = (added_error(before, scale * after, (0.95,)) for scale in (1.0, size))
    (expected,), (found,) = usual.bounds, large.bounds
    assert expected is not None
    assert found is not None
    assert large.value == pytest.approx(size * (usual.value or 0.0))
    assert found[:2] == pytest.approx((size * expected[0], size * expected[1]))
    line = added_line("x", [1.0, 2.0], before, [after, size * after], level=0.95)
    assert line.high is not None
    assert line.high[-1] == pytest.approx(found[1])


def test_an_interval_beyond_64_bits_is_none() -> None:
    found = added_error(np.zeros(3), np.array([1.7e308, 1.0, 0.0]), (0.95,))
    assert (found.bounds, found.reason) == ((None,), "the interval exceeds 64-bit numbers")
    assert found.value == pytest.approx(1.7e308 / 3)
