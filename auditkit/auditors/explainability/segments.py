"""Rows cut into parts that can be deleted, such as the tokens of a text or squares of an image, and their checks.

A deleted token becomes the unknown word, a deleted square that of the baseline image: what is left is always something
that the network reads. Every check is a function of a decision and of attributions per part, (rows, parts), and returns
one number a row, so that its mean has an interval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.auditors.explainability.target_function import Floats, TargetFunction
from auditkit.progress import Progress, silent
from auditkit.stats.ranking import average_ranks

CELLS_AT_ONCE = 2**20
"""Rows times steps times cells of one pass: the activations of a convolution take some hundred times as many bytes."""

DELETED_SHARES = (0.1, 0.2, 0.3, 0.5, 0.7)
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SegmentedRows:
    """Rows as a network reads them, cut into parts, and what is explained of them.

    `predicted` says which output of each is explained, (rows,). Row i has the first `counts[i]` of `width` parts.
    `delete(inputs, mask)` returns the inputs without the parts of a mask, (rows, width).
    """

    decision: TargetFunction
    inputs: NDArray[Any]
    predicted: NDArray[np.int64]
    counts: NDArray[np.int64]
    width: int
    delete: Callable[[NDArray[Any], Mask], NDArray[Any]]
    device: torch.device

    def take(self, rows: NDArray[np.int64]) -> SegmentedRows:
        """Return some of the rows."""
        return replace(self, inputs=self.inputs[rows], predicted=self.predicted[rows], counts=self.counts[rows])

    def of_network(self, network: nn.Module) -> SegmentedRows:
        """Return the same rows, explained of another network."""
        return replace(self, decision=TargetFunction(network, self.decision.task))

    @property
    def exists(self) -> Mask:
        """Which parts each row has: (rows, width)."""
        return np.arange(self.width) < self.counts[:, None]

    def values(self, deleted: Mask | None = None) -> Floats:
        """Return the decision of each row, without the deleted parts: float64, (rows,)."""
        inputs = self.inputs if deleted is None else self.delete(self.inputs, deleted)
        found = [np.zeros(0)]
        with torch.inference_mode():
            for start, stop in batches(len(inputs), cells=inputs[:1].size, steps=1):
                rows = torch.from_numpy(np.ascontiguousarray(inputs[start:stop])).to(self.device)
                chosen = torch.from_numpy(self.predicted[start:stop]).to(self.device)
                found.append(self.decision(rows, chosen).double().cpu().numpy())
        return np.concatenate(found)

    def change(self) -> Floats:
        """Return how far the decision moves from a row without parts to the row: (rows,)."""
        return self.values() - self.values(self.exists)


def occlusion(parts: SegmentedRows, progress: Progress = silent) -> Floats:
    """Return how much the decision loses when each part alone is deleted: (rows, parts), 0 where there is no part.

    Zeiler & Fergus 2014 (arXiv:1311.2901), with windows that do not overlap.
    """
    full = parts.values()
    lost = np.zeros((len(full), parts.width))
    count = int(parts.counts.max(initial=0))
    for part in range(count):
        rows = np.flatnonzero(parts.counts > part)
        alone = np.broadcast_to(np.arange(parts.width) == part, (len(rows), parts.width))
        lost[rows, part] = full[rows] - parts.take(rows).values(alone)
        progress((part + 1) / count, f"{part + 1} of {count} parts deleted")
    return lost


def infidelity(
    parts: SegmentedRows, attributions: Floats, *, perturbation_count: int, seed: int, scaled: bool = False
) -> Floats:
    """Return the infidelity of each row, relative to how much the decision varies; ideal 0, 1 is no better than zeros.

    For random halves of the parts deleted: the squared difference between the sum of their attributions and the change
    of the decision, over the mean squared change of all rows (Yeh et al. 2019, arXiv:1901.09392, eq. 1). `scaled` is
    for attributions in no unit: they are first multiplied by the one number that fits all rows best.
    """
    rng = np.random.default_rng(seed)
    full = parts.values()
    deleted = [parts.exists & (rng.random(attributions.shape) < 0.5) for _ in range(perturbation_count)]
    lost = np.stack([full - parts.values(mask) for mask in deleted], axis=1)
    claimed = np.stack([(attributions * mask).sum(axis=1) for mask in deleted], axis=1)
    if scaled and claimed.any():
        claimed = claimed * float((claimed * lost).sum() / (claimed**2).sum())
    scale = float((lost**2).mean())
    return np.asarray(((claimed - lost) ** 2).mean(axis=1) / scale) if scale > 0 else np.zeros(len(lost))


def maximum_sensitivity(attributions: Floats, moved: Callable[[], Floats], *, perturbation_count: int) -> Floats:
    """Return how far an attribution moves, relative to its length, under the worst of some small moves of its row.

    `moved` returns the attributions after a new small move (Yeh et al. 2019, eq. 2); ideal 0.
    """
    worst = np.zeros(len(attributions))
    for _ in range(perturbation_count):
        worst = np.maximum(worst, np.linalg.norm(moved() - attributions, axis=1))
    return np.asarray(worst / np.maximum(np.linalg.norm(attributions, axis=1), 1e-12))


def deletion_advantage(parts: SegmentedRows, attributions: Floats, *, seed: int, signed: bool = True) -> Floats:
    """Return how much further the decision falls when parts go in the order of attribution than in a random order.

    The fall is towards the decision with all parts deleted, averaged over the stated shares of parts, over the mean
    fall of all rows. Above 0 the order tells something (Samek et al. 2017, arXiv:1509.06321). Attributions that are
    not `signed` say how much a part matters, not which way.
    """
    exists = parts.exists
    full, empty = parts.values(), parts.values(exists)
    sign = np.sign(full - empty)[:, None]
    scale = float(np.abs(full - empty).mean())
    random = np.random.default_rng(seed).random(attributions.shape)
    falls = []
    for order in (attributions * sign if signed else attributions, random):
        rank = (-np.where(exists, order, -np.inf)).argsort(axis=1, kind="stable").argsort(axis=1)
        fell = [
            sign[:, 0] * (full - parts.values(rank < np.ceil(share * parts.counts)[:, None]))
            for share in DELETED_SHARES
        ]
        falls.append(np.mean(fell, axis=0))
    return np.asarray((falls[0] - falls[1]) / scale) if scale > 0 else np.zeros(len(full))


def rank_correlations(first: Floats, second: Floats, counts: NDArray[np.int64]) -> Floats:
    """Return Spearman's correlation of the attributions of each row's `counts` first parts; NaN under 3 parts.

    Signed: an integrated gradient is a slope times the distance to the baseline, and where most parts lie at the
    baseline their sizes alone would agree, whatever the weights.
    """
    found = np.full(len(first), np.nan)
    for row, count in enumerate(counts):
        if count >= 3:
            one, other = (average_ranks(part[row, :count]) for part in (first, second))
            if np.ptp(one) > 0 and np.ptp(other) > 0:
                found[row] = np.corrcoef(one, other)[0, 1]
    return found


def agreement(first: Floats, second: Floats) -> Floats:
    """Return each row's part in the cosine of two attributions of all rows: (rows,), whose mean is the cosine.

    The variance of the mean is that of the cosine by the delta method. It is 1 where the two are alike up to one scale
    for all rows. Unlike a correlation of ranks it is not ruled by the order of parts and rows that hardly matter.

    >>> agreement(np.array([[3.0, 0.1], [0.1, 0.2]]), np.array([[6.0, 0.2], [0.2, 0.4]])).mean().round(6)
    np.float64(1.0)
    """
    lengths = [(part**2).sum(axis=1) for part in (first, second)]
    means = [float(length.mean()) for length in lengths]
    if min(means) <= 0:
        return np.full(len(first), np.nan)
    products = (first * second).sum(axis=1) / np.sqrt(means[0] * means[1])
    strayed = lengths[0] / means[0] + lengths[1] / means[1] - 2
    return np.asarray(products - products.mean() * strayed / 2)


def batches(count: int, *, cells: int, steps: int) -> list[tuple[int, int]]:
    """Return from where to where each pass over so many rows goes."""
    at_once = max(1, CELLS_AT_ONCE // max(1, cells * steps))
    return [(start, min(start + at_once, count)) for start in range(0, count, at_once)]


def layer_count(network: nn.Module) -> int:
    """Return how many layers of a network hold weights of their own."""
    return sum(next(part.parameters(recurse=False), None) is not None for part in network.modules())
