"""Scores that guess whether a language model was trained on a text: higher where it was."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.memorisation.shadow_models import Shadows, log_odds
from auditkit.models.language import TokenScores
from auditkit.stats.shadows import FEWEST_FOR_LIRA, lira_scores, rmia_scores

Floats = NDArray[np.float64]

LOWEST_SHARE = 0.2
"""Min-K%++ takes this share of a text's tokens, those that the model found least likely for their place."""

ATTACKS = ("rmia", "lira", "reference", "loss", "zlib", "min_k")
"""The attacks by name; the first that can be run is the one whose numbers stand alone, fixed before the run."""


def attack_scores(
    texts: Sequence[str],
    scores: Sequence[TokenScores],
    reference: Sequence[TokenScores] | None,
    member: NDArray[np.bool_],
    shadows: Shadows | None,
) -> dict[str, Floats]:
    """Return the score of each text by each attack, (texts,). Every text has a scored token.

    loss: the mean log-probability of a token (Yeom et al. 2018). zlib: the log-probability of the text for each byte of
    its compressed form (Carlini et al. 2021). min_k: Min-K%++ (Zhang et al. 2025), the mean of the lowest
    fifth of the tokens' log-probabilities, each standardised by the model's distribution at its place. reference: how
    much likelier a byte of the text is than under a model that was not trained on it. rmia and lira: how likely the
    text is beside what it is to `shadows` that read it and to others (Zarifzadeh et al. 2024, with the other texts as
    population; Carlini et al. 2022, online), by the log odds of its mean token.
    """
    whole = np.array([one.log_probabilities.sum() for one in scores])
    found = {
        "loss": np.array([one.log_probabilities.mean() for one in scores]),
        "zlib": whole / [len(zlib.compress(text.encode("utf-8", "replace"))) for text in texts],
        "min_k": np.array([_min_k(one) for one in scores]),
    }
    if reference is not None:
        other = np.array([one.log_probabilities.sum() / max(one.byte_count, 1) for one in reference])
        found["reference"] = whole / np.maximum([one.byte_count for one in scores], 1) - other
    if shadows is not None:
        target = log_odds(scores)
        found["rmia"] = rmia_scores(target, shadows.odds, shadows.inside, ~member)
        if len(shadows.odds) >= FEWEST_FOR_LIRA:
            found["lira"] = lira_scores(target, shadows.odds, shadows.inside, online=True)
    return {name: found[name] for name in ATTACKS if name in found}


def _min_k(scores: TokenScores) -> float:
    standardised = (scores.log_probabilities + scores.entropies) / np.maximum(scores.deviations, 1e-6)
    count = max(1, round(LOWEST_SHARE * len(standardised)))
    return float(np.partition(standardised, count - 1)[:count].mean())
