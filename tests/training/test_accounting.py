"""The accountants against Opacus's pinned case and the closed form of a single Gaussian step."""

from __future__ import annotations

import math

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from auditkit.errors import InputError
from auditkit.training.accounting import plan_noise, prv_epsilon, rdp_epsilon


def test_accountants_match_opacus_pinned_case() -> None:
    assert rdp_epsilon(1.5, 0.04, 2250, 1e-5) == pytest.approx(7.32911, abs=1e-5)
    assert prv_epsilon(1.5, 0.04, 2250, 1e-5) == pytest.approx(6.77913, abs=1e-5)


@pytest.mark.parametrize("sigma", [0.8, 1.5, 4.0])
def test_one_gaussian_step_matches_its_closed_form(sigma: float) -> None:
    """Balle & Wang 2018, theorem 8, with sensitivity 1."""
    delta = 1e-5

    def surplus(epsilon: float) -> float:
        above = norm.cdf(1 / (2 * sigma) - epsilon * sigma)
        return float(above - math.exp(epsilon) * norm.cdf(-1 / (2 * sigma) - epsilon * sigma)) - delta

    exact = brentq(surplus, 0, 50)
    stated = prv_epsilon(sigma, 1.0, 1, delta)
    assert stated is not None
    assert exact <= stated <= exact + 0.03  # an upper bound, at most three of its own error bounds (0.01) above
    assert stated <= rdp_epsilon(sigma, 1.0, 1, delta) <= 1.15 * exact + 0.1


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 8.0, 100.0])
def test_planned_noise_reaches_the_target_from_below(epsilon: float) -> None:
    sigma = plan_noise(epsilon, 1e-5, 0.03, 600)
    planned = rdp_epsilon(sigma, 0.03, 600, 1e-5)
    assert 0.98 * epsilon <= planned <= epsilon
    stated = prv_epsilon(sigma, 0.03, 600, 1e-5)
    assert stated is not None
    assert stated <= planned


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
def test_no_noise_is_an_infinite_epsilon(sigma: float) -> None:
    for accountant in (rdp_epsilon, prv_epsilon):
        with pytest.raises(InputError, match=r"^noise_multiplier must be .*got .*epsilon is infinite"):
            accountant(sigma, 0.1, 10, 1e-5)
