"""How much of a model's decisions rests on sensitive columns, and on the columns that stand in for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from auditkit.auditors.explainability.methods_table import Explanation
from auditkit.auditors.explainability.statistics import ratio_interval, ratio_of_means, ratio_replicates
from auditkit.data.groups import grouped_columns
from auditkit.engine.sampling import sliced
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Column, Evidence, Group, Interval, Measurement, Slice, Table
from auditkit.evidence.messages import Message
from auditkit.stats.intervals import simultaneous_level
from auditkit.stats.proxies import FITTED_ROWS, JUDGED_ROWS, columns_alone
from auditkit.stats.ranking import roc_auc_interval

PROXY_AREA = 0.7
"""A column whose area under the ROC curve for a group surely passes this, on held-out rows, is a proxy of it."""

NO_SENSITIVE = Message("no column was named sensitive; pass --sensitive COLUMN")


class Proxy(NamedTuple):
    """A column that alone tells the groups of a sensitive one apart, and how well."""

    column: str
    area: float


def sensitive_shares(subject: Subject, given: Explanation) -> Evidence:
    """Return the shares of attribution on sensitive columns and on their proxies, and who stands in for whom.

    Proxies are found among the training rows, or the audited ones where there are none.
    """
    sensitive, columns, level = subject.sensitive, given.columns, subject.conf_level
    found = {name: _proxies(subject, name, columns) for name in sensitive}
    all_proxies = {proxy.column for proxies in found.values() for proxy in proxies}
    slices = [_slice(given, name, {proxy.column for proxy in proxies}, level) for name, proxies in found.items()]
    reason = None if sensitive else NO_SENSITIVE
    measurements = [
        _total(given, "sensitive_attribution_share", set(sensitive), Message("sensitive column"), level, reason),
        _total(given, "proxy_attribution_share", all_proxies, Message("proxy of a sensitive column"), level, reason),
    ]
    if not sensitive:
        return Evidence(measurements=measurements)
    measurements.append(
        sliced("proxy_attribution_share", ("sensitive_column",), slices, len(given.size), "share", given.definition)
    )
    share = dict(zip(columns, given.size.mean(axis=0) / given.size.mean(axis=0).sum(), strict=True))
    data = Message("audited") if subject.training is None else Message("training")
    table = _proxies_table(found, share, data)
    return Evidence(measurements=measurements, exhibits=[table] if table.rows else [], notes=_proxy_notes(found, share))


def _proxy_notes(found: Mapping[str, list[Proxy]], share: Mapping[str, float]) -> list[str]:
    """Return a sentence for each sensitive column whose main proxy has 5 % of the attribution or more."""
    notes: list[str] = []
    for name, proxies in found.items():
        first = max(proxies, key=lambda proxy: share[proxy.column], default=None)
        if first is not None and share[first.column] >= 0.05:
            own = f"{share[name]:.0%}" if name in share else Message("none, since the model does not read it")
            notes.append(
                Message(
                    "{column} is a proxy for {name}: by itself it distinguishes the groups with an area under "
                    "the ROC curve of {area:.2f}, and it has {share:.0%} of the attribution ({name} itself: "
                    "{own}).",
                    column=first.column,
                    name=name,
                    area=first.area,
                    share=share[first.column],
                    own=own,
                )
            )
    return notes


def _proxies_table(found: Mapping[str, list[Proxy]], share: Mapping[str, float], data: str) -> Table:
    """Return the proxies of each sensitive column, those with the most attribution first."""
    rows = [
        (name, proxy.column, proxy.area, float(share[proxy.column]))
        for name, proxies in found.items()
        for proxy in sorted(proxies, key=lambda proxy: -share[proxy.column])
    ]
    return Table(
        title=Message("Proxies for sensitive columns, and their share of the attribution"),
        note=Message(
            "A column is a proxy where, alone, it tells the groups apart with an area under the ROC "
            "curve surely above {proxy_area:g}, on held-out rows of the {data} data.",
            proxy_area=PROXY_AREA,
            data=data,
        ),
        columns=(
            Column(name=Message("sensitive")),
            Column(name=Message("proxy")),
            Column(name=Message("area under the ROC curve"), unit="number"),
            Column(name=Message("share of attribution"), unit="share"),
        ),
        rows=tuple(rows),
    )


def _proxies(subject: Subject, sensitive: str, columns: list[str]) -> list[Proxy]:
    """Return the proxies of a sensitive column among columns that are not sensitive themselves."""
    training = subject.training
    frame = subject.data.frame if training is None or sensitive not in training.frame else training.frame
    most = FITTED_ROWS + JUDGED_ROWS
    if len(frame) > most:
        frame = frame.iloc[np.sort(np.random.default_rng(subject.seed).choice(len(frame), size=most, replace=False))]
    others, _ = grouped_columns(frame[[name for name in columns if name not in subject.sensitive]], quantiles=20)
    codes, words = subject.coded(frame, sensitive)
    groups = np.where(codes < 0, len(words), codes).astype(np.int64)
    areas = columns_alone([other.codes for other in others], groups, seed=subject.seed, min_group=subject.min_group)
    each = simultaneous_level(subject.conf_level, max(len(others), 1))
    return [
        Proxy(other.name, area.value)
        for other, area in zip(others, areas or (), strict=False)
        if roc_auc_interval(area, each)[0] > PROXY_AREA
    ]


def _slice(given: Explanation, name: str, chosen: set[str], level: float) -> Slice:
    value, interval, paired = _share(given, chosen, Message("proxy of this column"), level)
    group = Group(by=("sensitive_column",), key=(name,))
    return Slice(group=group, value=value, count=len(given.size), interval=interval, replicates=paired)


def _total(given: Explanation, name: str, chosen: set[str], what: str, level: float, reason: str | None) -> Measurement:
    value, interval, paired = (None, None, ()) if reason else _share(given, chosen, what, level)
    return Measurement(
        id=f"explainability.{name}",
        value=value,
        unit="share",
        better="lower",
        count=len(given.size),
        interval=interval,
        replicates=paired,
        definition=given.definition,
        reason=reason,
    )


def _share(given: Explanation, chosen: set[str], what: str, level: float) -> tuple[float, Interval, tuple[float, ...]]:
    """Return the share of absolute attribution on some columns, its interval and its replicates.

    It is exactly 0 where none of them is an input.
    """
    size, places = given.size, [place for place, name in enumerate(given.columns) if name in chosen]
    if not places:
        return (
            0.0,
            Interval(low=0.0, high=0.0, level=level, method=Message("exact: no {what} is an input", what=what)),
            (),
        )
    part, whole = size[:, places].sum(axis=1), size.sum(axis=1)
    point, low, high = ratio_of_means(part[:, None], whole, level=level)
    return float(point[0]), ratio_interval(low[0], high[0], level), ratio_replicates(part, whole)
