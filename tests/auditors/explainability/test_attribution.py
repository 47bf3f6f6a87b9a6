"""Attribution methods against closed forms, Captum, naive sums, and networks with planted truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, permutations

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, KernelShap
from captum.metrics import infidelity as captum_infidelity

from auditkit.auditors.explainability import checks, effects
from auditkit.auditors.explainability.gradients import enough_steps, integrated_gradients
from auditkit.auditors.explainability.shapley import every_coalition, exact_shapley, kernel_shap, shapley_interactions
from auditkit.auditors.explainability.target_function import ExplanationInput
from auditkit.errors import InputError, NotRun

CPU = torch.device("cpu")


def explained(
    function: object, *, columns: dict[str, slice] | None = None, count: int = 200, width: int = 4
) -> ExplanationInput:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(count, width)).astype(np.float32)
    cells = columns or {f"c{index}": slice(index, index + 1) for index in range(width)}
    return ExplanationInput(
        decision=lambda rows, predicted: function(rows),  # type: ignore[operator]
        inputs=inputs,
        predicted=np.zeros(count, dtype=np.int64),
        baseline=rng.normal(size=width).astype(np.float32),
        columns=cells,
        device=CPU,
        others=rng.normal(size=(30, width)).astype(np.float32),
    )


def network(width: int = 4, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(width, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1)).eval()


def of(module: torch.nn.Module) -> object:
    return lambda rows: module(rows)[:, 0]


WEIGHTS = torch.tensor([2.0, -1.0, 0.0, 0.5])


def linear(rows: torch.Tensor) -> torch.Tensor:
    return rows @ WEIGHTS


def interacting(rows: torch.Tensor) -> torch.Tensor:
    return rows[:, 0] * rows[:, 1] + 3 * rows[:, 2]


def difference(target: ExplanationInput) -> np.ndarray:
    return target.inputs.astype(np.float64) - target.baseline


def test_every_method_is_weight_times_difference_on_a_linear_model() -> None:
    target = explained(linear)
    truth = difference(target) * WEIGHTS.numpy()
    np.testing.assert_allclose(integrated_gradients(target, steps=4), truth, atol=1e-5)
    np.testing.assert_allclose(exact_shapley(target), truth, atol=1e-5)
    np.testing.assert_allclose(kernel_shap(target, coalition_count=64, seed=0), truth, atol=1e-4)


def test_a_product_shares_its_interaction_equally() -> None:
    # f = x0 x1 + 3 x2 against b: phi_0 = (x0 - b0) (x1 + b1) / 2, by hand.
    target = explained(interacting)
    x, b = target.inputs.astype(np.float64), target.baseline.astype(np.float64)
    values = exact_shapley(target)
    np.testing.assert_allclose(values[:, 0], (x[:, 0] - b[0]) * (x[:, 1] + b[1]) / 2, atol=1e-5)
    np.testing.assert_allclose(values[:, 2], 3 * (x[:, 2] - b[2]), atol=1e-5)
    np.testing.assert_allclose(values[:, 3], 0, atol=1e-6)
    np.testing.assert_allclose(integrated_gradients(target, steps=8), values, atol=1e-5)


def test_interactions_of_a_product_and_of_a_sum() -> None:
    # f = x0 x1 + 3 x2 against b: I_01 = (x0 - b0) (x1 - b1), every other pair 0, by hand.
    target = explained(interacting)
    away = difference(target)
    found = shapley_interactions(target, [0, 1, 2])
    np.testing.assert_allclose(found[:, 0], away[:, 0] * away[:, 1], atol=1e-5)
    np.testing.assert_allclose(found[:, 1:], 0, atol=1e-5)
    np.testing.assert_allclose(shapley_interactions(explained(linear), [0, 1, 2, 3]), 0, atol=1e-5)


def test_interactions_are_the_naive_sum_over_coalitions() -> None:
    target = explained(of(network()), count=5)
    found = shapley_interactions(target, range(4))
    for pair, (one, other) in enumerate(combinations(range(4), 2)):
        rest = [column for column in range(4) if column not in (one, other)]
        naive = np.zeros(5)
        for size in range(3):
            for members in combinations(rest, size):
                weight = math.factorial(size) * math.factorial(2 - size) / math.factorial(3)
                for more, sign in (((one, other), 1), ((one,), -1), ((other,), -1), ((), 1)):
                    known = np.isin(np.arange(4), [*members, *more])
                    naive += sign * weight * target.coalition_values(known[None])[:, 0]
        np.testing.assert_allclose(found[:, pair], naive, atol=1e-5)


def test_exact_shapley_is_the_mean_over_all_orders() -> None:
    target = explained(of(network()), count=5)
    naive = np.zeros((5, 4))
    for order in permutations(range(4)):
        known = np.zeros(4, dtype=bool)
        before = target.coalition_values(known[None])[:, 0]
        for column in order:
            known[column] = True
            after = target.coalition_values(known[None])[:, 0]
            naive[:, column] += (after - before) / math.factorial(4)
            before = after
    np.testing.assert_allclose(exact_shapley(target), naive, atol=1e-5)


def rmse(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.sqrt(((first - second) ** 2).mean()))


def test_kernel_shap_over_all_coalitions_is_exact() -> None:
    for width in (2, 3, 6, 7):
        target = explained(of(network(width)), width=width, count=50)
        np.testing.assert_allclose(
            kernel_shap(target, coalition_count=2**width, seed=1), exact_shapley(target), atol=1e-5
        )


def test_kernel_shap_is_nearer_the_truth_than_captums_at_the_same_number_of_coalitions() -> None:
    module = network(10)
    target = explained(of(module), width=10, count=10)
    exact, ours = exact_shapley(target), kernel_shap(target, coalition_count=200, seed=1)
    np.testing.assert_allclose(ours.sum(axis=1), target.change(), atol=1e-5)
    torch.manual_seed(0)
    method = KernelShap(lambda rows: module(rows)[:, 0])
    captums = np.concatenate(
        [
            method.attribute(
                torch.from_numpy(row[None]), baselines=torch.from_numpy(target.baseline[None]), n_samples=200
            ).numpy()
            for row in target.inputs
        ]
    )
    assert rmse(ours, exact) < rmse(captums, exact)
    assert rmse(ours, exact) < 0.15 * np.abs(exact).mean()


def test_columns_of_several_cells_are_one_player() -> None:
    columns = {"a": slice(0, 3), "b": slice(3, 4)}
    target = explained(linear, columns=columns)
    truth = difference(target) * WEIGHTS.numpy()
    np.testing.assert_allclose(exact_shapley(target)[:, 0], truth[:, :3].sum(axis=1), atol=1e-5)


def test_too_many_columns_are_refused() -> None:
    with pytest.raises(InputError, match="at most 14 columns, got 15"):
        exact_shapley(explained(lambda rows: rows[:, 0], width=15, count=2))
    assert every_coalition(3).sum() == 12


def test_integrated_gradients_equal_captums() -> None:
    module = network()
    target = explained(of(module))
    rows = torch.from_numpy(target.inputs)
    captum = IntegratedGradients(lambda batch: module(batch)[:, 0]).attribute(
        rows, baselines=torch.from_numpy(target.baseline)[None].expand_as(rows), n_steps=32, method="gausslegendre"
    )
    np.testing.assert_allclose(integrated_gradients(target, steps=32), captum.detach().numpy(), atol=1e-5)


def test_steps_are_doubled_until_the_attribution_is_complete() -> None:
    target = explained(of(network(seed=3)))
    steps = enough_steps(target, tolerance=1e-3)
    attributions = integrated_gradients(target, steps=steps)
    missed = np.abs(attributions.sum(axis=1) - target.change()).mean() / np.abs(target.change()).mean()
    assert missed <= 2e-3
    assert steps > 16
    assert enough_steps(explained(linear), tolerance=1e-3) == 16


def test_no_gradient_is_not_run() -> None:
    with pytest.raises(NotRun, match="no gradient"):
        integrated_gradients(explained(lambda rows: torch.zeros(len(rows))), steps=4)


def test_infidelity_is_0_for_the_truth_1_for_nothing_and_captums() -> None:
    target = explained(linear)
    truth = difference(target) * WEIGHTS.numpy()
    assert checks.infidelity(target, truth, perturbation_count=50, seed=0).mean() == pytest.approx(0, abs=1e-9)
    nothing = checks.infidelity(target, truth * 0, perturbation_count=50, seed=0)
    assert nothing.mean() == pytest.approx(1)

    # Captum's own, given the same perturbations, one at a time, is the numerator.
    attributions = truth + 0.3
    kept = np.random.default_rng(7).random((20, 4)) < 0.5
    rows, origin = torch.from_numpy(target.inputs), torch.from_numpy(target.baseline)
    total = np.zeros(len(rows))
    for mask in torch.from_numpy(kept):

        def perturb(inputs: torch.Tensor, mask: torch.Tensor = mask) -> tuple[torch.Tensor, torch.Tensor]:
            moved = torch.where(mask, inputs, origin)
            return (~mask).float().expand_as(inputs), moved

        total += captum_infidelity(linear, perturb, rows, torch.from_numpy(attributions).float()).numpy()
    lost = target.values(target.inputs)[:, None] - target.coalition_values(kept)
    ours = checks.infidelity(target, attributions, perturbation_count=20, seed=7)
    np.testing.assert_allclose(ours, total / 20 / (lost**2).mean(), rtol=1e-3)


def test_sensitivity_is_small_for_a_smooth_model_and_large_for_a_rough_one() -> None:
    def sensitivity(function: object) -> float:
        target = explained(function)

        def attribute(part: ExplanationInput) -> np.ndarray:
            return integrated_gradients(part, steps=16)

        given = attribute(target)
        return float(
            np.median(checks.maximum_sensitivity(target, attribute, given, radius=0.02, perturbation_count=5, seed=0))
        )

    assert sensitivity(linear) < 0.1
    assert sensitivity(lambda rows: torch.sin(200 * rows).sum(dim=1)) > 1


def test_rank_correlation_is_spearmans() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    first, second = np.abs(rng.normal(size=(2, 6, 9)))
    expected = [spearmanr(one, other).statistic for one, other in zip(first, second, strict=True)]
    np.testing.assert_allclose(checks.rank_correlation(first, second), expected)
    assert np.isnan(checks.rank_correlation(np.zeros((1, 4)), first[:1, :4]))[0]


@pytest.mark.parametrize("advantage", [checks.deletion_advantage, checks.insertion_advantage])
def test_deletion_and_insertion_know_a_good_order_from_a_bad_one(advantage: Callable[..., np.ndarray]) -> None:
    target = explained(of(network(8)), width=8)
    good = exact_shapley(target)
    bad = np.random.default_rng(42).normal(size=good.shape)
    assert advantage(target, good, seed=0).mean() > 0.2
    assert abs(advantage(target, bad, seed=0).mean()) < 0.1
    assert advantage(target, -good, seed=0).mean() < -0.2


def test_insertion_and_deletion_by_hand() -> None:
    # f = 3 x0 + x1 from 0 to (1, 1): after the first column 3 or 1 is gained; a random order is either.
    rows = np.ones((400, 2), dtype=np.float32)
    base = explained(lambda part: 3 * part[:, 0] + part[:, 1], width=2)
    target = replace(base, inputs=rows, predicted=np.zeros(400, dtype=np.int64), baseline=np.zeros(2, np.float32))
    for advantage in (checks.deletion_advantage, checks.insertion_advantage):
        found = advantage(target, rows * [3, 1], seed=0)
        assert set(found.round(6)) == {0.0, 0.5}
        assert found.mean() == pytest.approx(0.25, abs=0.05)


def test_randomised_layers_go_from_the_output_back_and_leave_the_module_alone() -> None:
    module = network()
    before = [parameter.clone() for parameter in module.parameters()]
    steps = list(checks.randomised_layers(module, seed=0))
    assert [name for name, _ in steps] == ["2", "0"]
    assert all(torch.equal(one, other) for one, other in zip(before, module.parameters(), strict=True))
    first = steps[0][1]
    assert torch.equal(first[0].weight, module[0].weight)  # type: ignore[index]
    assert not torch.equal(first[2].weight, module[2].weight)  # type: ignore[index]
    assert not torch.equal(steps[1][1][0].weight, module[0].weight)  # type: ignore[index]


def test_accumulated_local_effects_of_a_known_function() -> None:
    target = explained(lambda rows: rows[:, 0] ** 2 + 5 * rows[:, 1], count=5000)
    found = effects.accumulated_local_effects(target, 0, bin_count=40)
    assert found is not None
    truth = found.edges**2
    inner = np.abs(found.edges) < 2
    shifted = found.effect - found.effect[inner].mean() + truth[inner].mean()
    np.testing.assert_allclose(shifted[inner], truth[inner], atol=0.05)
    straight = effects.accumulated_local_effects(target, 1)
    assert straight is not None
    np.testing.assert_allclose(np.diff(straight.effect) / np.diff(straight.edges), 5, rtol=1e-3)
    assert np.abs(straight.standard_error).max() < 0.05
    flat = effects.accumulated_local_effects(target, 3)
    assert flat is not None
    np.testing.assert_allclose(flat.effect, 0, atol=1e-6)


def test_principal_reasons_are_those_that_cost_most() -> None:
    attributions = np.array([[-5.0, -1.0, -3.0, -2.0, -4.0, 6.0], [1.0, 2.0, -1.0, 0.0, 3.0, 4.0]])
    reasons = effects.principal_reasons(attributions)
    np.testing.assert_array_equal(reasons[0], [True, False, True, True, True, False])
    np.testing.assert_array_equal(reasons[1], [False, False, True, False, False, False])
