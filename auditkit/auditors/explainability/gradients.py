"""Gradients along the way from a baseline, all steps of many rows in one batch; Captum is the tests' oracle."""

from __future__ import annotations

import numpy as np
import torch

from auditkit.auditors.explainability.target_function import ExplanationInput, Floats, Inputs
from auditkit.errors import NotRun
from auditkit.evidence.messages import Message

POINTS_AT_ONCE = 32_768
BASELINES, POINTS_A_BASELINE = 64, 4
MOST_STEPS = 512

STEP_ROWS = 256
"""So many rows at most say how many steps are enough."""

NO_GRADIENT = Message("the model's output has no gradient with respect to its inputs")


def integer_codes(explained: ExplanationInput) -> tuple[str, ...]:
    """Return the columns of integer codes that the decision looks up, such as those that feed an embedding.

    The decision does not move where such a code grows by less than one, and does where it becomes another row's. Its
    gradient is zero everywhere, so that a method that reads gradients finds nothing in it.
    """
    full = explained.values(explained.inputs)
    found = []
    for name, cells in explained.columns.items():
        held = explained.inputs[:, cells.start]
        if name in explained.texts or cells.stop - cells.start != 1 or (held != np.round(held)).any():
            continue
        nudged, swapped = explained.inputs.copy(), explained.inputs.copy()
        nudged[:, cells] += np.float32(0.3)
        swapped[:, cells] = np.roll(np.sort(explained.inputs[:, cells], axis=0), len(held) // 2, axis=0)
        if (explained.values(nudged) == full).all() and (explained.values(swapped) != full).any():
            found.append(name)
    return tuple(found)


def integrated_gradients(explained: ExplanationInput, *, steps: int) -> Floats:
    """Return integrated gradients of the decision from the baseline: (rows, cells).

    The path integral is a Gauss-Legendre sum of `steps` points (Sundararajan et al. 2017, arXiv:1703.01365, eq. 1).
    A complete attribution sums over its cells to the change of the decision.

    Raises:
        NotRun: the decision has no gradient with respect to its inputs.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return _weighted_slopes(explained, explained.baseline[None], (nodes + 1) / 2, weights / 2)


def gradient_shap(explained: ExplanationInput, *, seed: int) -> Floats:
    """Return expected gradients over baselines drawn from the other rows: (rows, cells).

    From each drawn baseline a few points on the way to the row, one in each part of the way (Erion et al. 2021,
    arXiv:1906.10670, eq. 2). The cells of a row sum to its decision less the mean decision of the baselines, up to the
    error of the points.

    Raises:
        NotRun: the decision has no gradient with respect to its inputs.
    """
    baselines = drawn_baselines(explained, seed)
    rng = np.random.default_rng([seed, 1])
    parts = np.arange(POINTS_A_BASELINE) + rng.random((len(baselines), POINTS_A_BASELINE))
    origins = np.repeat(baselines, POINTS_A_BASELINE, axis=0)
    return _weighted_slopes(explained, origins, parts.ravel() / POINTS_A_BASELINE, np.full(parts.size, 1 / parts.size))


def drawn_baselines(explained: ExplanationInput, seed: int) -> Inputs:
    """Return the baselines that `gradient_shap` draws: (baselines, cells)."""
    count = min(BASELINES, len(explained.others))
    return explained.others[np.random.default_rng(seed).choice(len(explained.others), size=count, replace=False)]


def has_gradient(explained: ExplanationInput) -> bool:
    """Return whether the decision has a gradient, not 0 everywhere, between the baseline and the rows."""
    try:
        return bool(np.any(integrated_gradients(explained.take(np.arange(min(64, len(explained.inputs)))), steps=4)))
    except NotRun:
        return False


def _weighted_slopes(explained: ExplanationInput, origins: Inputs, positions: Floats, weights: Floats) -> Floats:
    """Return the weighted sum, over positions on the ways from origins to each row, of slope times way: (rows, cells).

    `origins` are (positions, cells), or one row for all of them.
    """
    steps = len(positions)
    where = torch.tensor(positions, dtype=torch.float32, device=explained.device)[:, None, None]
    shares = torch.tensor(weights, dtype=torch.float32, device=explained.device)
    starts = torch.from_numpy(np.ascontiguousarray(origins)).to(explained.device)[:, None]
    at_once = max(1, explained.at_most(POINTS_AT_ONCE) // steps)
    parts = []
    for start in range(0, len(explained.inputs), at_once):
        rows = torch.from_numpy(explained.inputs[start : start + at_once]).to(explained.device)
        classes = torch.from_numpy(explained.predicted[start : start + at_once]).to(explained.device)
        points = torch.lerp(starts, rows, where).reshape(-1, rows.shape[1]).requires_grad_()
        outputs = explained.decision(points, classes.repeat(steps))
        if not outputs.requires_grad:
            raise NotRun(NO_GRADIENT)
        (slopes,) = torch.autograd.grad(outputs.sum(), points, allow_unused=True)
        if slopes is None:
            raise NotRun(NO_GRADIENT)
        slopes = slopes.reshape(steps, *rows.shape)
        if len(starts) > 1:
            slopes *= rows - starts
        weighted = torch.tensordot(shares, slopes, dims=1)
        parts.append((weighted if len(starts) > 1 else weighted * (rows - starts[0])).double().cpu().numpy())
    return np.concatenate(parts)


def enough_steps(explained: ExplanationInput, *, tolerance: float, most_steps: int = MOST_STEPS) -> int:
    """Return the number of steps, doubled from 16, until integrated gradients are complete within `tolerance`.

    The error is the mean of |sum of attributions - change| over the mean of |change|, of up to `STEP_ROWS` rows. At
    `most_steps` it ends: the completeness error is measured and shown.
    """
    trial = np.linspace(0, len(explained.inputs) - 1, min(STEP_ROWS, len(explained.inputs))).round()
    part = explained.take(trial.astype(np.int64))
    moved = part.change()
    steps = 16
    while steps < most_steps:
        missed = integrated_gradients(part, steps=steps).sum(axis=1) - moved
        if float(np.abs(missed).mean()) <= tolerance * max(float(np.abs(moved).mean()), 1e-12):
            break
        steps *= 2
    return steps
