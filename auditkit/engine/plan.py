"""What an audit is about to do: what was guessed, how much each auditor computes, and how long that takes here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditkit.engine.requirements import request_of
from auditkit.engine.subject import Subject
from auditkit.engine.texts import texts_of
from auditkit.errors import NotRun
from auditkit.models.capabilities import CausalLanguageModel, Runnable
from auditkit.models.predict import predict

if TYPE_CHECKING:
    import torch

MEASURED_ROWS = 256
"""The rows of the batch that is timed."""

MEASURED_TEXTS = 32
"""The texts that are timed."""

UNTIMED_ROWS, TRIALS, TRIAL_SECONDS = 4, 5, 0.5
"""So many rows go through the model before it is timed; then so many trials begin at most, in so many seconds."""


@dataclass(frozen=True)
class Part:
    """How many forward passes of a row an auditor makes, and how long they take; None where that is not known."""

    auditor: str
    passes: float
    seconds: float | None


@dataclass(frozen=True)
class Plan:
    """What was guessed about the model, what each auditor will do, and which do not run, with the reason."""

    effort: str
    operations: int
    guesses: tuple[str, ...]
    parts: tuple[Part, ...]
    idle: tuple[tuple[str, str], ...]

    @property
    def seconds(self) -> float | None:
        """How long it all takes, None without a model."""
        known = [part.seconds for part in self.parts if part.seconds is not None]
        return sum(known) if known else None


def plan_of(subject: Subject, auditors: Mapping[str, Any]) -> Plan:
    """Return what these auditors will do on a subject. An auditor left out is None, and is not told of.

    An auditor's method `passes(subject)`, if it has one, says how often a row goes through the model, a gradient
    counted four times, and raises NotRun where the budget pays for none; the time of a pass is measured on one batch.
    """
    each = _seconds_of_a_pass(subject)
    offered = request_of(subject)
    parts, idle = [], []
    for name, auditor in auditors.items():
        if auditor is None:
            continue
        lacks = offered.missing(auditor)
        if lacks:
            idle.append((name, lacks[0].sentence))
            continue
        count = getattr(auditor, "passes", None)
        try:
            passes = 0.0 if count is None else float(count(subject))
        except NotRun as error:  # the budget does not pay for it
            idle.append((name, str(error)))
            continue
        parts.append(Part(name, passes, passes * each if each is not None and passes else None))
    guesses = (*subject.audited.notes, *subject.encoding)
    return Plan(subject.work.effort, subject.work.operations, guesses, tuple(parts), tuple(idle))


def _seconds_of_a_pass(subject: Subject) -> float | None:
    """Return how long a row takes on its way through the model, by a batch of the audited rows; None without one.

    Of a causal language model a row is a text.
    """
    speaker = subject.audited.capability(CausalLanguageModel)
    if speaker is not None:
        texts = texts_of(subject.data.frame.iloc[:MEASURED_TEXTS], subject.schema)

        def score(count: int) -> None:
            speaker.score(texts[:count], device=subject.device)

        return least_seconds(score, len(texts), subject.device) / len(texts)
    if subject.audited.capability(Runnable) is None or subject.task.unpredicted is not None:
        return None
    row_count = min(MEASURED_ROWS, len(subject.data.frame))
    encoded = {count: subject.encode(slice(0, count)) for count in (min(row_count, UNTIMED_ROWS), row_count)}

    def pass_through(count: int) -> None:
        predict(subject.model.module, encoded[count], subject.schema, device=subject.device)

    return least_seconds(pass_through, row_count, subject.device) / row_count


def least_seconds(compute: Callable[[int], None], row_count: int, device: torch.device) -> float:
    """Return the shortest of a few times that a computation on so many rows takes.

    The first computation loads libraries and takes memory: one of a few rows is not timed. On a CPU the time of the
    processor counts where it is the shorter one, since other programs on the machine make the time on the clock longer.
    """
    compute(min(row_count, UNTIMED_ROWS))
    found: list[float] = []
    begun = time.perf_counter()
    while len(found) < TRIALS and (not found or time.perf_counter() - begun < TRIAL_SECONDS):
        started, used = time.perf_counter(), time.process_time()
        compute(row_count)
        seconds = time.perf_counter() - started
        found.append(min(seconds, time.process_time() - used) if device.type == "cpu" else seconds)
    return min(found)
