"""Lower bounds on epsilon: known answers for Gaussians and randomised response, and no false alarms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from auditkit.auditors.privacy.epsilon_bounds import (
    epsilon_lower_bound,
    gaussian_epsilon,
    guesses_lower_bound,
    guesses_p_value,
    one_run_lower_bound,
    one_run_power,
)
from auditkit.errors import InputError


def test_the_epsilon_of_a_gaussian_is_where_its_privacy_profile_meets_delta() -> None:
    for mean, delta in ((0.5, 1e-5), (1.0, 1e-3), (2.0, 0.01)):
        epsilon = gaussian_epsilon(mean, delta)
        profile = stats.norm.cdf(mean / 2 - epsilon / mean) - math.exp(epsilon) * stats.norm.cdf(
            -mean / 2 - epsilon / mean
        )
        assert profile == pytest.approx(delta, rel=1e-5)


@pytest.mark.parametrize("mean", [0.5, 1.0])
def test_the_bound_of_independent_scores_is_within_a_fifth_of_the_truth_and_under_it(mean: float) -> None:
    rng = np.random.default_rng(0)
    truth = gaussian_epsilon(mean, 0.01)
    bounds = [
        epsilon_lower_bound(rng.normal(mean, 1, 400_000), rng.normal(size=400_000), delta=0.01, level=0.95)
        for _ in range(5)
    ]
    assert max(bounds) <= truth
    assert min(bounds) >= 0.8 * truth


def test_correct_mechanisms_are_not_flagged_in_200_repetitions() -> None:
    rng = np.random.default_rng(1)
    truth = gaussian_epsilon(1.0, 1e-3)
    for _ in range(200):
        scores = rng.normal(1.0, 1, 4000), rng.normal(size=4000)
        assert epsilon_lower_bound(*scores, delta=1e-3, level=0.95) <= truth


# Of 30 runs more than 6 at a true rate of 5 % come in 1 of 1,500.
@pytest.mark.parametrize(("repetitions", "most"), [(30, 6), pytest.param(200, 10, marks=pytest.mark.slow)])
def test_correct_single_runs_are_not_flagged(repetitions: int, most: int) -> None:
    rng = np.random.default_rng(2)
    truth = gaussian_epsilon(1.0, 1e-5)
    bounds = []
    for _ in range(repetitions):
        included = rng.random(100) < 0.5
        found = one_run_lower_bound(rng.normal(size=100) + included, included, delta=1e-5, level=0.95)
        assert found.bound <= found.ceiling
        bounds.append(found.bound)
    assert max(bounds) <= truth
    nothing = [
        one_run_lower_bound(rng.normal(size=100), rng.random(100) < 0.5, delta=1e-5, level=0.95).bound
        for _ in range(repetitions)
    ]
    assert np.count_nonzero(np.array(nothing) > 0) <= most


def test_the_power_counts_the_trainings_whose_bound_lies_above_the_claim() -> None:
    rng = np.random.default_rng(3)
    included = rng.random((12, 60)) < 0.5
    scores = rng.normal(size=(12, 60)) + 2.5 * included
    bounds = [one_run_lower_bound(*run, delta=1e-5, level=0.95).bound for run in zip(scores, included, strict=True)]
    for claim in (0.2, float(np.median(bounds)) + 1e-6, 5.0):
        power = one_run_power(scores, included, claim, delta=1e-5, level=0.95)
        assert power == (sum(bound > claim for bound in bounds), 12)
    assert one_run_power(scores, included, 0.2, delta=1e-5, level=0.95).rate > 0.5


def test_randomised_response_with_delta_0_is_a_binomial_test() -> None:
    epsilon = 1.0
    right = math.exp(epsilon) / (1 + math.exp(epsilon))
    assert guesses_p_value(100, 50, 45, epsilon, 0.0) == pytest.approx(stats.binom.sf(44, 50, right))
    bound = guesses_lower_bound(100, 50, 45, delta=0.0, error=0.05)
    low = stats.beta.ppf(0.05, 45, 6)  # Clopper-Pearson, one-sided
    assert bound == pytest.approx(math.log(low / (1 - low)), abs=1e-6)


def test_delta_only_lowers_the_bound_and_agrees_with_a_loop() -> None:
    right = 1 / (1 + math.exp(-0.5))
    steepest = max(sum(stats.binom.pmf(20 - j, 30, right) for j in range(1, i + 1)) / i for i in range(1, 21))
    expected = stats.binom.sf(19, 30, right) + 2 * 60 * 1e-4 * steepest
    assert guesses_p_value(60, 30, 20, 0.5, 1e-4) == pytest.approx(expected)
    bounds = [guesses_lower_bound(1000, 100, 95, delta=delta, error=0.05) for delta in (0.0, 1e-5, 1e-3)]
    assert bounds == sorted(bounds, reverse=True)


def test_certain_canaries_reach_the_ceiling() -> None:
    included = np.arange(200) % 2 == 0
    found = one_run_lower_bound(included.astype(float), included, delta=1e-6, level=0.95)
    assert found.bound == found.ceiling > 3
    assert one_run_lower_bound(-included.astype(float), included, delta=1e-6, level=0.95).bound == 0


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="at least 10"):
        one_run_lower_bound(np.zeros(3), np.zeros(3, dtype=bool), delta=1e-5, level=0.95)
    with pytest.raises(InputError, match="delta"):
        epsilon_lower_bound(np.zeros(3), np.zeros(3), delta=1.0, level=0.95)
