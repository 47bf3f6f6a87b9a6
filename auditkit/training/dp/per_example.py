"""What a step of DP-SGD takes of each row: its loss, its gradient, and the factor that clips it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from auditkit.tasks.objectives import Objective
from auditkit.training.fit import autocast_on

ClippedSum = Callable[[torch.Tensor, torch.Tensor, float], list[torch.Tensor]]
"""From the inputs and targets of at least one row and the largest norm to the sum of the rows' clipped gradients.

The sum has a tensor for each trainable parameter, in their order.
"""

NORM_SURPLUS = 1e-6
"""Added to each norm before it divides, as Opacus does: a row without a gradient needs no case of its own."""


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that training changes."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def loss_of_rows(
    module: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor, targets: torch.Tensor, objective: Objective
) -> torch.Tensor:
    """Return each row's loss, (rows,); on CUDA the network runs in bfloat16 (autocast)."""
    with autocast_on(inputs.device):
        outputs = module(inputs)
    return objective.losses(outputs, targets)


def clipping_factors(norms: torch.Tensor, max_grad_norm: float | torch.Tensor) -> torch.Tensor:
    """Return what each row's gradient is multiplied by, so that its norm is at most `max_grad_norm`."""
    return (max_grad_norm / (norms + NORM_SURPLUS)).clamp(max=1)


def looped_gradients(
    module: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, objective: Objective
) -> list[torch.Tensor]:
    """Return each row's gradients, (rows, ...) for each parameter, by one backward pass a row: what defines them."""
    parameters = trainable(module)
    found = []
    for row in range(len(targets)):
        loss = loss_of_rows(module, inputs[row : row + 1], targets[row : row + 1], objective).sum()
        found.append(torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True))
    return [torch.stack(parts) for parts in zip(*found, strict=True)]


def clip_and_sum(
    gradients: Sequence[torch.Tensor], max_grad_norm: float | torch.Tensor, counted: torch.Tensor | None = None
) -> list[torch.Tensor]:
    """Return the sum over rows of gradients, (rows, ...) for each parameter, each row's clipped as a whole.

    `counted`, (rows,), is 0 for rows that only fill up a batch.
    """
    norms = torch.stack([torch.linalg.vector_norm(part.flatten(1), dim=1) for part in gradients]).norm(dim=0)
    factors = clipping_factors(norms, max_grad_norm)
    factors = factors if counted is None else factors * counted
    return [(factors @ part.flatten(1)).view(part.shape[1:]) for part in gradients]
