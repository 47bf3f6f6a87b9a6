"""The audit of a private training by canaries: a correct one passes, planted faults are caught."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from auditkit.auditors.privacy import canary_audit
from auditkit.auditors.privacy.epsilon_bounds import OneRun, Power, one_run_lower_bound, one_run_power
from auditkit.training.dp import dp_sgd
from auditkit.training.dp.accounting import Ledger
from auditkit.training.dp.canaries import Canaries, CanaryScores
from auditkit.training.dp.dp_sgd import fit_private
from auditkit.training.dp.noise import Noise
from auditkit.training.dp.plan import PrivateSettings

CANARIES = 500
"""So many find each fault by each of ten seeds: docs/privacy.md."""


class Audited(NamedTuple):
    """What the canaries show, the bound without noise, the power at a fifth of the noise, and the ledger."""

    run: OneRun
    without_noise: OneRun
    power: Power
    ledger: Ledger

    @property
    def claim(self) -> float:
        return self.ledger.epsilon


def audited(hidden: int = 64, **more: object) -> Audited:
    """Return what canaries show of a network of one hidden layer."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(400, 6)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int64)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, hidden), nn.ReLU(), nn.Linear(hidden, 2))
    found: list[CanaryScores] = []
    settings: dict[str, object] = {"epsilon": 1.0, "delta": 1e-4, "epochs": 10, "seed": 1, **more}
    ledger = fit_private(
        module,
        inputs,
        labels,
        PrivateSettings(canaries=CANARIES, **settings),  # type: ignore[arg-type]
        device=torch.device("cpu"),
        on_canaries=found.append,
    )
    (seen,) = found
    observed, without_noise = (
        one_run_lower_bound(scores, seen.included, delta=1e-4, level=0.95)
        for scores in (seen.observed, seen.without_noise)
    )
    power = one_run_power(seen.simulated, seen.simulated_included, ledger.epsilon, delta=1e-4, level=0.95)
    return Audited(observed, without_noise, power, ledger)


def test_a_correct_training_is_not_flagged() -> None:
    run, without_noise, power, ledger = audited()
    assert run.canary_count == CANARIES
    assert power.rate == 1
    assert run.bound <= ledger.epsilon < without_noise.bound <= run.ceiling


FAULTS = {"no noise": 1e-6, "a fifth of the noise": 1 / 5}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(fault, monkeypatch)
    run, without_noise, _, ledger = audited()
    assert run.bound > ledger.epsilon
    if fault == "no noise":
        assert run.bound == pytest.approx(without_noise.bound, abs=0.3), (
            "ties of rounding errors are guessed either way"
        )


def plant(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Noise.normal

    def faulty(self: Noise, count: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return honest(self, count, dtype) * FAULTS[fault]

    monkeypatch.setattr(Noise, "normal", faulty)


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [91, 600, 3333])
@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_of_forty_correct_runs_none_is_flagged_and_faulty_ones_are_or_it_is_said_that_they_may_not_be(
    hidden: int, epsilon: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks of 821, 5,402 and 29,999 weights."""
    for seed in range(40):
        found = audited(hidden, epsilon=epsilon, seed=seed)
        assert found.run.bound <= found.claim
    for fault in FAULTS:
        with monkeypatch.context() as context:
            plant(fault, context)
            runs = [audited(hidden, epsilon=epsilon, seed=seed) for seed in range(10)]
        can_tell = [found.without_noise.bound > found.claim for found in runs]
        if fault == "a fifth of the noise":
            can_tell = [found.power.rate >= 0.9 for found in runs]
        caught = [found.run.bound > found.claim for found in runs]
        assert sum(found or not said for found, said in zip(caught, can_tell, strict=True)) >= 9, fault
        assert epsilon > 1 or all(can_tell), "the networks are large enough for a claim of 1"


def test_a_network_of_few_weights_has_as_many_canaries_as_weights_and_at_least_ten() -> None:
    for hidden, count in ((2, 20), (8, 74)):
        run = audited(hidden).run
        assert run.canary_count == count
    module = nn.Linear(3, 1)
    planted = Canaries(500, list(module.parameters()), max_grad_norm=1.0, noise_multiplier=1.0, seed=0)
    assert planted.count == 10
    assert sorted(set(planted.coordinates.tolist())) == [0, 1, 2, 3]


def test_what_the_rows_add_and_other_canaries_are_not_seen() -> None:
    """Without noise a step shows of a canary that it was drawn, times C over the variance, whatever the rows do."""
    planted = Canaries(4, [nn.Parameter(torch.zeros(6))], max_grad_norm=2.0, noise_multiplier=1.0, seed=0)
    planted.included[:] = torch.tensor([True, True, False, True])
    for drawn in ([0, 2], [0, 1, 3], []):  # variances of 1 and 3, and no canary
        planted.drawn = torch.tensor(drawn, dtype=torch.int64)
        total = torch.randn(6, generator=torch.Generator().manual_seed(len(drawn)))
        planted.add(total)
        planted.observe(total / 8, 8)
    scores = planted.scores()
    expected = 2 * np.array([1 + 1 / 3, 1 / 3, 0, 1 / 3])
    np.testing.assert_allclose(scores.observed, expected, atol=1e-5)
    np.testing.assert_allclose(scores.without_noise, expected)


def test_simulated_trainings_have_a_fifth_of_the_noise_on_each_weight() -> None:
    """Six canaries on two weights, each drawn once in each of 9 steps: the noise is what the coins do not explain."""
    planted = Canaries(6, [nn.Parameter(torch.zeros(2))], max_grad_norm=2.0, noise_multiplier=10.0, seed=0)
    assert planted.count == 6
    for _ in range(9):
        planted.drawn = torch.arange(6)
        planted.add(torch.zeros(2))
    found = planted.scores()
    assert found.simulated.shape == found.simulated_included.shape == (100, 6)
    variance = 2.0**2 / 2 + (10 / 5 * 2.0) ** 2  # half of the six pull, by 2; noise of a fifth of 10 times 2
    pulls = np.stack(
        [found.simulated_included[:, planted.coordinates.numpy() == weight].sum(1) for weight in (0, 1)], 1
    )
    for weight in (0, 1):
        own = found.simulated[:, planted.coordinates.numpy() == weight]
        assert (own == own[:, :1]).all(), "canaries of one weight share its noise"
        noise = own[:, 0] * variance - 9 * 2.0 * pulls[:, weight]
        assert np.std(noise) == pytest.approx(3 * 4, rel=0.25)
        assert abs(noise.mean()) < 4


def test_a_test_that_may_miss_a_fifth_of_the_noise_says_so() -> None:
    found = audited(epsilon=3.0)
    tested = {"epsilon 3": canary_audit.Tested(found.ledger, found.run, found.without_noise.bound, found.power, None)}
    (note,) = canary_audit.weak_test_notes(tested)
    assert f"500 canaries found it in {found.power.found_count} of 100 simulated trainings" in note
    (row,) = canary_audit.claims_table(tested, 0.95).rows
    assert row[5] == found.power.rate < 0.9
    assert row[-1] == "no contradiction, but the test may miss a fifth of the noise"


def test_sampling_that_is_not_poisson_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: every row in every step, where the accountant counts on a share of them."""
    monkeypatch.setattr(dp_sgd, "poisson_sample", lambda count, rate, generator: torch.arange(count))
    found = audited(batch_size=8, epochs=4)
    assert found.run.bound > found.claim


def test_the_weights_without_canaries_are_untouched_by_the_machinery() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(100, 3)).astype(np.float32)
    weights = []
    for canaries in (0, 0, 10):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 2))
        fit_private(
            module,
            inputs,
            (inputs[:, 0] > 0).astype(np.int64),
            PrivateSettings(epsilon=3.0, epochs=2, canaries=canaries, seed=0),
            device=torch.device("cpu"),
        )
        weights.append(torch.cat([parameter.detach().flatten() for parameter in module.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
