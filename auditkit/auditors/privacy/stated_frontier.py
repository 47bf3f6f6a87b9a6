"""What privacy costs a language model, as the file of its retraining states it: bits per byte by budget and group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auditkit.engine.subject import Subject
from auditkit.errors import InputError
from auditkit.evidence.measurement import (
    Curve,
    Evidence,
    Exhibit,
    Group,
    Interval,
    Line,
    Measurement,
    Slice,
    SliceChart,
)
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import LanguageModel
from auditkit.training.dp.frontier_file import Frontier, StatedCost, read_frontier

BITS = "private_training.bits_per_byte"

AGREEMENT = 1e-3
"""How far, in proportion, the stated bits per byte may lie from those that the audited model gives the same texts."""

MOST_LINES = 6
"""A picture over epsilon is drawn of so many groups at most."""

DEFINITION = Message(
    "bits for a byte of held-out text at each budget, before the fine-tuning, and after one of as many steps without "
    "clipping and noise, as auditkit retrain measured them"
)


def checked_frontier(subject: Subject, path: str) -> tuple[Frontier, float]:
    """Return what a file states, and the budget that the audited model was trained with, by the file.

    Raises:
        InputError: the file cannot be read, or is of other models.
    """
    found = read_frontier(path)
    own = [one.epsilon for one in found.models if one.sha256 == subject.audited.sha256]
    if not own:
        raise InputError(f"frontier {path}: none of its models is the audited one (sha256); pass the file beside it.")
    return found, own[0]


def frontier_evidence(subject: Subject, path: str) -> Evidence:
    """Return the bits per byte of each model and group, unless those of the audited model are not what it gives."""
    found, own = checked_frontier(subject, path)
    overall = [one for one in found.costs if one.group is None]
    reason, notes = _disagreement(subject, found, own)
    if reason is not None:
        count = max((one.texts for one in overall), default=0)
        return Evidence(
            measurements=[
                Measurement(id=BITS, unit="number", better="lower", count=count, definition=DEFINITION, reason=reason)
            ]
        )
    columns = list(dict.fromkeys(one.group.by for one in found.costs if one.group is not None))
    measurements, exhibits = [], []
    for by in ((), *columns):
        costs = [one for one in found.costs if (() if one.group is None else one.group.by) == by]
        measurements.append(_measurement(costs, by, found.level))
        exhibits += _exhibits(costs, by)
    return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def name_of(epsilon: float | None) -> str:
    """Return how a model of a budget is called; see `GroupCost`."""
    return "without privacy" if epsilon is None else f"epsilon {epsilon:g}" if epsilon else "before"


def _disagreement(subject: Subject, found: Frontier, own: float) -> tuple[Message | None, list[str]]:
    """Return why the file is not believed, None where it is, and what was not checked."""
    stated = next((one.bits_per_byte for one in found.costs if one.group is None and one.epsilon == own), None)
    whole = len(subject.data.frame) == subject.row_count_read
    same = found.held_out_sha256 is not None and found.held_out_sha256 == subject.data.sha256
    if stated is None or not whole or not same or subject.audited.capability(LanguageModel) is None:
        unchecked = Message(
            "The costs of the budgets are those that the retraining stated. They were not measured again: the audited "
            "texts are not all of the held-out texts, or others."
        )
        return None, [unchecked]
    scores = [one for one in subject.token_scores if len(one.ids)]
    bits = -sum(one.log_probabilities.sum() for one in scores) / np.log(2)
    given = float(bits / sum(one.byte_count for one in scores))
    if abs(given - stated) <= AGREEMENT * given:
        return None, []
    return (
        Message(
            "the file of the retraining states {stated:.4f} bits per byte for the audited model, which gives the same "
            "texts {given:.4f}",
            stated=stated,
            given=given,
        ),
        [],
    )


def _measurement(costs: Sequence[StatedCost], by: tuple[str, ...], level: float) -> Measurement:
    slices = []
    for one in costs:
        key = () if one.group is None else one.group.key
        interval = None
        if one.low is not None and one.high is not None:
            method = Message("ratio of sums over texts, as stated by the retraining")
            interval = Interval(low=one.low, high=one.high, level=level, method=method)
        group = Group(by=("training", *by), key=(name_of(one.epsilon), *key))
        slices.append(Slice(group=group, value=one.bits_per_byte, count=one.texts, interval=interval))
    return Measurement(
        id=BITS,
        by=("training", *by),
        unit="number",
        better="lower",
        count=max(one.texts for one in costs),
        slices=tuple(slices),
        definition=DEFINITION,
    )


def _exhibits(costs: Sequence[StatedCost], by: tuple[str, ...]) -> list[Exhibit]:
    """Return the chart of all models and groups, and where there are several budgets the curve over epsilon."""
    words = Message("all texts") if not by else Message("by {column}", column=by[0])
    chart = SliceChart(
        title=Message("Bits per byte at each budget, {words}", words=words), measurement=BITS, by=("training", *by)
    )
    budgets = sorted({one.epsilon for one in costs if one.epsilon})
    groups = list(dict.fromkeys(one.group for one in costs))
    if len(budgets) < 2 or len(groups) > MOST_LINES:
        return [chart]
    lines = []
    for group in groups:
        own = {one.epsilon: one for one in costs if one.group == group}
        name = str(Message("private")) if group is None else group.text
        known = [own[epsilon] for epsilon in budgets if epsilon in own]
        lines.append(_line(name, [one.epsilon or 0.0 for one in known], known))
        if None in own:
            level = f"{name}, {name_of(None)}" if group is not None else name_of(None)
            lines.append(_line(level, [budgets[0], budgets[-1]], [own[None]] * 2))
    curve = Curve(
        title=Message("The price of privacy: bits per byte, {words}", words=words),
        note=Message(
            "Smaller epsilon is more private. Bands are the intervals; the level lines are those of as many steps "
            "without privacy."
        ),
        x_label=Message("epsilon"),
        y_label=Message("bits per byte"),
        x_unit="epsilon",
        lines=tuple(lines),
    )
    return [curve, chart]


def _line(name: str, across: Sequence[float], costs: Sequence[StatedCost]) -> Line:
    lows = tuple(one.low for one in costs if one.low is not None)
    highs = tuple(one.high for one in costs if one.high is not None)
    banded = len(lows) == len(highs) == len(costs)
    return Line(
        name=name,
        x=tuple(across),
        y=tuple(one.bits_per_byte for one in costs),
        low=lows if banded else None,
        high=highs if banded else None,
    )
