"""Attacks along the gradient: the smallest changes, within a stated distance, that turn a decision.

FGSM takes one step (Goodfellow et al. 2015, arXiv:1412.6572), PGD ten from a random start (Madry et al. 2018,
arXiv:1706.06083). What they do not turn another attack may: the share that they turn is a lower bound on what an
attacker can do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from auditkit.errors import NotRun
from auditkit.evidence.messages import Message
from auditkit.models.predict import CELLS_AT_ONCE
from auditkit.tasks.base import Task

Margin = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Maps inputs (n, ...) and their decisions, (n,) or (n, labels), to how far each is from another decision: (n,).

Below 0 it is beyond it."""

STEPS = 10
REACH = 2.5
"""The steps of PGD add up to so many times the distance that it may go (Madry et al. 2018)."""


@dataclass(frozen=True, eq=False)
class Attack:
    """Which decisions an attack turned: `one_step` (FGSM) and `ten_steps` (PGD), bool, (strengths, rows).

    What PGD turned at a strength stays turned at every larger one, for the smaller change is allowed there too.
    `flat_count` rows have no gradient at all, so that no direction could be found for them.
    """

    one_step: NDArray[np.bool_]
    ten_steps: NDArray[np.bool_]
    flat_count: int


def margin_function(module: torch.nn.Module, task: Task) -> Margin:
    """Return how far a network's outputs are from another decision; in eval mode, on the inputs' device."""

    def margin(inputs: torch.Tensor, decided: torch.Tensor) -> torch.Tensor:
        return task.margin(module(inputs).reshape(len(inputs), -1), decided)

    return margin


def attack(
    margin: Margin,
    inputs: NDArray[np.float32],
    decided: NDArray[np.int64],
    *,
    unit: NDArray[np.float32],
    strengths: Sequence[float],
    bounds: tuple[float, float] | None = None,
    seed: int,
    device: torch.device,
) -> Attack:
    """Attack the decisions about `inputs`, (rows, ...), within each of the ascending strengths.

    A strength is the largest change of any cell, in `unit`s of that cell (of the shape of one input): 0 for cells that
    must not change. With `bounds` no cell leaves them.

    Raises:
        NotRun: the outputs have no gradient with respect to the inputs.
    """
    generator = torch.Generator().manual_seed(seed)
    at_once = max(1, CELLS_AT_ONCE // max(1, int(np.prod(inputs.shape[1:]))))
    parts = []
    for start in range(0, len(inputs), at_once):
        rows = torch.from_numpy(np.ascontiguousarray(inputs[start : start + at_once])).to(device)
        codes = torch.from_numpy(decided[start : start + at_once].astype(np.int64)).to(device)
        parts.append(_attack(margin, rows, codes, torch.from_numpy(unit).to(device), strengths, bounds, generator))
    return Attack(
        np.concatenate([part.one_step for part in parts], axis=1),
        np.concatenate([part.ten_steps for part in parts], axis=1),
        sum(part.flat_count for part in parts),
    )


def _attack(
    margin: Margin,
    rows: torch.Tensor,
    codes: torch.Tensor,
    unit: torch.Tensor,
    strengths: Sequence[float],
    bounds: tuple[float, float] | None,
    generator: torch.Generator,
) -> Attack:
    def within(moved: torch.Tensor, origin: torch.Tensor, reach: torch.Tensor) -> torch.Tensor:
        moved = torch.maximum(torch.minimum(moved, origin + reach), origin - reach)
        return moved if bounds is None else moved.clamp(*bounds)

    every = torch.arange(len(rows), device=rows.device)
    _, slope = _margin_and_slope(margin, rows, codes)
    slope = slope * (unit > 0)
    one_step = torch.zeros(len(strengths), len(rows), dtype=torch.bool, device=rows.device)
    ten_steps = torch.zeros_like(one_step)
    for place, strength in enumerate(strengths):
        reach = strength * unit
        with torch.no_grad():
            one_step[place] = margin(within(rows - reach * slope.sign(), rows, reach), codes) < 0
        ten_steps[place] = one_step[: place + 1].any(dim=0) | ten_steps[:place].any(dim=0)
        left = every[~ten_steps[place]]
        noise = torch.rand(rows[left].shape, generator=generator).to(rows) * 2 - 1
        moved = within(rows[left] + reach * noise, rows[left], reach)
        for step in range(STEPS + 1):
            if not len(left):
                break
            far, uphill = _margin_and_slope(margin, moved, codes[left])
            ten_steps[place, left[far < 0]] = True
            if step == STEPS:
                break
            moved, uphill, left = moved[far >= 0], uphill[far >= 0], left[far >= 0]
            moved = within(moved - uphill.sign() * reach * (REACH / STEPS), rows[left], reach)
    flat = int((slope.flatten(1) == 0).all(dim=1).sum())
    return Attack(one_step.cpu().numpy(), ten_steps.cpu().numpy(), flat)


def _margin_and_slope(margin: Margin, rows: torch.Tensor, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    points = rows.detach().clone().requires_grad_()
    with torch.enable_grad():
        far = margin(points, codes)
        if not far.requires_grad:
            raise NotRun(Message("the model's output has no gradient with respect to its inputs"))
        (slopes,) = torch.autograd.grad(far.sum(), points)
    return far.detach(), slopes
