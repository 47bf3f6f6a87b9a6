"""Third-party auditors: one that works, one that crashes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from auditkit import Evidence, InputError, Measurement, Subject


@dataclass(frozen=True, kw_only=True)
class LabelBalance:
    """The share of rows of the rarest class."""

    least_rows: int = 1

    requires: ClassVar = ("labels",)
    measures: ClassVar = ("label_balance.rarest_class_share",)

    def __post_init__(self) -> None:
        if self.least_rows < 1:
            raise InputError(f"least_rows must be at least 1, got {self.least_rows}.")

    def audit(self, subject: Subject) -> Evidence:
        shares = [float((subject.labels == code).mean()) for code in range(len(subject.schema.classes))]
        measurement = Measurement(
            id="label_balance.rarest_class_share",
            value=min(shares),
            unit="share",
            better="neither",
            count=len(subject.labels),
            source="a plugin",
        )
        return Evidence(measurements=[measurement])


@dataclass(frozen=True, kw_only=True)
class Crashing:
    """Fails in the middle of its work, as plugins do."""

    def audit(self, subject: Subject) -> Evidence:
        raise ZeroDivisionError(f"planted, with {len(subject.labels)} rows")
