"""Adverse decisions of a model over columns: their principal reasons, and what would turn them, for whom."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from auditkit.auditors.explainability import effects
from auditkit.auditors.explainability.methods_table import Explanation
from auditkit.auditors.explainability.recourse import HIGHEST, LOWEST, Recourse, find_recourse, options_of
from auditkit.auditors.explainability.statistics import keyed
from auditkit.engine.sampling import groups_of, rate_slices, sample_rows, sliced
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Column, Exhibit, Facts, Group, Interval, Measurement, Slice, SliceChart, Table
from auditkit.evidence.messages import Message
from auditkit.stats.bounded import bounded_student_interval
from auditkit.stats.intervals import simultaneous_level

RECOURSE_ROWS = 300
HIGHEST_COST = 2.0
"""The cost of changing two columns that are no numbers; a change of more columns is not tried."""
RECOURSE = Message("Ustun et al. 2019, arXiv:1809.06514: a change of one or two columns to values that occur")


def adverse_decisions(
    subject: Subject, given: Explanation, immutable: Collection[str], *, row_count: int
) -> tuple[list[Measurement], list[Exhibit]]:
    """Return the principal reasons of adverse decisions, and the recourse against them in columns not `immutable`.

    Recourse is searched for at most `row_count` of them; where that is 0, the budget does not pay for it.
    """
    explained = given.explained
    threshold = subject.schema.output_at(subject.decision_threshold)
    # As they were decided: computed once more, a value at the threshold may be rounded to its other side.
    approvals = subject.predictions.labels[sample_rows(subject, len(given.size))] == 1
    adverse, approved = np.flatnonzero(~approvals), np.flatnonzero(approvals)
    if len(adverse) < 2 or len(approved) < 2:
        return [], []
    positive, level = subject.schema.classes[-1], subject.conf_level
    against = replace(
        explained.take(adverse),
        baseline=subject.schema.mean_row(explained.inputs[approved]),
        others=explained.inputs[approved],
    )
    reasons = effects.principal_reasons(given.local(against))
    slices = rate_slices(dict(zip(keyed("column", given.columns), reasons.T, strict=True)), level)
    slices.sort(key=lambda part: -(part.value or 0.0))
    definition = Message(
        "12 CFR 1002.9(b)(2): up to four factors that cost most against the mean approved row, by {method}",
        method=given.definition,
    )
    rate = sliced("principal_reason_rate", ("column",), slices, len(adverse), "rate", definition)
    chart = SliceChart(
        title=Message("Main reasons for not being predicted {positive}", positive=positive),
        note=Message(
            "How often a column is among the four main reasons for refusal, compared with the mean approved record."
        ),
        measurement=rate.id,
        by=rate.by,
    )
    changeable = [name for name in given.columns if name not in immutable]
    if row_count == 0:
        return [rate, _not_searched(subject, changeable)], [chart]
    chosen = np.random.default_rng(subject.seed).permutation(len(adverse))[:row_count]
    more, exhibits = _recourse(subject, given, adverse[np.sort(chosen)], threshold, changeable)
    return [rate, *more], [chart, *exhibits]


def _not_searched(subject: Subject, changeable: list[str]) -> Measurement:
    """Return that no recourse was searched, since the budget does not pay for it."""
    reason = Message(
        "changes of one or two of {columns} columns would take too many passes for the budget of the effort {effort}; "
        "pass --effort thorough",
        columns=len(changeable),
        effort=subject.work.effort,
    )
    return Measurement(
        id="explainability.recourse_rate", unit="rate", better="higher", count=0, definition=RECOURSE, reason=reason
    )


def _recourse(
    subject: Subject, given: Explanation, sample: np.ndarray, threshold: float, changeable: list[str]
) -> tuple[list[Measurement], list[Exhibit]]:
    """Return the recourse of a sample of adverse decisions, given by their positions among the explained rows."""
    explained, schema, level = given.explained, subject.schema, subject.conf_level
    if not changeable:
        return [], []
    source = subject.inputs if subject.training_inputs is None else subject.training_inputs
    options = {
        feature.name: options_of(feature, source[:, explained.columns[feature.name]])
        for feature in schema.features
        if feature.name in changeable
    }
    found = find_recourse(explained.take(sample), options, changeable, threshold=threshold)
    overall = rate_slices({Group(by=("rows",), key=("all",)): found.found}, level)[0]
    measurements = [
        Measurement(
            id="explainability.recourse_rate",
            value=overall.value,
            unit="rate",
            better="higher",
            count=overall.count,
            interval=overall.interval,
            definition=RECOURSE,
        )
    ]
    exhibits: list[Exhibit] = [_turning_columns(found, changeable), _settings(subject, changeable, len(sample))]
    rows = sample_rows(subject, len(explained.inputs))[sample]
    for column in subject.sensitive:
        measurements += _recourse_by(subject, found, rows, column)
        exhibits += _recourse_charts(column)
    return measurements, exhibits


def _recourse_by(subject: Subject, found: Recourse, rows: np.ndarray, column: str) -> list[Measurement]:
    """Return how often the groups of a column have recourse, and what it costs them."""
    level = subject.conf_level
    groups = dict(groups_of(subject, rows, column, least=subject.min_group))
    rates = rate_slices({group: found.found[part] for group, part in groups.items()}, level)
    costs = _cost_slices({group: found.cost[part] for group, part in groups.items()}, subject.min_group, level)
    cost = Message("{recourse}; cost", recourse=RECOURSE)
    return [
        sliced("recourse_rate", (column,), rates, len(rows), "rate", RECOURSE),
        sliced("recourse_cost", (column,), costs, int(found.found.sum()), "number", cost),
    ]


def _recourse_charts(column: str) -> list[SliceChart]:
    return [
        SliceChart(
            title=Message("Recourse by {column}", column=column),
            note=Message(
                "The share of negative decisions that a change in one or two changeable columns would reverse."
            ),
            measurement="explainability.recourse_rate",
            by=(column,),
        ),
        SliceChart(
            title=Message("Cost of recourse by {column}", column=column),
            note=Message(
                "Among people with a feasible change: the mean cost of the smallest change. Changing a "
                "number costs the share of people whose values lie between the old and the new value; any "
                "other change costs 1."
            ),
            measurement="explainability.recourse_cost",
            by=(column,),
        ),
    ]


def _cost_slices(costs: dict[Group, np.ndarray], least: int, level: float) -> list[Slice]:
    known = {group: held[np.isfinite(held)] for group, held in costs.items()}
    known = {group: held for group, held in known.items() if len(held) >= max(least, 2)}
    slices = []
    for group, held in known.items():
        ends = [
            bounded_student_interval(held, 0.0, HIGHEST_COST, each)
            for each in (level, simultaneous_level(level, len(known)))
        ]
        alone, wide = (
            Interval(
                low=end.low,
                high=end.high,
                level=level,
                method=Message("Student's t over rows{family}", family=family) + end.joined,
            )
            for end, family in zip(
                ends, ("", Message(", Sidak over {known_count}", known_count=len(known))), strict=True
            )
        )
        slices.append(
            Slice(group=group, value=float(held.mean()), count=len(held), interval=alone, simultaneous_interval=wide)
        )
    return slices


def _turning_columns(found: Recourse, changeable: list[str]) -> Table:
    """Return how often each column is part of the change that turns a decision, those that never are left out."""
    turned = found.changed[found.found]
    uses = [(turned == place).any(axis=1) for place in range(len(changeable))]
    alone = (turned[:, 1] < 0) if len(turned) else np.zeros(0, dtype=bool)
    rows = [
        (name, float(use.mean()), float((use & alone).mean()))
        for name, use in zip(changeable, uses, strict=True)
        if use.any()
    ]
    rows.sort(key=lambda row: -row[1])
    return Table(
        title=Message("What would change a negative decision"),
        note=Message(
            "Of {turned_count:,} negative decisions that a change in one or two columns would reverse: "
            "how often the smallest change involves this column, and this column alone. Columns that "
            "depend on each other are changed independently here.",
            turned_count=len(turned),
        ),
        columns=(
            Column(name=Message("column")),
            Column(name=Message("part of the change"), unit="share"),
            Column(name=Message("alone"), unit="share"),
        ),
        rows=tuple(rows),
    )


def _settings(subject: Subject, changeable: list[str], row_count: int) -> Facts:
    fixed = [feature.name for feature in subject.schema.features if feature.name not in changeable]
    return Facts(
        title=Message("How recourse was searched"),
        rows=(
            (Message("Taken as unchangeable"), ", ".join(fixed) or Message("none")),
            (Message("Taken as changeable"), ", ".join(changeable)),
            (
                Message("Numbers"),
                Message(
                    "values that occur, from the {lowest:.0%} to the {highest:.0%} quantile",
                    lowest=LOWEST,
                    highest=HIGHEST,
                ),
            ),
            (Message("Other values"), Message("those that at least 1 % of the rows hold")),
            (
                Message("Searched"),
                Message("every option of each column, and every pair of options that costs less"),
            ),
            (
                Message("Rows"),
                Message(
                    "{row_count:,} negative decisions among the explained records (seed {seed})",
                    row_count=row_count,
                    seed=subject.seed,
                ),
            ),
            (
                Message("Not examined"),
                Message("whether a person can make the change; name columns that nobody can with --immutable"),
            ),
        ),
    )
