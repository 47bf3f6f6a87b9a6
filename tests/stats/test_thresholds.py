"""Thresholds against the gap: Fairlearn's ThresholdOptimizer and plain enumeration are the oracles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fairlearn.postprocessing import ThresholdOptimizer
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from auditkit.errors import InputError
from auditkit.stats.thresholds import Choice, Constraint, shared_threshold, thresholds_per_group

CONSTRAINTS: dict[Constraint, str] = {
    "demographic_parity": "demographic_parity",
    "equal_opportunity": "true_positive_rate_parity",
}


class Given(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator whose scores are its input."""

    def fit(self, X: Any, y: Any) -> Given:
        self.classes_ = np.array([0, 1])
        return self

    def predict(self, X: Any) -> Any:
        return np.asarray(X)[:, 0]


def people(
    seed: int, row_count: int, group_count: int, *, ties: bool
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    generator = np.random.default_rng(seed)
    groups = generator.integers(0, group_count, row_count)
    scores = np.clip(generator.normal(0.35 + 0.12 * groups, 0.2), 0, 1)
    if ties:
        scores = np.round(scores, 1)
    labels = (generator.random(row_count) < scores).astype(np.int64)
    return groups, labels, scores


def expected(choice: Choice, groups: NDArray[Any], labels: NDArray[Any], scores: NDArray[Any]) -> NDArray[Any]:
    """The chance of every row to be selected."""
    rule = choice.thresholds
    between = (scores >= rule.possible[groups]) & (scores < rule.certain[groups])
    return np.where(scores >= rule.certain[groups], 1.0, np.where(between, rule.chance[groups], 0.0))


@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize(("row_count", "group_count", "ties"), [(400, 2, False), (900, 3, True), (1500, 4, False)])
def test_the_best_thresholds_are_those_of_threshold_optimizer(
    constraint: Constraint, row_count: int, group_count: int, ties: bool
) -> None:
    groups, labels, scores = people(row_count, row_count, group_count, ties=ties)
    allowed = (0.0, 0.05, 0.2)
    for gap, choice in zip(allowed, thresholds_per_group(groups, labels, scores, constraint, allowed), strict=True):
        oracle = ThresholdOptimizer(
            estimator=Given().fit(None, None),
            constraints=CONSTRAINTS[constraint],
            prefit=True,
            predict_method="predict",
            tol=gap or None,
        )
        oracle.fit(scores[:, None], labels, sensitive_features=groups)
        chance = oracle._pmf_predict(scores[:, None], sensitive_features=groups)[:, 1]
        theirs = np.where(labels == 1, chance, 1 - chance).mean()
        mine = expected(choice, groups, labels, scores)
        # Fairlearn compares rates of its grid as floats, and so may miss the last step of a thousandth.
        (narrower,) = thresholds_per_group(groups, labels, scores, constraint, (max(gap - 0.001, 0.0),))
        assert narrower.accuracy - 1e-9 <= theirs <= choice.accuracy + 1e-9
        assert np.where(labels == 1, mine, 1 - mine).mean() == pytest.approx(choice.accuracy, abs=1e-9)
        chosen = mine if constraint == "demographic_parity" else mine[labels == 1]
        among = groups if constraint == "demographic_parity" else groups[labels == 1]
        rates = [chosen[among == group].mean() for group in range(group_count)]
        assert max(rates) - min(rates) == pytest.approx(choice.gap, abs=1e-9)
        assert choice.gap <= gap + 1e-9


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_a_shared_threshold_is_the_best_of_all(constraint: Constraint) -> None:
    groups, labels, scores = people(5, 300, 3, ties=False)
    allowed = (0.0, 0.1, 0.3, 1.0)
    for gap, choice in zip(allowed, shared_threshold(groups, labels, scores, constraint, allowed), strict=True):
        best = -1.0
        for threshold in [*scores, np.inf]:
            selected = scores >= threshold
            kept = np.ones(300, dtype=bool) if constraint == "demographic_parity" else labels == 1
            rates = [selected[kept & (groups == group)].mean() for group in range(3)]
            if max(rates) - min(rates) <= gap + 1e-12:
                best = max(best, float((selected == labels).mean()))
        assert choice.accuracy == pytest.approx(best)


def test_accuracy_never_falls_as_more_gap_is_allowed_and_groups_beat_one_threshold() -> None:
    groups, labels, scores = people(8, 2000, 3, ties=False)
    allowed = np.linspace(0, 0.5, 11).tolist()
    for constraint in CONSTRAINTS:
        own = [choice.accuracy for choice in thresholds_per_group(groups, labels, scores, constraint, allowed)]
        one = [choice.accuracy for choice in shared_threshold(groups, labels, scores, constraint, allowed)]
        assert own == sorted(own)
        assert one == sorted(one)
        # The grid of rates costs at most a thousandth of the rows.
        assert all(mine >= shared - 1e-3 for mine, shared in zip(own, one, strict=True))


def test_drawn_decisions_follow_the_rule() -> None:
    groups, labels, scores = people(9, 20_000, 2, ties=True)
    (choice,) = thresholds_per_group(groups, labels, scores, "demographic_parity", (0.0,))
    decisions = choice.thresholds.decide(groups, scores, seed=1)
    assert set(decisions) == {0, 1}
    chance = expected(choice, groups, labels, scores)
    assert (decisions[chance == 1] == 1).all()
    assert (decisions[chance == 0] == 0).all()
    for group in range(2):
        between = (groups == group) & (chance > 0) & (chance < 1)
        if between.any():
            assert decisions[between].mean() == pytest.approx(choice.thresholds.chance[group], abs=0.05)
    assert (choice.thresholds.decide(groups, scores, seed=1) == decisions).all()


def test_renaming_groups_and_permuting_rows_change_nothing() -> None:
    groups, labels, scores = people(10, 800, 3, ties=False)
    order = np.random.default_rng(0).permutation(800)
    for search in (thresholds_per_group, shared_threshold):
        (one,) = search(groups, labels, scores, "demographic_parity", (0.05,))
        (two,) = search((2 - groups)[order], labels[order], scores[order], "demographic_parity", (0.05,))
        assert one.accuracy == pytest.approx(two.accuracy, abs=1e-12)
        assert one.thresholds.certain == pytest.approx(two.thresholds.certain[::-1])


def test_a_group_of_one_label_is_refused() -> None:
    with pytest.raises(InputError, match="group 1 has rows of one label only"):
        thresholds_per_group(
            np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), np.array([0.1, 0.9, 0.5, 0.6]), "demographic_parity", (0.0,)
        )
