"""The names of breakdowns in words: those that auditors made are translated, those of the data's columns never are."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from auditkit.evidence.measurement import quoted
from auditkit.evidence.messages import Message

OWN_BREAKDOWNS = {
    "attack": Message("attack"),
    "bias_type": Message("bias type"),
    "class": Message("class"),
    "column": Message("column"),
    "condition": Message("condition"),
    "group": Message("group"),
    "input": Message("input"),
    "label": Message("label"),
    "pair": Message("pair"),
    "phrase": Message("phrase"),
    "region": Message("region"),
    "repetitions": Message("repetitions"),
    "retraining": Message("retraining"),
    "scoring": Message("scoring"),
    "sensitive_column": Message("sensitive column"),
    "slice": Message("slice"),
    "swap": Message("swap"),
    "test": Message("test"),
    "word": Message("word"),
    "words": Message("words"),
}
"""Breakdowns that auditors name; where the data have a column of the name, it is the column."""

OF_AUDITORS: dict[str, frozenset[str]] = {
    "bias": frozenset({"bias_type", "condition", "group", "scoring", "swap", "test", "words"}),
    "data": frozenset({"column"}),
    "explainability": frozenset({"column", "pair", "phrase", "region", "sensitive_column", "word"}),
    "leakage": frozenset({"attack", "column"}),
    "memorisation": frozenset({"attack", "repetitions"}),
    "privacy": frozenset({"retraining"}),
    "robustness": frozenset({"input"}),
    "synthetic": frozenset({"column"}),
    "weak_spots": frozenset({"slice"}),
}
"""Breakdowns that no column of the data can be taken for in the measurements of an auditor."""


def breakdown_words(by: Sequence[str], own: Collection[str]) -> Message:
    """Return the columns of a breakdown as a reader sees them, where `own` are names that auditors made.

    >>> breakdown_words(("column", "sex"), {"column"}), breakdown_words(("R & D", "column"), ())
    ('column & sex', '"R & D" & column')
    """
    names = [OWN_BREAKDOWNS[part] if part in own and part in OWN_BREAKDOWNS else name for part, name in _named(by)]
    said = Message("{name}", name=names[0])
    for name in names[1:]:
        said = Message("{first} & {second}", first=said, second=name)
    return said


def breakdown_of(measurement_id: str, by: Sequence[str]) -> Message:
    """Return the columns of a measurement's breakdown as a reader sees them.

    >>> breakdown_of("privacy.epsilon", ("retraining",)), breakdown_of("fairness.selection_rate", ("sex", "race"))
    ('retraining', 'sex & race')
    """
    return breakdown_words(by, _own(measurement_id))


def is_of_auditor(measurement_id: str, by: Sequence[str]) -> bool:
    """Return whether the auditor named all columns of a breakdown, so that its parts are no groups of people.

    >>> is_of_auditor("privacy.epsilon", ("retraining",)), is_of_auditor("fairness.selection_rate", ("sex",))
    (True, False)
    """
    return _own(measurement_id).issuperset(by)


def _own(measurement_id: str) -> frozenset[str]:
    return OF_AUDITORS.get(measurement_id.partition(".")[0], frozenset())


def _named(by: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(by, quoted(by), strict=True))
