"""Which columns stand in for a sensitive one: how well the model's other inputs give each row's group away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from auditkit.data.groups import GroupedColumn, grouped_columns
from auditkit.engine.subject import Subject
from auditkit.errors import NotRun
from auditkit.evidence.measurement import Evidence, Exhibit, Group, Interval, Measurement, Slice, SliceChart
from auditkit.evidence.messages import Message
from auditkit.progress import part_of
from auditkit.stats.intervals import simultaneous_level
from auditkit.stats.proxies import MODEL, SHARES, Proxies, find_proxies
from auditkit.stats.ranking import RocAuc, roc_auc_interval

LISTED = 12
"""How many columns a report lists: those that give the group away best."""


@dataclass(frozen=True, kw_only=True)
class ProxyColumns:
    """How well the model's other inputs predict each sensitive column, together and each alone."""

    requires: ClassVar = ("sensitive",)
    multilabel: ClassVar = True
    measures: ClassVar = ("proxies.roc_auc", "proxies.column_roc_auc")

    def audit(self, subject: Subject) -> Evidence:
        """Predict every sensitive column from the features without it."""
        columns, omitted = grouped_columns(subject.data.frame[_candidates(subject)], quantiles=20)
        if not columns:
            raise NotRun(Message("the data have no other columns whose values could be told apart"))
        others_of = {name: [one for one in columns if one.name != name] for name in subject.sensitive}
        measurements: list[Measurement] = []
        exhibits: list[Exhibit] = []
        notes = [_method(several=any(len(others) > 1 for others in others_of.values()))]
        for place, (sensitive, others) in enumerate(others_of.items()):
            if not others:
                notes.append(Message("{sensitive}: there is no other column.", sensitive=sensitive))
                continue
            _, codes = subject.group_codes((sensitive,))
            found = find_proxies(
                [column.codes for column in others],
                [column.ordered for column in others],
                codes,
                seed=subject.seed,
                min_group=subject.min_group,
                progress=part_of(
                    subject.progress, place / len(subject.sensitive), (place + 1) / len(subject.sensitive)
                ),
            )
            measurements += _measurements(sensitive, others, found, subject)
            if found is None:
                continue
            exhibits.append(
                SliceChart(
                    title=Message("Proxies for {sensitive}", sensitive=sensitive),
                    note=Message(
                        "Each column alone, the {count} best of {others_count}: 0.5 = chance, 1 = perfect.",
                        count=min(LISTED, len(others)),
                        others_count=len(others),
                    ),
                    measurement="proxies.column_roc_auc",
                    by=(sensitive,),
                )
            )
            notes.append(
                Message(
                    "{sensitive}: trained on {fitted_count:,} records, tested on {judged_count:,}.",
                    sensitive=sensitive,
                    fitted_count=found.fitted_count,
                    judged_count=found.judged_count,
                )
            )
        if omitted:
            notes.append(Message("Left out, for too many different texts: {omitted}.", omitted=omitted))
        return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def _candidates(subject: Subject) -> list[str]:
    """Return the columns that may give a sensitive one away: the features, or of recorded decisions all others."""
    columns = [str(name) for name in subject.data.frame.columns]
    if subject.decision_columns:  # nothing says what led to decisions that were recorded: any other column may
        aside = (*subject.schema.targets, *subject.decision_columns, *subject.sensitive)
        return [name for name in columns if name not in aside]
    return [feature.name for feature in subject.schema.features if feature.name in columns]


def _method(*, several: bool) -> str:
    """Return the sentence that says how columns are judged, several together too."""
    if not several:
        return Message(
            "The shares of the groups at each value are estimated on one random half of the records and tested on the "
            "other."
        )
    return Message(
        "All columns together: {model}, trained on one random half of the records and tested on the other. Single "
        "columns: the shares of the groups at each value, estimated and tested in the same way.",
        model=MODEL,
    )


def _measurements(
    sensitive: str, columns: list[GroupedColumn], found: Proxies | None, subject: Subject
) -> list[Measurement]:
    together = MODEL if len(columns) > 1 else SHARES
    if found is None:
        reason = Message(
            "fewer than two groups have at least {min_group} rows in each half", min_group=subject.min_group
        )
        return [
            Measurement(id=id, by=(sensitive,), unit="number", better="lower", count=0, definition=how, reason=reason)
            for id, how in zip(ProxyColumns.measures, (together, SHARES), strict=True)
        ]
    level = subject.conf_level
    each = simultaneous_level(level, len(columns))
    best = sorted(zip(columns, found.alone, strict=True), key=lambda pair: -pair[1].value)[:LISTED]
    return [
        Measurement(
            id="proxies.roc_auc",
            by=(sensitive,),
            value=found.together.value,
            unit="number",
            better="lower",
            count=found.judged_count,
            interval=_interval(found.together, level, level),
            definition=Message("{how}, on held-out rows", how=together),
            computed_by="scikit-learn and auditkit" if len(columns) > 1 else "",
        ),
        Measurement(
            id="proxies.column_roc_auc",
            by=(sensitive,),
            unit="number",
            better="lower",
            count=found.judged_count,
            slices=tuple(
                Slice(
                    group=Group(by=("column",), key=(column.name,)),
                    value=area.value,
                    count=found.judged_count,
                    interval=_interval(area, level, level),
                    simultaneous_interval=_interval(
                        area, each, level, Message(", Sidak over {columns_count} columns", columns_count=len(columns))
                    ),
                )
                for column, area in best
            ),
            definition=Message("{how}, on held-out rows", how=SHARES),
        ),
    ]


def _interval(area: RocAuc, level: float, stated: float, family: str = "") -> Interval:
    low, high, method = roc_auc_interval(area, level)
    return Interval(low=low, high=high, level=stated, method=method + family)
