"""Proxies: planted ones are found, unrelated columns are coins, and areas are scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from auditkit.stats.proxies import JUDGED_ROWS, Proxies, find_proxies, halves
from auditkit.stats.ranking import roc_auc_interval


def people(seed: int, row_count: int, group_count: int) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """Columns: a coin, a proxy that is right in four of five rows, and half of a pair that tells only together."""
    generator = np.random.default_rng(seed)
    groups = generator.integers(0, group_count, row_count)
    coin = generator.integers(0, 4, row_count)
    proxy = np.where(generator.random(row_count) < 0.8, groups, generator.integers(0, group_count, row_count))
    mask = generator.integers(0, group_count, row_count)
    return [coin, proxy, mask, (groups + mask) % group_count], groups


def found(columns: list[NDArray[np.int64]], groups: NDArray[np.int64], seed: int = 0) -> Proxies:
    result = find_proxies(columns, [False] * len(columns), groups, seed=seed)
    assert result is not None
    return result


@pytest.mark.parametrize("group_count", [2, 3])
def test_a_planted_proxy_is_told_from_a_coin(group_count: int) -> None:
    columns, groups = people(1, 3000, group_count)
    result = found(columns[:2], groups)
    coin, proxy = result.alone
    low, high, _ = roc_auc_interval(coin, 0.99)
    assert low < 0.5 < high
    assert proxy.value > 0.8
    assert result.together.value == pytest.approx(proxy.value, abs=0.03)


def test_one_column_together_is_that_column_alone() -> None:
    columns, groups = people(1, 3000, 2)
    result = found(columns[1:2], groups)
    (alone,) = result.alone
    assert result.together.value == alone.value > 0.8
    assert roc_auc_interval(result.together, 0.95) == roc_auc_interval(alone, 0.95)


def test_columns_that_tell_only_together_are_found_together() -> None:
    columns, groups = people(2, 4000, 2)
    result = found(columns[2:], groups)
    assert all(abs(area.value - 0.5) < 0.06 for area in result.alone)
    assert result.together.value > 0.95


def test_columns_without_any_relation_are_coins_as_often_as_the_interval_says() -> None:
    covered = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        columns = [generator.integers(0, 30, 600)]
        (area,) = found(columns, generator.integers(0, 2, 600), seed).alone
        low, high, _ = roc_auc_interval(area, 0.95)
        covered += low <= 0.5 <= high
    assert covered >= 54


@pytest.mark.parametrize("group_count", [2, 4])
def test_a_columns_area_is_scikit_learns_of_a_plain_count(group_count: int) -> None:
    columns, groups = people(3, 800, group_count)
    first, second = halves(groups, seed=5, min_group=10)
    result = find_proxies(columns, [False] * 4, groups, seed=5)
    assert result is not None
    assert (result.fitted_count, result.judged_count) == (len(first), len(second)) == (400, 400)
    overall = [float(np.mean(groups[first] == group)) for group in range(group_count)]
    scores = []
    for row in second:
        alike = groups[first][columns[1][first] == columns[1][row]]
        scores.append([((alike == g).sum() + overall[g]) / (len(alike) + 1) for g in range(group_count)])
    table = np.array(scores)
    if group_count == 2:
        expected = roc_auc_score(groups[second], table[:, 1])
    else:
        areas = [roc_auc_score(groups[second] == g, table[:, g]) for g in range(group_count)]
        expected = np.mean(areas)
    assert result.alone[1].value == pytest.approx(expected, abs=1e-12)


def test_small_groups_are_left_out_and_one_group_gives_none() -> None:
    columns, groups = people(4, 500, 2)
    groups[:6] = 2
    result = found(columns, groups)
    assert result.fitted_count + result.judged_count == 494
    assert find_proxies(columns, [False] * 4, np.zeros(500, dtype=np.int64)) is None
    assert find_proxies([codes[:0] for codes in columns], [False] * 4, groups[:0]) is None


def test_the_halves_are_apart_and_bounded() -> None:
    groups = np.random.default_rng(0).integers(0, 3, 100_000)
    first, second = halves(groups, seed=1, min_group=10)
    assert len(np.intersect1d(first, second)) == 0
    assert len(first) == len(second) == JUDGED_ROWS


def test_renaming_the_groups_changes_nothing() -> None:
    columns, groups = people(6, 1000, 2)
    one, two = found(columns, groups), found(columns, 1 - groups)
    for before, after in zip(one.alone, two.alone, strict=True):
        assert before.value == pytest.approx(after.value, abs=1e-9)
    assert one.together.value == pytest.approx(two.together.value, abs=0.01)
