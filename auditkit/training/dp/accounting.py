"""What a private training guarantees: its ledger, and the accountants that compute epsilon from noise and steps."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from auditkit.budgets import ROWS
from auditkit.errors import InputError
from auditkit.evidence.measurement import Record, first_problem
from auditkit.evidence.messages import Message
from auditkit.evidence.scalars import Count, Number, WholeNumber

NOT_COVERED = (
    Message("the choice of architecture, hyperparameters and number of epochs, and every run tried before this one"),
    Message(
        "preprocessing learned from the same rows: means, scales, categories, vocabularies, and columns kept or dropped"
    ),
    Message("the row count n, which is stated here and sets the sampling rate"),
    Message("any other release from the same rows: the original model, its predictions, this report's numbers"),
    Message("rows of the same person or household: one row is protected, not one person with several rows"),
    Message(
        "inference about an attribute from what the population teaches, which differential privacy does not prevent"
    ),
    Message("floating-point side channels; and the noise comes from a statistical generator, not from a cipher"),
)

INITIAL_WEIGHTS = Message("as given by the caller; they must not have seen these rows without privacy")

ALL_TRAINED = Message("all parameters")

ROW, NEIGHBOURS = Message("one row"), Message("add or remove one row")

SEED_PUBLISHED = (
    "seed {seed}, published here so that the audit can be repeated: whoever reads it can regenerate the noise, so the "
    "guarantee does not hold against a reader of this report; train a model for release with an unpublished seed"
)
SEED_UNRECORDED = Message("drawn from the operating system and not recorded")


class Ledger(Record):
    """What a private training run guarantees, and under which conditions (the disclosures of NIST SP 800-226).

    `epsilon` is the guarantee to state, at `delta`: the smaller of the upper bounds of the PRV and the RDP accountant
    (`claimed_epsilon`). The noise was planned with it, so that it lies at or under `target_epsilon`. `epsilon_rdp` is
    the RDP accountant's bound alone. `epsilon_with_tuning` is the RDP accountant's for this run and `tuning_runs`
    earlier ones of the same settings, and `epsilon` where there was none.
    `clipping` is how rows were clipped (the last two are Opacus's modes), after the faster ways in
    `clipping_passed_over`, each with the reason why it was not right for the network.
    `steps` are those that were paid for; `lost_steps` of them ran before the training was killed and resumed.
    """

    mechanism: str = Message("DP-SGD: Poisson-subsampled Gaussian mechanism on clipped per-row gradients")
    trust_model: str = Message("central: whoever trains sees all rows; the weights are what is protected")
    unit_of_privacy: str = ROW
    contribution_bound: str
    neighbouring_relation: str = NEIGHBOURS
    row_count: Count
    sampling: str
    sample_rate: Number
    expected_batch_size: Count
    noise_multiplier: Number
    max_grad_norm: Number
    steps: Count
    epochs: Count
    optimizer: str = "Adam"
    learning_rate: Number
    accountant: Literal["prv", "rdp"]
    epsilon: Number
    epsilon_rdp: Number
    target_epsilon: Number
    delta: Number
    initial_weights: str = INITIAL_WEIGHTS
    trained_part: str = ALL_TRAINED
    seed: WholeNumber | None
    seed_statement: str
    clipping: Literal["bookkeeping", "chunked", "ghost", "hooks"]
    clipping_passed_over: tuple[str, ...] = ()
    physical_batch_size: Count | None = None
    lost_steps: WholeNumber = 0
    tuning_runs: WholeNumber = 0
    epsilon_with_tuning: Number
    opacus: str
    torch: str
    not_covered: tuple[str, ...] = NOT_COVERED


LARGEST_EPSILON, SMALLEST_EPSILON = 10_000.0, 0.01
"""Budgets beyond these are no privacy, or none that training could reach; the accountants do not end for some."""

MOST_STEPS = 10_000_000

SMALLEST_NOISE, LARGEST_NOISE = 1e-4, 1e6
"""Noise multipliers beyond these give no guarantee, or leave nothing to learn; the accountants overflow for some."""

PRV_ERROR = 0.01
"""The PRV accountant's error bound for budgets from 1 to 10; of others it is a share of the budget (`prv_error`)."""

MOST_CELLS = 2**21
"""How many losses the PRV accountant tells apart at most: more take seconds, and up to gigabytes."""

ACHIEVED, MOST_PLANS = 0.998, 12
"""The share of the budget at which planning ends, and after how many trials it ends anyway."""

LARGER_ORDERS = (80, 96, 128, 160, 192, 256, 384, 512, 768, 1024)
"""Orders of the Renyi divergence beyond Opacus's 63, which budgets under 0.2 need."""

PRECISION = 0.01
"""How far a stated epsilon may lie under what its noise and steps give, as versions of an accountant differ."""


def read_ledger(document: object, name: str) -> Ledger:
    """Return the ledger that a file states, once its epsilon is what its noise, rate, steps and delta give.

    Raises:
        InputError: it is no ledger, its numbers cannot be, or its epsilon is less than they give; `name` is the file.
    """
    try:
        ledger = Ledger.model_validate(document)
    except ValidationError as error:
        where, problem = first_problem(error)
        raise InputError(f"{name}: its privacy ledger is not valid: {where}: {problem}.") from error
    possible = {
        "row_count": ledger.row_count <= ROWS.large,
        "expected_batch_size": ledger.expected_batch_size <= ledger.row_count,
        "epochs": ledger.epochs <= 2**53,
        "sample_rate": 1 / (2 * ROWS.large) <= ledger.sample_rate <= 1,
        "noise_multiplier": SMALLEST_NOISE <= ledger.noise_multiplier <= LARGEST_NOISE,
    }
    _check_possible(ledger, possible, name)
    possible = {
        "sample_rate": math.isclose(ledger.sample_rate, ledger.expected_batch_size / ledger.row_count, rel_tol=1e-6),
        "steps": ledger.steps == math.ceil(ledger.epochs / ledger.sample_rate) <= MOST_STEPS,
        "delta": 0 < ledger.delta < 1 / ledger.row_count,
        "max_grad_norm": ledger.max_grad_norm > 0,
        "target_epsilon": SMALLEST_EPSILON <= ledger.target_epsilon <= LARGEST_EPSILON,
        "tuning_runs": ledger.steps * (1 + ledger.tuning_runs) <= 1000 * MOST_STEPS,
        "lost_steps": ledger.lost_steps <= ledger.steps,
        "epsilon": 0 < ledger.epsilon <= ledger.epsilon_rdp * (1 + PRECISION),
    }
    _check_possible(ledger, possible, name)
    numbers = (ledger.noise_multiplier, ledger.sample_rate, ledger.steps, ledger.delta)
    together, all_steps = ledger.epsilon, ledger.steps * (1 + ledger.tuning_runs)
    if ledger.tuning_runs:
        together = rdp_epsilon(ledger.noise_multiplier, ledger.sample_rate, all_steps, ledger.delta)
    least = (
        ("epsilon_rdp", ledger.epsilon_rdp, rdp_epsilon(*numbers)),
        ("epsilon", ledger.epsilon, claimed_epsilon(*numbers, ledger.target_epsilon)[1]),
        ("epsilon_with_tuning", ledger.epsilon_with_tuning, together),
    )
    for field, stated, derived in least:
        if stated < derived * (1 - PRECISION):
            raise InputError(
                f"{name}: its privacy ledger states {field} {stated:.4g}, and its noise, rate, steps and delta give "
                f"{derived:.4g}: it was edited."
            )
    return ledger


def _check_possible(ledger: Ledger, possible: Mapping[str, bool], name: str) -> None:
    """Raise InputError for the first field whose value cannot be."""
    for field, holds in possible.items():
        if not holds:
            value = getattr(ledger, field)
            raise InputError(f"{name}: its privacy ledger states {field} {value!r}, which cannot be: it was edited.")


def default_delta(row_count: int) -> float:
    """Return the smaller of 1e-5 and 1/(10 n); at 1/n, publishing one whole row at random would count as private.

    >>> default_delta(500), default_delta(100_000)
    (1e-05, 1e-06)
    """
    return min(1e-5, 1 / (10 * row_count))


@functools.cache
def plan_noise(target_epsilon: float, delta: float, sample_rate: float, steps: int) -> float:
    """Return the noise multiplier whose claimed epsilon is at most the target, and at least 99 % of it.

    The search begins with the noise that the RDP accountant needs, and follows the secant of the logarithms of noise
    and claim, or halves the bracket where the secant leaves it. The claim is less than 99 % of the target only where
    the PRV accountant fails at all smaller noises.

    Raises:
        InputError: no noise reaches the target by the RDP accountant, or it needs so little that it is none.
    """
    low, high = -math.inf, math.log(_noise_by_rdp(target_epsilon, delta, sample_rate, steps))

    def excess(log_noise: float) -> float:
        """Return the logarithm of the claim over the target: above 0 where the noise is too little."""
        claim = claimed_epsilon(math.exp(log_noise), sample_rate, steps, delta, target_epsilon)[1]
        return math.log(claim / target_epsilon)

    at_high = excess(high)
    slope = -1.0
    for _ in range(MOST_PLANS):
        if at_high >= math.log(ACHIEVED):
            break
        aimed = high + (math.log((1 + ACHIEVED) / 2) - at_high) / slope
        noise = aimed if low < aimed < high else (low + high) / 2
        found = excess(noise)
        slope = min((found - at_high) / (noise - high), -0.1)
        if found <= 0:
            high, at_high = noise, found
        else:
            low = noise
    return math.exp(high)


def _noise_by_rdp(target_epsilon: float, delta: float, sample_rate: float, steps: int) -> float:
    """Return a noise multiplier whose RDP epsilon is at or under the target.

    Raises:
        InputError: no noise reaches the target, or it needs so little that it is none.
    """
    from opacus.accountants.utils import get_noise_multiplier

    with _quiet_accountant():
        try:
            sigma = get_noise_multiplier(
                target_epsilon=target_epsilon,
                target_delta=delta,
                sample_rate=sample_rate,
                steps=steps,
                accountant="rdp",
                epsilon_tolerance=0.01 * min(1.0, target_epsilon),
                alphas=_orders(),
            )
        except (ValueError, OverflowError) as error:
            raise InputError(
                f"epsilon {target_epsilon:g} at delta {delta:g} is out of the RDP accountant's reach; "
                f"pass a larger epsilon, such as 0.1."
            ) from error
    require_noise(sigma)
    return float(sigma)


def claimed_epsilon(
    noise_multiplier: float, sample_rate: float, steps: int, delta: float, target_epsilon: float
) -> tuple[Literal["prv", "rdp"], float]:
    """Return the epsilon that a ledger may state, and the accountant that gives it: the smaller of two upper bounds.

    `target_epsilon` is the budget that was asked for: the PRV accountant's error is in proportion to it.
    """
    by_rdp = rdp_epsilon(noise_multiplier, sample_rate, steps, delta)
    by_prv = prv_epsilon(noise_multiplier, sample_rate, steps, delta, prv_error(target_epsilon))
    return ("rdp", by_rdp) if by_prv is None or by_rdp < by_prv else ("prv", by_prv)


class TwoAccountants(NamedTuple):
    """Two upper bounds on the epsilon of one training, computed from its noise, sampling rate, steps and delta.

    `prv` is None where the PRV accountant's composition fails. It lies above epsilon by at most `prv_slack`.
    """

    prv: float | None
    rdp: float
    prv_slack: float


def two_accountants(ledger: Ledger) -> TwoAccountants:
    """Return what both accountants compute from a ledger's numbers, once the stated epsilon is the smaller of them.

    The RDP accountant's bound is the looser one nearly always: the PRV accountant's may exceed it by no more than its
    own numerical error.

    Raises:
        ArithmeticError: the accountants contradict each other, or the ledger states less than both.
    """
    numbers = (ledger.noise_multiplier, ledger.sample_rate, ledger.steps, ledger.delta)
    by_rdp = rdp_epsilon(*numbers)
    error = prv_error(ledger.target_epsilon)
    by_prv = prv_epsilon(*numbers, error)
    slack = 3 * max(error, _least_error(*numbers))  # twice by theorem 5.5, and what an inexact delta adds
    if by_prv is not None and by_prv > by_rdp + slack:
        raise ArithmeticError(
            f"the PRV accountant computes epsilon {by_prv:.4g} and the RDP accountant {by_rdp:.4g}, which is smaller "
            f"by more than the error {slack:.2g}: one of them is wrong, and the claim cannot be relied on"
        )
    smaller = by_rdp if by_prv is None else min(by_prv, by_rdp)
    if ledger.epsilon < smaller * (1 - PRECISION):
        raise ArithmeticError(
            f"the ledger states epsilon {ledger.epsilon:.4g}, and both accountants compute more: the smaller of their "
            f"upper bounds is {smaller:.4g}; the claim cannot be relied on"
        )
    return TwoAccountants(by_prv, by_rdp, slack)


def prv_error(target_epsilon: float) -> float:
    """Return the error bound of the PRV accountant for a budget: 1 % of it under 1, 0.1 % above 10, else 0.01.

    >>> [prv_error(epsilon) for epsilon in (0.05, 3, 100)]
    [0.0005, 0.01, 0.1]
    """
    return min(target_epsilon / 100, max(PRV_ERROR, target_epsilon / 1000))


def require_noise(noise_multiplier: float) -> None:
    """Raise InputError for a noise multiplier that gives no guarantee."""
    if not SMALLEST_NOISE <= noise_multiplier <= LARGEST_NOISE:
        raise InputError(
            f"noise_multiplier must be from {SMALLEST_NOISE:g} to {LARGEST_NOISE:g}, got {noise_multiplier}: "
            "without noise epsilon is infinite; pass a smaller epsilon."
        )


def require_epsilon(epsilon: float) -> None:
    """Raise InputError for a budget that no mechanism can have, or that is none."""
    number = isinstance(epsilon, int | float) and not isinstance(epsilon, bool)
    if not (number and SMALLEST_EPSILON <= epsilon <= LARGEST_EPSILON):
        bounds = f"from {SMALLEST_EPSILON:g} to {LARGEST_EPSILON:,.0f}"
        raise InputError(f"epsilon must be a number {bounds}, got {epsilon}; pass --epsilon 3.")


def require_tuning_runs(tuning_runs: int) -> None:
    """Raise InputError for a count of earlier runs that is none."""
    if isinstance(tuning_runs, bool) or not isinstance(tuning_runs, int) or tuning_runs < 0:
        raise InputError(
            f"tuning_runs must be a whole number of at least 0, got {tuning_runs}; pass --tuning-runs 0 for none."
        )


def rdp_epsilon(noise_multiplier: float, sample_rate: float, steps: int, delta: float) -> float:
    """Return the RDP accountant's upper bound on epsilon (Mironov et al. 2019, arXiv:1908.10530)."""
    require_noise(noise_multiplier)
    return _epsilon_of(_losses_of_a_step(noise_multiplier, sample_rate) * steps, delta)


@functools.lru_cache(maxsize=256)
def _losses_of_a_step(noise_multiplier: float, sample_rate: float) -> NDArray[np.float64]:
    """Return the Renyi losses of one step at `_orders()`, kept: a ledger needs them at several deltas and steps."""
    from opacus.accountants.analysis.rdp import compute_rdp

    orders = _orders()
    return np.asarray(compute_rdp(q=sample_rate, noise_multiplier=noise_multiplier, steps=1, orders=orders))


def _epsilon_of(losses: NDArray[np.float64], delta: float) -> float:
    """Return the epsilon at `delta` of Renyi losses at `_orders()`."""
    from opacus.accountants.analysis.rdp import get_privacy_spent

    with _quiet_accountant():
        return float(get_privacy_spent(orders=_orders(), rdp=losses, delta=delta)[0])


@functools.cache
def prv_epsilon(
    noise_multiplier: float, sample_rate: float, steps: int, delta: float, error: float = PRV_ERROR
) -> float | None:
    """Return the PRV accountant's upper bound on epsilon (Gopi et al. 2021, arXiv:2106.02848).

    It lies above epsilon by at most twice the error, which is enlarged where it would need more than `MOST_CELLS`.
    None where the numerical composition fails, as it does for very large losses.
    """
    from opacus.accountants import PRVAccountant

    require_noise(noise_multiplier)
    accountant = PRVAccountant()
    accountant.history = [(noise_multiplier, sample_rate, steps)]
    error = max(error, _least_error(noise_multiplier, sample_rate, steps, delta))
    if error > 1:  # beyond it the accountant's choice of its largest loss is not known to be safe
        return None
    with _quiet_accountant(), np.errstate(divide="ignore", over="raise"):
        try:
            epsilon = float(accountant.get_epsilon(delta=delta, eps_error=error))
        except (ValueError, OverflowError, RuntimeError, FloatingPointError):
            return None
    return epsilon if math.isfinite(epsilon) else None


def _least_error(noise_multiplier: float, sample_rate: float, steps: int, delta: float) -> float:
    """Return the error at which the PRV accountant tells `MOST_CELLS` losses apart (Gopi et al. 2021, theorem 5.5)."""
    delta_error = delta / 1000  # Opacus's, as are the largest loss and the width of a cell
    largest = rdp_epsilon(noise_multiplier, sample_rate, steps, delta_error / 4) + 3
    return 2 * largest / MOST_CELLS * math.sqrt(steps * math.log(12 / delta_error) / 2)


def composed_epsilon(ledgers: Sequence[Ledger], delta: float) -> float:
    """Return the RDP accountant's upper bound on epsilon of several trainings on the same rows together.

    Of a single training without earlier runs this is what its ledger states. The earlier runs that they declare are
    among them: once, each as costly as the dearest of these trainings. Renyi losses add up, whatever each training's
    noise and steps (Mironov 2017), also where one was chosen by looking at another.
    """
    dearest = max(ledgers, key=lambda ledger: ledger.epsilon_rdp)
    runs = [*ledgers, *[dearest] * max(ledger.tuning_runs for ledger in ledgers)]
    if len(runs) == 1:
        return dearest.epsilon
    losses = [_losses_of_a_step(run.noise_multiplier, run.sample_rate) * run.steps for run in runs]
    return _epsilon_of(sum(losses[1:], losses[0]), delta)


def _orders() -> list[float]:
    from opacus.accountants import RDPAccountant

    return [*RDPAccountant.DEFAULT_ALPHAS, *LARGER_ORDERS]


@contextmanager
def _quiet_accountant() -> Iterator[None]:
    # The bound holds at the largest or smallest order too; it is only not the tightest.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order is the (largest|smallest) alpha", category=UserWarning)
        yield
