"""Adversarial debiasing (Zhang, Lemoine & Mitchell 2018): a network trained while a second one guesses the group.

The second network, the adversary, sees the log-odds that the first gives to a row. Each step of the first network
lowers its own loss only in directions that do not help the adversary, and raises the adversary's loss besides.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from auditkit.tasks.objectives import CrossEntropy, Objective, class_logits
from auditkit.training.fit import require_rows, targets_of, tensor_of, trained_on

BATCH_SIZE = 512
HIDDEN_UNITS = 32
LEARNING_RATE, ADVERSARY_LEARNING_RATE = 1e-3, 5e-3


@dataclass(frozen=True, kw_only=True)
class DebiasSettings:
    """How a network is trained against an adversary.

    Args:
        strength: how much the adversary's loss counts beside the network's own; 0 only removes what helps it.
        epochs: passes over the rows, after one in which the adversary alone learns.
        seed: seeds the adversary's weights and the batches.
        positive_only: the adversary sees the rows with a positive label only, which aims at equal true positive
            rates instead of equal selection rates.
    """

    strength: float
    epochs: int
    seed: int
    positive_only: bool = False


def debiased(
    module: nn.Module,
    inputs: NDArray[Any],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    settings: DebiasSettings,
    *,
    device: torch.device,
    objective: Objective | None = None,
) -> list[nn.Module]:
    """Return copies of a trained network of two classes as they are after each epoch against an adversary.

    Args:
        module: where the training starts from; it is left as it is.
        inputs: encoded rows, (rows, ...).
        labels: class codes, (rows,).
        groups: what the adversary guesses, codes from 0, (rows,).
        settings: how long, how strongly and from which seed.
        device: where to train.
        objective: that of the task; by default the cross-entropy from logits.

    Raises:
        DatasetError: inputs that are not finite, or labels that are no class codes.
    """
    objective = objective or CrossEntropy()
    require_rows(inputs, labels, objective)
    module = copy.deepcopy(module)
    stages: list[nn.Module] = []
    with trained_on(module, device, settings.seed):
        rows = _Rows(tensor_of(inputs, device), *(targets_of(codes, objective, device) for codes in (labels, groups)))
        adversary = nn.Sequential(nn.Linear(1, HIDDEN_UNITS), nn.ReLU(), nn.Linear(HIDDEN_UNITS, int(groups.max()) + 1))
        adversary.to(device)
        pair = _Pair(
            module,
            adversary,
            torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE, weight_decay=1e-4),
            torch.optim.AdamW(adversary.parameters(), lr=ADVERSARY_LEARNING_RATE),
        )
        generator = torch.Generator().manual_seed(settings.seed)
        module.train()
        for epoch in range(settings.epochs + 1):
            order = torch.randperm(len(labels), generator=generator).to(device)
            for batch in order.tensor_split(math.ceil(len(labels) / BATCH_SIZE)):
                pair.step(rows, batch, settings, objective, adversary_alone=epoch == 0)
            if epoch:
                stages.append(copy.deepcopy(module).eval())
    return stages


@dataclass(frozen=True)
class _Rows:
    """Training rows on the device: inputs (rows, ...), labels and groups (rows,)."""

    inputs: torch.Tensor
    labels: torch.Tensor
    groups: torch.Tensor


@dataclass(frozen=True)
class _Pair:
    """A network and its adversary, each with its optimizer."""

    module: nn.Module
    adversary: nn.Module
    own_steps: torch.optim.Optimizer
    adversary_steps: torch.optim.Optimizer

    def step(
        self, rows: _Rows, batch: torch.Tensor, settings: DebiasSettings, objective: Objective, *, adversary_alone: bool
    ) -> None:
        """Take one step of both on the rows of these numbers."""
        targets = rows.labels[batch]
        seen = targets == 1 if settings.positive_only else torch.ones_like(targets, dtype=torch.bool)
        if not seen.any():
            return
        logits = class_logits(self.module(rows.inputs[batch]), objective.output)
        log_odds = (logits[:, 1:] - logits[:, :1])[seen]
        adversary_loss = functional.cross_entropy(self.adversary(log_odds), rows.groups[batch][seen])
        if not adversary_alone:
            loss = functional.cross_entropy(logits, targets)
            oppose(list(self.module.parameters()), loss, adversary_loss, settings.strength)
            self.own_steps.step()
        learned = torch.autograd.grad(adversary_loss, list(self.adversary.parameters()))
        for parameter, gradient in zip(self.adversary.parameters(), learned, strict=True):
            parameter.grad = gradient
        self.adversary_steps.step()


def oppose(
    parameters: Sequence[nn.Parameter], loss: torch.Tensor, adversary_loss: torch.Tensor, strength: float
) -> None:
    """Set each parameter's gradient to g - proj_h(g) - strength * h, of the gradients g of `loss` and h of the other.

    Equation 1 of Zhang et al. 2018, parameter by parameter as in Fairlearn; whose version 0.15 takes the products of
    all pairs of rows for the projection of a matrix, and so agrees where each weight has one row.
    """
    own = torch.autograd.grad(loss, parameters, retain_graph=True)
    other = torch.autograd.grad(adversary_loss, parameters, retain_graph=True)
    for parameter, gradient, opposed in zip(parameters, own, other, strict=True):
        unit = opposed / (opposed.norm() + torch.finfo(opposed.dtype).tiny)
        parameter.grad = gradient - (unit * gradient).sum() * unit - strength * opposed
