"""Memorisation: whether a generator's samples are copies of the rows that it was trained on.

Real rows that the generator never saw say how near a row of the same population comes by chance. Near copies: Meehan,
Chaudhuri & Dasgupta 2020 (arXiv:2004.05675) and Carlini et al. 2023 (arXiv:2301.13188) compare distances likewise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.measurement import Interval
from auditkit.evidence.messages import Message
from auditkit.stats.intervals import clopper_pearson, paired_difference_interval

Array = NDArray[np.float64]

MOST_SAMPLES, MOST_ROWS = 5_000, 10_000
"""How many samples at most are looked at, and how many rows of each kind they are held against for near copies."""

NEAR = 0.5
"""A near copy lies less than this share as far from one kind of row as from the other."""

ROWS_AT_ONCE = 500


class Share(NamedTuple):
    """A share of rows, or a difference of shares, with its interval, and the number of rows."""

    value: float
    interval: Interval
    row_count: int


class Memorisation(NamedTuple):
    """Shares of samples that are copies of training rows, each beside its control.

    `exact` is the share of samples that equal a training row, `exact_control` that of unseen real rows that do. `near`
    is the share of samples much nearer to a training row than to any unseen row, `near_control` the share with the
    two exchanged, and `excess` their difference: 0 where nothing is remembered, 1 where all samples are copies.
    """

    exact: Share
    exact_control: Share
    near: Share
    near_control: Share
    excess: Share


def memorisation(samples: Array, training: Array, unseen: Array, *, seed: int = 0, level: float = 0.95) -> Memorisation:
    """Hold samples against training rows and against as many real rows that the generator never saw.

    Exact copies are looked for among all training rows; near ones, by Euclidean distance, among a random part of as
    many training rows as unseen rows, at most 10,000: by symmetry the nearest is then as often of one kind as of the
    other, unless the generator remembers. A copy of a training row outside that part is not seen, so the excess is
    divided by the share of training rows that were looked at. Samples that come near the same row are no independent
    evidence, and the intervals of near copies are widened for that.

    Args:
        samples: (rows, width), on the same scale as the others.
        training: (rows, width), what the generator was trained on.
        unseen: (rows, width), real rows of the same population.
        seed: draws the parts.
        level: of the intervals.
    """
    generator = np.random.default_rng(seed)
    training_count = len(training)
    known = {row.tobytes() for row in training}
    exact, control = (_share([row.tobytes() in known for row in rows], level) for rows in (samples, unseen))
    size = min(len(training), len(unseen), MOST_ROWS)
    samples, training, unseen = (
        rows[generator.permutation(len(rows))[:most]]
        for rows, most in ((samples, MOST_SAMPLES), (training, size), (unseen, size))
    )
    to_training, row_of_training = _nearest(samples, training)
    to_unseen, row_of_unseen = _nearest(samples, unseen)
    near, mirrored = to_training < NEAR * to_unseen, to_unseen < NEAR * to_training
    nearest = np.where(to_training < to_unseen, row_of_training, size + row_of_unseen)
    surplus = near.astype(np.float64) - mirrored
    count = len(samples) / _design_effect(surplus, nearest)
    scale = count / len(samples)
    low, high = paired_difference_interval(near.sum() * scale, mirrored.sum() * scale, count, level)
    looked_at = size / training_count
    method = Message("Bonett-Price, by the design effect of samples near the same row")
    excess = Interval(
        low=max(float(low) / looked_at, -1.0), high=min(float(high) / looked_at, 1.0), level=level, method=method
    )
    return Memorisation(
        exact,
        control,
        _share(near, level, scale),
        _share(mirrored, level, scale),
        Share(min(1.0, max(-1.0, float(surplus.mean()) / looked_at)), excess, len(samples)),
    )


def authentic(rows: Array, training: Array) -> NDArray[np.bool_]:
    """Return which rows are farther from their nearest training row than that row is from its own nearest other.

    The share of such rows has no ideal value of its own: hold that of samples against that of unseen real rows (Alaa et
    al. 2022, section 3).
    """
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(algorithm="brute").fit(training)
    radii = nearest.kneighbors(n_neighbors=1)[0][:, 0]
    distances, positions = nearest.kneighbors(rows, n_neighbors=1)
    found: NDArray[np.bool_] = distances[:, 0] > radii[positions[:, 0]]
    return found


def _nearest(samples: Array, rows: Array) -> tuple[Array, NDArray[np.int64]]:
    """Return each sample's distance to the nearest row, and which row that is."""
    lengths = (rows**2).sum(axis=1)
    found = [
        (lengths - 2 * part @ rows.T).argmin(axis=1)
        for part in np.array_split(samples, max(1, len(samples) // ROWS_AT_ONCE))
    ]
    nearest = np.concatenate(found).astype(np.int64)
    # The distance anew, from the difference: the formula above loses the digits of small ones.
    distances: Array = np.linalg.norm(samples - rows[nearest], axis=1)
    return distances, nearest


def _design_effect(values: Array, clusters: NDArray[np.int64]) -> float:
    """Return by how much the variance of a mean grows because values of one cluster go together; at least 1."""
    centred = values - values.mean()
    alone = float((centred**2).sum())
    return max(1.0, float((np.bincount(clusters, weights=centred) ** 2).sum()) / alone) if alone else 1.0


def _share(found: object, level: float, scale: float = 1.0) -> Share:
    hits = np.asarray(found, dtype=bool)
    low, high = clopper_pearson(hits.sum() * scale, len(hits) * scale, level)
    method = Message("Clopper-Pearson") if scale == 1 else Message("Clopper-Pearson of the effective number of samples")
    value = float(hits.mean())
    return Share(
        value, Interval(low=min(float(low), value), high=max(float(high), value), level=level, method=method), len(hits)
    )
