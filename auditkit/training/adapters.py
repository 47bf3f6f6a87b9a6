"""Training a part of public weights: chosen parameters, and low-rank adapters that are merged again afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn

from auditkit.errors import InputError
from auditkit.models.architectures.text import RecurrentLinear


class LowRank(nn.Module):
    """A frozen Linear layer and a low-rank addition to its weight, which starts at 0.

    Hu et al. 2021 (arXiv:2106.09685), without their scale. The addition is made of two layers of the same kind, so
    that DP-SGD clips their gradients as it does the layer's.
    """

    def __init__(self, base: nn.Linear, rank: int) -> None:
        """Draw the first factor from torch's generator; the second is 0."""
        super().__init__()
        kind = type(base)
        self.base = base
        self.down = kind(base.in_features, rank, bias=False)
        self.up = kind(rank, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return what the layer gives with its addition."""
        outputs: torch.Tensor = self.base(inputs) + self.up(self.down(inputs))
        return outputs

    def merged(self) -> nn.Linear:
        """Return the layer with the addition in its weight."""
        with torch.no_grad():
            self.base.weight += self.up.weight @ self.down.weight
        return self.base


def train_only(module: nn.Module, patterns: Sequence[str], *, rank: int | None) -> None:
    """Freeze a module but for parameters whose names match a pattern, and add adapters of a rank to frozen layers.

    Patterns are those of a shell: `output.*`. Adapters go to every Linear layer that has more inputs and outputs than
    the rank; smaller ones are trained whole, which costs no more than an adapter.

    Raises:
        InputError: a pattern that no parameter's name matches, a rank below 1 or too large for every layer.
    """
    named = dict(module.named_parameters())
    module.requires_grad_(False)
    for pattern in patterns:
        chosen = [parameter for name, parameter in named.items() if fnmatchcase(name, pattern)]
        if not chosen:
            raise InputError(f"trainable {pattern!r} matches no parameter; there are {', '.join(named)}.")
        for parameter in chosen:
            parameter.requires_grad_(True)
    if rank is None:
        return
    if rank < 1:
        raise InputError(f"lora_rank must be at least 1, got {rank}; pass --lora-rank 4.")
    frozen = [
        (owner, name, layer)
        for owner in list(module.modules())
        for name, layer in list(owner.named_children())
        if isinstance(layer, nn.Linear) and type(layer) in (nn.Linear, RecurrentLinear) and _is_frozen(layer)
    ]
    large = [(owner, name, layer) for owner, name, layer in frozen if min(layer.in_features, layer.out_features) > rank]
    if not large:
        raise InputError(f"lora_rank {rank}: no frozen Linear layer has more inputs and outputs than that.")
    for _, _, layer in frozen:
        layer.requires_grad_(min(layer.in_features, layer.out_features) <= rank)
    for owner, name, layer in large:
        setattr(owner, name, LowRank(layer, rank))


def _is_frozen(layer: nn.Module) -> bool:
    return not any(parameter.requires_grad for parameter in layer.parameters())


def merge_adapters(module: nn.Module) -> None:
    """Put the layers back in the place of their adapters, with the additions in their weights."""
    for owner in list(module.modules()):
        for name, layer in list(owner.named_children()):
            if isinstance(layer, LowRank):
                setattr(owner, name, layer.merged())
