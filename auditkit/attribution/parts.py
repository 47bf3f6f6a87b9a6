"""Attributions to the words of texts and the pixels of images, by Captum, and how they hold up when parts are deleted.

A part of a text is a token, deleted by putting the unknown word in its place; a part of an image is a square of pixels,
deleted by putting the baseline's there. So a baseline, and every input on the way to it, is one that the network reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerIntegratedGradients
from numpy.typing import NDArray
from scipy.stats import rankdata

from auditkit.attribution.decision import Decision, Floats
from auditkit.errors import NotRun
from auditkit.subject.tokens import FIRST_WORD, PADDING, UNKNOWN

CELLS_AT_ONCE = 2**20
"""Rows times steps times cells of one pass: the activations of a convolution take some hundred times as many bytes."""

CHECKED_ROWS = 200
STEPS = (20, 60, 180)
TOLERANCE = 0.01
DELETED_SHARES = (0.1, 0.2, 0.3, 0.5, 0.7)


def word_attributions(
    decision: Decision,
    embedding: torch.nn.Module,
    ids: NDArray[np.int64],
    predicted: NDArray[np.int64],
    *,
    steps: int,
    device: torch.device,
    progress: Callable[[float, str], None] = lambda fraction, what: None,
) -> Floats:
    """Return the integrated gradients of each token, summed over its embedding: (rows, length), 0 on padding.

    The baseline is the text of the same length whose every word is unknown.
    """
    method = LayerIntegratedGradients(decision, embedding)
    baselines = without_words(ids, np.ones(ids.shape, dtype=bool))
    parts = []
    # An embedding holds some ten numbers a token.
    for start, stop in _batches(len(ids), cells=10 * ids.shape[1], steps=steps):
        attributions = method.attribute(
            torch.from_numpy(ids[start:stop]).to(device),
            baselines=torch.from_numpy(baselines[start:stop]).to(device),
            additional_forward_args=(torch.from_numpy(predicted[start:stop]).to(device),),
            n_steps=steps,
            method="gausslegendre",
        )
        parts.append(attributions.detach().sum(dim=-1).double().cpu().numpy())
        progress(stop / len(ids), f"{stop:,} of {len(ids):,} texts explained")
    return np.where(ids == PADDING, 0.0, np.concatenate(parts))


def pixel_attributions(
    decision: Decision,
    images: NDArray[np.float32],
    predicted: NDArray[np.int64],
    baseline: NDArray[np.float32],
    *,
    steps: int,
    device: torch.device,
    progress: Callable[[float, str], None] = lambda fraction, what: None,
) -> Floats:
    """Return the integrated gradients of each pixel from a baseline image, summed over channels: (rows, H, W)."""
    origin = torch.from_numpy(baseline).to(device)[None]
    if not decision(origin.clone().requires_grad_(), torch.from_numpy(predicted[:1]).to(device)).requires_grad:
        raise NotRun("the model's output has no gradient with respect to its inputs")
    method = IntegratedGradients(decision)
    parts = []
    for start, stop in _batches(len(images), cells=baseline.size, steps=steps):
        rows = torch.from_numpy(images[start:stop]).to(device)
        attributions = method.attribute(
            rows,
            baselines=origin.expand_as(rows),
            additional_forward_args=(torch.from_numpy(predicted[start:stop]).to(device),),
            n_steps=steps,
            method="gausslegendre",
        )
        parts.append(attributions.detach().sum(dim=1).double().cpu().numpy())
        progress(stop / len(images), f"{stop:,} of {len(images):,} images explained")
    return np.concatenate(parts)


def values(decision: Decision, inputs: NDArray[Any], predicted: NDArray[np.int64], device: torch.device) -> Floats:
    """Return the decision of each row, float64, (rows,), in batches."""
    parts = []
    with torch.no_grad():
        for start, stop in _batches(len(inputs), cells=inputs[0].size, steps=1):
            rows = torch.from_numpy(np.ascontiguousarray(inputs[start:stop])).to(device)
            chosen = torch.from_numpy(predicted[start:stop]).to(device)
            parts.append(decision(rows, chosen).double().cpu().numpy())
    return np.concatenate(parts)


def enough_steps(attribute: Callable[[int], Floats], change: Floats) -> int:
    """Return the first of the stated numbers of steps whose attributions, (rows, ...), sum to the change, (rows,).

    Complete enough is a mean error of 1 % of the mean change; else the most steps are taken, and the check will say it.
    """
    for steps in STEPS:
        missed = attribute(steps).reshape(len(change), -1).sum(axis=1) - change
        if np.abs(missed).mean() <= TOLERANCE * np.abs(change).mean():
            break
    return steps


def checked_rows(count: int, *, seed: int) -> NDArray[np.int64]:
    """Return which of `count` explained rows the dearer trust checks take: a seeded sample of at most 200."""
    chosen = np.random.default_rng([seed, 1]).choice(count, size=min(count, CHECKED_ROWS), replace=False)
    return np.sort(chosen).astype(np.int64)


def without_words(ids: NDArray[np.int64], deleted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return token ids with the unknown word in place of those `deleted`, (rows, length); padding stays.

    >>> without_words(np.array([[5, 7, 0]]), np.array([[True, False, True]]))
    array([[1, 7, 0]])
    """
    return np.where(deleted & (ids >= FIRST_WORD), UNKNOWN, ids)


def squares(height: int, width: int, across: int) -> NDArray[np.int64]:
    """Return the number of the square that each pixel lies in, (height, width), of `across` by `across` of them.

    >>> squares(2, 4, 2)
    array([[0, 0, 1, 1],
           [2, 2, 3, 3]])
    """
    down = np.arange(height) * across // height
    right = np.arange(width) * across // width
    return down[:, None] * across + right[None, :]


def sum_over(attributions: Floats, parts: NDArray[np.int64]) -> Floats:
    """Sum pixel attributions, (rows, H, W), over the squares that `parts` numbers: (rows, squares)."""
    flat = attributions.reshape(len(attributions), -1)
    members = (parts.reshape(-1)[:, None] == np.arange(parts.max() + 1)).astype(np.float64)
    return np.asarray(flat @ members)


def deletion_advantage(
    decide: Callable[[NDArray[np.bool_]], Floats], attributions: Floats, counts: NDArray[np.int64], *, seed: int
) -> Floats:
    """Return how much further the decision falls when parts go in the order of attribution than in a random order.

    `decide` maps which parts are deleted, (rows, parts), to the decision; `counts` says how many parts each row has,
    the first ones. The fall is towards the decision with all parts deleted, averaged over the stated shares of parts,
    over the mean fall of all. Above 0 the order tells something (Samek et al. 2017, arXiv:1509.06321).
    """
    exists = np.arange(attributions.shape[1]) < counts[:, None]
    full, empty = decide(np.zeros_like(exists)), decide(exists)
    sign = np.sign(full - empty)[:, None]
    scale = float(np.abs(full - empty).mean())
    random = np.random.default_rng(seed).random(attributions.shape)
    falls = []
    for order in (np.where(exists, attributions * sign, -np.inf), np.where(exists, random, -np.inf)):
        rank = (-order).argsort(axis=1, kind="stable").argsort(axis=1)
        fell = [sign[:, 0] * (full - decide(rank < np.ceil(share * counts)[:, None])) for share in DELETED_SHARES]
        falls.append(np.mean(fell, axis=0))
    return np.asarray((falls[0] - falls[1]) / scale) if scale > 0 else np.zeros(len(full))


def rank_correlations(first: Floats, second: Floats, counts: NDArray[np.int64]) -> Floats:
    """Return Spearman's correlation of the signed attributions of each row's `counts` first parts; NaN under 3.

    Signed: an integrated gradient is a slope times the distance to the baseline, and where most parts lie at the
    baseline their sizes alone would agree, whatever the weights.
    """
    found = np.full(len(first), np.nan)
    for row, count in enumerate(counts):
        if count >= 3:
            one, other = (rankdata(part[row, :count]) for part in (first, second))
            if np.ptp(one) > 0 and np.ptp(other) > 0:
                found[row] = np.corrcoef(one, other)[0, 1]
    return found


def _batches(count: int, *, cells: int, steps: int) -> list[tuple[int, int]]:
    at_once = max(1, CELLS_AT_ONCE // (cells * steps))
    return [(start, min(start + at_once, count)) for start in range(0, count, at_once)]
