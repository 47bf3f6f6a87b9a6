"""Membership inference: how well the rows that a model was trained on can be told from rows that it never saw.

An attack gives each row a score, higher where it takes the row for a training row. Confidences are log odds of the true
label: see `auditkit.tasks.base.Task.odds`. Attacks with shadow models are those of `auditkit.stats.shadows`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.stats.intervals import clopper_pearson
from auditkit.stats.membership import Bounded
from auditkit.stats.ranking import roc_auc

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SURE = 0.9
"""An attacker is called sure of a claim that is right nine times in ten, if members and others are equally many."""


def loss_scores(target: Array) -> Array:
    """Return the negative cross-entropy of each row (Yeom et al. 2018): rows that are fitted well look like members."""
    losses: Array = np.logaddexp(0.0, -target)
    return -losses


def exposed_share(member: Mask, scores: Array, level: float) -> Bounded:
    """Return the largest share of members that an attack can name and be `SURE` of, at even odds of membership.

    Thresholds are put at the non-members ranked 1st, 2nd, 4th, 8th, ... by score; a claim at rank k is wrong for
    (k + 1)/(n + 1) of the n non-members in expectation. The interval holds for all thresholds at once
    (Bonferroni), members and non-members counted.
    """
    from scipy import stats

    others = np.sort(scores[~member])[::-1]
    members = scores[member]
    ranks = np.unique(np.minimum(2 ** np.arange(0, max(len(others).bit_length(), 1)), len(others)) - 1)
    named = np.array([(members > others[rank]).sum() for rank in ranks])
    each = 1 - (1 - level) / (2 * len(ranks))
    true_low, true_high = clopper_pearson(named, np.full(len(ranks), len(members)), each)
    tail = (1 - each) / 2
    false_low, false_high = (
        np.asarray(stats.beta.ppf(end, ranks + 1, len(others) - ranks)) for end in (tail, 1 - tail)
    )
    rate, false_rate = named / len(members), (ranks + 1) / (len(others) + 1)

    def largest(share: Array, against: Array, shown: Array) -> float:
        sure = share * (1 - SURE) >= against * SURE
        return float(shown[sure].max()) if sure.any() else 0.0

    value = largest(rate, false_rate, rate)
    low, high = largest(true_low, false_high, true_low), largest(true_high, false_low, true_high)
    return Bounded(value, min(low, value), max(high, value))


def roc_points(member: Mask, scores: Array, false_positive_rates: Array) -> Array:
    """Return the true positive rate at each false positive rate, by the thresholds of `stats.membership`."""
    others = np.sort(scores[~member])[::-1]
    members = np.sort(scores[member])
    allowed = np.minimum(np.floor(false_positive_rates * len(others) + 1e-9).astype(int), len(others) - 1)
    rates: Array = 1 - np.searchsorted(members, others[allowed], side="right") / len(members)
    return rates


def shuffled_areas(member: Mask, scores: Array, *, repetitions: int, seed: int) -> Array:
    """Return the area under the ROC curve with the memberships shuffled by `seed`, (repetitions,): near 0.5 each."""
    generator = np.random.default_rng(seed)
    return np.array([roc_auc(generator.permutation(member), scores).value for _ in range(repetitions)])


def unique_rows(inputs: NDArray[np.generic], labels: NDArray[np.int64]) -> Mask:
    """Return which rows, (rows,), occur once among all of them, inputs and label together.

    A row that occurs on both sides is a member and is none. To leave out all repeated rows, of both sides, keeps
    the two sides exchangeable where membership means nothing.

    >>> unique_rows(np.array([[1.0], [2.0], [1.0], [1.0]]), np.array([0, 0, 0, 1])).tolist()
    [False, True, False, True]
    """
    flat = np.ascontiguousarray(inputs.reshape(len(inputs), -1))
    keys = np.concatenate([flat.view(np.uint8).reshape(len(flat), -1), labels[:, None].view(np.uint8)], axis=1)
    packed = np.ascontiguousarray(keys).view(np.dtype((np.void, keys.shape[1]))).ravel()
    _, position, count = np.unique(packed, return_inverse=True, return_counts=True)
    once: Mask = count[position] == 1
    return once
