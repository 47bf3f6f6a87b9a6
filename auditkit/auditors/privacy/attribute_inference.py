"""Whether a model gives away sensitive values of its training rows: attribute inference, a part of `leakage`.

Of a table, all but the sensitive column is known (Yeom et al. 2018). Of a text or an image, which an attacker who holds
it could read himself, the model's answer and the label (Aalmoes, Duddu & Boutet 2022, arXiv:2211.10209).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.auditors.privacy.attribute_attack import (
    FITTED_ROWS,
    JUDGED_ROWS,
    Attacked,
    Gain,
    Guesses,
    attack_attribute,
)
from auditkit.data.groups import grouped_columns
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Column, Evidence, Group, Measurement, Slice, Table, shown
from auditkit.evidence.messages import Message
from auditkit.models.predict import predict
from auditkit.schema.schema import Labels
from auditkit.stats.intervals import simultaneous_level
from auditkit.stats.membership import SURE
from auditkit.stats.proxies import MODEL

ADVANTAGE, CONTROL = "leakage.attribute_advantage", "leakage.attribute_control_advantage"
MEMORY = "leakage.attribute_memory"

SOURCE = Message("attribute inference (Yeom et al. 2018, arXiv:1709.01604) against the same guess without the model")

Mask = NDArray[np.bool_]
Answers = NDArray[np.float64]
Confidence = Callable[[Answers, Labels], NDArray[np.float64]]
"""From answers, (..., rows, classes), and labels to log odds."""
Grouping = tuple[str, tuple[tuple[str, ...], ...], NDArray[np.int64]]
"""A sensitive column, the names of its groups, and the group of every row."""


def attribute_inference(
    subject: Subject,
    columns: list[Grouping],
    answers: Answers,
    confidence: Confidence,
    labels: Labels,
    member: Mask,
    once: Mask,
) -> Evidence:
    """Guess each sensitive column of training rows, and of audited ones, without and with the model.

    `answers`, `labels`, `member` and `once` (rows that occur once) are of the training rows and, after them, the
    audited ones; `confidence` says how sure answers are of labels.
    """
    if not columns or subject.training is None:
        return Evidence()
    generator = np.random.default_rng(subject.seed)
    most = FITTED_ROWS + JUDGED_ROWS
    sides = [np.flatnonzero(side & once) for side in (member, ~member)]
    rows = np.concatenate([np.sort(generator.choice(side, min(most, len(side)), replace=False)) for side in sides])
    given, of_numbers = labels[rows], not subject.task.classes
    read = [feature.name for feature in subject.schema.features] if subject.modality.columnar else []
    frame = pd.concat([subject.training.frame[read], subject.data.frame[read]], ignore_index=True).iloc[rows]
    found: dict[str, Attacked] = {}
    names: dict[str, tuple[str, ...]] = {}
    notes: list[str] = []
    for place, (column, words, codes) in enumerate(columns):
        subject.progress(0.9 + 0.1 * place / len(columns), f"guessing {column}")
        known, unread = grouped_columns(frame, leave_out=(column,), quantiles=20)
        attacked = attack_attribute(
            [*(part.codes for part in known), given],
            [*(part.ordered for part in known), of_numbers],
            _asked(subject, frame, column, codes[rows], given, confidence)
            if column in frame
            else np.column_stack([confidence(answers[rows], given), answers[rows]]),
            codes[rows],
            member[rows],
            seed=subject.seed,
            min_group=subject.min_group,
        )
        if attacked is None:
            notes.append(
                Message(
                    "{column} was not guessed: fewer than two groups have rows enough on both sides.", column=column
                )
            )
            continue
        found[column], names[column] = attacked, tuple(shown(word) for word in words)
    if not found:
        return Evidence(notes=notes)
    notes.append(_attacker_note(subject, max(part.fitted_count for part in found.values())))
    if unread:
        notes.append(Message("The attacker makes nothing of {columns}: too many different texts.", columns=unread))
    measurements = [
        *(_by_column(id, found, subject.conf_level) for id in (ADVANTAGE, CONTROL, MEMORY)),
        *(_by_group(column, attacked, names[column], subject.conf_level) for column, attacked in found.items()),
    ]
    return Evidence(measurements=measurements, exhibits=[_table(found, names)], notes=notes)


def _attacker_note(subject: Subject, fitted_count: int) -> str:
    """Return what the attacker knows, and how he learns to guess from `fitted_count` training rows."""
    known_to_him = (
        Message(
            "knows everything of some training rows, and of the others all but that column, and may ask "
            "the model about each possible value."
        )
        if subject.modality.columnar
        else Message(
            "knows that column of some training rows, and of the others the label and what the model "
            "answers to the {kind}, but not the {kind} itself.",
            kind=subject.modality.name,
        )
    )
    return Message(
        "Guessing a sensitive column: the attacker {known_to_him} He learns by {model}, from "
        "{count:,} training rows, with every group counting alike. Another attacker may find more. "
        "What the model helps with rows that it never saw is no memory of single persons; "
        "differential privacy does not prevent it.",
        known_to_him=known_to_him,
        model=MODEL,
        count=fitted_count,
    )


def _asked(
    subject: Subject, frame: pd.DataFrame, column: str, codes: NDArray[np.int64], labels: Labels, confidence: Confidence
) -> Answers:
    """Return how sure the model is of each row's label with each possible value in the hidden column."""
    sure = []
    for code in np.unique(codes):
        value = frame[column].iloc[int(np.flatnonzero(codes == code)[0])]
        encoded = subject.modality.encode(frame.assign(**{column: value}))
        said = predict(subject.model.module, encoded, subject.schema, device=subject.device)
        sure.append(confidence(subject.task.answers(said), labels))
    together = np.column_stack(sure)
    return np.column_stack([together, together - together.mean(axis=1, keepdims=True)])


def _gain(id: str, attacked: Attacked, level: float) -> Gain:
    if id == MEMORY:
        return attacked.memory(level)
    return (attacked.members if id == ADVANTAGE else attacked.others).balanced(level)


INVALID = {
    ADVANTAGE: Message("the attack is invalid here: it guesses right less often with the model than without it"),
    MEMORY: Message("the attack is invalid here: the model helps it more with rows that it never saw"),
}
"""Why an attack clearly below 0 is no result: it failed, and says nothing of what the model remembers."""


def _by_column(id: str, found: dict[str, Attacked], level: float) -> Measurement:
    each = simultaneous_level(level, len(found))
    slices = [
        _slice(
            Group(by=("column",), key=(column,)),
            _gain(id, attacked, level),
            _gain(id, attacked, each),
            len(found),
            _invalid(INVALID.get(id), _gain(id, attacked, SURE)),
        )
        for column, attacked in found.items()
    ]
    what = {
        ADVANTAGE: Message("training rows"),
        CONTROL: Message("rows that the model never saw"),
        MEMORY: Message("training rows minus rows that the model never saw: 0 where nothing is remembered"),
    }[id]
    return Measurement(
        id=id,
        by=("column",),
        unit="rate_difference",
        better="neither" if id == CONTROL else "lower",
        count=max(part.count for part in slices),
        slices=tuple(slices),
        definition=Message("{source}; mean over groups, {what}", source=SOURCE, what=what),
    )


def _by_group(column: str, attacked: Attacked, names: tuple[str, ...], level: float) -> Measurement:
    present = [int(code) for code in np.unique(attacked.members.groups)]
    each = simultaneous_level(level, len(present))
    guesses = attacked.members
    return Measurement(
        id=ADVANTAGE,
        by=(column,),
        unit="rate_difference",
        better="lower",
        count=len(guesses.groups),
        slices=tuple(
            _slice(
                Group(by=(column,), key=(names[code],)),
                guesses.of_group(code, level),
                guesses.of_group(code, each),
                len(present),
                _invalid(INVALID[ADVANTAGE], guesses.of_group(code, SURE)),
            )
            for code in present
        ),
        definition=Message("{source}; training rows of each group", source=SOURCE),
    )


def _invalid(why: Message | None, surely: Gain) -> Message | None:
    """Return why a gain that lies clearly below 0 is no result, where it can be none."""
    if why is None or surely.interval.high >= 0:
        return None
    return Message(
        "{invalid} (gain {value:.3f}, {level:.1%} CI to {high:.3f})",
        invalid=why,
        value=surely.value,
        level=surely.interval.level,
        high=surely.interval.high,
    )


def _slice(group: Group, alone: Gain, together: Gain, count: int, reason: Message | None) -> Slice:
    if reason is not None:
        return Slice(group=group, value=None, count=alone.row_count, reason=reason)
    wide = together.interval
    method = Message("{method}, Sidak over {count}", method=wide.method, count=count)
    return Slice(
        group=group,
        value=alone.value,
        count=alone.row_count,
        interval=alone.interval,
        simultaneous_interval=wide.model_copy(update={"level": alone.interval.level, "method": method}),
    )


def _table(found: dict[str, Attacked], names: dict[str, tuple[str, ...]]) -> Table:
    rows: list[tuple[str | float | None, ...]] = []
    for column, attacked in found.items():
        parts = [(names[column][int(code)], int(code)) for code in np.unique(attacked.members.groups)]
        shares = [
            (name, *_right(attacked.members, code), _right(attacked.others, code)[2] - _right(attacked.others, code)[1])
            for name, code in parts
        ]
        means = [float(np.mean([share[place] for share in shares])) for place in (2, 3, 4)]
        count = float(len(attacked.members.groups))
        rows.append((column, Message("all groups alike"), count, *means[:2], means[1] - means[0], means[2]))
        rows += [
            (column, name, count, without, helped, helped - without, other)
            for name, count, without, helped, other in shares
        ]
    return Table(
        title=Message("Guessing sensitive columns"),
        note=(
            Message(
                "How often the hidden value of a training row is guessed right, without the model and with "
                "it. Help with training rows beyond that with rows that the model never saw is memory."
            )
        ),
        columns=(
            Column(name=Message("column")),
            Column(name=Message("group")),
            Column(name=Message("training rows"), unit="rows"),
            Column(name=Message("right without the model"), unit="rate"),
            Column(name=Message("right with it"), unit="rate"),
            Column(name=Message("help of the model"), unit="rate_difference"),
            Column(name=Message("help with rows it never saw"), unit="rate_difference"),
        ),
        rows=tuple(rows),
    )


def _right(guesses: Guesses, group: int) -> tuple[float, float, float]:
    """Return a group's rows, and the shares guessed right without the model and with it."""
    rows = guesses.groups == group
    return float(rows.sum()), float(guesses.without[rows].mean()), float(guesses.with_model[rows].mean())
