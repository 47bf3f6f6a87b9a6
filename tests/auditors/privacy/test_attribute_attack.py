"""Attribute inference: what is remembered shows, what all rows teach does not, and nothing is found in nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from auditkit.auditors.privacy.attribute_attack import Attacked, Guesses, attack_attribute
from auditkit.auditors.privacy.attribute_inference import ADVANTAGE, CONTROL, MEMORY, _by_column
from auditkit.stats.intervals import paired_difference_interval


def attacked(told: str, *, seed: int = 0, count: int = 1600) -> Attacked | None:
    """Rows whose hidden group a column hints at; the model's answer tells it of `members`, of `all`, or of `none`."""
    rng = np.random.default_rng(seed)
    groups = (rng.random(count) < 0.3).astype(np.int64)
    hint = np.where(rng.random(count) < 0.7, groups, rng.integers(0, 2, count))
    member = np.arange(count) < count // 2
    tells = {"members": member, "all": np.ones(count, dtype=bool), "none": np.zeros(count, dtype=bool)}[told]
    answer = np.where(tells, groups, rng.integers(0, 2, count)) + rng.normal(0, 0.1, count)
    return attack_attribute([hint], [False], answer[:, None], groups, member, seed=seed)


def test_memory_of_training_rows_is_found_and_general_knowledge_is_no_memory() -> None:
    remembered, general = attacked("members"), attacked("all")
    assert remembered is not None
    assert general is not None
    assert remembered.members.balanced(0.95).interval.low > 0.05
    assert remembered.others.balanced(0.95).interval.high < 0.05
    assert remembered.memory(0.95).interval.low > 0.05
    assert general.members.balanced(0.95).interval.low > 0.05
    found = general.memory(0.95).interval
    assert found.low <= 0 <= found.high


def test_where_there_is_nothing_to_find_the_interval_of_memory_holds_zero() -> None:
    wrong = 0
    for seed in range(12):
        found = attacked("none", seed=seed, count=800)
        assert found is not None
        interval = found.memory(0.95).interval
        wrong += not interval.low <= 0 <= interval.high
    assert wrong <= 2  # binomial(12, 0.05) exceeds it in 2 % of runs


def test_gains_agree_with_a_hand_count_and_the_mover_formula() -> None:
    without = np.array([1, 1, 0, 0, 0, 1, 0, 0], dtype=bool)
    helped = np.array([1, 0, 1, 1, 0, 1, 1, 0], dtype=bool)
    groups = np.array([0, 0, 0, 0, 0, 1, 1, 1])
    guesses = Guesses(without, helped, groups)
    first, second = guesses.of_group(0, 0.9), guesses.of_group(1, 0.9)
    assert [first.value, second.value] == pytest.approx([1 / 5, 1 / 3])
    assert (first.interval.low, first.interval.high) == pytest.approx(paired_difference_interval(2, 1, 5, 0.9))
    mean = guesses.balanced(0.9)
    assert mean.value == pytest.approx((1 / 5 + 1 / 3) / 2)
    down = math.hypot(first.value - first.interval.low, second.value - second.interval.low) / 2
    assert mean.interval.low == pytest.approx(mean.value - down)
    none = Guesses(without, without, groups)
    memory = Attacked(guesses, none, 8).memory(0.9)
    assert memory.value == pytest.approx(mean.value)
    assert memory.interval.low < mean.interval.low


def test_names_of_groups_and_the_order_of_columns_do_not_matter() -> None:
    rng = np.random.default_rng(3)
    groups = rng.integers(0, 2, 600)
    columns: list[NDArray[np.int64]] = [rng.integers(0, 3, 600), groups ^ (rng.random(600) < 0.2)]
    member = np.arange(600) % 2 == 0
    answers = rng.normal(size=(600, 1))
    here = attack_attribute(columns, [True, True], answers, groups, member)
    there = attack_attribute(columns, [True, True], answers, 1 - groups, member)
    assert here is not None
    assert there is not None
    assert here.members.balanced(0.95).value == pytest.approx(there.members.balanced(0.95).value, abs=0.02)


def test_groups_too_small_are_left_out_and_one_group_is_none() -> None:
    rng = np.random.default_rng(4)
    groups = np.repeat([0, 1, 2], [195, 195, 10])
    member = rng.permutation(400) < 200
    columns, answers = [rng.integers(0, 2, 400)], rng.normal(size=(400, 1))
    found = attack_attribute(columns, [False], answers, groups, member)
    assert found is not None
    assert set(found.members.groups) == {0, 1}
    assert attack_attribute(columns, [False], answers, np.zeros(400, dtype=np.int64), member) is None


def test_a_gain_clearly_below_zero_is_no_result() -> None:
    """The model leads the attacker astray in nine of ten rows of its own, and never in others."""
    groups, right = np.arange(400) % 2, np.arange(400) % 10 != 0
    members, others = Guesses(right, ~right, groups), Guesses(right, right, groups)
    found = {"city": Attacked(members, others, 100)}
    for id in (ADVANTAGE, MEMORY):
        (failed,) = _by_column(id, found, 0.95).slices
        assert (failed.value, failed.interval) == (None, None)
        assert "the attack is invalid here" in str(failed.reason)
    (control,) = _by_column(CONTROL, found, 0.95).slices
    assert control.value == 0
    fine = {"city": Attacked(others, others, 100)}
    assert all(_by_column(id, fine, 0.95).slices[0].value == 0 for id in (ADVANTAGE, MEMORY))


def coverage_of_gains(rows: int, gain: float, samples: int) -> float:
    """Return how often the interval of a balanced gain, and of a memory, holds the truth, whichever does less often."""
    draws, held = np.random.default_rng(rows), np.zeros(2)
    groups = np.arange(rows) % 4 // 3  # three in four rows are of the first group
    for _ in range(samples):
        sides = []
        for helped in (gain, 0.02):
            without = draws.random(rows) < 0.6
            better, worse = draws.random(rows) < (helped + 0.01) / 0.4, draws.random(rows) < 0.01 / 0.6
            sides.append(Guesses(without, np.where(without, ~worse, better), groups))
        attack = Attacked(sides[0], sides[1], 100)
        for place, (found, truth) in enumerate(
            ((attack.members.balanced(0.95), gain), (attack.memory(0.95), gain - 0.02))
        ):
            held[place] += found.interval.low <= truth <= found.interval.high
    return float(held.min() / samples)


def test_intervals_of_gains_cover() -> None:
    """Three standard errors of 200 samples at 95 % are 4.6 %."""
    assert coverage_of_gains(400, 0.1, 200) >= 0.95 - 0.046


@pytest.mark.slow
@pytest.mark.parametrize("rows", [100, 400, 2000])
@pytest.mark.parametrize("gain", [0.0, 0.02, 0.1, 0.3])
def test_intervals_of_gains_cover_everywhere(rows: int, gain: float) -> None:
    """Three standard errors of 4,000 samples are 1 %."""
    assert coverage_of_gains(rows, gain, 4000) >= 0.94 - 0.01
