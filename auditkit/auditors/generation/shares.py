"""Shares of classes among generated rows, corrected for what a classifier confuses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from auditkit.auditors.generation.sample_sets import SetEstimates, added

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]

REPLICATES = 200


def corrected_shares(seen: Codes, true: Codes, predicted: Codes, class_count: int) -> Floats:
    """Return the shares of classes that best explain what a classifier sees in generated rows, (classes,).

    A classifier that takes a tenth of the sevens for ones finds too many ones. Its confusion on real rows of known
    class, column-stochastic, maps true shares to those seen; the shares are the non-negative least-squares solution
    of that map, made to sum to 1 (Saerens et al. 2002 call the problem prior correction).

    Args:
        seen: the class seen in each generated row, (rows,).
        true: the class of each real row, (real rows,), of rows that the classifier was not trained on.
        predicted: the class seen in each real row, (real rows,).
        class_count: the number of classes; one without real rows gets the share 0.

    >>> true = np.array([0] * 10 + [1] * 10)
    >>> predicted = np.array([0] * 8 + [1] * 2 + [1] * 10)  # a fifth of the zeros is seen as ones
    >>> corrected_shares(np.array([0] * 4 + [1] * 6), true, predicted, 2).round(3).tolist()
    [0.5, 0.5]
    """
    observed = np.bincount(seen, minlength=class_count) / len(seen)
    return _corrected(observed, true, predicted, class_count)


def _corrected(observed: Floats, true: Codes, predicted: Codes, class_count: int) -> Floats:
    confusion = np.zeros((class_count, class_count))
    np.add.at(confusion, (predicted, true), 1.0)
    confusion /= np.maximum(confusion.sum(axis=0), 1)
    shares, _ = optimize.nnls(confusion, observed)
    total = shares.sum()
    result: Floats = shares / total if total > 0 else observed
    return result


def share_estimates(
    seen_in_sets: Sequence[Codes], true: Codes, predicted: Codes, class_count: int, *, seed: int
) -> tuple[SetEstimates, SetEstimates]:
    """Return the difference of each class's share among samples from that among real rows, and the ratio of the two.

    The variance between sets, over their number, is that of the samples; that of the real rows, by which classes are
    corrected and compared, is a bootstrap's. Shares are smooth functions of counts, so that rows may be drawn
    repeatedly, unlike those of nearest-neighbour metrics.

    Args:
        seen_in_sets: the class seen in each row of each set of samples, (sets, rows).
        true: as `corrected_shares`.
        predicted: as `corrected_shares`.
        class_count: as `corrected_shares`.
        seed: draws the replicates.
    """
    real = np.bincount(true, minlength=class_count) / len(true)
    by_set = np.array([corrected_shares(seen, true, predicted, class_count) for seen in seen_in_sets])
    pooled = np.mean([np.bincount(seen, minlength=class_count) / len(seen) for seen in seen_in_sets], axis=0)
    generator = np.random.default_rng((seed, 43))
    differences, ratios = [], []
    for _ in range(REPLICATES):
        rows = generator.integers(0, len(true), len(true))
        own = np.bincount(true[rows], minlength=class_count) / len(true)
        found = _corrected(pooled, true[rows], predicted[rows], class_count)
        differences.append(found - own)
        ratios.append(_ratio(found, own))
    return (
        added(by_set - real, np.var(differences, axis=0, ddof=1), REPLICATES - 1),
        added(_ratio(by_set, real), np.nanvar(ratios, axis=0, ddof=1), REPLICATES - 1),
    )


def _ratio(shares: Floats, real: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Floats = np.where(real > 0, shares / real, np.nan)
    return result
