"""The accountants against Opacus's pinned case and the closed form of a single Gaussian step."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from auditkit.errors import InputError
from auditkit.training.dp import accounting
from auditkit.training.dp.accounting import (
    Ledger,
    claimed_epsilon,
    composed_epsilon,
    plan_noise,
    prv_epsilon,
    rdp_epsilon,
    read_ledger,
    require_epsilon,
    two_accountants,
)
from auditkit.training.dp.dp_sgd import fit_private
from auditkit.training.dp.plan import PrivateSettings


def ledger(noise_multiplier: float, sample_rate: float, steps: int, *, tuning_runs: int = 0) -> Ledger:
    epsilon = rdp_epsilon(noise_multiplier, sample_rate, steps, 1e-5)
    return Ledger(
        contribution_bound="clipped to 1",
        row_count=1000,
        sampling="Poisson",
        sample_rate=sample_rate,
        expected_batch_size=round(1000 * sample_rate),
        noise_multiplier=noise_multiplier,
        max_grad_norm=1,
        steps=steps,
        epochs=1,
        learning_rate=0.001,
        accountant="rdp",
        epsilon=epsilon,
        epsilon_rdp=epsilon,
        target_epsilon=epsilon,
        delta=1e-5,
        seed=None,
        seed_statement="none",
        clipping="bookkeeping",
        tuning_runs=tuning_runs,
        epsilon_with_tuning=epsilon,
        opacus="1",
        torch="2",
    )


def test_accountants_match_opacus_pinned_case() -> None:
    assert rdp_epsilon(1.5, 0.04, 2250, 1e-5) == pytest.approx(7.32911, abs=1e-5)
    assert prv_epsilon(1.5, 0.04, 2250, 1e-5) == pytest.approx(6.77913, abs=1e-5)


@pytest.mark.parametrize(
    ("sigma", "rate", "steps", "delta", "rdp", "pld"),
    [
        (1.5, 0.04, 2250, 1e-5, 7.3293347, 6.7687874),
        (1.0, 0.01, 1000, 1e-5, 2.1013665, 1.8282436),
        (0.8, 0.03, 600, 1e-6, 9.7006084, 8.7596537),
        (4.0, 1.0, 10, 1e-5, 3.6170998, 3.3414095),
        (2.0, 0.25, 80, 1e-5, 6.2414672, 5.7066751),
    ],
)
def test_accountants_match_googles(sigma: float, rate: float, steps: int, delta: float, rdp: float, pld: float) -> None:
    """Values of dp-accounting 0.6.0: SelfComposedDpEvent(PoissonSampledDpEvent(rate, GaussianDpEvent(sigma)), steps).

    By its RdpAccountant and its PLDAccountant. Pinned, as it asks for an older attrs than other tests need.
    """
    assert rdp_epsilon(sigma, rate, steps, delta) == pytest.approx(rdp, rel=1e-3)
    stated = prv_epsilon(sigma, rate, steps, delta)
    assert stated is not None
    assert pld - 1e-3 <= stated <= pld + 0.02  # an upper bound, by twice its own error bound at most


def test_several_trainings_compose_as_googles_accountant_says() -> None:
    """dp-accounting 0.6.0, as above, of three different trainings: RDP 8.9740135, PLD 8.1289448."""
    several = [ledger(1.5, 0.04, 500), ledger(0.9, 0.04, 500), ledger(2.5, 0.02, 1000)]
    assert composed_epsilon(several, 1e-5) == pytest.approx(8.9740135, rel=1e-3)
    assert composed_epsilon(several[::-1], 1e-5) == pytest.approx(composed_epsilon(several, 1e-5))
    assert composed_epsilon(several[:1], 1e-5) == several[0].epsilon_rdp


def test_declared_runs_count_once_and_as_the_dearest() -> None:
    cheap, dear = ledger(2.0, 0.04, 100, tuning_runs=3), ledger(1.0, 0.04, 100, tuning_runs=3)
    assert composed_epsilon([cheap], 1e-5) == pytest.approx(rdp_epsilon(2.0, 0.04, 400, 1e-5))
    undeclared = [ledger(2.0, 0.04, 100), *[ledger(1.0, 0.04, 100)] * 4]
    assert composed_epsilon([cheap, dear], 1e-5) == pytest.approx(composed_epsilon(undeclared, 1e-5))


@pytest.mark.parametrize("sigma", [0.8, 1.5, 4.0])
def test_one_gaussian_step_matches_its_closed_form(sigma: float) -> None:
    delta = 1e-5
    exact = gaussian_epsilon(sigma, delta)
    stated = prv_epsilon(sigma, 1.0, 1, delta)
    assert stated is not None
    assert exact <= stated <= exact + 0.03  # an upper bound, at most three of its own error bounds (0.01) above
    assert stated <= rdp_epsilon(sigma, 1.0, 1, delta) <= 1.15 * exact + 0.1


@pytest.mark.parametrize(
    ("epsilon", "rate", "steps"),
    [
        (0.05, 0.25, 80),
        (0.3, 0.03, 600),
        pytest.param(1.0, 0.25, 4, marks=pytest.mark.slow),
        (3.0, 0.0025, 8000),
        pytest.param(8.0, 0.03, 600, marks=pytest.mark.slow),
        pytest.param(100.0, 0.03, 600, marks=pytest.mark.slow),
    ],
)
def test_planned_noise_spends_the_budget_that_is_claimed(epsilon: float, rate: float, steps: int) -> None:
    """Planned by RDP and claimed by PRV, 8 to 30 % of the budget was left over."""
    sigma = plan_noise(epsilon, 1e-5, rate, steps)
    accountant, claimed = claimed_epsilon(sigma, rate, steps, 1e-5, epsilon)
    assert accountant == "prv"
    assert 0.99 * epsilon <= claimed <= epsilon
    assert claimed_epsilon(sigma / 1.02, rate, steps, 1e-5, epsilon)[1] > epsilon


@pytest.mark.parametrize("epsilon", [0.02, 0.05, 0.5, 3.0])
def test_planned_noise_is_that_of_the_closed_form(epsilon: float) -> None:
    """Without sampling, k steps are one Gaussian of noise sigma / sqrt(k), whose epsilon is known exactly."""
    sigma = plan_noise(epsilon, 1e-5, 1.0, 16)
    exact = gaussian_epsilon(sigma / 4, 1e-5)
    assert 0.97 * epsilon <= exact <= epsilon


def test_a_ledger_of_a_small_budget_is_computed_again_with_its_own_error() -> None:
    module, rng = torch.nn.Linear(4, 2), np.random.default_rng(0)
    inputs = rng.normal(size=(200, 4)).astype(np.float32)
    settings = PrivateSettings(epsilon=0.05, epochs=1, seed=0)
    ledger = fit_private(module, inputs, (inputs[:, 0] > 0).astype(np.int64), settings, device=torch.device("cpu"))
    assert 0.0495 <= ledger.epsilon <= 0.05
    assert ledger.epsilon_with_tuning == ledger.epsilon
    assert read_ledger(ledger.model_dump(mode="json"), "model m") == ledger
    with pytest.raises(InputError, match="states epsilon"):
        read_ledger({**ledger.model_dump(mode="json"), "epsilon": 0.049}, "model m")


def test_a_great_many_steps_enlarge_the_error_and_not_the_memory() -> None:
    """An error of 0.0001 would need 700 million cells for these steps."""
    noise = (200.0, 0.001, 10_000_000, 1e-5)
    by_prv = prv_epsilon(*noise, 1e-4)
    assert by_prv is not None
    assert rdp_epsilon(*noise) < by_prv < 0.1
    assert claimed_epsilon(*noise, 0.05) == ("rdp", rdp_epsilon(*noise))


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
def test_no_noise_is_an_infinite_epsilon(sigma: float) -> None:
    for accountant in (rdp_epsilon, prv_epsilon):
        with pytest.raises(InputError, match=r"^noise_multiplier must be .*got .*epsilon is infinite"):
            accountant(sigma, 0.1, 10, 1e-5)


def gaussian_epsilon(sigma: float, delta: float) -> float:
    """Return the exact epsilon of one Gaussian step: Balle & Wang 2018, theorem 8, with sensitivity 1."""

    def surplus(epsilon: float) -> float:
        above = norm.cdf(1 / (2 * sigma) - epsilon * sigma)
        return float(above - math.exp(epsilon) * norm.cdf(-1 / (2 * sigma) - epsilon * sigma)) - delta

    return float(brentq(surplus, 0, 50))


@functools.cache
def trained() -> Ledger:
    module, rng = torch.nn.Linear(4, 2), np.random.default_rng(0)
    inputs = rng.normal(size=(400, 4)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int64)
    return fit_private(module, inputs, labels, PrivateSettings(epsilon=3, epochs=2, seed=0), device=torch.device("cpu"))


def stated(**changes: object) -> dict[str, object]:
    return {**trained().model_dump(mode="json"), **changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"epsilon": 0.01}, "states epsilon 0.01, and its noise, rate, steps and delta give"),
        ({"epsilon": 0.01, "epsilon_rdp": 0.01}, "states epsilon_rdp 0.01"),
        ({"epsilon": 0.01, "epsilon_rdp": 0.01, "accountant": "rdp"}, "states epsilon_rdp 0.01"),
        ({"noise_multiplier": -1.0}, "states noise_multiplier -1.0, which cannot be"),
        ({"noise_multiplier": 0.0}, "which cannot be"),
        ({"sample_rate": 0.0001}, "states sample_rate 0.0001, which cannot be"),
        ({"steps": 1}, "states steps 1, which cannot be"),
        ({"epochs": 10**12, "steps": 4 * 10**12}, "states steps"),
        ({"delta": 0.5}, "states delta 0.5, which cannot be"),
        ({"lost_steps": 10**6}, "states lost_steps"),
        ({"epsilon_with_tuning": 0.01}, "states epsilon_with_tuning 0.01"),
        ({"tuning_runs": 9}, "states epsilon_with_tuning"),
        ({"target_epsilon": -1.0}, "states target_epsilon -1.0, which cannot be"),
        ({"tuning_runs": 10**30}, "states tuning_runs"),
        ({"lost_steps": -1}, "is not valid: lost_steps"),
        ({"row_count": 10**400, "expected_batch_size": 10**400}, "states row_count"),
        ({"expected_batch_size": 10**400}, "states expected_batch_size"),
        ({"epochs": 10**400}, "states epochs"),
        ({"sample_rate": 0.0}, "states sample_rate 0.0"),
        ({"sample_rate": 5e-324}, "states sample_rate"),
        ({"noise_multiplier": 1e300}, "states noise_multiplier"),
        ({"noise_multiplier": 1e-300}, "states noise_multiplier"),
        ({"epsilon": float("nan")}, "is not valid: epsilon"),
        ({"epsilon": -1.0}, "states epsilon -1.0, which cannot be"),
    ],
)
def test_a_ledger_that_is_read_back_is_computed_again(changes: dict[str, object], said: str | None) -> None:
    """FACTS 13.9: a forged epsilon of 0.01 with the noise of 3 was printed and accepted."""
    if said is None:
        assert read_ledger(stated(), "model m").epsilon <= 3
        return
    with pytest.raises(InputError, match=said):
        read_ledger(stated(**changes), "model m")


def test_where_the_tight_accountant_fails_the_other_one_bounds_a_stated_epsilon() -> None:
    sizes = {"sample_rate": 0.5, "expected_batch_size": 200, "epochs": 5_000, "steps": 10_000, "delta": 1e-5}
    assert prv_epsilon(0.3, 0.5, 10_000, 1e-5) is None
    bound = rdp_epsilon(0.3, 0.5, 10_000, 1e-5)
    forged = stated(**sizes, noise_multiplier=0.3, epsilon_rdp=bound, epsilon_with_tuning=bound, epsilon=1.0)
    with pytest.raises(InputError, match="states epsilon 1, and its noise, rate, steps and delta give"):
        read_ledger(forged, "model m")


@pytest.mark.parametrize("epsilon", [1e300, 1e-300, 0.0, -1.0, float("inf"), float("nan"), True, 10_001])
def test_a_budget_beyond_its_bounds_is_refused_at_once(epsilon: float) -> None:
    """FACTS 13.12: `--epsilon 1e300` never ended."""
    with pytest.raises(InputError, match=r"from 0\.01 to 10,000"):
        require_epsilon(epsilon)


def test_two_accountants_say_what_the_smaller_bound_is() -> None:
    ledger = Ledger.model_validate(stated())
    found = two_accountants(ledger)
    numbers = (ledger.noise_multiplier, ledger.sample_rate, ledger.steps, ledger.delta)
    assert found.rdp == rdp_epsilon(*numbers) == ledger.epsilon_rdp
    assert found.prv == ledger.epsilon < found.rdp
    assert found.prv_slack == pytest.approx(0.03)


def test_an_epsilon_below_both_accountants_is_an_error() -> None:
    right = Ledger.model_validate(stated())
    smaller = two_accountants(right).prv
    assert smaller is not None
    for share in (0.98, 0.05):
        wrong = right.model_copy(update={"epsilon": share * smaller})
        with pytest.raises(ArithmeticError, match=r"states epsilon .* both accountants compute more"):
            two_accountants(wrong)
    assert two_accountants(right.model_copy(update={"epsilon": 0.995 * smaller})).prv == smaller  # another version


def test_accountants_that_contradict_each_other_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Ledger.model_validate(stated())
    bound = two_accountants(right).rdp
    for wrong, said in ((bound + 0.02, False), (bound + 0.04, True)):
        monkeypatch.setattr(accounting, "prv_epsilon", lambda *_, wrong=wrong: wrong)
        if said:
            with pytest.raises(ArithmeticError, match="one of them is wrong"):
                two_accountants(right)
        else:
            assert two_accountants(right.model_copy(update={"epsilon": bound})).prv == wrong


def test_where_the_tight_accountant_fails_the_rdp_bound_must_be_stated() -> None:
    bound = rdp_epsilon(0.3, 0.5, 10_000, 1e-5)
    sizes = {"sample_rate": 0.5, "steps": 10_000, "delta": 1e-5, "noise_multiplier": 0.3}
    ledger = Ledger.model_validate(stated(**sizes, epsilon=bound, epsilon_rdp=bound))
    assert two_accountants(ledger)[:2] == (None, bound)
    with pytest.raises(ArithmeticError, match="both accountants compute more"):
        two_accountants(ledger.model_copy(update={"epsilon": 0.9 * bound}))
