"""Local Law 144's tables from what a report holds: selection and scoring rates by sex, by race, and by both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from auditkit.auditors.fairness.local_law_144 import ImpactRow, ImpactTable, impact_table
from auditkit.compliance.facts import Facts
from auditkit.compliance.framework import Role
from auditkit.errors import InputError, closest
from auditkit.evidence.measurement import Measurement, shown
from auditkit.evidence.messages import Message
from auditkit.evidence.report import Report

NAMES: dict[Role, tuple[str, ...]] = {
    "sex": ("sex", "gender"),
    "race": ("race", "ethnicity", "race_ethnicity", "race/ethnicity"),
}
"""Columns that are taken for a role where facts.toml names none."""

RateKind = Literal["selection", "scoring"]

MEASURED: dict[RateKind, str] = {"selection": "fairness.selection_rate", "scoring": "fairness.scoring_rate"}
"""The measurement that holds the rates of each kind of table."""

WEIGHTED = (
    "Rates are weighted by {weight}, so that the numbers selected do not follow from them and are left out; audit "
    "without --weight for them"
)

ROLES: tuple[tuple[Role, ...], ...] = (("sex",), ("race",), ("sex", "race"))


@dataclass(frozen=True)
class PlacedTable(ImpactTable):
    """A table of impact ratios with its roles, and the measurement in results.json that it was made from.

    `weight` is the column of the weights that the rates are weighted by, if any. A report then does not hold how many
    were selected: `selected_count` is None in every row.
    """

    kind: RateKind
    roles: tuple[Role, ...]
    pointer: str
    weight: str | None


@dataclass(frozen=True)
class ImpactTables:
    """The tables that could be made, and the columns that play each role (None where none does)."""

    columns: dict[Role, str | None]
    tables: tuple[PlacedTable, ...]

    def table(self, roles: tuple[Role, ...]) -> PlacedTable | None:
        """Return the table of selection rates of these roles, or None."""
        return next((table for table in self.tables if table.kind == "selection" and table.roles == roles), None)

    def missing(self, roles: tuple[Role, ...]) -> list[str]:
        """Say what keeps the table of these roles from being whole."""
        table = self.table(roles)
        if table is not None:
            withheld = [row.category for row in table.rows if row.rate is None]
            said: list[str] = (
                [Message("Rates withheld or undefined: {withheld}", withheld=withheld)] if withheld else []
            )
            if table.weight is not None:
                said.append(Message(WEIGHTED, weight=table.weight))
            if table.withheld_count:
                said.append(
                    Message(
                        "{withheld_count:,} rows of categories that are too small for the report to show",
                        withheld_count=table.withheld_count,
                    )
                )
            return said
        absent = [role for role in roles if self.columns[role] is None]
        if absent:
            return [
                Message(
                    "No column of the audit is known as {role} (ll144_{role}_column in facts.toml names it)", role=role
                )
                for role in absent
            ]
        return [
            Message(
                "No selection rates by {names} in this run",
                names=[str(self.columns[role]) for role in roles],
            )
        ]


def impact_tables(report: Report, facts: Facts) -> ImpactTables:
    """Return the law's tables as far as the report holds them: `selected = rate * n`, and the ratios from these.

    Of weighted rows the ratios are those of the weighted rates, and the numbers of selected are left out.

    Raises:
        InputError: `facts` names a column that is not sensitive in the report, or a category that it may not leave out.
    """
    columns: dict[Role, str | None] = {role: _column(role, report, facts) for role in NAMES}
    unknown = ("(missing)", *facts.unknown)
    left_out = facts.left_out
    tables = []
    used: set[tuple[str, ...]] = set()
    sampling = report.subject.sampling
    for kind, roles in ((kind, roles) for kind in MEASURED for roles in ROLES):
        by = tuple(str(columns[role]) for role in roles)
        found = _rates(report, kind, by) if all(columns[role] for role in roles) else None
        if found is None:
            continue
        measurement, pointer = found
        here = [key for key in left_out if any(part.group.key == key for part in measurement.slices)]
        used |= set(here)
        is_weighted = any(part.effective_count is not None for part in measurement.slices)
        weight = sampling.weight if sampling is not None and is_weighted else None
        categories = _categories(measurement, weighted=weight is not None)
        rates = {part.group.key: part.value for part in measurement.slices if part.value is not None}
        withheld = max(0, report.subject.dataset.audited_row_count - sum(count for _, _, count in categories))
        table = impact_table(
            measurement.by,
            categories,
            unknown=unknown,
            left_out=here,
            withheld_count=withheld,
            weighted=None if weight is None else rates,
        )
        tables.append(PlacedTable(**vars(table), kind=kind, roles=roles, pointer=pointer, weight=weight))
    for key in left_out:
        if tables and key not in used:
            known = [row.category for table in tables for row in table.rows]
            several = "" if len(key) > 1 else '; name one of an intersection by a list, such as ["Female", "Other"]'
            raise InputError(
                f"ll144_left_out names '{shown(key)}', which is no category{closest(shown(key), known)}{several}."
            )
    return ImpactTables(columns, tuple(tables))


def shown_ratio(row: ImpactRow) -> str:
    """Print an impact ratio as the law's example tables do, to two places; a dash where there is none."""
    return "–" if row.impact_ratio is None else f"{row.impact_ratio:.2f}"


def _column(role: Role, report: Report, facts: Facts) -> str | None:
    sensitive = report.subject.sensitive
    named = facts.answer(f"ll144_{role}_column")
    if named is not None:
        if named not in sensitive:
            raise InputError(
                f"ll144_{role}_column names '{named}', which is no sensitive column of the "
                f"report{closest(named, sensitive)}; it has {', '.join(sensitive) or 'none'}."
            )
        return named
    return next((column for column in sensitive if column.lower() in NAMES[role]), None)


def _rates(report: Report, kind: RateKind, by: tuple[str, ...]) -> tuple[Measurement, str] | None:
    for number, outcome in enumerate(report.outcomes):
        for index, measurement in enumerate(outcome.measurements):
            if measurement.id == MEASURED[kind] and sorted(measurement.by) == sorted(by):
                return measurement, f"/outcomes/{number}/measurements/{index}"
    return None


def _categories(measurement: Measurement, *, weighted: bool) -> list[tuple[tuple[str, ...], int | None, int]]:
    return [
        (part.group.key, None if weighted or part.value is None else round(part.value * part.count), part.count)
        for part in measurement.slices
    ]
