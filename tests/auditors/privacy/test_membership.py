"""Membership inference on synthetic scores with known answers, by hand, and against naive loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats
from sklearn import metrics as sklearn

from auditkit.auditors.privacy.membership import (
    exposed_share,
    loss_scores,
    roc_points,
    shuffled_areas,
    unique_rows,
)
from auditkit.auditors.privacy.membership_report import AUC, Attack, attack_scores, split_control
from auditkit.stats.membership import true_positive_rate_at
from auditkit.stats.odds import odds_of_classes, odds_of_errors


def test_confidence_keeps_the_digits_of_certain_rows() -> None:
    probabilities = np.array([[1e-30, 1 - 1e-30], [0.25, 0.75], [1.0, 0.0]])
    odds = odds_of_classes(probabilities, np.array([1, 0, 0]))
    assert odds[0] == pytest.approx(30 * np.log(10))
    assert odds[1] == pytest.approx(np.log(1 / 3))
    assert np.isfinite(odds[2])
    batched = odds_of_classes(np.stack([probabilities, probabilities]), np.array([1, 0, 0]))
    assert batched.shape == (2, 3)
    assert (batched[1] == odds).all()


def test_loss_scores_are_log_probabilities() -> None:
    assert loss_scores(np.log(np.array([3.0, 1.0]))).tolist() == pytest.approx([np.log(0.75), np.log(0.5)])


def test_a_rate_at_a_threshold_by_hand() -> None:
    member = np.array([True] * 5 + [False] * 100)
    scores = np.array([200.0, 99.0, 98.5, 98.0, -1.0, *range(100)])
    rate = true_positive_rate_at(member, scores, 0.01, 0.95)
    assert rate is not None
    assert rate.value == pytest.approx(3 / 5)  # the one false claim is 99; a member that ties with 98 is not named
    assert rate.low <= rate.value <= rate.high
    assert true_positive_rate_at(member, scores, 0.001, 0.95) is None
    assert roc_points(member, scores, np.array([0.01, 1.0])).tolist() == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize("others", [1000, pytest.param(4000, marks=pytest.mark.slow)])
def test_the_interval_of_a_rate_covers_the_truth(others: int) -> None:
    rng = np.random.default_rng(2)
    truth = stats.norm.sf(stats.norm.isf(0.01) - 1.0)
    member = np.arange(1500 + others) < 1500
    covered = 0
    for _ in range(300):
        rate = true_positive_rate_at(member, rng.normal(size=len(member)) + member, 0.01, 0.95)
        assert rate is not None
        covered += rate.low <= truth <= rate.high
    assert covered >= 280  # 95 % nominal, conservative by construction


def test_the_exposed_share_is_zero_at_chance_and_known_where_members_stand_out() -> None:
    rng = np.random.default_rng(3)
    member = np.arange(8000) < 4000
    chance = exposed_share(member, rng.normal(size=8000), 0.95)
    assert chance.value < 0.01
    assert chance.low == 0
    marked = rng.normal(size=8000)
    marked[:400] += 100  # a tenth of the members cannot be mistaken
    found = exposed_share(member, marked, 0.95)
    # With a share f of the others, a tenth and f of the rest are named: 0.1 + 0.9 f = 9 f at f = 0.0123.
    assert found.low <= 0.111 <= found.high
    assert found.value == pytest.approx(0.111, abs=0.01)
    assert found.low > 0.08


def test_shuffled_memberships_read_as_chance_however_strong_the_attack() -> None:
    member = np.arange(3000) < 2000
    scores = member + 0.001 * np.arange(3000)
    assert shuffled_areas(member, scores, repetitions=100, seed=0).mean() == pytest.approx(0.5, abs=0.004)
    rng = np.random.default_rng(0)
    rates = [roc_points(rng.permutation(member), scores, np.array([0.01, 0.001])) for _ in range(100)]
    assert np.mean(rates, axis=0) == pytest.approx([0.01, 0.001], abs=0.002)


def test_repeated_rows_are_left_out_on_both_sides_and_empty_labels_do_not_merge() -> None:
    rng = np.random.default_rng(4)
    inputs = rng.integers(0, 3, size=(200, 3)).astype(np.float32)
    labels = rng.integers(0, 2, 200)
    keys = [(*row, label) for row, label in zip(inputs.tolist(), labels.tolist(), strict=True)]
    assert unique_rows(inputs, labels).tolist() == [keys.count(key) == 1 for key in keys]


def simulated(seed: int, *, leak: float, models: int = 8, rows: int = 3000) -> Attack:
    """A world where seeing a row adds `leak` to the confidence of a model in it."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(size=rows)
    inside = np.zeros((models, rows), dtype=bool)
    for first in range(0, models, 2):
        inside[first] = rng.random(rows) < 0.5
        inside[first + 1] = ~inside[first]
    member = rng.random(rows) < 0.6
    shadows = difficulty + leak * inside + 0.3 * rng.normal(size=(models, rows))
    target = difficulty + leak * member + 0.3 * rng.normal(size=rows)
    return Attack(member, attack_scores(target, member, shadows, inside), 0.95)


def test_attacks_find_a_planted_leak_and_nothing_where_there_is_none() -> None:
    found = {part.group.text: part for part in simulated(5, leak=0.5).measurements()[1].slices}
    assert list(found) == ["RMIA", "LiRA online", "LiRA offline", "LOSS"]
    assert min((found[name].value or 0) for name in ("RMIA", "LiRA online", "LiRA offline")) > 0.7
    assert (found["LOSS"].value or 0) < 0.65  # difficulty hides it from the attack without references
    for part in simulated(6, leak=0.0).measurements()[1].slices:
        assert part.simultaneous_interval is not None
        assert part.simultaneous_interval.low <= 0.5 <= part.simultaneous_interval.high


def test_groups_and_controls() -> None:
    attack = simulated(7, leak=0.5)
    codes = np.arange(3000) % 3
    codes[:6] = 3
    area, rate = attack.by_group(("g",), (("a",), ("b",), ("c",), ("d",)), codes, 10)
    shown = {part.group.text: part for part in area.slices}
    assert "d" not in shown
    name = next(iter(shown))
    mask = codes == "abc".index(name)
    scores = attack.scores["RMIA"][mask]
    assert shown[name].value == pytest.approx(sklearn.roc_auc_score(attack.member[mask], scores))
    assert rate.by == ("g",)
    shuffled = attack.shuffled(0)
    assert shuffled.interval is not None
    assert shuffled.interval.low <= 0.5 <= shuffled.interval.high
    assert all(value > 0 for line in attack.curve().lines for value in (*line.x, *line.y))


def test_the_split_control_shows_sets_that_differ_by_themselves() -> None:
    rng = np.random.default_rng(8)
    rows = 3000
    member = np.arange(rows) < 1500
    inside = np.zeros((6, rows), dtype=bool)
    for first in range(0, 6, 2):
        inside[first] = rng.random(rows) < 0.5
        inside[first + 1] = ~inside[first]
    noise = rng.normal(size=(6, rows))
    attack = Attack(member, {"RMIA": rng.random(rows)}, 0.95)
    fair = split_control(attack, noise, inside)
    assert fair.interval is not None
    assert fair.interval.low <= 0.5 <= fair.interval.high
    # Audited rows that swing more from model to model get extreme ratios on any model, seen or not.
    shifted = split_control(
        attack, np.abs(noise) * np.where(member, 3.0, 0.1) * np.array([[3], [3], [0], [0], [0], [0]]), inside
    )
    assert shifted.interval is not None
    assert not shifted.interval.low <= 0.5 <= shifted.interval.high


def test_permuting_the_rows_changes_nothing() -> None:
    attack = simulated(9, leak=0.4)
    order = np.random.default_rng(0).permutation(3000)
    permuted = Attack(attack.member[order], {name: part[order] for name, part in attack.scores.items()}, 0.95)
    assert [part.value for part in attack.measurements()] == [part.value for part in permuted.measurements()]
    assert attack.exposed() == permuted.exposed()
    assert attack.measurements()[0].id == AUC


def test_errors_of_a_regression_are_attacked_as_a_normal_likelihood() -> None:
    errors = np.array([-3.0, -0.5, 0.0, 0.2, 1.0])
    found = odds_of_errors(errors, 2.0)
    assert np.isfinite(found).all()
    likelihood = np.exp(-(errors**2) / 8)
    assert np.allclose(special.expit(found), likelihood)
    assert np.allclose(loss_scores(found), -(errors**2) / 8)
    assert (np.argsort(found) == np.argsort(-np.abs(errors))).all()


def test_an_attack_below_chance_is_no_result() -> None:
    rng = np.random.default_rng(5)
    member = np.arange(2000) < 1000
    scores = {"RMIA": rng.normal(size=2000) + member, "LiRA online": rng.normal(size=2000) - 0.5 * member}
    whole, by_attack = Attack(member, scores, 0.95).measurements()[:2]
    assert whole.value is not None
    good, failed = by_attack.slices
    assert good.value == whole.value
    assert (failed.value, failed.interval, failed.simultaneous_interval) == (None, None, None)
    assert "the attack is invalid here" in (failed.reason or "")
    for measurement in Attack(member, {"LOSS": scores["LiRA online"]}, 0.95).measurements():
        assert measurement.value is None, "nor is a rate of true positives of such an attack"


def test_the_area_of_a_perfect_attack_has_an_interval() -> None:
    member = np.arange(200) < 100
    whole = Attack(member, {"LOSS": member.astype(float)}, 0.95).measurements()[0]
    assert whole.value == 1
    assert whole.interval is not None
    assert 0.9 < whole.interval.low < 1
