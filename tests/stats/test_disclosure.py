"""Attacks on synthetic records: copies give everything away, fresh draws of the population give nothing away."""

from __future__ import annotations

import numpy as np
import pytest

from auditkit.stats.disclosure import Attack, Records, as_records, inference, linkability, risk, singling_out


def people(count: int, seed: int) -> Records:
    rng = np.random.default_rng(seed)
    job = rng.integers(0, 12, count)
    age = rng.normal(40 + job, 12, count).round()
    income = rng.lognormal(10 + 0.05 * job, 0.6, count).round()
    city, other = rng.integers(0, 30, (2, count))
    values = np.column_stack([job, age, income, city, other, rng.normal(0, 1, count)])
    return Records(values, np.array([False, True, True, False, False, True]))


def test_the_risk_of_a_hand_computed_case() -> None:
    found = risk(Attack(60, 100, 20, 100), 0.95)
    assert found.value == pytest.approx((0.6 - 0.2) / (1 - 0.2))
    assert found.interval.low < found.value < found.interval.high
    assert risk(Attack(100, 100, 0, 100), 0.95).value == 1.0
    certain = risk(Attack(100, 100, 0, 100), 0.95).interval
    assert certain.low < 1.0
    assert risk(Attack(5, 10, 10, 10), 0.95).interval.low == -1.0  # every unseen record falls: nothing can be said


def test_copies_of_the_training_records_give_everything_away() -> None:
    training, unseen = people(600, 1), people(600, 2)
    linked = risk(linkability(training, training, unseen, seed=0), 0.95)
    assert linked.value > 0.9
    singled = risk(singling_out(training, training, unseen, seed=0), 0.95)
    assert singled.value > 0.9
    guessed = [risk(one, 0.95) for one in inference(training, training, unseen)]
    assert all(one.value > 0.9 for one in guessed)


def test_fresh_draws_give_nothing_away() -> None:
    training, unseen, synthetic = people(800, 1), people(800, 2), people(800, 3)
    attacks = [
        linkability(synthetic, training, unseen, seed=0),
        singling_out(synthetic, training, unseen, seed=0),
        *inference(synthetic, training, unseen),
    ]
    for attack in attacks:
        found = risk(attack, 0.999)
        assert found.interval.low <= 0 <= found.interval.high, attack


def test_a_part_of_copies_is_the_risk_that_is_seen() -> None:
    training, unseen, fresh = people(1000, 1), people(1000, 2), people(1000, 3)
    mixed = Records(np.vstack([training.values[:300], fresh.values[:700]]), training.is_number)
    found = risk(linkability(mixed, training, unseen, seed=0), 0.99)
    assert found.interval.low <= 0.3 <= found.interval.high


def test_no_number_depends_on_the_order_of_rows_or_the_names_of_categories() -> None:
    training, unseen, synthetic = people(300, 1), people(300, 2), people(300, 3)
    renamed = []
    for table in (synthetic, training, unseen):
        values = table.values.copy()
        values[:, 3] = 29 - values[:, 3]
        renamed.append(Records(values, table.is_number))
    before, after = inference(synthetic, training, unseen), inference(*renamed)
    assert before == after
    shuffled = training.part(np.random.default_rng(0).permutation(300))
    assert inference(synthetic, shuffled, unseen) == before


def test_missing_values_and_words_become_records() -> None:
    numbers = np.array([1.0, np.nan, 3.0])
    first, second = as_records([[numbers, ["a", "b", ""]], [numbers + 1, ["b", "c", "a"]]])
    assert first.is_number.tolist() == [True, False]
    assert first.values[:, 0].tolist() == [1.0, 0.0, 3.0]
    assert first.values[1, 1] == second.values[0, 1]
    assert not np.isnan(second.values).any()


@pytest.mark.slow
@pytest.mark.parametrize(("success", "control"), [(0.02, 0.01), (0.3, 0.3), (0.6, 0.2), (0.95, 0.9), (0.01, 0.01)])
@pytest.mark.parametrize("count", [100, 1000])
def test_the_interval_of_a_risk_covers_it(success: float, control: float, count: int) -> None:
    rng = np.random.default_rng(0)
    truth = (success - control) / (1 - control)
    covered = 0
    for _ in range(2000):
        attack = Attack(int(rng.binomial(count, success)), count, int(rng.binomial(count, control)), count)
        found = risk(attack, 0.95).interval
        covered += found.low <= truth <= found.high
    assert covered / 2000 >= 0.935
