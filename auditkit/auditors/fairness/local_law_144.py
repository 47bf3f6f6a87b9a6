"""The tables of New York City's Local Law 144 (6 RCNY 5-300 to 5-304): rates and impact ratios by category."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from auditkit.errors import InputError

SMALL_SHARE = 0.02
"""A category with less than this share of the data may be left out of the ratios, with a justification."""


@dataclass(frozen=True)
class ImpactRow:
    """One category: `impact_ratio` is its rate over the highest; None where undefined, with the reason.

    `share` is of all rows, the unknown included; `small` says that it is under 2 %, `left_out` that the auditor
    left it out of the ratios for that, and its count and rate stand all the same.
    """

    category: str
    applicant_count: int
    selected_count: int | None
    rate: float | None
    share: float
    impact_ratio: float | None
    small: bool
    left_out: bool
    reason: str


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
    categories: Iterable[tuple[str, int | None, int]],
    *,
    unknown: Collection[str] = ("(missing)",),
    left_out: Collection[str] = (),
    withheld_count: int = 0,
) -> ImpactTable:
    """Return selection rates and impact ratios: `rate_c = selected_c / n_c`, `ratio_c = rate_c / max(rate)`.

    `categories` are (name, selected, n); selected is None where a report withholds it. Categories named in
    `unknown` (or one of whose crossed values is) are counted and take no part. The same arithmetic serves scoring
    rates, where `selected` counts the rows above the median score of all. There is no pass mark: the law sets none.

    Raises:
        InputError: `left_out` names a category that has 2 % of the rows or more, or none.

    >>> table = impact_table(("sex",), [("Female", 30, 100), ("Male", 80, 200), ("(missing)", 5, 20)])
    >>> [(row.category, row.rate, round(row.impact_ratio, 4)) for row in table.rows], table.unknown_count
    ([('Female', 0.3, 0.75), ('Male', 0.4, 1.0)], 20)
    """
    every = list(categories)
    total = sum(count for _, _, count in every) + withheld_count
    hidden = {name for name, _, _ in every if name in unknown or any(part in unknown for part in name.split(" & "))}
    known = [(name, selected, count) for name, selected, count in every if name not in hidden]
    shares = {name: count / total for name, _, count in known if total}
    for name in left_out:
        if name not in shares:
            raise InputError(f"left_out names {name!r}, which is no category of {' & '.join(by)}.")
        if shares[name] >= SMALL_SHARE:
            raise InputError(
                f"left_out names {name!r}, which holds {shares[name]:.1%} of the rows; only a category under 2 % may "
                "be left out."
            )
    rates = {
        name: selected / count for name, selected, count in known if selected is not None and count and name in shares
    }
    compared = [rate for name, rate in rates.items() if name not in left_out]
    highest = max(compared, default=None)
    rows = []
    for name, selected, count in known:
        rate = rates.get(name)
        ratio, reason = None, ""
        if name in left_out:
            reason = "left out of the ratios: under 2 % of the rows"
        elif rate is None:
            reason = "withheld in the report: too few rows" if selected is None else "no rows"
        elif not highest:
            reason = "no category has anyone selected"
        else:
            ratio = rate / highest
        small = shares.get(name, 0.0) < SMALL_SHARE
        rows.append(
            ImpactRow(name, count, selected, rate, shares.get(name, 0.0), ratio, small, name in left_out, reason)
        )
    return ImpactTable(
        by, tuple(rows), highest, total, sum(count for name, _, count in every if name in hidden), withheld_count
    )
