"""A network over columns explained: what it relies on, for whom, in which direction, and whether to believe it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.explainability.checks_report import checks_table, failed_checks, stamped, trust_notes
from auditkit.auditors.explainability.cross_check import check_columns
from auditkit.auditors.explainability.effects_report import direction_curves, interactions
from auditkit.auditors.explainability.methods import METHODS, credited
from auditkit.auditors.explainability.methods_table import Explanation, attribute_columns
from auditkit.auditors.explainability.prototypes import profiles
from auditkit.auditors.explainability.proxy_attributions import sensitive_shares
from auditkit.auditors.explainability.recourse_report import adverse_decisions
from auditkit.auditors.explainability.segments_report import sample_notes, settings_facts
from auditkit.auditors.explainability.statistics import (
    keyed,
    largest_first,
    ratio_interval,
    ratio_of_means,
    ratio_slices,
)
from auditkit.auditors.explainability.table_checks import Randomised, by_layer, trust_checks
from auditkit.auditors.explainability.table_plan import TablePlan
from auditkit.auditors.explainability.target_function import ExplanationInput, Floats
from auditkit.engine.sampling import groups_of, sample_rows, sliced
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import (
    Column,
    Evidence,
    Facts,
    Group,
    Measurement,
    Slice,
    SliceChart,
    Table,
)
from auditkit.evidence.messages import Message

FEWEST_ROWS, COLUMNS_SHOWN, GROUPS_SHOWN = 30, 8, 8


def explain_columns(
    subject: Subject, plan: TablePlan, randomised: Randomised, *, tolerance: float, show_rows: bool
) -> Evidence:
    """Return the evidence about the columns of what is planned; `randomised` holds its decision with other weights."""
    level = subject.conf_level
    within = plan.within
    given = attribute_columns(
        within.method,
        plan.explained,
        tolerance=tolerance,
        seed=subject.seed,
        rung=within.rung,
        steps=within.steps,
    )
    subject.progress(0.3, "checking the attributions")
    found = trust_checks(subject, given, randomised, with_gradient=plan.with_gradient)
    subject.progress(0.7, "effects and reasons")
    sensitive = sensitive_shares(subject, given)
    of_all = [shares(given, level=level), *sensitive.measurements, *(check.measurement for check in found)]
    measurements = [*credited(of_all, given.method, "table"), failed_checks(found, len(given.size), level)]
    chart = SliceChart(
        title=Message("Share of attribution by column"),
        note=Message("The mean absolute attribution of each column of the data, as a share of all columns."),
        measurement="explainability.attribution_share",
        by=("column",),
    )
    parts = [group_shares(subject, given, column) for column in subject.sensitive]
    parts += class_shares(subject, given)
    measurements += credited([measurement for measurement, _ in parts], given.method, "table")
    exhibits = [
        *stamped([chart, *sensitive.exhibits, *profiles(subject, given, show_rows=show_rows)], found),
        checks_table(found),
        *by_layer(given, randomised.by_layer, seed=subject.seed),
        *stamped([table for _, table in parts], found),
    ]
    exhibits += direction_curves(subject, given)
    pairs, pictures = interactions(subject, given)
    measurements += pairs
    exhibits += pictures
    if subject.task.positive is not None:
        more, pictures = adverse_decisions(subject, given, plan.immutable, row_count=within.recourse_rows)
        measurements += more
        exhibits += [*stamped(pictures[:1], found), *pictures[1:]]
    exhibits += [_settings(subject, given), check_columns(given, subject.work)]
    shown = show_rows and bool(subject.task.classes)
    sampled = sample_notes(subject, "rows", len(given.size), show_rows=shown)
    said = [*plan.notes, *trust_notes(found), *sensitive.notes, *sampled]
    return Evidence(measurements=measurements, exhibits=exhibits, notes=said)


def _settings(subject: Subject, given: Explanation) -> Facts:
    """Return how the columns were explained, and against which baseline."""
    inputs = [column for column in subject.sensitive if column in given.columns]
    data = Message("audited") if subject.training is None else Message("training")
    facts = [
        (Message("Method"), f"{METHODS[given.method].title}: {given.settings}"),
        (Message("Baseline"), _baseline(given.explained, data)),
        (Message("Sensitive columns that are inputs"), ", ".join(inputs) or Message("none")),
    ]
    return settings_facts(subject, "rows", len(given.size), facts)


def _baseline(explained: ExplanationInput, data: str) -> str:
    """Return in words which row stands for "nothing known"."""
    row: str = Message("the mean encoded row of the {data} data", data=data)
    if explained.codes:
        row = Message(
            "the mean encoded row of the {data} data; the most frequent code of {codes}",
            data=data,
            codes=explained.codes,
        )
    if explained.texts:
        row = Message("{row}; the empty text in {columns}", row=row, columns=explained.texts)
    return row


def shares(given: Explanation, *, level: float) -> Measurement:
    """Return `explainability.attribution_share`: the mean absolute attribution of each column over that of all."""
    slices = ratio_slices(
        keyed("column", given.columns), given.size, given.size.sum(axis=1), level=level, what=Message("columns")
    )
    return sliced("attribution_share", ("column",), largest_first(slices), len(given.size), "share", given.definition)


def group_shares(subject: Subject, given: Explanation, column: str) -> tuple[Measurement, Table]:
    """Return the attribution shares of each group of a sensitive column, and a table of where they differ."""
    rows = sample_rows(subject, len(given.size))
    groups = dict(groups_of(subject, rows, column, least=max(subject.min_group, FEWEST_ROWS)))
    return _shares_by(
        given, groups, column, Message("Share of attribution by column and {column}", column=column), subject.conf_level
    )


def class_shares(subject: Subject, given: Explanation) -> list[tuple[Measurement, Table]]:
    """Return the attribution shares among the rows of each explained output, where the task explains several.

    That is the predicted class of a row, or one of its labels.
    """
    parts = subject.task.explained_by_part()
    if parts is None:
        return []
    what, names = parts
    rows = {group: np.flatnonzero(given.explained.predicted == at) for at, group in enumerate(keyed(what, names))}
    large = {group: part for group, part in rows.items() if len(part) >= max(subject.min_group, FEWEST_ROWS)}
    label, chosen = (
        Message("Share of attribution by column and label"),
        Message("Share of attribution by column and predicted class"),
    )
    return [_shares_by(given, large, what, label if what in subject.task.axis else chosen, subject.conf_level)]


def _shares_by(
    given: Explanation, groups: dict[Group, NDArray[np.intp]], by: str, title: str, level: float
) -> tuple[Measurement, Table]:
    size, columns = given.size, given.columns
    by_group: dict[Group, Floats] = {}
    slices = []
    for group, part in groups.items():
        value, low, high = ratio_of_means(size[part], size[part].sum(axis=1), level=level)
        by_group[group] = value
        slices += [
            Slice(
                group=Group(by=("column", by), key=(columns[index], *group.key)),
                value=float(value[index]),
                count=len(part),
                interval=ratio_interval(low[index], high[index], level),
            )
            for index in range(len(columns))
        ]
    measurement = sliced("attribution_share", ("column", by), slices, len(size), "share", given.definition)
    spread = np.ptp(np.array(list(by_group.values())), axis=0) if by_group else np.zeros(len(columns))
    order = np.argsort(-spread, kind="stable")[:COLUMNS_SHOWN]
    shown = list(by_group)[:GROUPS_SHOWN]
    left_out = len(by_group) - len(shown)
    more = (
        Message(
            " The first {groups_shown} are shown here, of {by_group_count}.",
            groups_shown=GROUPS_SHOWN,
            by_group_count=len(by_group),
        )
        if left_out
        else ""
    )
    table = Table(
        title=title,
        note=Message(
            "Columns whose shares differ most come first; groups under {fewest_rows} rows are left out.{more}",
            fewest_rows=FEWEST_ROWS,
            more=more,
        ),
        columns=(Column(name=Message("column")), *(Column(name=group.text, unit="share") for group in shown)),
        rows=tuple((columns[index], *(float(by_group[group][index]) for group in shown)) for index in order),
    )
    return measurement, table
