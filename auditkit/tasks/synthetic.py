"""The task of synthetic records: a table that a generator made, whose columns may include the label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from auditkit.evidence.messages import Message
from auditkit.tasks.generation import Generation


@dataclass(frozen=True)
class Synthetic(Generation):
    """Rows of a file that a generator made, held against the real rows of the data set."""

    unpredicted: ClassVar[Message | None] = Message("these are synthetic records, and no model that predicts")
    profile: ClassVar[str] = "synthetic-data"
