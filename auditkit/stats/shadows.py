"""Shadow models, each trained on a random half of all rows: who sees which, and the attacks that compare with them.

An attack gives each row a score, higher where it takes the row for a training row of the audited model. `shadows` are
the log odds that models like it give the truth of each row, (models, rows), and `target` those of the audited model;
`inside`, boolean (models, rows), says which rows each shadow saw.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from auditkit.errors import InputError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FEWEST_FOR_LIRA = 4
"""LiRA takes a standard deviation over the shadows that saw a row: two at least must have, and two must not."""

OWN_VARIANCE_FROM = 64
"""From so many shadows on, each row has a variance of its own; below, all rows share one (Carlini et al. 2022)."""


def require_pairs(model_count: int) -> None:
    """Raise InputError unless shadow models can be trained in pairs."""
    if model_count < 2 or model_count % 2:
        raise InputError(f"shadows must be an even number of at least 2, got {model_count}; pass 8, or 0 for none.")


def halves(row_count: int, model_count: int, seed: int) -> NDArray[np.bool_]:
    """Return which rows each model sees, (models, rows): a random half, and for every second model the other half.

    Raises:
        InputError: the number of models is odd or below 2.
    """
    require_pairs(model_count)
    generator = np.random.default_rng(seed)
    inside = np.zeros((model_count, row_count), dtype=bool)
    for first in range(0, model_count, 2):
        inside[first, generator.permutation(row_count)[: row_count // 2]] = True
        inside[first + 1] = ~inside[first]
    return inside


def lira_scores(target: Array, shadows: Array, inside: Mask, *, online: bool) -> Array:
    """Return the likelihood ratio of a row's confidence under shadows that saw it and shadows that did not.

    Normal distributions of log odds (Carlini et al. 2022, arXiv:2112.03570); offline only the shadows that did not
    see the row are used, and the score says how far the target lies above them.

    Raises:
        InputError: a row that fewer than two shadows saw, or did not see.
    """
    from scipy import stats

    out_mean, out_deviation = _normal(shadows, ~inside)
    if not online:
        return (target - out_mean) / out_deviation
    in_mean, in_deviation = _normal(shadows, inside)
    seen, unseen = (
        np.asarray(stats.norm.logpdf(target, *normal))
        for normal in ((in_mean, in_deviation), (out_mean, out_deviation))
    )
    ratio: Array = seen - unseen
    return ratio


def _normal(shadows: Array, chosen: Mask) -> tuple[Array, Array]:
    count = chosen.sum(axis=0)
    if count.min() < FEWEST_FOR_LIRA // 2:
        raise InputError(
            f"shadows: LiRA needs 2 that saw each row and 2 that did not, got {count.min()}; train more of them."
        )
    mean = np.where(chosen, shadows, 0.0).sum(axis=0) / count
    squares = np.where(chosen, (shadows - mean) ** 2, 0.0).sum(axis=0)
    variance = squares / (count - 1)
    if len(shadows) < OWN_VARIANCE_FROM:
        variance = np.full_like(mean, squares.sum() / (count - 1).sum())
    return mean, np.sqrt(np.maximum(variance, 1e-12))


def rmia_scores(target: Array, shadows: Array, inside: Mask, population: Mask, *, gamma: float = 1.0) -> Array:
    """Return the share of the population that a row dominates: how much likelier than usual the model finds it.

    Zarifzadeh, Liu & Shokri 2024 (arXiv:2312.03262), online: a row's probability under the target over its mean
    under shadows, half of which saw it, against the same ratio of each row of the `population` (rows,), which the
    target did not see. At a `gamma` of 1 no resolution is lost, and rows are ordered by that ratio. Ties count half:
    else a row of the population, which is as likely as itself, would have half a row more than another.
    """
    likely = special.expit(shadows)
    seen, unseen = (
        np.where(part, likely, 0.0).sum(axis=0) / np.maximum(part.sum(axis=0), 1) for part in (inside, ~inside)
    )
    ratio = special.expit(target) / np.maximum((seen + unseen) / 2, np.finfo(np.float64).tiny)
    others = np.sort(ratio[population])
    below, up_to = (np.searchsorted(others, ratio / gamma, side=side) for side in ("left", "right"))
    share: Array = (below + up_to) / (2 * len(others))
    return share


def split_scores(shadows: Array, inside: Mask, population: Mask) -> Array:
    """Return the score of each row by RMIA on each shadow, with the others as its shadows: (models, rows).

    The pair that a shadow belongs to is left out: its twin saw exactly the rows that it did not see. A shadow saw a
    random half of the rows, so that these scores tell any two sets of rows apart only if they differ by themselves.
    """
    count = len(shadows)
    others = [[other for other in range(count) if other // 2 != index // 2] for index in range(count)]
    return np.stack(
        [rmia_scores(shadows[at], shadows[rest], inside[rest], population) for at, rest in enumerate(others)]
    )
