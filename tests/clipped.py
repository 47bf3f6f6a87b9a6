"""Networks and rows whose clipped gradients tests compare, and the loop in float64 that they are compared to."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from auditkit.models.architectures import build
from auditkit.tasks.objectives import CrossEntropy, Objective
from auditkit.training.dp.clipping import summed_by
from auditkit.training.dp.settings import Way

Batch = tuple[torch.Tensor, torch.Tensor]
Tensors = list[torch.Tensor]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Scale(nn.Module):
    """Multiplies by a constant; 0 stops every gradient."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


def mlp(classes: int = 3, *, seed: int = 0, dropout: float = 0.0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, classes))


def weights(module: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(module.parameters()).detach().clone()


class Twice(nn.Module):
    """Calls one layer twice, whose gradients must be summed before they are clipped."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.layer, self.norm, self.head = nn.Linear(width, width), nn.LayerNorm(width), nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(2):
            x = torch.tanh(self.norm(self.layer(x)))
        out: torch.Tensor = self.head(x)
        return out


class Images(nn.Module):
    """Groups, strides, dilation, a convolution that runs twice, and a GroupNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2)
        self.again = nn.Conv2d(4, 4, (3, 1), padding=(2, 0), dilation=(2, 1), bias=False)
        self.norm, self.line = nn.GroupNorm(2, 4), nn.Conv1d(4, 3, 2)
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(torch.tanh(self.first(x)))
        x = torch.tanh(self.again(torch.tanh(self.again(x))))
        out: torch.Tensor = self.head(self.line(x.flatten(2)).mean(2))
        return out


class Tokens(nn.Module):
    """Sequences short enough that norms come from pairs of places, an unused layer, and one that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.unused = nn.Embedding(9, 24, padding_idx=0), nn.Linear(3, 3)
        self.wide, self.frozen, self.head = nn.Linear(24, 32), nn.Linear(32, 32), nn.Linear(32, 2)
        self.frozen.requires_grad_(False)
        self.head.bias.requires_grad_(False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        self.unused(self.unused.weight.new_zeros(len(ids), 3))  # runs, with no part in the loss
        out: torch.Tensor = self.head(torch.tanh(self.frozen(torch.relu(self.wide(self.words(ids))))).mean(1))
        return out


TEXT: dict[str, Any] = {"vocabulary_size": 12, "length": 6, "output_width": 2, "dropout": 0.2}
IMAGE: dict[str, Any] = {"input_shape": [2, 8, 8], "output_width": 2, "channels": [3, 4], "hidden": 5, "dropout": 0.2}
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: build("mlp", {"input_width": 4, "hidden": [8], "output_width": 2}),
    "cnn": lambda: build("cnn", IMAGE),
    "lstm": lambda: build("lstm", TEXT),
    "gru": lambda: build("gru", TEXT),
    "transformer": lambda: build("transformer", TEXT),
    "twice": Twice,
    "images": Images,
    "tokens": Tokens,
}


def make(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return NETWORKS[name]().eval()


def batch(name: str, count: int = 9) -> Batch:
    """Rows that the network reads; texts end early, and the first is empty."""
    generator = seeded(5)
    labels = torch.arange(count) % 2
    if name in ("cnn", "images"):
        return torch.randn(count, 2, 8, 8, generator=generator), labels
    if name in ("mlp", "twice"):
        return torch.randn(count, 4, generator=generator) * 3, labels
    ids = torch.randint(1, 9, (count, 6), generator=generator)
    ids[torch.arange(6)[None] >= torch.arange(count)[:, None] % 7] = 0
    return ids, labels


def exact_sum(module: nn.Module, data: Batch, clip: float, objective: Objective | None = None) -> Tensors:
    """One backward pass a row, in float64, written without auditkit: the oracle."""
    module = copy.deepcopy(module).double()
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    for x, y in zip(*data, strict=True):
        module.zero_grad()
        row = x[None].double() if x.is_floating_point() else x[None]
        functional.cross_entropy(module(row), y[None]).backward()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        norm = float(torch.cat([part.flatten() for part in gradients]).norm())
        for total, part in zip(sums, gradients, strict=True):
            total += part * min(1.0, clip / (norm + 1e-6))  # Opacus adds this, and so do all ways
    return sums


def sum_by(way: Way, module: nn.Module, data: Batch, clip: float, objective: Objective | None = None) -> Tensors:
    if way in ("ghost", "hooks"):
        module.train()  # Opacus sees layers that train only
        for layer in module.modules():
            layer.training = not isinstance(layer, nn.Dropout)
    with summed_by(way, module, objective=objective or CrossEntropy()) as clipped_sum:
        return clipped_sum(*data, clip)


def distance(found: Tensors, expected: Tensors) -> float:
    return max(float((one.double() - other).abs().max()) for one, other in zip(found, expected, strict=True))
