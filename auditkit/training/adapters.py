"""Training a part of public weights: chosen parameters, and low-rank adapters that are merged again afterwards."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from auditkit.errors import InputError
from auditkit.models.architectures.text import RecurrentLinear


class LowRank(nn.Module):
    """A frozen linear layer and a low-rank addition to its weight, which starts at 0.

    Hu et al. 2021 (arXiv:2106.09685), without their scale. The addition is made of two Linear layers, so that DP-SGD
    clips their gradients as it does a layer's. The frozen layer may be the `Conv1D` of transformers, whose weight is
    that of a Linear layer transposed.
    """

    def __init__(self, base: nn.Module, rank: int) -> None:
        """Draw the first factor from torch's generator; the second is 0."""
        super().__init__()
        kind = type(base) if isinstance(base, nn.Linear) else nn.Linear
        inputs, outputs = widths(base)
        self.base = base
        self.down = kind(inputs, rank, bias=False)
        self.up = kind(rank, outputs, bias=False)
        nn.init.zeros_(self.up.weight)

    @property
    def weight(self) -> Any:
        """The frozen weight, whose type some networks of transformers ask for."""
        return self.base.weight

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return what the layer gives with its addition."""
        outputs: torch.Tensor = self.base(inputs) + self.up(self.down(inputs))
        return outputs

    def merged(self) -> nn.Module:
        """Return the layer with the addition in its weight."""
        with torch.no_grad():
            addition = self.up.weight @ self.down.weight
            self.weight.add_(addition.T if is_transposed(self.base) else addition)
        return self.base


def is_transposed(layer: nn.Module) -> bool:
    """Return whether a layer is the `Conv1D` of transformers: a Linear layer whose weight is (inputs, outputs)."""
    return f"{type(layer).__module__}.{type(layer).__name__}" == "transformers.pytorch_utils.Conv1D"


def widths(layer: nn.Module) -> tuple[int, int]:
    """Return how many numbers a linear layer takes, and how many it gives."""
    weight: Any = layer.weight
    outputs, inputs = weight.shape
    return (outputs, inputs) if is_transposed(layer) else (inputs, outputs)


def train_only(
    module: nn.Module, patterns: Sequence[str], *, rank: int | None, beside: Collection[nn.Module] = ()
) -> None:
    """Freeze a module but for parameters whose names match a pattern, and add adapters of a rank to frozen layers.

    Patterns are those of a shell: `output.*`. Adapters go to every linear layer that has more inputs and outputs than
    the rank; smaller ones are trained whole, which costs no more than an adapter. Left alone are the layers `beside`,
    and those whose weights another layer shares: an addition to the output weights of a language model would change
    the embedding too.

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
    shared = _shared_weights(module)
    frozen = [
        (owner, name, layer)
        for owner in list(module.modules())
        for name, layer in list(owner.named_children())
        if _is_linear(layer) and _is_frozen(layer) and layer not in beside and id(layer.weight) not in shared
    ]
    large = [(owner, name, layer) for owner, name, layer in frozen if min(widths(layer)) > rank]
    if not large:
        raise InputError(f"lora_rank {rank}: no frozen Linear layer has more inputs and outputs than that.")
    for _, _, layer in frozen:
        layer.requires_grad_(min(widths(layer)) <= rank)
    for owner, name, layer in large:
        setattr(owner, name, LowRank(layer, rank))


def _is_linear(layer: nn.Module) -> bool:
    return type(layer) in (nn.Linear, RecurrentLinear) or is_transposed(layer)


def _is_frozen(layer: nn.Module) -> bool:
    return not any(parameter.requires_grad for parameter in layer.parameters())


def _shared_weights(module: nn.Module) -> set[int]:
    """Return the ids of the parameters that several layers own."""
    seen: set[int] = set()
    twice: set[int] = set()
    for layer in module.modules():
        own = {id(parameter) for parameter in layer._parameters.values() if parameter is not None}
        twice |= own & seen
        seen |= own
    return twice


def merge_adapters(module: nn.Module) -> None:
    """Put the layers back in the place of their adapters, with the additions in their weights."""
    for owner in list(module.modules()):
        for name, layer in list(owner.named_children()):
            if isinstance(layer, LowRank):
                setattr(owner, name, layer.merged())
