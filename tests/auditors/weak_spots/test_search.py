"""Weak spots: planted ones are found, noise gives none, and every count is that of a plain loop over rows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

from auditkit.auditors.weak_spots.search import CANDIDATES, OVERLAP, search_weak_spots
from auditkit.errors import InputError
from auditkit.stats.intervals import wilson


def table(seed: int, row_count: int = 2000) -> tuple[list[NDArray[np.int64]], np.random.Generator]:
    generator = np.random.default_rng(seed)
    return [generator.integers(0, width, row_count) for width in (2, 3, 4, 5, 5, 5, 8)], generator


def false_alarms(searches: int, first_seed: int, row_count: int, rate: float) -> float:
    found = 0
    for seed in range(first_seed, first_seed + searches):
        columns, generator = table(seed, row_count)
        errors = generator.random(row_count) < rate
        found += bool(search_weak_spots(columns, errors, seed=seed).confirmed(0.95))
    return found / searches


def test_noise_is_reported_in_at_most_six_percent_of_searches() -> None:
    # 600 searches: three standard errors of 5 % are 2.7 points, so that this bound is not met by luck alone.
    assert false_alarms(600, 0, 2000, 0.2) <= 0.06


@pytest.mark.slow
@pytest.mark.parametrize("row_count", [200, 1000, 10_000])
@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5])
def test_noise_of_any_size_and_rate_is_reported_in_at_most_six_percent(row_count: int, rate: float) -> None:
    assert false_alarms(2000, 10_000, row_count, rate) <= 0.06


def test_a_planted_pair_is_found_first_and_confirmed() -> None:
    columns, generator = table(1, 6000)
    planted = (columns[1] == 2) & (columns[3] == 4)
    errors = generator.random(6000) < np.where(planted, 0.5, 0.1)
    spots = search_weak_spots(columns, errors, seed=3).confirmed(0.95)
    assert spots[0].where == ((1, 2), (3, 4))
    assert 0.35 < spots[0].error_count / spots[0].row_count < 0.65
    assert spots[0].p_value < 1e-6


def test_a_planted_column_is_found_alone_and_not_again_in_every_pair() -> None:
    columns, generator = table(2, 8000)
    errors = generator.random(8000) < np.where(columns[4] == 1, 0.4, 0.1)
    spots = search_weak_spots(columns, errors, seed=3).confirmed(0.95)
    assert spots[0].where == ((4, 1),)
    assert sum((4, 1) in spot.where for spot in spots) == 1


def test_counts_and_p_values_are_those_of_a_loop_over_rows() -> None:
    columns, generator = table(5)
    errors = generator.random(2000) < 0.1 + 0.2 * (columns[2] == 1)
    search = search_weak_spots(columns, errors, seed=9)
    order = np.random.default_rng(9).permutation(2000)
    first, second = order[:1000], order[1000:]
    raw = []
    for spot in search.proposed:
        counted = []
        for half in (first, second):
            rows = [row for row in half if all(columns[column][row] == code for column, code in spot.where)]
            counted += [sum(bool(errors[row]) for row in rows), len(rows)]
        assert counted == [spot.found_error_count, spot.found_row_count, spot.error_count, spot.row_count]
        inside = [spot.error_count, spot.row_count - spot.error_count]
        outside = [search.error_count - inside[0], search.row_count - search.error_count - inside[1]]
        raw.append(stats.fisher_exact([inside, outside], alternative="greater").pvalue)
    assert search.row_count == 1000
    assert search.error_count == errors[second].sum()
    corrected = multipletests(raw, method="holm")[1]
    assert [spot.p_value for spot in search.proposed] == pytest.approx(corrected)


def test_proposals_are_few_bad_enough_and_no_near_duplicates() -> None:
    columns, generator = table(4, 5000)
    columns.append(columns[2].copy())  # the same column under another name
    errors = generator.random(5000) < 0.05 + 0.06 * columns[2]
    search = search_weak_spots(columns, errors, seed=1, min_group=15)
    assert 0 < len(search.proposed) <= CANDIDATES
    first = np.random.default_rng(1).permutation(5000)[:2500]
    masks = {}
    for spot in search.proposed:
        inside = np.ones(2500, dtype=bool)
        for column, code in spot.where:
            inside &= columns[column][first] == code
        masks[spot.where] = inside
        assert inside.sum() >= 15
        assert errors[first][inside].mean() > errors[first].mean()
        if len(spot.where) == 2:
            low, _ = wilson(spot.found_error_count, spot.found_row_count, 0.99)
            for column, code in spot.where:
                assert low > errors[first][columns[column][first] == code].mean()
    for where, inside in masks.items():
        for other, mask in masks.items():
            if where < other and len(where) == len(other):
                assert (inside & mask).sum() <= OVERLAP * min(inside.sum(), mask.sum())


def test_every_slice_of_enough_rows_is_looked_at() -> None:
    columns, generator = table(6, 400)
    search = search_weak_spots(columns, generator.random(400) < 0.3, seed=2, min_group=10)
    first = np.random.default_rng(2).permutation(400)[:200]
    expected = 0
    for one in range(len(columns)):
        expected += sum((columns[one][first] == code).sum() >= 10 for code in set(columns[one]))
        for two in range(one + 1, len(columns)):
            cells = list(zip(columns[one][first], columns[two][first], strict=True))
            expected += sum(cells.count(cell) >= 10 for cell in set(cells))
    assert search.slice_count == expected


@pytest.mark.parametrize("errors", [np.zeros(100, dtype=bool), np.ones(100, dtype=bool)])
def test_no_errors_or_nothing_else_gives_no_weak_spot(errors: NDArray[np.bool_]) -> None:
    search = search_weak_spots([np.arange(100) % 3], errors)
    assert search.proposed == ()
    assert search_weak_spots([], errors).proposed == ()


def test_the_names_of_the_groups_and_the_order_of_columns_do_not_matter() -> None:
    columns, generator = table(7)
    errors = generator.random(2000) < 0.1 + 0.3 * (columns[6] == 3)
    renamed = [codes.max() - codes for codes in columns[::-1]]
    counts = [
        sorted(
            (s.error_count, s.row_count, s.p_value) for s in search_weak_spots(given, errors, seed=4).confirmed(0.95)
        )
        for given in (columns, renamed)
    ]
    assert counts[0] == counts[1] != []


def test_columns_and_errors_of_different_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="must have one code for each of the 4 rows"):
        search_weak_spots([np.zeros(3, dtype=np.int64)], np.zeros(4, dtype=bool))
