"""What an audit is about to do: what was guessed, how much each auditor computes, and how long that takes here."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from auditkit.engine.requirements import request_of
from auditkit.engine.subject import Subject
from auditkit.engine.texts import texts_of
from auditkit.engine.timing import seconds_of_a_row
from auditkit.errors import NotRun, format_error
from auditkit.models.capabilities import CausalLanguageModel, Runnable
from auditkit.models.predict import predict

TIMED_TEXTS = 32
"""At most so many texts are timed."""


@dataclass(frozen=True)
class Part:
    """How many forward passes of a row an auditor makes, and how long they take; None where that is not known."""

    auditor: str
    passes: float
    seconds: float | None


@dataclass(frozen=True)
class Plan:
    """What was guessed about the model, what each auditor will do, and which do not run, with the reason.

    `unplanned` are the auditors that run although their passes could not be counted, with the error. `measured` says
    whether the operations of a row were measured, and not counted. `row_count` rows are audited, and `row_seconds` is
    how long one takes on its way through the model, None where that is not known.
    """

    effort: str
    operations: int
    measured: bool
    guesses: tuple[str, ...]
    parts: tuple[Part, ...]
    idle: tuple[tuple[str, str], ...]
    unplanned: tuple[tuple[str, str], ...] = ()
    row_count: int = 0
    row_seconds: float | None = None

    def seconds_of(self, passes: float) -> float | None:
        """Return how long so many passes of a row take; None where there are none, or it is not known."""
        return None if self.row_seconds is None or not passes else passes * self.row_seconds

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
    work = subject.work
    guesses = (*subject.audited.notes, *subject.encoding)
    plan = Plan(
        effort=work.effort,
        operations=work.operations,
        measured=work.measured,
        guesses=guesses,
        parts=(),
        idle=(),
        row_count=len(subject.labels),
        row_seconds=_seconds_of_a_pass(subject),
    )
    offered = request_of(subject)
    parts, idle, unplanned = [], [], []
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
        except Exception as error:  # noqa: BLE001  # its own run tells of it, and the others still report
            unplanned.append((name, format_error(error)))
            continue
        parts.append(Part(name, passes, plan.seconds_of(passes)))
    return replace(plan, parts=tuple(parts), idle=tuple(idle), unplanned=tuple(unplanned))


def _seconds_of_a_pass(subject: Subject) -> float | None:
    """Return how long a row takes on its way through the model, by a batch of the audited rows; None without one.

    Of a causal language model a row is a text.
    """
    speaker = subject.audited.capability(CausalLanguageModel)
    if speaker is not None:
        texts = texts_of(subject.data.frame.iloc[:TIMED_TEXTS], subject.schema)
        return seconds_of_a_row(
            lambda count: functools.partial(speaker.score, texts[:count], device=subject.device),
            len(texts),
            subject.device,
        )
    if subject.audited.capability(Runnable) is None or subject.task.unpredicted is not None:
        return None

    def batch(count: int) -> Callable[[], object]:
        rows = subject.encode(slice(0, count))
        return lambda: predict(subject.model.module, rows, subject.schema, device=subject.device)

    return seconds_of_a_row(batch, len(subject.data.frame), subject.device)
