"""Where the model errs most: slices of one or two columns, found on one half of the rows and confirmed on the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.weak_spots.search import PAIRED_COLUMNS, Search, WeakSpot, search_weak_spots
from auditkit.data.groups import MAXIMUM_VALUES, GroupedColumn, grouped_columns
from auditkit.engine.subject import Subject
from auditkit.errors import InputError, NotRun
from auditkit.evidence.measurement import Column, Evidence, Group, Interval, Measurement, Slice, SliceChart, Table
from auditkit.evidence.messages import Message, number, span
from auditkit.stats.intervals import needs_exact, newcombe, proportion_interval
from auditkit.stats.rates import rate_intervals

SOURCE = Message("exact hypergeometric test on held-out rows, Holm-corrected (Holm 1979)")
ALL_SPOTS = ("slice",)


@dataclass(frozen=True, kw_only=True)
class WeakSpots:
    """The slices of one or two columns, sensitive or not, in which the model is wrong most often.

    `quantiles` is the number of ranges that a column of numbers is put into. In a regression, the tenth of the rows
    that the model misses by most counts as wrong; of several labels a row is wrong where one of them is.
    """

    quantiles: int = 5

    requires: ClassVar = ("predictions", "labels")
    multilabel: ClassVar = True
    measures: ClassVar = ("weak_spots.error_rate", "weak_spots.excess_error_rate", "weak_spots.row_share")

    def __post_init__(self) -> None:
        """Refuse fewer than 2 quantiles."""
        if not 2 <= self.quantiles <= 100:
            raise InputError(f"quantiles must lie between 2 and 100, got {self.quantiles}; 5 is usual.")

    def audit(self, subject: Subject) -> Evidence:
        """Search on a random half of the rows, and test what was found on the other."""
        frame = subject.data.frame
        left_out = (*subject.schema.targets, *subject.decision_columns)
        columns, omitted = grouped_columns(frame, leave_out=left_out, quantiles=self.quantiles)
        if not columns:
            raise NotRun(Message("no column has between 2 and 100 groups"))
        errors, wrong = _errors(subject)
        if len(errors) < 4 * subject.min_group:
            raise NotRun(
                Message(
                    "two halves with slices of {min_group} rows need more than {errors_count} rows",
                    min_group=subject.min_group,
                    errors_count=len(errors),
                )
            )
        search = search_weak_spots(
            [column.codes for column in columns],
            errors,
            seed=subject.seed,
            min_group=subject.min_group,
            progress=subject.progress,
        )
        spots = search.confirmed(subject.conf_level)
        groups = [_group(spot, columns) for spot in spots]
        level = 1 - (1 - subject.conf_level) / max(len(search.proposed), 1)
        notes = [
            Message(
                "{columns_count} columns gave {slice_count:,} slices of at least {min_group} rows. One "
                "random half of the rows proposed {proposed_count} of them; the other half ({row_count:,} "
                "rows) confirmed {spots_count}. Rates and counts are those of the confirming half.",
                columns_count=len(columns),
                slice_count=search.slice_count,
                min_group=subject.min_group,
                proposed_count=len(search.proposed),
                row_count=search.row_count,
                spots_count=len(spots),
            )
        ]
        if omitted:
            notes.append(
                Message(
                    "Not searched, for over {maximum_values} different texts: {omitted}.",
                    maximum_values=MAXIMUM_VALUES,
                    omitted=omitted,
                )
            )
        if len(columns) > PAIRED_COLUMNS:
            notes.append(
                Message(
                    "Only the {paired_columns} columns with the worst slices of their own were crossed in pairs.",
                    paired_columns=PAIRED_COLUMNS,
                )
            )
        return Evidence(
            measurements=_measurements(search, spots, groups, level, subject, columns),
            exhibits=_exhibits(search, spots, [group.text for group in groups], level, wrong, subject.conf_level),
            notes=notes,
        )


def _group(spot: WeakSpot, columns: list[GroupedColumn]) -> Group:
    """Return a weak spot as the group that it is: its columns, and of each the phrase that a reader sees."""
    return Group(
        by=tuple(columns[column].name for column, _ in spot.where),
        key=tuple(columns[column].phrases[code] for column, code in spot.where),
    )


def _errors(subject: Subject) -> tuple[NDArray[np.bool_], str]:
    """Return where the model is wrong, and how to say so."""
    errors = subject.task.errors(subject.rows)
    if errors.dtype == np.bool_:
        return errors, subject.task.wrong
    most = float(np.quantile(errors, 0.9))
    return errors > most, Message("off by more than {most:.4g}", most=most)


def _measurements(
    search: Search,
    spots: list[WeakSpot],
    groups: list[Group],
    level: float,
    subject: Subject,
    columns: list[GroupedColumn],
) -> list[Measurement]:
    nothing = (
        None
        if spots
        else Message("none of {proposed_count} proposed slices was confirmed", proposed_count=len(search.proposed))
    )
    covered = int(_inside(spots, columns, len(subject.labels))[search.confirming].sum())
    worst = spots[0] if spots else None
    excess, interval = (None, None) if worst is None else _excess(search, worst, level, subject.conf_level)
    return [
        Measurement(
            id="weak_spots.row_share",
            value=covered / search.row_count,
            unit="share",
            better="lower",
            count=search.row_count,
            interval=rate_intervals(np.array([covered]), np.array([search.row_count]), subject.conf_level)[0],
            definition=SOURCE,
        ),
        Measurement(
            id="weak_spots.excess_error_rate",
            value=excess,
            unit="rate_difference",
            better="lower",
            count=search.row_count if worst is None else worst.row_count,
            interval=interval,
            definition=SOURCE,
            reason=nothing,
        ),
        Measurement(
            id="weak_spots.error_rate",
            by=ALL_SPOTS,
            unit="rate",
            better="lower",
            count=search.row_count,
            slices=_rates(search, spots, groups, level, subject.conf_level),
            definition=SOURCE,
            reason=nothing,
        ),
    ]


def _inside(spots: list[WeakSpot], columns: list[GroupedColumn], row_count: int) -> NDArray[np.bool_]:
    """Return which rows lie in any of the weak spots."""
    inside = np.zeros(row_count, dtype=bool)
    for spot in spots:
        mask = np.ones(row_count, dtype=bool)
        for column, code in spot.where:
            mask &= columns[column].codes == code
        inside |= mask
    return inside


def _rates(
    search: Search, spots: list[WeakSpot], groups: list[Group], level: float, conf_level: float
) -> tuple[Slice, ...]:
    """Return the error rate of each weak spot, with its interval alone and, at `level`, over all proposed slices."""
    family = Message(", Bonferroni over {proposed_count} proposed slices", proposed_count=len(search.proposed))
    return tuple(
        Slice(
            group=group,
            value=spot.error_count / spot.row_count,
            count=spot.row_count,
            interval=_rate_interval(spot, conf_level, conf_level),
            simultaneous_interval=_rate_interval(spot, level, conf_level, family),
        )
        for spot, group in zip(spots, groups, strict=True)
    )


def _excess(search: Search, worst: WeakSpot, level: float, conf_level: float) -> tuple[float, Interval]:
    """Return the error rate of the worst spot minus that of all other rows, with its interval at `level`."""
    elsewhere = search.error_count - worst.error_count, search.row_count - worst.row_count
    low, high = newcombe(worst.error_count, worst.row_count, *elsewhere, level)
    method = Message("Newcombe, Bonferroni over {proposed_count} proposed slices", proposed_count=len(search.proposed))
    interval = Interval(low=float(low), high=float(high), level=conf_level, method=method)
    return worst.error_count / worst.row_count - elsewhere[0] / elsewhere[1], interval


def _exhibits(
    search: Search, spots: list[WeakSpot], names: list[str], level: float, wrong: str, conf_level: float
) -> list[Table | SliceChart]:
    overall = number(search.error_count / max(search.row_count, 1), "rate")
    if not spots:
        return []
    sentences = []
    for spot, name in zip(spots, names, strict=True):
        interval = _rate_interval(spot, level, conf_level)
        elsewhere = (search.error_count - spot.error_count) / (search.row_count - spot.row_count)
        p_value = Message("p < 0.0001") if spot.p_value < 1e-4 else Message("p = {p_value:.2g}", p_value=spot.p_value)
        sentences.append(
            (
                Message(
                    "Where {name}, the model is {wrong} on {value} of {row_count:,} records ({interval}, "
                    "{p_value}); elsewhere on {value_2}.",
                    name=name,
                    wrong=wrong,
                    value=number(spot.error_count / spot.row_count, "rate"),
                    row_count=spot.row_count,
                    interval=span(interval, "rate"),
                    p_value=p_value,
                    value_2=number(elsewhere, "rate"),
                ),
            )
        )
    return [
        SliceChart(
            title=Message("Weak spots: how often the model is wrong there"),
            note=Message(
                "On all {row_count:,} records of the confirming half the model is {wrong} on {overall}.",
                row_count=search.row_count,
                wrong=wrong,
                overall=overall,
            ),
            measurement="weak_spots.error_rate",
            by=ALL_SPOTS,
        ),
        Table(
            title=Message("Weak spots in words"),
            note=Message(
                "Simultaneous intervals over all {proposed_count} proposed slices; Holm-corrected p-values. "
                "A slice of two columns is listed only where it is clearly worse than either column alone; "
                "no two slices of the same number of columns share more than half of the smaller one's "
                "records.",
                proposed_count=len(search.proposed),
            ),
            columns=(Column(name=Message("Worst first")),),
            rows=tuple(sentences),
        ),
    ]


def _rate_interval(spot: WeakSpot, level: float, stated: float, family: str = "") -> Interval:
    low, high = proportion_interval(spot.error_count, spot.row_count, level)
    exact = bool(needs_exact(spot.error_count, spot.row_count, level))
    return Interval(
        low=float(low),
        high=float(high),
        level=stated,
        method=(Message("Clopper-Pearson") if exact else "Wilson") + family,
    )
