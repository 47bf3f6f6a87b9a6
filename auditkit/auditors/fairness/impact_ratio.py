"""Who is selected how often, against the group that is selected most: impact ratios, and Fisher's exact test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.fairness.local_law_144 import ImpactRow, ImpactTable, impact_table
from auditkit.evidence.measurement import Column, Group, Interval, Measurement, Slice, Table, shown
from auditkit.evidence.messages import Message, bounds
from auditkit.stats.counts import MISSING, Counts, not_compared
from auditkit.stats.hypergeometric import fisher_exact
from auditkit.stats.intervals import newcombe, ratio_to_highest_interval
from auditkit.stats.rates import (
    FEW_CLUSTERS,
    ONE_CLUSTER,
    GroupRates,
    group_rates,
    rate,
    rate_measurement,
    successes_and_trials,
    too_small,
)

FOUR_FIFTHS = 0.8
PAIRS_METHOD = Message("Donner-Zou with mid-P limits of weight 0.6")
RATE_OF = {"selection": Message("selection rate"), "scoring": Message("scoring rate")}
"""The rate of which a ratio is taken, by its name in an id."""
Key = tuple[str, ...]


def known_groups(counts: Counts, min_group: int) -> NDArray[np.intp]:
    """Return the positions of the groups that are shown and whose category is known in every column."""
    return np.flatnonzero(~not_compared(counts.sizes, min_group, counts.groups))


def impact_ratio_measurement(
    counts: Counts,
    *,
    of: str = "selection",
    prefix: str = "fairness",
    level: float = 0.95,
    min_group: int = 10,
) -> Measurement:
    """Return each group's selection rate over the highest group's, as `prefix.impact_ratio`: 1 is ideal.

    As in New York City's Local Law 144 (6 RCNY 5-301) and the four-fifths rule (29 CFR 1607.4(D)); neither makes
    a number a pass. Rows of an unknown category are no group. The intervals hold for all groups at once, the choice
    of the highest included. With `of="scoring"` the table counts rows above the median score, not selected ones,
    and the id is `prefix.scoring_impact_ratio`.
    """
    known = known_groups(counts, min_group)
    rates = group_rates(counts, "selection_rate", known)
    enough = np.flatnonzero(rates.enough(min_group))
    slices: list[Slice] = []
    reason = None
    if len(known) < 2:
        reason = too_small(min_group)
    elif len(enough) < 2:
        reason = FEW_CLUSTERS
    elif not rates.hits.any():
        reason = Message("no group has anyone selected, and 0 / 0 is no ratio")
    else:
        slices = _ratios_to_highest([counts.group(group) for group in known[enough]], rates.take(enough), level)
    return Measurement(
        id=f"{prefix}.impact_ratio" if of == "selection" else f"{prefix}.{of}_impact_ratio",
        by=counts.columns,
        unit="ratio",
        better="higher",
        count=int(rates.counts.sum()),
        slices=tuple(slices),
        definition=Message("6 RCNY 5-301 ({rate} over the highest)", rate=RATE_OF[of]),
        reason=reason,
    )


def _ratios_to_highest(groups: Sequence[Group], rates: GroupRates, level: float) -> list[Slice]:
    """Return each group's rate over the highest, as the slices of two groups or more."""
    low, high = ratio_to_highest_interval(
        rates.successes, rates.trials, level, freedom=rates.freedom, related=rates.related
    )
    family = (
        Message(", upper end for all pairs of {known_count} groups at once", known_count=len(groups))
        if len(groups) > 2
        else ""
    )
    slices = []
    for position, group in enumerate(groups):
        value = float(rates.values[position] / rates.values.max())
        interval = Interval(
            low=min(float(low[position]), value),
            high=max(float(high[position]), value),
            level=level,
            method=rates.stated(PAIRS_METHOD) + family,
        )
        slices.append(
            Slice(
                group=group,
                value=value,
                count=int(rates.counts[position]),
                effective_count=rates.effective(position),
                interval=interval,
                simultaneous_interval=interval,
            )
        )
    return slices


def scoring_rate_measurement(
    counts: Counts, *, prefix: str = "fairness", level: float = 0.95, min_group: int = 10
) -> Measurement:
    """Return the share of each group whose score is strictly above the median of all rows (6 RCNY 5-301).

    `counts` hold, as predictions, whether a row's score is above the median.
    """
    measurement = rate_measurement(counts, "selection_rate", prefix=prefix, level=level, min_group=min_group)
    definition = Message("6 RCNY 5-301: share of the group above the median score of all rows")
    return measurement.model_copy(update={"id": f"{prefix}.scoring_rate", "definition": definition})


def fisher_measurement(
    counts: Counts, *, reference: Key | None = None, prefix: str = "fairness", min_group: int = 10
) -> Measurement:
    """Return Fisher's exact p (two-sided) of each group's selection against that of the reference group.

    Without a `reference`, against the group with the highest rate. The p values are of one comparison each: they
    allow neither for their number nor for the choice of the highest group.
    """
    known = known_groups(counts, min_group)
    successes, trials = successes_and_trials(counts.table[known], "selection_rate")
    keys = [counts.groups[group] for group in known]
    slices: list[Slice] = []
    reason = too_small(min_group) if len(known) < 2 else None
    if reference is not None and reference not in keys:
        reason = Message("the reference group {shown} is not among the groups that are shown", shown=shown(reference))
    if reason is None:
        highest = int(np.argmax(group_rates(counts, "selection_rate", known).values))
        against = keys.index(reference) if reference is not None else highest
        for position, key in enumerate(keys):
            if position != against:
                own, other = (
                    (int(successes[place]), int(trials[place] - successes[place])) for place in (position, against)
                )
                p = fisher_exact(own, other)
                count = int(trials[position] + trials[against])
                slices.append(Slice(group=Group(by=counts.columns, key=key), value=p, count=count))
        definition = Message(
            "Fisher's exact test, two-sided, against {shown}; not adjusted", shown=shown(keys[against])
        )
    return Measurement(
        id=f"{prefix}.fisher_exact_p",
        by=counts.columns,
        unit="number",
        better="neither",
        count=int(trials.sum()),
        slices=tuple(slices),
        definition=definition if reason is None else Message("Fisher's exact test"),
        reason=reason,
    )


def reference_measurement(
    counts: Counts, name: str, reference: Key, *, prefix: str = "fairness", level: float = 0.95, min_group: int = 10
) -> Measurement:
    """Return each group's rate minus the reference group's: `prefix.NAME_difference_from_reference`, ideal 0.

    Newcombe's interval for each group, and one at Bonferroni's level over all groups but the reference.
    """
    chosen = rate(name)
    kept = np.flatnonzero(~not_compared(counts.sizes, min_group, counts.groups))
    rates = group_rates(counts, name, kept)
    keys = [counts.groups[group] for group in kept]
    enough = rates.enough(min_group)
    slices: list[Slice] = []
    reason: str | None = None
    if reference not in keys or not enough[keys.index(reference)]:
        needed = Message(" with {needed}", needed=chosen.needed) if chosen.needed else ""
        reason = Message(
            "the reference group {shown} has fewer than {min_group} rows{needed}, or is not shown",
            shown=shown(reference),
            min_group=min_group,
            needed=needed,
        )
    else:
        against, family = keys.index(reference), int(enough.sum()) - 1
        few = Message(
            "fewer than {min_group} rows with {needed} in this group", min_group=min_group, needed=chosen.needed
        )
        for position, key in enumerate(keys):
            group = Group(by=counts.columns, key=key)
            if position != against and enough[position]:
                slices.append(_difference(rates, group, position, against, level=level, family=family))
            elif position != against:
                why = ONE_CLUSTER if rates.counts[position] >= max(min_group, 1) else few
                slices.append(Slice(group=group, value=None, count=int(rates.counts[position]), reason=why))
        reason = None if slices else too_small(min_group)
    return Measurement(
        id=f"{prefix}.{name}_difference_from_reference",
        by=counts.columns,
        unit="rate_difference",
        better="neither",
        count=int(rates.counts.sum()),
        slices=tuple(slices),
        definition=Message("{definition} minus that of {group}", definition=chosen.definition, group=shown(reference)),
        reason=reason,
    )


def _difference(rates: GroupRates, group: Group, own: int, other: int, *, level: float, family: int) -> Slice:
    """Return one group's rate minus another's, by their places, as the slice of the group."""
    return Slice(
        group=group,
        value=float(rates.values[own]) - float(rates.values[other]),
        count=int(rates.counts[own] + rates.counts[other]),
        effective_count=None if rates.is_simple else float(rates.trials[[own, other]].sum()),
        interval=_difference_interval(rates, own, other, level),
        simultaneous_interval=_difference_interval(rates, own, other, level, family),
    )


def _difference_interval(rates: GroupRates, own: int, other: int, level: float, family: int = 1) -> Interval:
    """Return the interval of one group's rate minus another's, at Bonferroni's level over `family` of them."""
    low, high = newcombe(
        rates.successes[own],
        rates.trials[own],
        rates.successes[other],
        rates.trials[other],
        level if family == 1 else 1 - (1 - level) / family,
        freedom=(float(rates.freedom[own]), float(rates.freedom[other])),
        related=0.0 if rates.is_simple else float(rates.related[own, other]),
    )
    method = rates.stated(Message("Newcombe with mid-P limits of weight 0.6"))
    method += Message(", Bonferroni over {among} groups", among=family) if family > 1 else ""
    return Interval(low=float(low), high=float(high), level=level, method=method)


def _tabled(counts: Counts, min_group: int) -> ImpactTable:
    visible = ~not_compared(counts.sizes, min_group, counts.groups)
    selected = counts.table[:, :, 1].sum(axis=1)
    return impact_table(
        counts.columns,
        [
            (key, int(selected[group]) if visible[group] else None, int(counts.sizes[group]))
            for group, key in enumerate(counts.groups)
        ],
        unknown=(MISSING,),
    )


def impact_exhibit(
    selection: Counts,
    scoring: Counts | None,
    measured: Mapping[str, Measurement],
    *,
    explained: bool = True,
    min_group: int = 10,
) -> Table:
    """Return the table that a Local Law 144 bias audit publishes for one breakdown, with intervals and Fisher's p.

    `measured` are the measurements of this breakdown by the last part of their id. Groups that are hidden are
    counted in one line; the unknown are counted below, and take no part. `explained` says in the note what
    the columns mean.
    """
    table = _tabled(selection, min_group)
    above = {row.key: row for row in _tabled(scoring, min_group).rows} if scoring is not None else {}
    shown_rows = [row for row in table.rows if row.selected_count is not None]
    p_values = {part.group.key: part.value for part in measured["fisher_exact_p"].slices}
    known = [selection.groups[position] for position in known_groups(selection, min_group)]
    against = [shown(key) for key in known if key not in p_values]
    note: str = ""
    if explained:
        note = Message(
            "Each rate over the highest one, as in New York City's Local Law 144 (6 RCNY 5-301), which "
            "sets no limit; four fifths is a rule of thumb (29 CFR 1607.4(D)). Fisher's p is for one "
            "comparison, {words}. ",
            words=Message("against {group}", group=against[0]) if p_values else Message("not made"),
        )
        note += Message("Scoring rate: the share above the median score of all rows. ") if above else ""
    if selection.sampled is not None:
        note += Message(
            "Rates and ratios are weighted, and their intervals allow for weights and clusters; n, the number selected "
            "and Fisher's p count rows. "
        )
    return Table(
        title=Message("Selection and impact ratios by {shown}", shown=shown(selection.columns)),
        note=_with_left_out(note, table),
        columns=_columns(shown(selection.columns), with_scores=bool(above)),
        rows=tuple(_row(row, measured, above.get(row.key)) for row in shown_rows),
    )


def _columns(groups: str, *, with_scores: bool) -> tuple[Column, ...]:
    """Return the columns of the table: what names the groups comes first."""
    columns = (
        Column(name=groups),
        Column(name="n", unit="rows"),
        Column(name=Message("Share of rows"), unit="rate"),
        Column(name=Message("Selected"), unit="rows"),
        Column(name=Message("Selection rate"), unit="rate"),
        Column(name=Message("Impact ratio"), unit="ratio"),
        Column(name=Message("Interval (all at once)")),
        Column(name=Message("Against four fifths")),
        Column(name=Message("Fisher's exact p"), unit="number"),
    )
    if not with_scores:
        return columns
    scoring = Column(name=Message("Scoring rate"), unit="rate")
    return (*columns, scoring, Column(name=Message("Scoring impact ratio"), unit="ratio"))


def _row(
    row: ImpactRow, measured: Mapping[str, Measurement], above: ImpactRow | None
) -> tuple[str | float | None, ...]:
    """Return the cells of a group that is shown; `above` is its row of the table of scores, if there is one."""
    rates, ratios, scoring_rates, scoring_ratios, p_values = (
        _values(measured.get(name))
        for name in ("selection_rate", "impact_ratio", "scoring_rate", "scoring_impact_ratio", "fisher_exact_p")
    )
    interval = {part.group.key: part.interval for part in measured["impact_ratio"].slices}.get(row.key)
    ratio = ratios.get(row.key, row.impact_ratio)
    cells = (
        row.category,
        row.applicant_count,
        row.share,
        row.selected_count,
        rates.get(row.key, row.rate),
        ratio,
        bounds(interval, "ratio") if interval else None,
        _against_four_fifths(ratio, interval),
        _shown_p(p_values.get(row.key)),
    )
    if above is None:
        return cells
    return (*cells, scoring_rates.get(row.key, above.rate), scoring_ratios.get(row.key, above.impact_ratio))


def _with_left_out(note: str, table: ImpactTable) -> str:
    """Return a note that also says how many rows take no part, which groups are small, and how many are hidden."""
    hidden = [row for row in table.rows if row.selected_count is None]
    small = [row.category for row in table.rows if row.small and row.selected_count is not None]
    note += Message("Unknown category: {unknown_count:,} rows, outside the ratios.", unknown_count=table.unknown_count)
    note += (
        Message(" Under 2 % of the rows: {small}; these may be left out with a justification.", small=small)
        if small
        else ""
    )
    note += (
        Message(
            " Not shown: {hidden_count} categories ({hidden_rows:,} rows).",
            hidden_count=len(hidden),
            hidden_rows=sum(row.applicant_count for row in hidden),
        )
        if hidden
        else ""
    )
    return note


def _values(measurement: Measurement | None) -> dict[Key, float | None]:
    return {} if measurement is None else {part.group.key: part.value for part in measurement.slices}


def _shown_p(p_value: float | None) -> str | float | None:
    return "< 0.0001" if p_value is not None and p_value < 1e-4 else p_value


def _against_four_fifths(value: float | None, interval: Interval | None) -> str | None:
    if value is None or interval is None:
        return None
    side = Message("below") if value < FOUR_FIFTHS else Message("not below")
    settled = interval.high < FOUR_FIFTHS or interval.low >= FOUR_FIFTHS
    return side if settled else Message("{side} (not enough data)", side=side)


def above_median(scores: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> NDArray[np.int64]:
    """Return 1 for each score strictly above the median of all, by their weights if they have any: int64, (rows,)."""
    if weights is None:
        return (scores > np.median(scores)).astype(np.int64)
    order = np.argsort(scores, kind="stable")
    share = np.cumsum(weights[order]) / weights.sum()
    middle = scores[order][int(np.searchsorted(share, 0.5))]
    return np.asarray(scores > middle, dtype=np.int64)
