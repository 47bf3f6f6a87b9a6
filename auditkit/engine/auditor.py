"""Auditors: frozen dataclasses whose fields are their settings and whose `audit` returns Evidence.

Built-in and third-party auditors are found the same way: the entry-point group `auditkit.auditors`, where the
entry point's name is the auditor's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from auditkit import plugins

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from auditkit.engine.subject import Subject
    from auditkit.evidence.measurement import Evidence


@runtime_checkable
class Auditor(Protocol):
    """What an auditor looks like; nothing inherits from it.

    A class may declare `requires` (see auditkit.engine.requirements) and `measures`, the ids that it can emit: a policy
    that names another id of this auditor is then refused before the run. Only one whose `multilabel` is true is
    given a multi-label subject, whose labels and predictions have a column a label. A method `check(subject)` may
    refuse settings that do not fit the subject, by InputError, before any auditor starts. `read_from_file` holds, for
    a setting that may be stated as the path of a file, the function that reads it.
    """

    def audit(self, subject: Subject) -> Evidence:
        """Examine the subject; raise NotRun with the reason where the check does not apply."""
        ...


ORDER = (
    "data",
    "performance",
    "language",
    "weak_spots",
    "fairness",
    "proxies",
    "tradeoff",
    "explainability",
    "robustness",
    "identity_terms",
    "leakage",
    "private_training",
    "privacy",
    "generation",
    "memorisation",
    "synthetic",
    "bias",
)
"""The order of auditkit's own auditors in a report."""


def installed() -> dict[str, EntryPoint]:
    """Return the installed auditors by name, not yet loaded: auditkit's own first, then plugins by name.

    Raises:
        InputError: two packages install an auditor of one name, of which one would take the other's place unseen.
    """
    found = plugins.installed("auditors")
    own = sorted((name for name in found if name in ORDER), key=ORDER.index)
    return {name: found[name] for name in dict.fromkeys([*own, *found])}
