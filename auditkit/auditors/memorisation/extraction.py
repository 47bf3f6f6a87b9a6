"""Training text that a language model gives back: windows of texts are continued, beside those of unseen texts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.memorisation.material import Material, Side
from auditkit.engine.subject import Subject
from auditkit.engine.work import SHADOWS
from auditkit.evidence.measurement import Column, Evidence, Interval, Measurement, Table
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import CausalLanguageModel
from auditkit.stats.clustered import difference_interval, rate_interval
from auditkit.stats.weighted import weighted_mean

LONGEST, SHORTEST = 50, 8
"""The most and the fewest tokens of a prompt, and of its continuation."""

NEAR = 0.1
"""A continuation is near the text where at most this share of its tokens must be changed, added or left out."""

Codes = NDArray[np.int64]
Marks = NDArray[np.bool_]


class Continued(NamedTuple):
    """For each text that was continued, (texts,): its place among both sides, its compared tokens, what came back."""

    rows: Codes
    lengths: Codes
    verbatim: Marks
    near: Marks


def extraction_evidence(subject: Subject, material: Material, most: int) -> Evidence:
    """Continue at most `most` texts of each side greedily, and compare with how they went on."""
    able = subject.model.require(CausalLanguageModel)
    wanted = subject.work.rows(most, 2, SHADOWS)
    notes = subject.work.limited(wanted, most)
    found = [
        _continued(able, side, first, wanted, subject)
        for side, first in ((material.seen, 0), (material.unseen, len(material.seen.texts)))
    ]
    if not all(len(one.rows) for one in found):
        notes.append(Message("No text of one side has {fewest} tokens: none is continued.", fewest=2 * SHORTEST))
        return Evidence(notes=notes)
    if min(_unit_count(material, one.rows) for one in found) < 2:
        notes.append(Message("Only texts of one cluster of a side could be continued, of which nothing can be told."))
        return Evidence(notes=notes)
    rows = np.concatenate([one.rows for one in found])
    member = rows < len(material.seen.texts)
    clusters = None if material.clusters is None else material.clusters[rows]
    outcomes = {name: np.concatenate([getattr(one, name) for one in found]) for name in ("verbatim", "near")}
    measurements = extraction_measurements(outcomes["verbatim"], outcomes["near"], member, clusters, subject.conf_level)
    lengths = np.concatenate([one.lengths for one in found])
    notes.append(
        Message(
            "{seen:,} training texts and {unseen:,} others were continued from their first tokens, at most {longest} "
            "of them; the {median:.0f} tokens that follow (median, at most {longest}) are compared.",
            seen=int(member.sum()), unseen=int((~member).sum()), longest=LONGEST, median=float(np.median(lengths)),
        )
    )  # fmt: skip
    return Evidence(measurements=measurements, exhibits=[_table(found)], notes=notes)


def _unit_count(material: Material, rows: Codes) -> int:
    return len(rows) if material.clusters is None else len(np.unique(material.clusters[rows]))


def _continued(able: CausalLanguageModel, side: Side, first: int, most: int, subject: Subject) -> Continued:
    ids = [able.tokens(text)[0].tolist() for text in side.texts]
    places = [place for place, one in enumerate(ids) if len(one) >= 2 * SHORTEST][:most]
    begun = [min(LONGEST, len(ids[place]) // 2) for place in places]
    rest = [ids[place][start : start + LONGEST] for place, start in zip(places, begun, strict=True)]
    if not places:
        nothing = np.zeros(0, dtype=np.int64)
        return Continued(nothing, nothing, nothing > 0, nothing > 0)
    prompts = [ids[place][:start] for place, start in zip(places, begun, strict=True)]
    said = able.greedy(prompts, max(map(len, rest)), device=subject.device, progress=subject.progress)
    distances = np.array(
        [edit_distance(one, other[: len(one)].tolist()) for one, other in zip(rest, said, strict=True)]
    )
    lengths = np.array(list(map(len, rest)))
    return Continued(np.array(places) + first, lengths, distances == 0, distances <= NEAR * lengths)


def edit_distance(one: list[int], other: list[int]) -> int:
    """Return the fewest tokens to change, add or leave out until one sequence is the other (Levenshtein 1966).

    >>> edit_distance([1, 2, 3, 4], [2, 3, 5, 4])
    2
    """
    row = list(range(len(other) + 1))
    for place, token in enumerate(one, 1):
        diagonal, row[0] = row[0], place
        for at, own in enumerate(other, 1):
            diagonal, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, diagonal + (token != own))
    return row[-1]


DEFINITIONS = {
    "verbatim": Message("share of training texts whose continuation comes back token for token"),
    "near": Message(
        "share of training texts whose continuation comes back with at most a tenth of its tokens changed, added or "
        "left out"
    ),
}


def extraction_measurements(
    verbatim: Marks, near: Marks, member: Marks, clusters: Codes | None, level: float
) -> list[Measurement]:
    """Return the rates of training texts that come back, and their excess over unseen texts; marks are (texts,)."""
    rates = [_rate(name, marks, member, clusters, level) for name, marks in (("verbatim", verbatim), ("near", near))]
    return [*rates, _excess(near, member, clusters, level)]


def _rate(name: str, outcomes: Marks, member: Marks, clusters: Codes | None, level: float) -> Measurement:
    rate = weighted_mean(outcomes.astype(np.float64), rows=member)
    low, high = rate_interval(rate, level, clusters)
    return Measurement(
        id=f"memorisation.{name}_extraction_rate", value=rate.value, unit="rate", better="lower", count=rate.row_count,
        interval=_interval(low, high, rate.value, level, Message("Wilson or Clopper-Pearson of the effective rows")),
        definition=DEFINITIONS[name],
    )  # fmt: skip


def _excess(outcomes: Marks, member: Marks, clusters: Codes | None, level: float) -> Measurement:
    values = outcomes.astype(np.float64)
    one, other = weighted_mean(values, rows=member), weighted_mean(values, rows=~member)
    low, high = difference_interval(one, other, level, clusters)
    value = one.value - other.value
    return Measurement(
        id="memorisation.extraction_excess", value=value, unit="rate_difference", better="lower",
        count=len(member), interval=_interval(low, high, value, level, Message("MOVER of both rates")),
        definition=Message(
            "share of training texts that come back nearly or exactly, minus that of unseen texts: 0 where nothing is "
            "remembered"
        ),
    )  # fmt: skip


def _interval(low: float, high: float, value: float, level: float, method: Message) -> Interval:
    return Interval(low=min(low, value), high=max(high, value), level=level, method=method)


def _table(found: list[Continued]) -> Table:
    names = (Message("training texts"), Message("unseen texts (control)"))
    return Table(
        title=Message("Texts that the model continues as they went on"),
        note=Message("No text is shown. Unseen texts come back too where texts follow a pattern."),
        columns=(
            Column(name=Message("texts")),
            Column(name=Message("continued"), unit="count"),
            Column(name=Message("word for word"), unit="count"),
            Column(name=Message("nearly"), unit="count"),
            Column(name=Message("longest that came back word for word, tokens"), unit="count"),
        ),
        rows=tuple(
            (
                name,
                float(len(one.rows)),
                float(one.verbatim.sum()),
                float(one.near.sum()),
                float(one.lengths[one.verbatim].max(initial=0)),
            )
            for name, one in zip(names, found, strict=True)
        ),
    )
