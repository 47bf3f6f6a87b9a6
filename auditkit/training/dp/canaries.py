"""White-box canaries: random directions that fair coins put into a private training, and whether its steps show them.

Steinke, Nasr & Jagielski 2023 (arXiv:2305.08846). A canary is a row whose clipped gradient is always C times one
random unit vector. An attacker who sees every noisy step adds up what lies along that vector.
"""

from __future__ import annotations

import torch
from torch import nn

from auditkit.training.fit import require_positive_int

COORDINATES = 20_000
"""Canaries lie in at most so many coordinates of the weights, drawn at random, so that a thousand fit in memory."""


class Canaries:
    """Canaries of one training: `included`, (canaries,), says which are in it, `scores` how visible each was."""

    def __init__(
        self,
        count: int,
        parameters: list[nn.Parameter],
        *,
        max_grad_norm: float,
        seed: int,
    ) -> None:
        """Draw coins and directions by `seed`, on the device of the parameters."""
        require_positive_int("canaries", count)
        device = parameters[0].device
        generator = torch.Generator(device).manual_seed(seed)
        self.max_grad_norm = max_grad_norm
        size = sum(parameter.numel() for parameter in parameters)
        width = min(size, COORDINATES)
        self.coordinates = torch.randperm(size, generator=generator, device=device)[:width]
        directions = torch.randn(count, width, generator=generator, device=device)
        self.directions = directions / directions.norm(dim=1, keepdim=True)
        self.included = torch.rand(count, generator=generator, device=device) < 0.5
        self.scores = torch.zeros(count, device=device)
        self.drawn = torch.zeros(0, dtype=torch.int64, device=device)
        """Which canaries the sampler of the training drew for this step, whether they are in it or not."""

    def add(self, gradients: list[torch.Tensor]) -> None:
        """Add the canaries that this step samples to the sums of clipped gradients, one tensor a parameter."""
        sampled = self.drawn[self.included[self.drawn]]
        flat = torch.zeros(sum(gradient.numel() for gradient in gradients), device=self.included.device)
        flat[self.coordinates] = self.max_grad_norm * self.directions[sampled].sum(dim=0)
        start = 0
        for gradient in gradients:
            gradient += flat[start : start + gradient.numel()].view_as(gradient)
            start += gradient.numel()

    def observe(self, gradients: list[torch.Tensor]) -> None:
        """Add up what lies along each canary in the noisy gradients of one step, as the optimizer takes them.

        Each step counts by the inverse of its variance, so that one without noise is not lost among the others.
        """
        flat = torch.cat([gradient.detach().flatten() for gradient in gradients])[self.coordinates]
        variance = flat.square().mean()
        if variance > 0:
            self.scores += self.directions @ flat / variance
