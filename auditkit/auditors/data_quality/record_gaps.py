"""What a record of the model needs so that somebody else can make it again, and what of that is not recorded."""

from __future__ import annotations

from auditkit.engine.provenance import git_state
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Evidence, Facts, Interval, Measurement
from auditkit.evidence.messages import Message

GAPS = "data.record_gap_count"


def record_gaps(subject: Subject) -> Evidence:
    """Return how many facts of the record are missing, and a table of them all."""
    facts = recorded(subject)
    missing = [name for name, value in facts if value is None]
    level = subject.conf_level
    measurement = Measurement(
        id=GAPS,
        value=float(len(missing)),
        unit="count",
        better="lower",
        count=len(subject.data.frame),
        interval=Interval(low=len(missing), high=len(missing), level=level, method=Message("exact: a count of facts")),
        definition=Message(
            "facts that are not recorded, of {count} by which the model can be made again", count=len(facts)
        ),
    )
    table = Facts(
        title=Message("What the record holds"),
        rows=tuple((name, Message("not recorded") if value is None else value) for name, value in facts),
    )
    notes = [Message("The record lacks: {missing}.", missing=missing)] if missing else []
    return Evidence(measurements=[measurement], exhibits=[table], notes=notes)


def recorded(subject: Subject) -> list[tuple[Message, str | None]]:
    """Return the facts that a record should hold, each with its value or None; of a model's, where there is one."""
    commit, changed = git_state()
    revision = commit if commit is None or not changed else Message("{commit}, with changes", commit=commit)
    facts: list[tuple[Message, str | None]] = [
        (Message("sha256 of the audited data"), subject.data.sha256),
        (Message("git revision"), revision),
    ]
    info = subject.audited.info
    if info is None:
        return facts
    card, training = subject.card, subject.training
    trained = {} if card is None else card.training
    seed, of_data = trained.get("seed"), trained.get("sha256") or (training.sha256 if training is not None else None)
    return [
        (Message("sha256 of the model"), info.sha256),
        (Message("sha256 of the training data"), None if of_data is None else str(of_data)),
        (Message("seed of the training"), None if seed is None else str(seed)),
        *facts,
    ]
