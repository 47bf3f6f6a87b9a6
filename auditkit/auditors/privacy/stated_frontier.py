"""What privacy costs a fine-tuned model, as the file of its retraining states it: by budget and group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from auditkit.engine.subject import Subject
from auditkit.errors import InputError
from auditkit.evidence.measurement import (
    Better,
    Curve,
    Evidence,
    Exhibit,
    Group,
    Interval,
    Line,
    Measurement,
    Slice,
    SliceChart,
    Unit,
)
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import LanguageModel
from auditkit.training.dp.frontier_file import CostMeasure, Frontier, StatedCost, read_frontier

AGREEMENT = 1e-3
"""How far, in proportion, a stated cost may lie from the one that the audited model has on the same rows or texts."""

MOST_LINES = 6
"""A picture over epsilon is drawn of so many groups at most."""


def _bits_per_byte(subject: Subject) -> float | None:
    if subject.audited.capability(LanguageModel) is None:
        return None
    scores = [one for one in subject.token_scores if len(one.ids)]
    bits = -sum(one.log_probabilities.sum() for one in scores) / np.log(2)
    return float(bits / sum(one.byte_count for one in scores))


def _accuracy(subject: Subject) -> float | None:
    if subject.task.unpredicted is not None:
        return None
    known = subject.labelled
    return float((known.predictions.labels == known.labels).mean())


def _absolute_error(subject: Subject) -> float | None:
    if subject.task.unpredicted is not None:
        return None
    known = subject.labelled
    return float(np.abs(known.predictions.labels - known.labels).mean())


@dataclass(frozen=True)
class Cost:
    """In what the cost of a budget is measured, and how the audited model's own is measured again.

    `all_rows` is how the title of a picture calls all that was held out. `again` returns None where the audited model
    has no such cost.
    """

    id: str
    what: Message
    unit: Unit
    better: Better
    definition: Message
    method: Message
    all_rows: Message
    again: Callable[[Subject], float | None]


COSTS: dict[CostMeasure, Cost] = {
    "bits per byte": Cost(
        "private_training.bits_per_byte",
        Message("bits per byte"),
        "number",
        "lower",
        Message(
            "bits for a byte of held-out text at each budget, before the fine-tuning, and after one of as many steps "
            "without clipping and noise, as auditkit retrain measured them"
        ),
        Message("ratio of sums over texts, as stated by the retraining"),
        Message("all texts"),
        _bits_per_byte,
    ),
    "accuracy": Cost(
        "private_training.accuracy",
        Message("accuracy"),
        "rate",
        "higher",
        Message(
            "share of held-out rows whose class is predicted at each budget, before the fine-tuning, and after one of "
            "as many steps without clipping and noise, as auditkit retrain measured it"
        ),
        Message("Wilson, or Clopper-Pearson where few rows decide, as stated by the retraining"),
        Message("all rows"),
        _accuracy,
    ),
    "mean absolute error": Cost(
        "private_training.mean_absolute_error",
        Message("mean absolute error"),
        "number",
        "lower",
        Message(
            "mean absolute error on held-out rows at each budget, before the fine-tuning, and after one of as many "
            "steps without clipping and noise, as auditkit retrain measured it"
        ),
        Message("mean over rows, as stated by the retraining"),
        Message("all rows"),
        _absolute_error,
    ),
}
"""By the measure that the file states."""


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
    """Return the cost of each model and group, unless that of the audited model is not what it has."""
    found, own = checked_frontier(subject, path)
    cost = COSTS[found.measure]
    overall = [one for one in found.costs if one.group is None]
    reason, notes = _disagreement(subject, found, own)
    if reason is not None:
        count = max((one.count for one in overall), default=0)
        unknown = Measurement(
            id=cost.id, unit=cost.unit, better=cost.better, count=count, definition=cost.definition, reason=reason
        )
        return Evidence(measurements=[unknown])
    columns = list(dict.fromkeys(one.group.by for one in found.costs if one.group is not None))
    measurements, exhibits = [], []
    for by in ((), *columns):
        costs = [one for one in found.costs if (() if one.group is None else one.group.by) == by]
        measurements.append(_measurement(cost, costs, by, found.level))
        exhibits += _exhibits(cost, costs, by)
    return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def name_of(epsilon: float | None) -> str:
    """Return how a model of a budget is called; see `GroupCost`."""
    return "without privacy" if epsilon is None else f"epsilon {epsilon:g}" if epsilon else "before"


def _disagreement(subject: Subject, found: Frontier, own: float) -> tuple[Message | None, list[str]]:
    """Return why the file is not believed, None where it is, and what was not checked."""
    cost = COSTS[found.measure]
    stated = next((one.value for one in found.costs if one.group is None and one.epsilon == own), None)
    whole = len(subject.data.frame) == subject.row_count_read
    same = found.held_out_sha256 is not None and found.held_out_sha256 == subject.data.sha256
    given = cost.again(subject) if stated is not None and whole and same else None
    if stated is None or given is None:
        unchecked = Message(
            "The costs of the budgets are those that the retraining stated. They were not measured again: the audited "
            "rows are not all of the held-out ones, or others."
        )
        return None, [unchecked]
    if abs(given - stated) <= AGREEMENT * given:
        return None, []
    return (
        Message(
            "the file of the retraining states {what} {stated:.4f} for the audited model, which has {given:.4f} on the "
            "same rows",
            what=cost.what,
            stated=stated,
            given=given,
        ),
        [],
    )


def _measurement(cost: Cost, costs: Sequence[StatedCost], by: tuple[str, ...], level: float) -> Measurement:
    slices = []
    for one in costs:
        key = () if one.group is None else one.group.key
        interval = None
        if one.low is not None and one.high is not None:
            interval = Interval(low=one.low, high=one.high, level=level, method=cost.method)
        group = Group(by=("training", *by), key=(name_of(one.epsilon), *key))
        slices.append(Slice(group=group, value=one.value, count=one.count, interval=interval))
    return Measurement(
        id=cost.id,
        by=("training", *by),
        unit=cost.unit,
        better=cost.better,
        count=max(one.count for one in costs),
        slices=tuple(slices),
        definition=cost.definition,
    )


def _exhibits(cost: Cost, costs: Sequence[StatedCost], by: tuple[str, ...]) -> list[Exhibit]:
    """Return the chart of all models and groups, and where there are several budgets the curve over epsilon."""
    words = cost.all_rows if not by else Message("by {column}", column=by[0])
    chart = SliceChart(
        title=Message("What each budget costs: {what}, {words}", what=cost.what, words=words),
        measurement=cost.id,
        by=("training", *by),
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
        title=Message("The price of privacy: {what}, {words}", what=cost.what, words=words),
        note=Message(
            "Smaller epsilon is more private. Bands are the intervals; the level lines are those of as many steps "
            "without privacy."
        ),
        x_label=Message("epsilon"),
        y_label=cost.what,
        x_unit="epsilon",
        y_unit=cost.unit,
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
        y=tuple(one.value for one in costs),
        low=lows if banded else None,
        high=highs if banded else None,
    )
