"""Waivers: who lets which finding pass, why, and until when."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from auditkit.errors import PolicyError
from auditkit.evidence.measurement import Record
from auditkit.evidence.messages import Message
from auditkit.evidence.policy import Finding, Verdict
from auditkit.evidence.scalars import By, Count, Flag, Words
from auditkit.evidence.toml_tables import parse_tables, read_text


def _day(value: object) -> object:
    """Refuse what is no plain date: a time and its zone move the last day, and a number is a day in 1970."""
    if type(value) is date or (isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value)):
        return value
    raise ValueError("must be a date without a time, such as 2027-01-31")


class Waiver(Record):
    """One finding, or those of one limit, that may pass although they do not hold, through the day `expires`.

    `by` means what it means in a limit; `slice` narrows the waiver to one group, by its value or by a list of one value
    a column, `model` to one model file. A waiver is about the bound of the value; with `regression`, about the
    regression limit instead.
    """

    id: Words
    measurement: Words
    by: By = ()
    slice: str | tuple[str, ...] | None = None
    regression: Flag = False
    model: Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")] | None = None
    owner: Words
    approver: Words
    statement: Words
    expires: Annotated[date, BeforeValidator(_day)]
    line: Count | None = None

    @model_validator(mode="after")
    def _one_value_a_column(self) -> Waiver:
        if self.slice is None or (self.by == "*" and self.slice):
            return self
        if not self.by:
            raise ValueError(f'slice needs by = ["COLUMN"], or by = "*", got {self.slice!r}')
        if len(self.key or ()) != len(self.by):
            raise ValueError(
                f"slice must be a list of one value a column of {', '.join(self.by)}, "
                f'such as ["Female", "Black"], got {self.slice!r}'
            )
        return self

    @property
    def key(self) -> tuple[str, ...] | None:
        """The values of the group that the waiver is for, None for all groups."""
        return (self.slice,) if isinstance(self.slice, str) else self.slice

    def covers(self, finding: Finding, model_sha256: str | None) -> bool:
        """Whether this waiver is about `finding` of the model with this hash, whatever the day."""
        return (
            self.measurement == finding.measurement
            and (self.by == "*" or self.by == finding.by)
            and (self.slice is None or (finding.group is not None and self.key == finding.group.key))
            and self.regression == (finding.limit.regression_at_most is not None)
            and (self.model is None or self.model == f"sha256:{model_sha256}")
        )


def read_waivers(path: str | Path) -> tuple[Waiver, ...]:
    """Read a waivers file.

    Raises:
        PolicyError: the file is missing, is not TOML, a waiver is wrong, or an id occurs twice; the message names
            the line.
    """
    text = read_text(path, "waivers", "pass --waivers FILE only where there is one.")
    return parse_waivers(text, source=str(path))


def parse_waivers(text: str, *, source: str) -> tuple[Waiver, ...]:
    """Parse the TOML `text` of a waivers file; `source` names it in messages.

    Raises:
        PolicyError: as `read_waivers`.
    """
    _, waivers = parse_tables(text, Waiver, what="waivers", key="waiver", source=source)
    first: dict[str, Waiver] = {}
    for waiver in waivers:
        if waiver.id in first:
            at = f", line {waiver.line}" if waiver.line else ""
            raise PolicyError(f"waivers {source}{at}: id '{waiver.id}' is taken by another waiver; ids are unique.")
        first[waiver.id] = waiver
    return waivers


def waive(finding: Finding, waivers: tuple[Waiver, ...], model_sha256: str | None, today: date) -> Finding:
    """Return the finding as its waiver leaves it.

    What failed, warns or is inconclusive becomes `waived` through the waiver's last day, and `fail` after it. What
    passed, was not measured, or is an error stays as it is: there is nothing that a person could vouch for.
    """
    if finding.verdict not in ("fail", "warn", "inconclusive"):
        return finding
    covering = [waiver for waiver in waivers if waiver.covers(finding, model_sha256)]
    if not covering:
        return finding
    # Of several, the one that holds longest decides.
    waiver = max(covering, key=lambda waiver: waiver.expires)
    verdict: Verdict = "waived" if today <= waiver.expires else "fail"
    if verdict == "waived":
        message = Message(
            "{finding} Waived until {day}: {statement} (waiver {id}, owner {owner}, approved by {approver}).",
            finding=finding.message,
            day=waiver.expires.isoformat(),
            statement=waiver.statement.rstrip("."),
            id=waiver.id,
            owner=waiver.owner,
            approver=waiver.approver,
        )
    else:
        message = Message(
            "{finding} Waiver {id} of {owner} expired on {day}: fail.",
            finding=finding.message,
            id=waiver.id,
            owner=waiver.owner,
            day=waiver.expires.isoformat(),
        )
    return finding.model_copy(update={"verdict": verdict, "waiver": waiver.id, "message": message})
