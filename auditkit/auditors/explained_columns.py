"""A network over columns explained: what it relies on, for whom, in which direction, and whether to believe it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auditkit.attribution import checks, effects
from auditkit.attribution.decision import Explained, Floats
from auditkit.attribution.gradients import complete_gradients, integrated_gradients
from auditkit.attribution.shapley import MOST_COLUMNS, exact_shapley, kernel_shap
from auditkit.auditors.trust import (
    GRADIENTS,
    RATIO_METHOD,
    Check,
    checks_table,
    completeness_check,
    failed_checks,
    mean_check,
    stamp,
    trust_notes,
)
from auditkit.evidence.counts import group_name
from auditkit.evidence.intervals import proportion_interval, simultaneous_level
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
    Unit,
)
from auditkit.metrics.attributions import ratio_of_means, sum_by_column
from auditkit.subject.subject import Subject

CHECKED_ROWS, SHAPLEY_ROWS, RECOURSE_ROWS = 500, 200, 300
CURVE_COUNT = 4


def explain_columns(
    subject: Subject, explained: Explained, module_check: Sequence[tuple[str, Explained]], *, tolerance: float
) -> Evidence:
    """Return the evidence about the columns of `explained`.

    `module_check` holds, layer by layer from the output, the same decision of the module with those layers randomised.
    """
    level = subject.conf_level
    columns = list(explained.columns)
    cells, steps = complete_gradients(explained, tolerance=tolerance)
    change = explained.change()
    by_column = sum_by_column(cells, dict(explained.columns))
    size = np.abs(by_column)
    subject.progress(0.3, "checking the attributions")

    found = trust_checks(subject, explained, by_column, cells.sum(axis=1) - change, module_check, steps)
    subject.progress(0.7, "effects and reasons")
    measurements = [
        shares(size, columns, level=level),
        sensitive_share(size, columns, subject.sensitive, level=level),
        *(check.measurement for check in found),
        failed_checks(found, len(size), level),
    ]
    exhibits: list[Exhibit] = [
        SliceChart(
            title="Share of attribution by column",
            note=f"{stamp(found)}The mean absolute attribution of each column of the data, as a share of all columns.",
            measurement="explainability.attribution_share",
            by=("column",),
        ),
        checks_table(found),
    ]
    for column in subject.sensitive:
        by_group, table = group_shares(subject, explained, size, columns, column)
        measurements.append(by_group)
        exhibits.append(table)
    exhibits += direction_curves(subject, explained, size, columns)
    if subject.schema.task == "binary":
        more, pictures = decisions(subject, explained)
        measurements += more
        exhibits += pictures
    exhibits.append(_settings(subject, explained, steps, tolerance))
    notes = trust_notes(found)
    if len(size) < len(subject.labels):
        notes.append(f"A seeded sample of {len(size):,} of {len(subject.labels):,} rows was explained.")
    return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def trust_checks(
    subject: Subject,
    explained: Explained,
    by_column: Floats,
    missed: Floats,
    module_check: Sequence[tuple[str, Explained]],
    steps: int,
) -> list[Check]:
    """Run every trust check on the attributions per column, (rows, columns)."""
    level, seed = subject.conf_level, subject.seed

    def attribute(part: Explained) -> Floats:
        return sum_by_column(integrated_gradients(part, steps=steps), dict(part.columns))

    # The dearer checks take fewer rows: drawn, since the sample keeps the order of the data.
    order = np.random.default_rng(seed).permutation(len(by_column))
    few, fewer = order[:CHECKED_ROWS], order[:SHAPLEY_ROWS]
    exact = len(explained.columns) <= MOST_COLUMNS
    shapley = (
        exact_shapley(explained.take(fewer))
        if exact
        else kernel_shap(explained.take(fewer), coalition_count=4096, seed=seed)
    )
    sensitivity = checks.maximum_sensitivity(
        explained.take(few), attribute, by_column[few], radius=0.02, perturbation_count=10, seed=seed
    )
    infidelity = checks.infidelity(explained, by_column, perturbation_count=50, seed=seed)
    deletion = checks.deletion_advantage(explained, by_column, seed=seed)
    agreement = checks.rank_correlation(by_column[fewer], shapley)
    found = [
        completeness_check(missed, explained.change(), GRADIENTS, level),
        mean_check("infidelity", infidelity, "lower", 0.25, "Yeh et al. 2019, arXiv:1901.09392, scaled", level),
        mean_check("maximum_sensitivity", sensitivity, "lower", 0.5, "Yeh et al. 2019, arXiv:1901.09392", level),
        mean_check("deletion_advantage", deletion, "higher", 0.0, "Samek et al. 2017, arXiv:1509.06321", level),
        mean_check(
            "method_agreement",
            agreement,
            "higher",
            0.6,
            f"Spearman against {'exact Shapley values' if exact else 'Kernel SHAP'} (Lundberg & Lee 2017)",
            level,
        ),
    ]
    if module_check:
        correlations = [checks.rank_correlation(by_column, attribute(part)) for _, part in module_check]
        found.append(
            mean_check(
                "randomised_weights_correlation",
                correlations[-1],
                "lower",
                0.8,
                "Adebayo et al. 2018, arXiv:1810.03292; all layers randomised",
                level,
            )
        )
    return found


def shares(size: Floats, columns: Sequence[str], *, level: float) -> Measurement:
    """Return `explainability.attribution_share` from absolute attributions: one slice a column, summing to 1."""
    value, low, high = ratio_of_means(size, size.sum(axis=1), level=level)
    _, wide_low, wide_high = ratio_of_means(size, size.sum(axis=1), level=level, family_size=len(columns))
    slices = [
        Slice(
            name=columns[index],
            value=float(value[index]),
            count=len(size),
            interval=_share_interval(low[index], high[index], level, RATIO_METHOD),
            simultaneous_interval=_share_interval(
                wide_low[index], wide_high[index], level, f"{RATIO_METHOD}, Bonferroni over {len(columns)} columns"
            ),
        )
        for index in np.argsort(-value, kind="stable")
    ]
    return _sliced("attribution_share", ("column",), slices, len(size), "share", GRADIENTS)


def sensitive_share(size: Floats, columns: Sequence[str], sensitive: Sequence[str], *, level: float) -> Measurement:
    """Return `explainability.sensitive_attribution_share`: what falls on sensitive columns; ideal 0.

    Exactly 0 where no sensitive column is an input. Proxies of a sensitive column are not counted.
    """
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
        interval = _share_interval(low[0], high[0], level, RATIO_METHOD)
    return Measurement(
        id="explainability.sensitive_attribution_share",
        value=value,
        unit="share",
        better="lower",
        count=len(size),
        interval=interval,
        source=GRADIENTS,
        reason=reason,
    )


def _share_interval(low: float, high: float, level: float, method: str) -> Interval:
    return Interval(low=float(low), high=float(min(high, 1.0)), level=level, method=method)


def _sliced(
    name: str, by: tuple[str, ...], slices: Sequence[Slice], count: int, unit: Unit, source: str
) -> Measurement:
    return Measurement(
        id=f"explainability.{name}",
        by=by,
        unit=unit,
        better="neither",
        count=count,
        slices=tuple(slices),
        source=source,
        reason=None if slices else "no group has enough rows",
    )


def _groups(
    subject: Subject, rows: NDArray[np.int64], column: str, *, least: int
) -> list[tuple[str, NDArray[np.int64]]]:
    """Return the groups with at least `least` of the given audited rows, with their positions in `rows`."""
    names, codes = subject.group_codes((column,))
    members = [(group_name(name), np.flatnonzero(codes[rows] == code)) for code, name in enumerate(names)]
    return [(name, part) for name, part in members if len(part) >= least]


def group_shares(
    subject: Subject, explained: Explained, size: Floats, columns: Sequence[str], column: str
) -> tuple[Measurement, Table]:
    """Return the attribution shares of each group of a sensitive column, and a table of where they differ."""
    level, rows = subject.conf_level, sample_rows(subject, len(explained.inputs))
    groups = _groups(subject, rows, column, least=max(subject.min_group, 30))
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
                interval=_share_interval(low[index], high[index], level, RATIO_METHOD),
            )
            for index in range(len(columns))
        ]
    measurement = _sliced("attribution_share", ("column", column), slices, len(size), "share", GRADIENTS)
    spread = np.ptp(np.array(list(by_group.values())), axis=0) if by_group else np.zeros(len(columns))
    order = np.argsort(-spread, kind="stable")[:8]
    table = Table(
        title=f"Share of attribution by column and {column}",
        note="Columns whose shares differ most between groups come first; groups under 30 sampled rows are left out.",
        columns=(Column(name="column"), *(Column(name=name, unit="share") for name in by_group)),
        rows=tuple((columns[index], *(float(value[index]) for value in by_group.values())) for index in order),
    )
    return measurement, table


def sample_rows(subject: Subject, count: int) -> NDArray[np.int64]:
    """Return the audited rows that are explained: a seeded sample of `count`, in their order."""
    total = len(subject.labels)
    rng = np.random.default_rng(subject.seed)
    return np.sort(rng.choice(total, size=min(count, total), replace=False)).astype(np.int64)


def direction_curves(subject: Subject, explained: Explained, size: Floats, columns: Sequence[str]) -> list[Exhibit]:
    """Return how the decision moves with each of the numeric columns that weigh most."""
    features = {feature.name: feature for feature in subject.schema.features}
    curves: list[Exhibit] = []
    for index in np.argsort(-size.mean(axis=0), kind="stable"):
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


def decisions(subject: Subject, explained: Explained) -> tuple[list[Measurement], list[Exhibit]]:
    """Return the principal reasons of adverse decisions and the recourse against them, as rates."""
    threshold = 0.5 if subject.schema.output == "probabilities" else 0.0
    values = explained.values(explained.inputs)
    adverse, approved = np.flatnonzero(values < threshold), np.flatnonzero(values >= threshold)
    if len(adverse) < 2 or len(approved) < 2:
        return [], []
    positive = subject.schema.classes[-1]
    against = Explained(
        explained.decision,
        explained.inputs[adverse],
        explained.predicted[adverse],
        explained.inputs[approved].mean(axis=0),
        explained.columns,
        explained.device,
    )
    attributions = sum_by_column(integrated_gradients(against, steps=32), dict(explained.columns))
    reasons = effects.principal_reasons(attributions)
    columns = list(explained.columns)
    level = subject.conf_level
    slices = _rates(dict(zip(columns, reasons.T, strict=True)), level)
    slices.sort(key=lambda part: -(part.value or 0.0))
    rate = _sliced(
        "principal_reason_rate",
        ("column",),
        slices,
        len(adverse),
        "rate",
        "12 CFR 1002.9(b)(2): up to four factors that cost most against the mean approved row, by integrated gradients",
    )
    measurements = [rate]
    exhibits: list[Exhibit] = [
        SliceChart(
            title=f"Principal reasons for not being predicted {positive}",
            note="How often a column is among the four that cost an adverse decision most, against the mean approved "
            "row.",
            measurement=rate.id,
            by=rate.by,
        )
    ]
    chosen = np.random.default_rng(subject.seed).permutation(len(adverse))[:RECOURSE_ROWS]
    sample = adverse[np.sort(chosen)]
    changeable = [name for name in columns if name not in subject.sensitive]
    needed = effects.recourse(
        explained.take(sample), effects.column_candidates(explained), changeable=changeable, threshold=threshold
    )
    for column in subject.sensitive:
        rows = sample_rows(subject, len(explained.inputs))[sample]
        groups = {name: needed[part] > 0 for name, part in _groups(subject, rows, column, least=subject.min_group)}
        recourse = _sliced(
            "recourse_rate",
            (column,),
            _rates(groups, level),
            len(sample),
            "rate",
            "Ustun et al. 2019, arXiv:1809.06514: a change of one or two columns to values that occur flips it",
        )
        measurements.append(recourse)
        exhibits.append(
            SliceChart(
                title=f"Recourse by {column}",
                note="The share of adverse decisions that a change of one or two columns other than the sensitive ones "
                "would flip. Whether a person can make that change is not examined.",
                measurement=recourse.id,
                by=recourse.by,
            )
        )
    return measurements, exhibits


def _rates(hits: dict[str, NDArray[np.bool_]], level: float) -> list[Slice]:
    wide = simultaneous_level(level, len(hits)) if hits else level
    slices = []
    for name, rows in hits.items():
        low, high = proportion_interval(rows.sum(), len(rows), level)
        wide_low, wide_high = proportion_interval(rows.sum(), len(rows), wide)
        slices.append(
            Slice(
                name=name,
                value=float(rows.mean()),
                count=len(rows),
                interval=Interval(low=float(low), high=float(high), level=level, method="Wilson or Clopper-Pearson"),
                simultaneous_interval=Interval(
                    low=float(wide_low),
                    high=float(wide_high),
                    level=level,
                    method=f"Wilson or Clopper-Pearson, Sidak over {len(hits)}",
                ),
            )
        )
    return slices


def _settings(subject: Subject, explained: Explained, steps: int, tolerance: float) -> Facts:
    columns = list(explained.columns)
    inputs = [column for column in subject.sensitive if column in columns]
    what = "probability" if subject.schema.output == "probabilities" else "log-odds"
    decision = (
        f"the {what} of {subject.schema.classes[-1]}"
        if subject.schema.task == "binary"
        else "the output of each row's predicted class"
    )
    return Facts(
        title="How the attributions were made",
        rows=(
            ("Method", f"integrated gradients, {steps} Gauss-Legendre steps (complete within {tolerance:g})"),
            ("Explained", decision),
            ("Baseline", f"the mean encoded row of the {'audited' if subject.training is None else 'training'} data"),
            ("Sample", f"{len(explained.inputs):,} of {len(subject.labels):,} rows, drawn with seed {subject.seed}"),
            ("Sensitive columns that are inputs", ", ".join(inputs) or "none"),
        ),
    )
