"""Generators under DP-SGD: a loss of its own for each row, or a discriminator that alone sees the rows.

A VAE or a diffusion model has a loss for each row, whose gradient is clipped as any other. Of an adversarial pair only
the discriminator reads rows; it is trained by DP-SGD. The generator learns from the discriminator's answers to its own
samples: post-processing of something private, which stays private with the same budget (Xie et al. 2018,
arXiv:1802.06739).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from auditkit.evidence.messages import Message
from auditkit.models.networks import WithDiscriminator, WithRowLosses

DISCRIMINATOR_STEPS = 4
"""The discriminator takes so many steps to one of the generator: its own are noisy (Bie et al. 2023)."""

DISCRIMINATOR_ONLY = Message(
    "the discriminator, the only part that reads rows; the generator learns from the discriminator's answers to its "
    "own samples, which is post-processing and spends no budget"
)


class RowLosses(nn.Module):
    """A generator with a loss for each row, as a network from rows to losses: the noise that it draws is 0 in eval."""

    def __init__(self, network: nn.Module) -> None:
        """Wrap the generator; its parameters are trained."""
        super().__init__()
        self.network = network

    def forward(self, rows: Tensor) -> Tensor:
        """Return the loss of each row, (rows,)."""
        latent: tuple[int, ...] = tuple(self.network.latent_shape)  # type: ignore[arg-type]  # a generator has one
        width = latent[0] if len(latent) == 1 else 1 + rows[0].numel()
        noise = torch.randn(len(rows), width, device=rows.device) if self.training else rows.new_zeros(len(rows), width)
        losses: Tensor = self.network.row_losses(rows, noise)  # type: ignore[operator]  # a method of VAEs and diffusion models
        return losses


@dataclass(eq=False)
class Adversary:
    """What makes samples for a discriminator that is trained privately, and learns from its answers.

    It holds a copy of the discriminator, whose weights it takes from the vector that is trained: what is hooked to the
    original, to take down the rows' gradients, sees no sample.
    """

    pair: nn.Module
    sample_count: int
    max_norm: float
    step_count: int = 0

    def __post_init__(self) -> None:
        """Copy the pair, and prepare the generator's steps."""
        self.copy: Any = copy.deepcopy(self.pair)
        self.copy.train()
        self.judge = list(self.copy.get_submodule("discriminator").parameters())
        self.optimizer = torch.optim.Adam(
            self.copy.get_submodule("generator").parameters(), lr=1e-3, betas=(0.5, 0.999)
        )

    def gradient(self, vector: Tensor) -> Tensor:
        """Return the gradient of the discriminator's loss on fresh samples, clipped as a whole: the vector's shape.

        It reads no row, so that it spends no budget.
        """
        start = 0
        with torch.no_grad():
            for parameter in self.judge:
                parameter.copy_(vector[start : start + parameter.numel()].view_as(parameter))
                start += parameter.numel()
            made = self.copy.made(self._latent())
        logits = self.copy.discriminate(made)
        loss = functional.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits))
        found = torch.cat([part.flatten() for part in torch.autograd.grad(loss, self.judge)])
        result: Tensor = found * (self.max_norm / found.norm().clamp(min=self.max_norm))
        return result

    def respond(self) -> None:
        """Take a step of the generator, after every few steps of the discriminator."""
        self.step_count += 1
        if self.step_count % DISCRIMINATOR_STEPS:
            return
        logits = self.copy.discriminate(self.copy.made(self._latent()))
        self.optimizer.zero_grad(set_to_none=True)
        functional.binary_cross_entropy_with_logits(logits, torch.ones_like(logits)).backward()
        self.optimizer.step()

    def finish(self) -> None:
        """Give the generator's weights to the pair, in eval mode."""
        self.pair.eval()
        trained = self.copy.get_submodule("generator").state_dict()
        self.pair.get_submodule("generator").load_state_dict({name: value.cpu() for name, value in trained.items()})

    def _latent(self) -> Tensor:
        device = self.judge[0].device
        return torch.randn(self.sample_count, *self.copy.latent_shape, device=device)

    def to(self, device: torch.device) -> None:
        """Move the copy to the device that trains."""
        self.copy.to(device)


class RealLosses(nn.Module):
    """A discriminator as a network from real rows to its loss on each: how far it is from calling them real."""

    def __init__(self, pair: nn.Module, adversary: Adversary) -> None:
        """Wrap the pair's discriminator alone: its parameters are those that are trained."""
        super().__init__()
        self.discriminator = part_that_reads_rows(pair)
        self.adversary = adversary
        self.pair: tuple[Any, ...] = (pair,)  # no part of this network: its generator is not trained by rows

    def forward(self, rows: Tensor) -> Tensor:
        """Return the logistic loss of each real row, (rows,), its label smoothed to 0.9."""
        logits: Tensor = self.pair[0].discriminate(rows)
        return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, 0.9), reduction="none")


def part_that_reads_rows(module: nn.Module) -> nn.Module:
    """Return the part that a private training gives rows: of an adversarial pair the discriminator, else all of it."""
    return module.get_submodule("discriminator") if isinstance(module, WithDiscriminator) else module


def private_part(module: nn.Module, *, sample_count: int, max_norm: float) -> nn.Module:
    """Return the network that is trained on rows: the module itself, its losses of rows, or its discriminator alone.

    The adversary of a discriminator draws `sample_count` samples a step, and clips the gradient of their loss to
    `max_norm`.
    """
    if part_that_reads_rows(module) is not module:
        return RealLosses(module, Adversary(module, sample_count, max_norm))
    return RowLosses(module) if isinstance(module, WithRowLosses) else module
