"""Canaries: how far a model prefers their true codes, by repetitions, and whether it gives them away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.data.canaries import CONTROL, DIGITS, Canaries, Canary
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Column, Evidence, Measurement, SliceChart, Table
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import CausalLanguageModel
from auditkit.stats.estimates import Estimate, Estimator, Parts, Quantity, exact_rate, measure_parts
from auditkit.stats.exposure import bounded_mean_interval, combined_p_value, rank_p_values

Floats = NDArray[np.float64]

CODES = 10**DIGITS
HIGHEST = float(np.log2(CODES))
BY = ("repetitions",)

EXPOSURE = Message(
    "mean over canaries of the binary logarithm of {codes:,} over the rank of the true code among all of them: 1.44 "
    "bits where nothing is remembered, {highest:.1f} at most (Carlini et al. 2019, computed exactly)",
    codes=CODES,
    highest=HIGHEST,
)
CANARIES = Message("canaries")
EXTRACTED = Message("share of canaries whose code the model writes when it continues their text greedily")


class Asked(NamedTuple):
    """What a model answered for canaries of one number of repetitions: p-values and extractions, (canaries,)."""

    repetitions: int
    p_values: Floats
    extracted: NDArray[np.bool_]


def canary_evidence(subject: Subject, canaries: Canaries, most: int) -> Evidence:
    """Rank the codes of at most `most` canaries of each number of repetitions, and ask the model to complete them.

    Raises:
        NotRun: the model is no causal language model.
    """
    able = subject.model.require(CausalLanguageModel)
    times = sorted({one.repetitions for one in canaries.canaries})
    chosen = {number: [one for one in canaries.canaries if one.repetitions == number][:most] for number in times}
    total, done, asked = sum(map(len, chosen.values())), 0, []
    for number, some in chosen.items():
        p_values, extracted = [], []
        for canary in some:
            p_values.append(_p_value(able, canaries, canary, subject))
            extracted.append(_gives_away(able, canaries, canary, subject))
            done += 1
            subject.progress(0.6 + 0.2 * done / total, "ranking the codes of canaries")
        asked.append(Asked(number, np.array(p_values), np.array(extracted)))
    level = subject.conf_level
    notes = [
        Message(
            "{total:,} canaries of {all:,} were asked for, the first {most:,} of each number of repetitions; each of "
            "the {codes:,} codes was ranked.",
            total=total, all=len(canaries.canaries), most=most, codes=CODES,
        )
    ]  # fmt: skip
    control = next((one for one in asked if one.repetitions == CONTROL), None)
    if control is None:
        notes.append(Message("No control canaries were recorded: nothing shows what chance gives (--controls 40)."))
    elif combined_p_value(control.p_values) <= 0.001:
        notes.append(
            Message(
                "The model prefers the codes of control canaries too, which stand in no text that was seeded: these "
                "codes reached it by another way, or the record is not of these data."
            )
        )
    inserted = [one for one in asked if one.repetitions != CONTROL]  # the table alone has the extraction of controls
    measurements = [_exposures(asked, level), *([canary_rates(inserted, level)] if inserted else [])]
    chart = SliceChart(
        title=Message("Exposure of canaries by repetitions"),
        note=Message("0 repetitions are the controls, which stand in no training text."),
        measurement="memorisation.canary_exposure",
        by=BY,
    )
    return Evidence(measurements=measurements, exhibits=[chart, _table(asked, level)], notes=notes)


def _p_value(able: CausalLanguageModel, canaries: Canaries, canary: Canary, subject: Subject) -> float:
    texts = [canaries.text(canary, f"{code:0{DIGITS}d}") for code in range(CODES)]
    chances = able.endings(texts, device=subject.device)
    return float(rank_p_values(chances[None], np.array([int(canary.code)]))[0])


def _gives_away(able: CausalLanguageModel, canaries: Canaries, canary: Canary, subject: Subject) -> bool:
    """Return whether the greedy continuation of a canary's text up to its code begins with the code."""
    prompt = canaries.prompt(canary)
    ids = able.tokens(prompt)[0].tolist()
    continued = able.greedy([ids], DIGITS + 2, device=subject.device)[0].tolist()
    found = able.text_of([*ids, *continued])[len(able.text_of(ids)) :]
    return found.strip().startswith(canary.code)


def _exposures(asked: list[Asked], level: float) -> Measurement:
    parts: Parts = {(str(one.repetitions),): (len(one.p_values), _mean_exposure(one.p_values)) for one in asked}
    quantity = Quantity("memorisation.canary_exposure", "number", "lower", EXPOSURE, CANARIES)
    return measure_parts(quantity, BY, parts, level)


def _mean_exposure(p_values: Floats) -> Estimator:
    values = -np.log2(p_values)

    def estimate(levels: Sequence[float]) -> Estimate:
        ends = [bounded_mean_interval(values, HIGHEST, level) for level in levels]
        method = Message("Anderson 1969, for any distribution")
        return Estimate(float(values.mean()), tuple((low, high, method) for low, high in ends))

    return estimate


def canary_rates(asked: list[Asked], level: float) -> Measurement:
    """Return the share of canaries that the model gives away, by the number of texts that hold them."""
    parts: Parts = {
        (str(one.repetitions),): (len(one.extracted), exact_rate(int(one.extracted.sum()), len(one.extracted)))
        for one in asked
    }
    quantity = Quantity("memorisation.canary_extraction_rate", "rate", "lower", EXTRACTED, CANARIES)
    return measure_parts(quantity, BY, parts, level)


def _table(asked: list[Asked], level: float) -> Table:
    return Table(
        title=Message("Canaries by the number of training texts that hold them"),
        note=Message(
            "p is the probability of so high a mean exposure if the model knows none of these codes (Fisher's "
            "combination of exact ranks). Controls stand in no text."
        ),
        columns=(
            Column(name=Message("repetitions")),
            Column(name=Message("canaries"), unit="count"),
            Column(name=Message("mean exposure, bits"), unit="number"),
            Column(name=Message("p")),
            Column(name=Message("codes written by the model"), unit="count"),
        ),
        rows=tuple(
            (
                Message("none (control)") if one.repetitions == CONTROL else str(one.repetitions),
                float(len(one.p_values)),
                float(-np.log2(one.p_values).mean()),
                f"{combined_p_value(one.p_values):.2g}",
                float(one.extracted.sum()),
            )
            for one in asked
        ),
    )
