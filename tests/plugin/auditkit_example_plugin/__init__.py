"""Third-party auditors: two that work, one with a setting and a translated note, and one that crashes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from auditkit import Evidence, InputError, Interval, Measurement, Subject, multinomial_bootstrap
from auditkit.evidence.messages import Message


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
            definition="a plugin",
        )
        note = Message("The rarest class has at least {least_rows} rows.", least_rows=self.least_rows)
        return Evidence(measurements=[measurement], notes=[note])


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Cohen's kappa: by how much decisions agree with labels beyond chance; 1 is ideal, 0 is chance."""

    requires: ClassVar = ("labels",)
    measures: ClassVar = ("agreement.cohen_kappa",)

    def audit(self, subject: Subject) -> Evidence:
        table = np.zeros((len(subject.schema.classes),) * 2, dtype=np.int64)
        np.add.at(table, (subject.labels, subject.predictions.labels), 1)
        low, high = multinomial_bootstrap(table, cohen_kappa, seed=subject.seed, level=subject.conf_level)
        measurement = Measurement(
            id="agreement.cohen_kappa",
            value=float(cohen_kappa(table)),
            unit="number",
            better="higher",
            count=int(table.sum()),
            interval=Interval(low=float(low), high=float(high), level=subject.conf_level, method="bootstrap"),
            definition="Cohen 1960",
        )
        return Evidence(measurements=[measurement])


def cohen_kappa(table: np.ndarray) -> np.ndarray:
    """Return the kappa of tables of counts: (..., labels, decisions) to (...)."""
    shares = table / table.sum(axis=(-2, -1), keepdims=True)
    observed = np.trace(shares, axis1=-2, axis2=-1)
    by_chance = (shares.sum(axis=-1) * shares.sum(axis=-2)).sum(axis=-1)
    return (observed - by_chance) / (1 - by_chance)


@dataclass(frozen=True, kw_only=True)
class Crashing:
    """Fails in the middle of its work, as plugins do."""

    def audit(self, subject: Subject) -> Evidence:
        raise ZeroDivisionError(f"planted, with {len(subject.labels)} rows")
