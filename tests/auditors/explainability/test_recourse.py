"""Recourse by hand: which columns must change, what it costs, and what is never offered."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import torch

from auditkit.auditors.explainability.recourse import Options, find_recourse, options_of
from auditkit.auditors.explainability.target_function import ExplanationInput
from auditkit.schema.table import Feature

COLUMNS = {f"c{place}": slice(place, place + 1) for place in range(4)}


def target(inputs: np.ndarray) -> ExplanationInput:
    return ExplanationInput(
        decision=lambda rows, _: rows[:, :3].sum(dim=1),
        inputs=inputs,
        predicted=np.zeros(len(inputs), dtype=np.int64),
        baseline=np.zeros(4, dtype=np.float32),
        columns=COLUMNS,
        device=torch.device("cpu"),
        others=inputs,
    )


def test_the_fewest_columns_and_the_least_cost() -> None:
    given = target(np.array([[0, 0, 0, 0], [0.9, 0, 0, 0], [-5, -5, -5, 0]], dtype=np.float32))
    flags = Options(np.array([[0.0], [1.0]], dtype=np.float32), np.zeros(0))
    options = dict.fromkeys(COLUMNS, flags)
    every = ["c0", "c1", "c2"]
    found = find_recourse(given, options, every, threshold=1.5)
    np.testing.assert_array_equal(found.found, [True, True, False])
    np.testing.assert_array_equal(found.cost, [2, 1, np.nan])
    assert found.changed[1].tolist() == [1, -1]
    assert sorted(found.changed[0].tolist()) == [0, 1]
    assert not find_recourse(given, options, ["c0"], threshold=1.5).found.any(), "c0 alone turns nothing"


def test_the_cheapest_value_that_suffices_is_taken() -> None:
    given = target(np.zeros((1, 4), dtype=np.float32))
    steps = np.arange(11, dtype=np.float32)[:, None]
    options = {"c0": Options(steps, steps[:, 0].astype(float))}
    found = find_recourse(given, options, ["c0"], threshold=3.0)
    # From 0, of percentile 0.5 / 11, to 3, of 3.5 / 11.
    np.testing.assert_allclose(found.cost, [3 / 11])


def test_brute_force_over_pairs_agrees() -> None:
    rng = np.random.default_rng(0)
    given = target(rng.normal(size=(40, 4)).astype(np.float32) - 1)
    cells = np.sort(rng.normal(size=(5, 1)).astype(np.float32), axis=0)
    options = {name: Options(cells, np.sort(rng.normal(size=30))) for name in ("c0", "c1")}
    found = find_recourse(given, options, ["c0", "c1"], threshold=0.0)
    for row in range(40):
        x = given.inputs[row]
        prices = {name: options[name].costs(x[None, place : place + 1])[0] for place, name in enumerate(options)}
        single = [
            prices[name][at]
            for place, name in enumerate(options)
            for at in range(5)
            if x[:3].sum() - x[place] + cells[at, 0] >= 0
        ]
        pair = [
            prices["c0"][a] + prices["c1"][b]
            for a in range(5)
            for b in range(5)
            if cells[a, 0] + cells[b, 0] + x[2] >= 0
        ]
        expected = min([*single, *pair], default=np.nan)
        np.testing.assert_allclose(found.cost[row], expected, atol=1e-6)


def test_no_pair_of_300_rows_is_cheaper_than_what_was_found() -> None:
    """A decision that is not linear, 12 to 40 options a column; every combination of two is tried by brute force."""
    rng = np.random.default_rng(3)
    given = target(rng.normal(size=(300, 4)).astype(np.float32))
    given = replace(
        given, decision=lambda rows, _: rows[:, 0] * rows[:, 1] + torch.sin(2 * rows[:, 2]) - rows[:, 3] ** 2
    )
    options = {}
    for place, (name, most) in enumerate(zip(COLUMNS, (12, 40, 25, 18), strict=True)):
        cells = np.quantile(given.inputs[:, place], np.linspace(0.05, 0.95, most)).astype(np.float32)[:, None]
        options[name] = Options(cells, np.sort(given.inputs[:, place]).astype(float))
    found = find_recourse(given, options, list(COLUMNS), threshold=1.0)
    best = np.full(300, np.inf)
    for one, other in combinations(range(4), 2):
        first, second = options[f"c{one}"], options[f"c{other}"]
        prices = first.costs(given.inputs[:, [one]]), second.costs(given.inputs[:, [other]])
        for a in range(-1, len(first.cells)):
            for b in range(-1, len(second.cells)):
                moved = given.inputs.copy()
                cost = np.zeros(300)
                for place, option, at, price in ((one, first, a, prices[0]), (other, second, b, prices[1])):
                    if at >= 0:
                        moved[:, place] = option.cells[at, 0]
                        cost = cost + price[:, at]
                turned = given.values(moved, given.predicted) >= 1.0
                best = np.where(turned & (cost < best) & (cost > 0), cost, best)
    adverse = given.values(given.inputs, given.predicted) < 1.0
    assert adverse.sum() > 200
    np.testing.assert_allclose(found.cost[adverse], np.where(np.isinf(best), np.nan, best)[adverse], atol=1e-9)


def test_numbers_stay_within_their_quantiles_and_missing_is_no_change() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=1000).astype(np.float32)
    cells = np.column_stack([numbers, np.zeros(1000, dtype=np.float32)])
    cells[:100] = [0, 1]
    offered = options_of(Feature(name="x", kind="numeric", missing=True), cells)
    low, high = np.quantile(numbers[100:], [0.05, 0.95])
    assert offered.cells[:, 0].min() >= low - 0.02
    assert offered.cells[:, 0].max() <= high + 0.02
    assert not offered.cells[:, 1].any()
    assert np.isin(offered.cells[:, 0], numbers).all()
    assert len(offered.known) == 900


def test_rare_and_unlisted_categories_are_no_change() -> None:
    cells = np.zeros((1000, 3), dtype=np.float32)
    cells[:600, 0], cells[600:900, 1], cells[900:905, 2] = 1, 1, 1
    offered = options_of(Feature(name="x", kind="categorical", categories=("a", "b", "c")), cells)
    np.testing.assert_array_equal(offered.cells, [[0, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(offered.costs(cells[[0, 600]]), [[1, 0], [0, 1]])
