"""A network over columns explained: what it relies on, for whom, in which direction, and whether to believe it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from auditkit.attribution import effects
from auditkit.attribution.columns import Attributed, attribute_columns
from auditkit.attribution.decision import Explained, Floats
from auditkit.attribution.methods import METHODS
from auditkit.auditors.adverse_decisions import adverse_decisions
from auditkit.auditors.column_trust import layers_table, trust_checks
from auditkit.auditors.explained_rows import groups_of, sample_rows, share_interval, sliced
from auditkit.auditors.trust import RATIO_METHOD, checks_table, failed_checks, stamp, trust_notes
from auditkit.evidence.measurement import (
    Column,
    Curve,
    Evidence,
    Exhibit,
    Facts,
    Interval,
    Line,
    Measurement,
    Slice,
    SliceChart,
    Table,
)
from auditkit.metrics.attributions import ratio_of_means
from auditkit.subject.subject import Subject

CURVE_COUNT = 4


def explain_columns(
    subject: Subject,
    explained: Explained,
    randomised: Sequence[tuple[str, Explained]],
    *,
    method: str,
    notes: Sequence[str],
    tolerance: float,
    with_gradient: bool,
    immutable: Collection[str],
) -> Evidence:
    """Return the evidence about the columns of `explained`, by the named method.

    `randomised` holds, layer by layer from the output, the same decision with those layers' weights shuffled. `notes`
    say how the method was chosen; `with_gradient` says whether the decision has a gradient. Recourse leaves `immutable`
    columns alone.
    """
    level = subject.conf_level
    given = attribute_columns(method, explained, tolerance=tolerance, seed=subject.seed)
    subject.progress(0.3, "checking the attributions")
    found = trust_checks(subject, given, randomised, with_gradient=with_gradient)
    subject.progress(0.7, "effects and reasons")
    measurements = [
        shares(given, level=level),
        sensitive_share(given, subject.sensitive, level=level),
        *(check.measurement for check in found),
        failed_checks(found, len(given.size), level),
    ]
    exhibits: list[Exhibit] = [
        SliceChart(
            title="Share of attribution by column",
            note=f"{stamp(found)}The mean absolute attribution of each column of the data, as a share of all columns.",
            measurement="explainability.attribution_share",
            by=("column",),
        ),
        checks_table(found),
        *layers_table(given, randomised, seed=subject.seed),
    ]
    for column in subject.sensitive:
        by_group, table = group_shares(subject, given, column)
        measurements.append(by_group)
        exhibits.append(table)
    exhibits += direction_curves(subject, given)
    if subject.schema.task == "binary":
        more, pictures = adverse_decisions(subject, given, immutable)
        measurements += more
        exhibits += pictures
    exhibits.append(_settings(subject, given))
    sampled = f"A seeded sample of {len(given.size):,} of {len(subject.labels):,} rows was explained."
    said = [*notes, *trust_notes(found), *([sampled] if len(given.size) < len(subject.labels) else [])]
    return Evidence(measurements=measurements, exhibits=exhibits, notes=said)


def shares(given: Attributed, *, level: float) -> Measurement:
    """Return `explainability.attribution_share`: the mean absolute attribution of each column over that of all."""
    size, columns = given.size, given.columns
    value, low, high = ratio_of_means(size, size.sum(axis=1), level=level)
    _, wide_low, wide_high = ratio_of_means(size, size.sum(axis=1), level=level, family_size=len(columns))
    slices = [
        Slice(
            name=columns[index],
            value=float(value[index]),
            count=len(size),
            interval=share_interval(low[index], high[index], level, RATIO_METHOD),
            simultaneous_interval=share_interval(
                wide_low[index], wide_high[index], level, f"{RATIO_METHOD}, Bonferroni over {len(columns)} columns"
            ),
        )
        for index in np.argsort(-value, kind="stable")
    ]
    return sliced("attribution_share", ("column",), slices, len(size), "share", given.source)


def sensitive_share(given: Attributed, sensitive: Sequence[str], *, level: float) -> Measurement:
    """Return `explainability.sensitive_attribution_share`: what falls on sensitive columns; ideal 0.

    Exactly 0 where no sensitive column is an input. Proxies of a sensitive column are not counted.
    """
    size, columns = given.size, given.columns
    value: float | None = None
    interval, reason = None, None
    chosen = [index for index, column in enumerate(columns) if column in sensitive]
    if not sensitive:
        reason = "no column was named sensitive; pass --sensitive COLUMN"
    elif not chosen:
        value = 0.0
        interval = Interval(low=0.0, high=0.0, level=level, method="exact: no sensitive column is an input")
    else:
        point, low, high = ratio_of_means(size[:, chosen].sum(axis=1, keepdims=True), size.sum(axis=1), level=level)
        value = float(point[0])
        interval = share_interval(low[0], high[0], level, RATIO_METHOD)
    return Measurement(
        id="explainability.sensitive_attribution_share",
        value=value,
        unit="share",
        better="lower",
        count=len(size),
        interval=interval,
        source=given.source,
        reason=reason,
    )


def group_shares(subject: Subject, given: Attributed, column: str) -> tuple[Measurement, Table]:
    """Return the attribution shares of each group of a sensitive column, and a table of where they differ."""
    size, columns = given.size, given.columns
    level, rows = subject.conf_level, sample_rows(subject, len(size))
    groups = groups_of(subject, rows, column, least=max(subject.min_group, 30))
    by_group: dict[str, Floats] = {}
    slices = []
    for name, part in groups:
        value, low, high = ratio_of_means(size[part], size[part].sum(axis=1), level=level)
        by_group[name] = value
        slices += [
            Slice(
                name=f"{columns[index]} & {name}",
                value=float(value[index]),
                count=len(part),
                interval=share_interval(low[index], high[index], level, RATIO_METHOD),
            )
            for index in range(len(columns))
        ]
    measurement = sliced("attribution_share", ("column", column), slices, len(size), "share", given.source)
    spread = np.ptp(np.array(list(by_group.values())), axis=0) if by_group else np.zeros(len(columns))
    order = np.argsort(-spread, kind="stable")[:8]
    table = Table(
        title=f"Share of attribution by column and {column}",
        note="Columns whose shares differ most between groups come first; groups under 30 sampled rows are left out.",
        columns=(Column(name="column"), *(Column(name=name, unit="share") for name in by_group)),
        rows=tuple((columns[index], *(float(value[index]) for value in by_group.values())) for index in order),
    )
    return measurement, table


def direction_curves(subject: Subject, given: Attributed) -> list[Exhibit]:
    """Return how the decision moves with each of the numeric columns that weigh most."""
    explained, columns = given.explained, given.columns
    features = {feature.name: feature for feature in subject.schema.features}
    curves: list[Exhibit] = []
    for index in np.argsort(-given.size.mean(axis=0), kind="stable"):
        name = columns[index]
        feature = features[name]
        if feature.kind != "numeric" or len(curves) == CURVE_COUNT:
            continue
        found = effects.accumulated_local_effects(explained, explained.columns[name].start)
        if found is None:
            continue
        half = 1.96 * found.standard_error
        curves.append(
            Curve(
                title=f"How the decision moves with {name}",
                note="Accumulated local effects, centred at 0; the band is 95 % for each point. Flat: no effect.",
                x_label=name,
                y_label="change of the decision",
                lines=(
                    Line(
                        name=name,
                        x=tuple(float(edge) * feature.scale + feature.mean for edge in found.edges),
                        y=tuple(found.effect.tolist()),
                        low=tuple((found.effect - half).tolist()),
                        high=tuple((found.effect + half).tolist()),
                    ),
                ),
            )
        )
    return curves


def _settings(subject: Subject, given: Attributed) -> Facts:
    inputs = [column for column in subject.sensitive if column in given.columns]
    what = "probability" if subject.schema.output == "probabilities" else "log-odds"
    decision = (
        f"the {what} of {subject.schema.classes[-1]}"
        if subject.schema.task == "binary"
        else "the output of each row's predicted class"
    )
    return Facts(
        title="How the attributions were made",
        rows=(
            ("Method", f"{METHODS[given.method].title}: {given.settings}"),
            ("Explained", decision),
            ("Baseline", f"the mean encoded row of the {'audited' if subject.training is None else 'training'} data"),
            ("Sample", f"{len(given.size):,} of {len(subject.labels):,} rows, drawn with seed {subject.seed}"),
            ("Sensitive columns that are inputs", ", ".join(inputs) or "none"),
        ),
    )
