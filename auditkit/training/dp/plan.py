"""The settings of a private training, and the plan that they come to on a number of rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from auditkit.errors import InputError
from auditkit.training.dp.accounting import (
    INITIAL_WEIGHTS,
    NEIGHBOURS,
    NOT_COVERED,
    ROW,
    default_delta,
    plan_noise,
    require_epsilon,
    require_tuning_runs,
)
from auditkit.training.dp.settings import Clipping, require_clipping
from auditkit.training.fit import require_positive, require_positive_int


@dataclass(frozen=True)
class Disclosure:
    """What a ledger says of where a training began, of what it protects, and of what its budget does not cover.

    `unit` is what one row of the training is: the unit of privacy. `neighbours` says in what two sets differ that are
    hard to tell apart, and `contribution` what is read of a unit, where it is no row of the data.
    """

    initial_weights: str = INITIAL_WEIGHTS
    not_covered: tuple[str, ...] = NOT_COVERED
    unit: str = ROW
    neighbours: str = NEIGHBOURS
    contribution: str | None = None


@dataclass(frozen=True, kw_only=True)
class PrivateSettings:
    """How a network is trained by DP-SGD.

    Args:
        epsilon: the target; the noise is the least that keeps the epsilon of the ledger at or under it.
        delta: below 1/n for n rows; None stands for the smaller of 1e-5 and 1/(10 n).
        max_grad_norm: the norm C that each row's gradient is clipped to. The usual 1.0 costs no accuracy but makes
            scores overconfident (log loss on UCI Adult 0.47 at 1, 0.34 at 5, 0.31 at 10, epsilon 3).
        epochs: the expected number of times that each row is drawn.
        batch_size: the expected size of a Poisson batch; None stands for the smaller of 1,024 and n/4.
        learning_rate: of Adam.
        seed: of sampling, noise and dropout. Whoever knows it can take the noise off again: it serves an audit
            that must be repeatable. None draws one from the operating system and does not record it.
        clipping: how each row's gradient is clipped: the fastest way that is right for the network, or one way alone.
        physical_batch_size: the most rows that go through the network at once; a larger Poisson batch is taken in
            parts, with the same result. None takes it whole.
        tuning_runs: how many earlier runs on these rows, at most as costly as this one, led to its settings.
        checkpoint: a file that a killed training goes on from, removed at the end by whoever named it; `seed` must
            be None, since a resumed run draws fresh noise.
        canaries: how many to plant, to audit the claim; the weights are spoilt by them, and serve nothing else.
        disclosure: what the ledger says of the initial weights, and of what its budget does not cover.
    """

    epsilon: float
    delta: float | None = None
    max_grad_norm: float = 10.0
    epochs: int = 20
    batch_size: int | None = None
    learning_rate: float = 3e-3
    seed: int | None = None
    clipping: Clipping = "auto"
    physical_batch_size: int | None = None
    tuning_runs: int = 0
    checkpoint: Path | None = None
    canaries: int = 0
    disclosure: Disclosure = field(default_factory=Disclosure)

    def require(self, row_count: int) -> None:
        """Raise InputError for a setting that is out of its bounds for so many rows."""
        require_clipping(self.clipping)
        require_epsilon(self.epsilon)
        require_positive("max_grad_norm", self.max_grad_norm)
        require_positive("learning_rate", self.learning_rate)
        require_positive_int("epochs", self.epochs)
        if not 0 < self.delta_for(row_count) < 1 / row_count:
            raise InputError(
                f"delta must be above 0 and below 1/n = {1 / row_count:.2g} for {row_count} rows, got {self.delta:g}; "
                f"pass a delta of {default_delta(row_count):.2g}."
            )
        batch_size = self.batch_size_for(row_count)
        require_positive_int("batch_size", batch_size)
        if batch_size > row_count:
            raise InputError(f"batch_size must be at most the {row_count} rows, got {batch_size}; pass a smaller one.")
        if self.physical_batch_size is not None:
            require_positive_int("physical_batch_size", self.physical_batch_size)
        require_tuning_runs(self.tuning_runs)
        if self.checkpoint is not None and self.seed is not None:
            raise InputError(
                f"seed must be None where a training can be resumed, got {self.seed}; leave one of them out."
            )

    def delta_for(self, row_count: int) -> float:
        """Return delta for so many rows."""
        return default_delta(row_count) if self.delta is None else self.delta

    def batch_size_for(self, row_count: int) -> int:
        """Return the expected size of a Poisson batch of so many rows."""
        return min(1024, max(1, row_count // 4)) if self.batch_size is None else self.batch_size


@dataclass(frozen=True)
class PrivatePlan:
    """What settings come to on so many rows: the sampling, the steps and the noise that spend the budget."""

    settings: PrivateSettings
    row_count: int
    delta: float
    batch_size: int
    sample_rate: float
    steps: int
    noise_multiplier: float


def plan_training(settings: PrivateSettings, row_count: int) -> PrivatePlan:
    """Return the plan of a training on so many rows, by settings that `PrivateSettings.require` accepts.

    Raises:
        InputError: an epsilon that the accountant cannot reach.
    """
    delta, batch_size = settings.delta_for(row_count), settings.batch_size_for(row_count)
    sample_rate = batch_size / row_count
    steps = math.ceil(settings.epochs / sample_rate)
    noise = plan_noise(settings.epsilon, delta, sample_rate, steps)
    return PrivatePlan(settings, row_count, delta, batch_size, sample_rate, steps, noise)
