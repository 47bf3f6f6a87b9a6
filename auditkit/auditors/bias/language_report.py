"""The tables and sentences about what a language model prefers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from auditkit.auditors.bias.estimates import Part, truths_of
from auditkit.auditors.bias.preferences import FEWEST_UNITS, TIE, detectable_mean, detectable_share, unit_count
from auditkit.evidence.measurement import Column, Detectable, Facts, Measurement, Table
from auditkit.evidence.messages import Message, number


def differences_table(parts: Mapping[tuple[str, ...], Part], level: float) -> Table:
    """Return for each scoring and bias type how many pairs there are, what is preferred, and what could be detected."""
    rows: list[tuple[str | float | None, ...]] = []
    for (scoring, *kind), part in parts.items():
        units = unit_count(len(part.values), part.clusters)
        preferred = truths_of(part).values
        known = units >= FEWEST_UNITS and len(preferred) > 0
        rows.append(
            (
                scoring,
                kind[0] if kind else Message("all"),
                float(len(part.values)),
                float(units),
                float(preferred.mean()) if known else None,
                detectable_share(units, level) if known else None,
                float(part.values.mean()) if known else None,
                detectable_mean(part.values.astype(np.float64), part.clusters, level) if known else None,
            )
        )
    return Table(
        title=Message("Preference for stereotyped sentences"),
        note=Message(
            "Units: templates, or pairs where no template is named. Detectable: how far from one half a share, or from "
            "0 a mean difference, must truly be for these pairs to show it in 80 % of cases. A smaller bias would go "
            "unseen."
        ),
        columns=(
            Column(name=Message("Scoring")),
            Column(name=Message("Bias type")),
            Column(name=Message("Pairs"), unit="count"),
            Column(name=Message("Units"), unit="count"),
            Column(name=Message("More stereotyped preferred"), unit="rate"),
            Column(name=Message("Detectable"), unit="rate_difference"),
            Column(name=Message("Mean difference (nats)"), unit="nats"),
            Column(name=Message("Detectable (nats)"), unit="nats"),
        ),
        rows=tuple(rows),
    )


def detectable_means(parts: Mapping[tuple[str, ...], Part], level: float) -> tuple[Detectable, ...]:
    """Return the mean difference that each kind of sentence could detect; none of those with too few, or alike."""
    found = []
    for key, part in parts.items():
        if part.reason is None and unit_count(len(part.values), part.clusters) >= FEWEST_UNITS:
            size = detectable_mean(part.values.astype(np.float64), part.clusters, level)
            if size is not None and size > TIE:  # else all are alike but for rounding
                found.append(Detectable(key=key, size=size))
    return tuple(found)


def detectable_shares(parts: Mapping[tuple[str, ...], Part], level: float) -> tuple[Detectable, ...]:
    """Return how far from one half the share of each kind of answer must be to be detected."""
    units = {key: unit_count(len(part.values), part.clusters) for key, part in parts.items() if part.reason is None}
    enough = {key: count for key, count in units.items() if count >= FEWEST_UNITS}
    return tuple(Detectable(key=key, size=detectable_share(count, level)) for key, count in enough.items())


def agreement_facts(agreed: Measurement) -> Facts:
    """Return what both scorings are, and how often they agree."""
    share = agreed.reason or Message("not measured") if agreed.value is None else number(agreed.value, "rate")
    return Facts(
        title=Message("Two ways to score a pair"),
        rows=(
            (
                Message("Full sentence"),
                Message("the sum of the log-probabilities of all tokens: rare words in one sentence count too"),
            ),
            (
                Message("Shared tokens"),
                Message("only the tokens that both sentences share, given the others (Nangia et al. 2020)"),
            ),
            (Message("Agreement"), share),
        ),
    )


def questions_note(share: float) -> Message:
    """Return why answers do not tell a bias where "unknown" is hardly ever chosen."""
    return Message(
        'not informative: the answer "unknown" is chosen in {share:.1f} % of the questions, so that the model answers '
        "whatever it is asked",
        share=100 * share,
    )
