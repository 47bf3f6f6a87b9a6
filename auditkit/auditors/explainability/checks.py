"""Does the explanation deserve belief? Each check is a function of the explained decision and its attributions.

All work on attributions per column, (rows, columns); each returns one number a row, so that its mean has an interval.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from auditkit.auditors.explainability.target_function import ExplanationInput, Floats

PERMUTED_FROM = 10
"""Tensors of fewer weights are drawn anew, not permuted."""


def infidelity(explained: ExplanationInput, attributions: Floats, *, perturbation_count: int, seed: int) -> Floats:
    """Return the infidelity of each row, relative to how much the decision varies; ideal 0, 1 is no better than zeros.

    For random sets of columns put back to the baseline: the squared difference between the sum of their attributions
    and the change of the decision, over the squared change (Yeh et al. 2019, arXiv:1901.09392, eq. 1, with the scale
    taken out so that it means the same for every model). The scale is that of all rows.
    """
    rng = np.random.default_rng(seed)
    kept = rng.random((perturbation_count, attributions.shape[1])) < 0.5
    lost = explained.values(explained.inputs)[:, None] - explained.coalition_values(kept)
    claimed = attributions @ (~kept).T.astype(float)
    scale = float((lost**2).mean())
    return np.asarray(((claimed - lost) ** 2).mean(axis=1) / scale) if scale > 0 else np.zeros(len(lost))


def maximum_sensitivity(
    explained: ExplanationInput,
    attribute: Callable[[ExplanationInput], Floats],
    attributions: Floats,
    *,
    radius: float,
    perturbation_count: int,
    seed: int,
) -> Floats:
    """Return how far an attribution moves, relative to its length, under the worst of some small moves of its row.

    Each move adds uniform noise within `radius` to every cell (Yeh et al. 2019, eq. 2); ideal 0. Integer codes and
    texts stay as they are: between two of them there is nothing.
    """
    rng = np.random.default_rng(seed)
    worst = np.zeros(len(attributions))
    length = np.linalg.norm(attributions, axis=1)
    held = [cells for name, cells in explained.columns.items() if name in (*explained.codes, *explained.texts)]
    for _ in range(perturbation_count):
        noise = rng.uniform(-radius, radius, explained.inputs.shape).astype(np.float32)
        for cells in held:
            noise[:, cells] = 0
        moved = replace(explained, inputs=explained.inputs + noise)
        worst = np.maximum(worst, np.linalg.norm(attribute(moved) - attributions, axis=1))
    return np.asarray(worst / np.maximum(length, 1e-12))


def rank_correlation(first: Floats, second: Floats) -> Floats:
    """Return Spearman's correlation of the absolute attributions of each row: (rows,), NaN where one is constant.

    >>> rank_correlation(np.array([[1.0, 2.0, 3.0]]), np.array([[-10.0, 20.0, 30.0]])).round(6)
    array([1.])
    """
    from scipy.stats import rankdata

    ranks = [rankdata(np.abs(part), axis=1) for part in (first, second)]
    centred = [rank - rank.mean(axis=1, keepdims=True) for rank in ranks]
    spread = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        return np.asarray((centred[0] * centred[1]).sum(axis=1) / np.where(spread > 0, spread, np.nan))


def deletion_advantage(explained: ExplanationInput, attributions: Floats, *, seed: int) -> Floats:
    """Return how much faster the decision falls to the baseline's when the largest attributions are deleted first.

    For each row the mean distance to the full decision over the deletion path, in the order of the attributions
    towards the decision minus in a random order, over the mean absolute change of all rows. Above 0 the order tells
    something; at or below 0 it is no better than chance (Samek et al. 2017, arXiv:1509.06321; Petsiuk et al. 2018).
    """
    return _advantage(explained, attributions, seed, insert=False)


def insertion_advantage(explained: ExplanationInput, attributions: Floats, *, seed: int) -> Floats:
    """Return how much faster the decision rises from the baseline's when the largest attributions are put in first.

    As `deletion_advantage`, from the other end (Petsiuk et al. 2018, arXiv:1806.07421).
    """
    return _advantage(explained, attributions, seed, insert=True)


def _advantage(explained: ExplanationInput, attributions: Floats, seed: int, *, insert: bool) -> Floats:
    change = explained.change()
    sign = np.sign(change)
    guided = np.argsort(-(attributions * sign[:, None]), axis=1, kind="stable")
    random = np.random.default_rng(seed).random(attributions.shape).argsort(axis=1)
    paths = [_path(explained, order, insert=insert) for order in (guided, random)]
    scale = float(np.abs(change).mean())
    return np.asarray(sign * (paths[0] - paths[1]) / scale) if scale > 0 else np.zeros(len(change))


def _path(explained: ExplanationInput, order: NDArray[np.int64], *, insert: bool) -> Floats:
    """Return how far the decision has moved, on average, while columns are deleted, or put in, in `order`: (rows,)."""
    position = order.argsort(axis=1)
    start = explained.values(explained.inputs)
    start = start - explained.change() if insert else start
    moved = np.zeros(len(start))
    count = order.shape[1]
    for done in range(1, count):
        keep = explained.column_masks(position < done if insert else position >= done)
        moved += explained.values(np.where(keep, explained.inputs, explained.baseline)) - start
    return np.asarray((moved if insert else -moved) / max(count - 1, 1))


def randomised_layers(
    module: torch.nn.Module, *, seed: int, most: int | None = None
) -> Iterator[tuple[str, torch.nn.Module]]:
    """Yield copies of a module whose layers are randomised one after another, from the output backwards.

    Adebayo et al. 2018 (arXiv:1810.03292): an explanation that stays the same while the weights it is said to explain
    are replaced does not explain them. Each weight tensor is permuted, which keeps its distribution; one of fewer than
    10 weights, which a permutation may well leave as it was, is drawn anew from a normal distribution of its scale.
    With `most`, only so many copies are yielded, evenly spread, the last with all layers randomised.
    """
    randomised = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(seed)
    layers = _layers(randomised)
    told = range(len(layers)) if most is None else np.linspace(len(layers) - 1, 0, most).round().astype(int).tolist()
    for place, (name, part) in enumerate(layers):
        _randomise(part, generator)
        if place in told:
            yield name or type(part).__name__, copy.deepcopy(randomised)


def randomised_network(module: torch.nn.Module, *, seed: int) -> torch.nn.Module:
    """Return a copy of a module with all layers randomised, as the last of `randomised_layers` is."""
    randomised = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(seed)
    for _, part in _layers(randomised):
        _randomise(part, generator)
    return randomised


def _layers(module: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """Return the layers that hold weights of their own, from the output backwards."""
    return [(name, part) for name, part in module.named_modules() if list(part.parameters(recurse=False))][::-1]


def _randomise(layer: torch.nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for parameter in layer.parameters(recurse=False):
            parameter.copy_(_randomised(parameter, generator))


def _randomised(weights: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return weights of the same shape and scale in random order, or drawn anew where there are only a few."""
    if weights.numel() < PERMUTED_FROM and weights.is_floating_point():
        drawn = torch.randn(weights.shape, generator=generator, dtype=torch.float64).to(weights)
        return drawn * weights.square().mean().sqrt()
    order = torch.randperm(weights.numel(), generator=generator).to(weights.device)
    return weights.flatten()[order].reshape(weights.shape)
