"""White-box canaries: single weights that fair coins pull in a private training, and whether its steps show them.

Steinke, Nasr & Jagielski 2023 (arXiv:2305.08846), Dirac canaries: a canary is a row whose clipped gradient is C at one
weight and 0 at all others. No two share a weight while there are enough of them, so that none hides another in a small
network. The attacker sees every noisy step and, as the definition of differential privacy allows, knows all other rows:
what those add to a step is taken off.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.training.fit import require_positive_int

FEWEST = 10
"""Networks of fewer weights hold so many canaries all the same: some of them share a weight."""


TOO_LITTLE_NOISE = 1 / 5
"""The share of the planned noise at which the power of the test is simulated."""

SIMULATED_RUNS = 100


class CanaryScores(NamedTuple):
    """What an attacker sees of each canary, float64, (canaries,), and whether it was in the training, bool.

    `observed` are the scores in the noisy steps, `without_noise` those that the same steps would show without noise.
    `simulated` and `simulated_included`, (SIMULATED_RUNS, canaries), are those of trainings with `TOO_LITTLE_NOISE`.
    """

    observed: NDArray[np.float64]
    without_noise: NDArray[np.float64]
    included: NDArray[np.bool_]
    simulated: NDArray[np.float64]
    simulated_included: NDArray[np.bool_]


class Canaries:
    """Canaries of one training: at most as many as there are weights, each in the training by a fair coin."""

    def __init__(
        self,
        count: int,
        parameters: list[nn.Parameter],
        *,
        max_grad_norm: float,
        noise_multiplier: float,
        seed: int,
    ) -> None:
        """Draw coins and weights by `seed`, on the device of the parameters; the noise is what the plan adds."""
        require_positive_int("canaries", count)
        device = parameters[0].device
        generator = torch.Generator(device).manual_seed(seed)
        self.max_grad_norm = max_grad_norm
        size = sum(parameter.numel() for parameter in parameters)
        self.count = min(count, max(size, FEWEST))
        self.coordinates = torch.randperm(size, generator=generator, device=device).repeat(FEWEST)[: self.count]
        self.included = torch.rand(self.count, generator=generator, device=device) < 0.5
        self.drawn = torch.zeros(0, dtype=torch.int64, device=device)
        """Which canaries the sampler of the training drew for this step, whether they are in it or not."""
        self._observed = torch.zeros(self.count, dtype=torch.float64, device=device)
        self._without_noise = torch.zeros_like(self._observed)
        self._of_rows = torch.zeros_like(self._observed)
        self._generator = generator
        self._weak_variance = (TOO_LITTLE_NOISE * noise_multiplier * max_grad_norm) ** 2
        self._weak_pulls = torch.zeros_like(self._observed)
        self._weak_sum_variance = 0.0

    def add(self, total: torch.Tensor) -> None:
        """Add the canaries that this step samples to `total`, (weights,), the sum of the rows' clipped gradients."""
        self._of_rows = total[self.coordinates].double()
        sampled = self.coordinates[self.drawn[self.included[self.drawn]]]
        pulls = torch.zeros_like(total)
        pulls.index_add_(0, sampled, torch.full_like(sampled, self.max_grad_norm, dtype=total.dtype))
        self._without_noise += _weighed(pulls[self.coordinates].double(), self.max_grad_norm)
        total += pulls
        expected = self.max_grad_norm**2 * len(self.drawn) / (2 * self.count) + self._weak_variance
        weight = 1 / max(expected, _least_variance(self.max_grad_norm))
        self._weak_pulls[self.drawn] += weight * self.max_grad_norm
        self._weak_sum_variance += weight**2 * self._weak_variance

    def observe(self, gradient: torch.Tensor, expected_batch_size: int) -> None:
        """Add up what one step shows of each canary: `gradient`, (weights,), as the optimizer takes it."""
        seen = gradient.detach()[self.coordinates].double() * expected_batch_size - self._of_rows
        self._observed += _weighed(seen, self.max_grad_norm)

    def scores(self) -> CanaryScores:
        """Return what the steps so far show."""
        seen = self._observed, self._without_noise, self.included, *self._with_too_little_noise()
        return CanaryScores(*(part.cpu().numpy() for part in seen))

    def _with_too_little_noise(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores and coins of trainings that draw the same canaries, with other coins and a fifth of the noise.

        Steps count by the inverse of their expected variance here, so that the noise of all steps is one normal number
        for each weight, and no step is repeated.
        """
        shape, device = (SIMULATED_RUNS, self.count), self.included.device
        included = torch.rand(shape, generator=self._generator, device=device) < 0.5
        weights, places = self.coordinates.unique(return_inverse=True)
        sums = torch.randn((SIMULATED_RUNS, len(weights)), generator=self._generator, device=device).double()
        sums *= self._weak_sum_variance**0.5
        sums.index_add_(1, places, included * self._weak_pulls)
        return sums[:, places], included


def _weighed(seen: torch.Tensor, norm: float) -> torch.Tensor:
    """Return what a step shows by the inverse of its variance, so that one without noise is not lost among others."""
    return seen / torch.clamp(seen.square().mean(), min=_least_variance(norm))


def _least_variance(norm: float) -> float:
    """Return a ten-thousandth of the variance of a canary: what is less is rounding."""
    return 1e-4 * norm**2
