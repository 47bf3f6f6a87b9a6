"""Lower bounds on epsilon from what an attacker guesses right: a claim that lies below its bound is false.

Two settings. `epsilon_lower_bound` takes scores that are independent draws of a mechanism with and without a row.
`one_run_lower_bound` takes one training, into which each of many canaries was put, or not, by a fair coin.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from auditkit.errors import InputError
from auditkit.stats.intervals import clopper_pearson

Array = NDArray[np.float64]

GUESSED_SHARES = (0.02, 0.1, 0.3, 1.0)
"""The shares of the canaries that are guessed at, the most certain first; the bound allows for trying all of them."""

GUESSED_INSIDE = 0.1
"""The share of the canaries, those of the highest scores, that are guessed to be in, with nothing said of others."""


def gaussian_epsilon(mean: float, delta: float) -> float:
    """Return the epsilon of N(mean, 1) against N(0, 1) at `delta` (Balle & Wang 2018, theorem 8), to 1e-9.

    >>> round(gaussian_epsilon(1.0, 1e-5), 4)
    4.3772
    """
    low, high = 0.0, 1.0

    def reached(epsilon: float) -> float:
        tails = special.log_ndtr(np.array([mean / 2 - epsilon / mean, -mean / 2 - epsilon / mean]))
        return float(np.exp(tails[0]) - np.exp(epsilon + tails[1]))

    while reached(high) > delta:
        high *= 2
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle) > delta else (low, middle)
    return high


def epsilon_lower_bound(inside: Array, outside: Array, *, delta: float, level: float) -> float:
    """Return a lower bound on epsilon, at `level`, from independent scores with the row and without it.

    For each of 20 thresholds, and the guesses both ways, epsilon is at least log((p - delta) / q), with p the share
    of right claims and q that of wrong ones (Kairouz et al. 2015). Half of the scores choose the threshold, the
    other half bound p and q by Clopper & Pearson, so that the choice costs nothing.
    """
    _require(delta, level)
    best, chosen = -math.inf, (0.0, True)
    halves = [(part[::2], part[1::2]) for part in (np.asarray(inside), np.asarray(outside))]
    (inside_first, inside_second), (outside_first, outside_second) = halves
    pooled = np.concatenate([inside_first, outside_first])
    for threshold in np.unique(np.quantile(pooled, [*np.geomspace(1e-4, 0.5, 10), *(1 - np.geomspace(1e-4, 0.5, 10))])):
        for above in (True, False):
            found = _bound(inside_first, outside_first, float(threshold), above, delta, level)
            if found > best:
                best, chosen = found, (float(threshold), above)
    return max(_bound(inside_second, outside_second, *chosen, delta, level), 0.0)


def _bound(inside: Array, outside: Array, threshold: float, above: bool, delta: float, level: float) -> float:
    # Above the threshold the row is claimed to be in; below it, to be out: then the sides change places.
    right, wrong = (inside > threshold, outside > threshold) if above else (outside <= threshold, inside <= threshold)
    low = float(clopper_pearson(int(right.sum()), len(right), level)[0])
    high = float(clopper_pearson(int(wrong.sum()), len(wrong), level)[1])
    return math.log((low - delta) / high) if low > delta else -math.inf


class OneRun(NamedTuple):
    """What one training shows: the bound, the guesses behind it, and the largest bound they could have shown."""

    bound: float
    ceiling: float
    canary_count: int
    guess_count: int
    correct_count: int


def one_run_lower_bound(scores: Array, included: NDArray[np.bool_], *, delta: float, level: float) -> OneRun:
    """Return a lower bound on epsilon, at `level`, from canaries that fair coins put into one training.

    Steinke, Nasr & Jagielski 2023 (arXiv:2305.08846), theorem 5.2: the highest scores are guessed to be in, and as many
    of the lowest to be out, or none: a fault of one step shows the canaries of that step alone, and says of no other
    that it is out. Bonferroni over the shares guessed at. `ceiling` is the bound if every guess had been
    right: a low bound under a low ceiling proves nothing.

    Raises:
        InputError: fewer than 10 canaries, or a delta or level out of (0, 1).
    """
    _require(delta, level)
    count = len(scores)
    if count < 10 or len(included) != count:
        raise InputError(f"canaries must be at least 10, each with a coin, got {count} and {len(included)}; pass 1000.")
    guesses = _guesses(count)
    error = (1 - level) / len(guesses)
    best: OneRun | None = None
    for (inside, outside), correct in zip(guesses, _correct_counts(scores, included), strict=True):
        made = inside + outside
        bound = guesses_lower_bound(count, made, correct, delta=delta, error=error)
        ceiling = guesses_lower_bound(count, made, made, delta=delta, error=error)
        found = OneRun(bound, ceiling, count, made, correct)
        best = found if best is None or (bound, ceiling) > (best.bound, best.ceiling) else best
    assert best is not None
    return best


class Power(NamedTuple):
    """In how many of so many simulated trainings a fault was found."""

    found_count: int
    run_count: int

    @property
    def rate(self) -> float:
        """The share of the trainings in which it was found."""
        return self.found_count / self.run_count


def one_run_power(scores: Array, included: NDArray[np.bool_], epsilon: float, *, delta: float, level: float) -> Power:
    """Return in how many trainings, (trainings, canaries), `one_run_lower_bound` would lie above `epsilon`."""
    guesses = _guesses(scores.shape[1])
    correct = np.array([_correct_counts(*run) for run in zip(scores, included, strict=True)])
    error, found = (1 - level) / len(guesses), np.zeros(len(scores), dtype=bool)
    for (inside, outside), counts in zip(guesses, correct.T, strict=True):
        least = _least_count(scores.shape[1], inside + outside, epsilon, delta=delta, error=error)
        found |= counts >= least
    return Power(int(found.sum()), len(found))


def _guesses(count: int) -> list[tuple[int, int]]:
    """Return how many of the highest scores are guessed to be in, and of the lowest to be out, in each attempt."""
    halves = [min(max(1, round(count * share / 2)), count // 2) for share in GUESSED_SHARES]
    return [*((half, half) for half in halves), (min(max(1, round(count * GUESSED_INSIDE)), count), 0)]


def _correct_counts(scores: Array, included: NDArray[np.bool_]) -> list[int]:
    """Return how many guesses of each attempt are right."""
    order = np.argsort(scores, kind="stable")
    return [
        int(included[order[-inside:]].sum() + (~included[order[:outside]]).sum())
        for inside, outside in _guesses(len(scores))
    ]


def _least_count(canary_count: int, guess_count: int, epsilon: float, *, delta: float, error: float) -> int:
    """Return the fewest correct guesses whose p-value at `epsilon` lies under `error`; one more than all if none."""
    low, high = 0, guess_count + 1
    while low < high:
        middle = (low + high) // 2
        if guesses_p_value(canary_count, guess_count, middle, epsilon, delta) < error:
            high = middle
        else:
            low = middle + 1
    return low


def guesses_lower_bound(
    canary_count: int, guess_count: int, correct_count: int, *, delta: float, error: float
) -> float:
    """Return the largest epsilon whose p-value for so many correct guesses lies under `error`; at least 0."""
    low, high = 0.0, 1.0
    if guesses_p_value(canary_count, guess_count, correct_count, 0.0, delta) >= error:
        return 0.0
    while high < 64 and guesses_p_value(canary_count, guess_count, correct_count, high, delta) < error:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        small = guesses_p_value(canary_count, guess_count, correct_count, middle, delta) < error
        low, high = (middle, high) if small else (low, middle)
    return low


def guesses_p_value(canary_count: int, guess_count: int, correct_count: int, epsilon: float, delta: float) -> float:
    """Return the chance of so many correct guesses, or more, under (epsilon, delta)-DP: an upper bound on it.

    With delta 0, that of randomised response: binomial, each guess right with probability e^eps / (1 + e^eps).
    """
    from scipy import stats

    right = special.expit(epsilon)
    at_least = float(stats.binom.sf(correct_count - 1, guess_count, right))
    below = np.cumsum(stats.binom.pmf(correct_count - np.arange(1, correct_count + 1), guess_count, right))
    steepest = float((below / np.arange(1, correct_count + 1)).max(initial=0.0))
    return min(1.0, at_least + 2 * canary_count * delta * steepest)


def _require(delta: float, level: float) -> None:
    if not 0 <= delta < 1 or not 0 < level < 1:
        raise InputError(f"delta must lie in [0, 1) and level in (0, 1), got {delta} and {level}; pass 1e-5 and 0.95.")
