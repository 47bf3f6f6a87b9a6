"""The tables of New York City's Local Law 144 (6 RCNY 5-300 to 5-304): rates and impact ratios by category."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from auditkit.errors import InputError
from auditkit.evidence.measurement import shown
from auditkit.evidence.messages import Message

Key = tuple[str, ...]
SMALL_SHARE = 0.02
"""A category with less than this share of the data may be left out of the ratios, with a justification."""


@dataclass(frozen=True)
class ImpactRow:
    """One category, by its `key` of one value a column, and its impact ratio: its rate over the highest.

    The ratio is None where it is undefined, with the reason. `share` is of all rows, the unknown included; `small` says
    that it is under 2 %, `left_out` that the auditor left it out of the ratios for that, and its count and rate stand
    all the same.
    """

    key: Key
    applicant_count: int
    selected_count: int | None
    rate: float | None
    share: float
    impact_ratio: float | None
    small: bool
    left_out: bool
    reason: str

    @property
    def category(self) -> str:
        """The category as a reader sees it."""
        return shown(self.key)


@dataclass(frozen=True)
class ImpactTable:
    """The categories of one breakdown, the highest rate among them, and how many rows had an unknown category.

    `applicant_count` is of all rows: those of an unknown category, and those of categories too small to be shown
    (`withheld_count`), included.
    """

    by: tuple[str, ...]
    rows: tuple[ImpactRow, ...]
    highest_rate: float | None
    applicant_count: int
    unknown_count: int
    withheld_count: int


def impact_table(
    by: tuple[str, ...],
    categories: Iterable[tuple[Key, int | None, int]],
    *,
    unknown: Collection[str] = ("(missing)",),
    left_out: Collection[Key] = (),
    withheld_count: int = 0,
    weighted: Mapping[Key, float] | None = None,
) -> ImpactTable:
    """Return selection rates and impact ratios: `rate_c = selected_c / n_c`, `ratio_c = rate_c / max(rate)`.

    `categories` are (key, selected, n), a key with a value a column; selected is None where a report withholds it.
    Categories one of whose values is `unknown` are counted and take no part. The same arithmetic serves scoring
    rates, where `selected` counts the rows above the median score of all. There is no pass mark: the law sets none.
    Where rows have weights, `weighted` gives the rates, and selected may be None.

    Raises:
        InputError: `left_out` names a category that has 2 % of the rows or more, or none.

    >>> table = impact_table(("sex",), [(("F",), 30, 100), (("M",), 80, 200), (("(missing)",), 5, 20)])
    >>> [(row.category, row.rate, round(row.impact_ratio, 4)) for row in table.rows], table.unknown_count
    ([('F', 0.3, 0.75), ('M', 0.4, 1.0)], 20)
    """
    every = list(categories)
    total = sum(count for _, _, count in every) + withheld_count
    hidden = {key for key, _, _ in every if any(part in unknown for part in key)}
    known = [(key, selected, count) for key, selected, count in every if key not in hidden]
    shares = {key: count / total for key, _, count in known if total}
    for key in left_out:
        if key not in shares:
            raise InputError(f"left_out names {shown(key)!r}, which is no category of {shown(by)}.")
        if shares[key] >= SMALL_SHARE:
            raise InputError(
                f"left_out names {shown(key)!r}, which holds {shares[key]:.1%} of the rows; only a category under 2 % "
                "may be left out."
            )
    counted = {
        key: selected / count for key, selected, count in known if selected is not None and count and key in shares
    }
    rates = counted if weighted is None else {key: weighted[key] for key in shares if key in weighted}
    compared = [rate for key, rate in rates.items() if key not in left_out]
    highest = max(compared, default=None)
    rows = []
    for key, selected, count in known:
        rate = rates.get(key)
        ratio, reason = None, ""
        if key in left_out:
            reason = Message("left out of the ratios: under 2 % of the rows")
        elif rate is None:
            reason = Message("withheld in the report: too few rows") if selected is None else Message("no rows")
        elif not highest:
            reason = Message("no category has anyone selected")
        else:
            ratio = rate / highest
        small = shares.get(key, 0.0) < SMALL_SHARE
        rows.append(ImpactRow(key, count, selected, rate, shares.get(key, 0.0), ratio, small, key in left_out, reason))
    return ImpactTable(
        by, tuple(rows), highest, total, sum(count for key, _, count in every if key in hidden), withheld_count
    )
