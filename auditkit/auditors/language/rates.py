"""Bits per byte, perplexity and calibration of scored texts: statistics over rows, each row a text or a token.

Each is a weighted mean, the weight being the bytes, or the tokens, of a text, so that its interval is that of a ratio
of sums, by the linearised variance over texts or clusters (`auditkit.stats.sampled`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.messages import Message
from auditkit.models.language import TokenScores
from auditkit.stats import sampled
from auditkit.stats.estimates import Estimate
from auditkit.stats.sampling import SIMPLE, Sampling

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ScoredTexts:
    """What was said of the texts that have a scored token: arrays of one number a text.

    `rows` are their places among all rows, `nats` minus the log-probability of the text, `tokens` and `bytes` how many
    of them were scored.
    """

    rows: NDArray[np.int64]
    nats: Floats
    tokens: Floats
    bytes: Floats


def scored_texts(scores: Sequence[TokenScores]) -> ScoredTexts:
    """Return the sums of each text that has a scored token."""
    rows = np.array([row for row, one in enumerate(scores) if len(one.ids)], dtype=np.int64)
    return ScoredTexts(
        rows,
        np.array([-scores[row].log_probabilities.sum() for row in rows]),
        np.array([len(scores[row].ids) for row in rows], dtype=np.float64),
        np.array([scores[row].byte_count for row in rows], dtype=np.float64),
    )


def weighted_by(sizes: Floats, sampling: Sampling) -> Sampling:
    """Return the sampling of texts that count by their sizes, times the weights they have."""
    return Sampling(sizes * sampling.weights_of(len(sizes)), sampling.clusters)


def mean(values: Floats, _: Floats, levels: Sequence[float], sampling: Sampling = SIMPLE) -> Estimate:
    """Return the weighted mean of values that are not negative, such as bits per byte of texts: 0 is ideal."""
    return sampled.mean_estimate(values, levels, sampling, lowest=0.0)


def perplexity(values: Floats, _: Floats, levels: Sequence[float], sampling: Sampling = SIMPLE) -> Estimate:
    """Return the exponential of the weighted mean of the nats per token of texts: 1 is ideal."""
    found = mean(values, values, levels, sampling)
    assert found.value is not None
    whole = float(np.exp(found.value))
    bounds = tuple(
        None
        if bound is None
        else (float(np.exp(bound[0])), float(np.exp(bound[1])), Message("exponential of {method}", method=bound[2]))
        for bound in found.bounds
    )
    influence = None if found.influence is None else whole * found.influence
    return Estimate(whole, bounds, found.reason, effective=found.effective, influence=influence)


def calibration_error(hits: Floats, promised: Floats, levels: Sequence[float], sampling: Sampling = SIMPLE) -> Estimate:
    """Return how far the probability of the likeliest token is from how often it is the true one: 0 is ideal.

    The expected calibration error over 15 bins (Guo et al. 2017). `hits` are 0 or 1 and `promised` probabilities, one a
    token; the tokens of a text are a cluster.
    """
    probabilities = np.column_stack([1 - promised, promised])
    return sampled.calibration_error(hits.astype(np.int64), probabilities, levels, sampling)
