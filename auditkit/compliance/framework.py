"""A framework as data: its clauses, and what of a report is evidence for each."""

from __future__ import annotations

from datetime import date
from importlib import resources
from typing import Literal

from auditkit import plugins
from auditkit.documents import parse_toml
from auditkit.errors import InputError
from auditkit.evidence.measurement import Record
from auditkit.evidence.messages import Message

Source = Literal["primary", "secondary"]

SOURCES: dict[Source, str] = {
    "primary": "",
    "secondary": Message("from a secondary source; verify"),
}
"""What is said beside a statement about a law or standard, by how auditkit came to it."""

Part = Literal[
    "policy",
    "findings",
    "model",
    "dataset",
    "training_dataset",
    "sensitive",
    "notes",
    "schema",
    "created",
    "environment",
    "unknown",
    "small_categories",
]
"""A part of a report, other than its measurements, that can be evidence."""

Role = Literal["sex", "race"]


class Clause(Record):
    """One row of a framework.

    `measurements` are patterns of ids (`a|b`: either, such as of a classification or of a regression), `exhibits`
    patterns of `id.key` over the rows of the report's facts, `record` parts of the report, `impact` the columns (by
    role) of a table of impact ratios: evidence that a run can hold.
    `facts` are what only people can state. `beyond` says what the clause asks that no run can show: with it, the
    clause is never more than partly evidenced.
    """

    id: str
    topic: str
    source: Source = "primary"
    measurements: tuple[str, ...] = ()
    exhibits: tuple[str, ...] = ()
    record: tuple[Part, ...] = ()
    impact: tuple[Role, ...] = ()
    facts: tuple[str, ...] = ()
    beyond: str = ""


class Framework(Record):
    """A law, standard or guideline, and when this account of it was made.

    `text_at` is the address of a published text, and `checked` the day on which the clauses were read there. Whether
    the text applies at all may turn on a `question` that only people can answer, in facts.toml under `question_fact`.
    `only_tasks` are the tasks of a model that it applies to; empty for any.
    """

    key: str
    name: str
    title: str
    status: str
    status_source: Source = "primary"
    applies_from: str
    applies_from_source: Source = "primary"
    as_of: date
    note: str
    text_at: str = ""
    checked: date | None = None
    question: str = ""
    question_fact: str = ""
    only_tasks: tuple[str, ...] = ()
    clause: tuple[Clause, ...]


def installed() -> list[str]:
    """Return the names of the installed frameworks: auditkit's own, then those of other packages."""
    return list(plugins.installed("frameworks"))


def load_framework(key: str) -> Framework:
    """Return the framework of this name.

    An entry point of the group `auditkit.frameworks` names the package in which `<its name>.toml` lies.

    Raises:
        InputError: an unknown name, or a package without the file.
    """
    package = plugins.load("frameworks", key)
    file = resources.files(package).joinpath(f"{key}.toml")
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"framework '{key}': {package.__name__} has no {key}.toml.") from error
    return Framework.model_validate({"key": key, **parse_toml(text)})
