"""Integrated gradients with all steps of many rows in one batch; Captum's own call is the oracle of its tests."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from auditkit.attribution.decision import Explained, Floats
from auditkit.errors import NotRun

POINTS_AT_ONCE = 32_768


def integrated_gradients(explained: Explained, *, steps: int) -> Floats:
    """Return integrated gradients of the decision from the baseline: (rows, cells).

    The path integral is a Gauss-Legendre sum of `steps` points (Sundararajan et al. 2017, arXiv:1703.01365, eq. 1).
    A complete attribution sums over its cells to the change of the decision.

    Raises:
        NotRun: the decision has no gradient with respect to its inputs.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    positions = torch.tensor((nodes + 1) / 2, dtype=torch.float32, device=explained.device)[:, None, None]
    shares = torch.tensor(weights / 2, dtype=torch.float32, device=explained.device)[:, None, None]
    origin = torch.from_numpy(explained.baseline).to(explained.device)
    at_once = max(1, POINTS_AT_ONCE // steps)
    parts = []
    for start in range(0, len(explained.inputs), at_once):
        rows = torch.from_numpy(explained.inputs[start : start + at_once]).to(explained.device)
        classes = torch.from_numpy(explained.predicted[start : start + at_once]).to(explained.device)
        away = rows - origin
        points = (origin + positions * away).reshape(-1, rows.shape[1]).requires_grad_()
        outputs = explained.decision(points, classes.repeat(steps))
        if not outputs.requires_grad:
            raise NotRun("the model's output has no gradient with respect to its inputs")
        (slopes,) = torch.autograd.grad(outputs.sum(), points)
        mean_slope = (slopes.reshape(steps, *rows.shape) * shares).sum(dim=0)
        parts.append((mean_slope * away).double().cpu().numpy())
    return np.concatenate(parts)


def complete_gradients(explained: Explained, *, tolerance: float, most_steps: int = 512) -> tuple[Floats, int]:
    """Return integrated gradients and the number of steps, doubled from 16 until they are complete within `tolerance`.

    The error is the mean of |sum of attributions - change| over the mean of |change|. At `most_steps` the result is
    returned as it is: its completeness error is measured and shown.
    """
    moved = explained.change()
    scale = max(float(np.abs(moved).mean()), 1e-12)
    # A part of the rows decides how many steps are needed; all rows then take that many.
    trial = np.linspace(0, len(moved) - 1, min(256, len(moved))).round().astype(np.int64)
    part, part_moved = dataclasses.replace(explained.take(trial)), moved[trial]
    steps = 16
    while steps < most_steps:
        missed = integrated_gradients(part, steps=steps).sum(axis=1) - part_moved
        if float(np.abs(missed).mean()) <= tolerance * scale:
            break
        steps *= 2
    return integrated_gradients(explained, steps=steps), steps
