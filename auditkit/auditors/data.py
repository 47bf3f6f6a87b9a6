"""Whether the data are fit to audit with: what is missing, repeated, shared with training, drifted, or tells all."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import InputError, closest
from auditkit.evidence.counts import group_name, suppressed, suppression_note, tally
from auditkit.evidence.intervals import simultaneous_level
from auditkit.evidence.measurement import (
    Better,
    Column,
    Evidence,
    Exhibit,
    Facts,
    Interval,
    Measurement,
    Slice,
    SliceChart,
    Table,
    Unit,
)
from auditkit.metrics.drift import Drift, categorical_drift, drift_interval, holm, numeric_drift
from auditkit.metrics.ranking import roc_auc_interval
from auditkit.metrics.rates import rate_intervals, rate_measurement, too_small
from auditkit.metrics.single_columns import binned_codes, single_column_auc
from auditkit.subject.data import Data
from auditkit.subject.pixels import holds_images
from auditkit.subject.rows import column_values, missing_rows, row_hashes
from auditkit.subject.subject import Subject

ROWS_SAMPLED = 1_000_000
"""Single-column prediction and drift are measured on a seeded sample of at most this many rows."""

COLUMNS_PER_GROUP = 20
"""Missing values are broken down by group for this many columns: those where most is missing."""

PIXELS = 100
"""Rows of more columns of one kind than this (the pixels of an image) are not examined column by column."""


@dataclass(frozen=True, kw_only=True)
class DataChecks:
    """What is missing, repeated, constant, shared with training or drifted, and columns that give the label away.

    `population` states, by sensitive column, the share of each group in the population that the data should resemble.
    """

    population: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    requires: ClassVar = ("labels",)
    measures: ClassVar = (
        "data.row_count",
        "data.duplicate_rate",
        "data.shared_row_rate",
        "data.constant_column_count",
        "data.missing_rate",
        "data.class_share",
        "data.base_rate",
        "data.group_share",
        "data.group_share_difference",
        "data.single_column_roc_auc",
        "data.drift_distance",
    )

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        for column, shares in self.population.items():
            total = sum(shares.values())
            if len(shares) < 2 or not all(0 <= share <= 1 for share in shares.values()) or abs(total - 1) > 0.01:
                raise InputError(
                    f"population: the shares of {column!r} must be at least two, from 0 to 1, and sum to 1, "
                    f"got {total:g} over {len(shares)}."
                )

    def audit(self, subject: Subject) -> Evidence:
        """Count over all rows, compare with the training data and the population where there are any."""
        unknown = [column for column in self.population if column not in subject.sensitive]
        if unknown:
            raise InputError(
                f"population: {unknown[0]!r} is no sensitive column{closest(unknown[0], subject.sensitive)}."
            )
        frame, level = subject.data.frame, subject.conf_level
        steps = 6
        columns = [str(column) for column in frame.columns]
        missing = {name: missing_rows(frame, name) for name in columns}
        subject.progress(1 / steps, "missing values")
        constants = _constants(subject, columns)
        hashes = row_hashes(frame, columns)
        repeated = len(hashes) - len(np.unique(hashes))
        del hashes
        subject.progress(2 / steps, "repeated rows")
        row_count = len(subject.labels)
        shared = _shared(subject, columns)
        measurements = [
            _exact("data.row_count", row_count, "rows", "higher", row_count, level),
            _exact("data.duplicate_rate", repeated / row_count, "rate", "lower", row_count, level),
            shared,
            _exact("data.constant_column_count", len(constants), "count", "lower", row_count, level),
            _missing_rates(missing, level),
        ]
        subject.progress(3 / steps, "rows shared with training")
        measurements += _missing_by_group(subject, missing)
        measurements.append(_class_shares(subject))
        notes: list[str] = []
        exhibits: list[Exhibit] = [_glance(subject, columns, repeated, shared, constants)]
        if any(mask.any() for mask in missing.values()):
            exhibits.append(_chart("Missing values by column", "missing_rate", ("column",)))
        for column in subject.sensitive:
            names, codes = subject.group_codes((column,))
            sizes = np.bincount(codes, minlength=len(names))
            measurements.append(_group_shares(column, names, sizes, subject))
            exhibits.append(_chart(f"Share of the rows by {column}", "group_share", (column,)))
            if column in self.population:
                measurements.append(_against(self.population[column], column, names, sizes, subject))
                exhibits.append(
                    _chart(f"Share by {column}, less that in the population", "group_share_difference", (column,))
                )
            if subject.schema.task == "binary":
                counts = tally((column,), names, codes, subject.labels, subject.labels, subject.schema.classes)
                measurements.append(
                    rate_measurement(counts, "base_rate", prefix="data", level=level, min_group=subject.min_group)
                )
                exhibits.append(_chart(f"Labels {subject.schema.classes[-1]} by {column}", "base_rate", (column,)))
            hidden = suppression_note((column,), names, sizes, subject.min_group)
            notes += [hidden] if hidden else []
        subject.progress(4 / steps, "columns that give the label away")
        examined = _examined(subject, columns)
        if examined:
            measurements.append(_single_columns(subject, examined))
            exhibits.append(
                _chart("How well one column alone predicts the label", "single_column_roc_auc", ("column",))
            )
        else:
            notes.append("Rows are images or texts: they are not examined column by column.")
        subject.progress(5 / steps, "drift")
        drifts = _drifts(subject, examined)
        measurements.append(_drift_measurement(drifts, subject))
        if drifts:
            table, sentence = _drift_table(drifts, level)
            exhibits.append(table)
            notes.append(sentence)
        if examined and max(row_count, 0 if subject.training is None else len(subject.training.frame)) > ROWS_SAMPLED:
            notes.append(
                f"Single-column prediction and drift were measured on samples of {ROWS_SAMPLED:,} rows, "
                f"drawn with seed {subject.seed}."
            )
        return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def read_population(path: str | Path) -> dict[str, dict[str, float]]:
    """Read a reference population: TOML with a table for each sensitive column, the groups' shares in it.

    Raises:
        InputError: the file is missing, is not TOML, or holds something other than such tables.
    """
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"population {path}: {error.strerror or error}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"population {path}: not valid TOML: {error}.") from error
    for column, shares in document.items():
        numeric = isinstance(shares, dict) and all(type(share) in (int, float) for share in shares.values())
        if not numeric or not all(math.isfinite(share) for share in shares.values()):
            raise InputError(f'population {path}: [{column}] must give each group its share, such as "F" = 0.51.')
    return {column: {group: float(share) for group, share in shares.items()} for column, shares in document.items()}


def _exact(id: str, value: float, unit: Unit, better: Better, count: int, level: float) -> Measurement:
    return Measurement(
        id=id,
        value=value,
        unit=unit,
        better=better,
        count=count,
        interval=Interval(low=value, high=value, level=level, method="exact: all of these rows were counted"),
        source="a count over the audited rows",
    )


def _chart(title: str, name: str, by: tuple[str, ...]) -> SliceChart:
    return SliceChart(title=title, measurement=f"data.{name}", by=by)


def _sliced(
    id: str,
    by: tuple[str, ...],
    names: Sequence[str],
    successes: NDArray[np.int64],
    trials: NDArray[np.int64],
    level: float,
    *,
    better: Better = "neither",
    source: str,
    reason: str,
) -> Measurement:
    """Return rates of parts of the rows as one measurement, each with its own and a simultaneous interval."""
    slices = []
    if len(names):
        alone = rate_intervals(successes, trials, level)
        together = rate_intervals(successes, trials, level, family_size=len(names))
        for place, name in enumerate(names):
            value, count = float(successes[place] / trials[place]), int(trials[place])
            slices.append(
                Slice(name=name, value=value, count=count, interval=alone[place], simultaneous_interval=together[place])
            )
    return Measurement(
        id=id,
        by=by,
        unit="rate",
        better=better,
        count=int(trials.max()) if len(trials) else 0,
        slices=tuple(slices),
        source=source,
        reason=None if slices else reason,
    )


def _missing_rates(missing: Mapping[str, NDArray[np.bool_]], level: float) -> Measurement:
    names = list(missing)
    if len(names) > PIXELS:
        names = [name for name in names if missing[name].any()][:PIXELS]
    counts = np.array([int(missing[name].sum()) for name in names], dtype=np.int64)
    rows = np.array([len(missing[name]) for name in names], dtype=np.int64)
    return _sliced(
        "data.missing_rate",
        ("column",),
        names,
        counts,
        rows,
        level,
        better="lower",
        source="a count over the audited rows",
        reason="nothing is missing in any column",
    )


def _missing_by_group(subject: Subject, missing: Mapping[str, NDArray[np.bool_]]) -> list[Measurement]:
    shown = sorted((name for name in missing if missing[name].any()), key=lambda name: -int(missing[name].sum()))
    measurements = []
    for column in subject.sensitive if shown else ():
        names, codes = subject.group_codes((column,))
        sizes = np.bincount(codes, minlength=len(names))
        kept = np.flatnonzero(~suppressed(sizes, subject.min_group))
        titles, counts, rows = [], [], []
        for name in [name for name in shown if name != column][:COLUMNS_PER_GROUP]:
            found = np.bincount(codes[missing[name]], minlength=len(names))
            for group in kept:
                titles.append(f"{name} & {group_name(names[group])}")
                counts.append(found[group])
                rows.append(sizes[group])
        if titles:
            measurements.append(
                _sliced(
                    "data.missing_rate",
                    ("column", column),
                    titles,
                    np.array(counts),
                    np.array(rows),
                    subject.conf_level,
                    better="lower",
                    source="a count over the audited rows",
                    reason="",
                )
            )
    return measurements


def _class_shares(subject: Subject) -> Measurement:
    classes = subject.schema.classes
    counts = np.bincount(subject.labels, minlength=len(classes))
    rows = np.full(len(classes), len(subject.labels))
    source = "a count over the audited rows"
    return _sliced("data.class_share", ("class",), classes, counts, rows, subject.conf_level, source=source, reason="")


def _group_shares(
    column: str, names: tuple[tuple[str, ...], ...], sizes: NDArray[np.int64], subject: Subject
) -> Measurement:
    kept = np.flatnonzero(~suppressed(sizes, subject.min_group))
    return _sliced(
        "data.group_share",
        (column,),
        [group_name(names[group]) for group in kept],
        sizes[kept],
        np.full(len(kept), sizes.sum()),
        subject.conf_level,
        source="a count over the audited rows",
        reason=too_small(subject.min_group),
    )


def _against(
    shares: Mapping[str, float],
    column: str,
    names: tuple[tuple[str, ...], ...],
    sizes: NDArray[np.int64],
    subject: Subject,
) -> Measurement:
    """Return each group's share less its share in the stated population; a group that is absent counts no rows."""
    found = {group_name(name): int(size) for name, size in zip(names, sizes, strict=True)}
    rows = sum(found.values())
    kept = {group_name(names[group]) for group in np.flatnonzero(~suppressed(sizes, subject.min_group))}
    stated = [group for group in shares if group in kept or group not in found]
    counts = np.array([found.get(group, 0) for group in stated], dtype=np.int64)
    share = _sliced(
        "data.group_share_difference",
        (column,),
        stated,
        counts,
        np.full(len(stated), rows),
        subject.conf_level,
        source="the stated reference population",
        reason=too_small(subject.min_group),
    )
    slices = [
        part.model_copy(
            update={
                "value": (part.value or 0.0) - shares[part.name],
                "interval": _shifted(part.interval, shares[part.name]),
                "simultaneous_interval": _shifted(part.simultaneous_interval, shares[part.name]),
            }
        )
        for part in share.slices
    ]
    return share.model_copy(update={"unit": "rate_difference", "slices": tuple(slices)})


def _shifted(interval: Interval | None, by: float) -> Interval | None:
    if interval is None:
        return None
    return interval.model_copy(update={"low": interval.low - by, "high": interval.high - by})


def _constants(subject: Subject, columns: Sequence[str]) -> list[str]:
    frame = subject.data.frame
    constant = []
    for name in columns:
        column = frame[name]
        # One different value is enough; most columns show it at once.
        if not holds_images(column) and column.head(100).nunique() <= 1 and column.nunique() <= 1:
            constant.append(name)
    return constant


def _shared(subject: Subject, columns: Sequence[str]) -> Measurement:
    id, row_count, level = "data.shared_row_rate", len(subject.labels), subject.conf_level
    card = subject.opened.card if subject.opened is not None else None
    if card is not None and subject.data.sha256 and card.training.get("sha256") == subject.data.sha256:
        measured = _exact(id, 1.0, "rate", "lower", row_count, level)
        return measured.model_copy(update={"source": "the sha256 of the data is that of the model's training data"})
    if subject.training is None:
        reason = "no training data; pass --train-dataset FILE"
        return Measurement(
            id=id, unit="rate", better="lower", count=row_count, source="rows compared by value", reason=reason
        )
    common = [name for name in columns if name in subject.training.frame.columns]
    theirs = np.unique(row_hashes(subject.training.frame, common))
    mine = row_hashes(subject.data.frame, common)
    places = np.minimum(np.searchsorted(theirs, mine), len(theirs) - 1)
    found = int((theirs[places] == mine).sum())
    measured = _exact(id, found / row_count, "rate", "lower", row_count, level)
    return measured.model_copy(update={"source": f"rows with the same values in all {len(common)} common columns"})


def _examined(subject: Subject, columns: Sequence[str]) -> list[str]:
    """Return the columns that are looked at one by one: not the label, the decisions, images, or pixels."""
    if subject.schema.kind != "table":
        return []
    decided = subject.decisions.columns if subject.decisions is not None else ()
    names = [name for name in columns if name != subject.schema.target and name not in decided]
    return [name for name in names if not holds_images(subject.data.frame[name])]


def _sample(count: int, seed: int) -> NDArray[np.int64] | slice:
    if count <= ROWS_SAMPLED:
        return slice(None)
    return np.sort(np.random.default_rng(seed).choice(count, size=ROWS_SAMPLED, replace=False))


def _single_columns(subject: Subject, columns: Sequence[str]) -> Measurement:
    rows = _sample(len(subject.labels), subject.seed)
    frame, labels = subject.data.frame.iloc[rows], subject.labels[rows].astype(np.int64)
    together = simultaneous_level(subject.conf_level, len(columns))
    slices = []
    for name in columns:
        values = column_values(frame, name)
        assert values is not None
        codes = values[0].astype(np.int64) + 1 if isinstance(values, tuple) else binned_codes(values)
        area = single_column_auc(codes, labels, len(subject.schema.classes), seed=subject.seed)
        if area is None:
            slices.append(Slice(name=name, value=None, count=len(labels), reason="a class has fewer than 2 rows"))
            continue
        low, high, method = roc_auc_interval(area, subject.conf_level)
        wide_low, wide_high, wide_method = roc_auc_interval(area, together)
        level = subject.conf_level
        slices.append(
            Slice(
                name=name,
                value=area.value,
                count=len(labels),
                interval=Interval(low=low, high=high, level=level, method=method),
                simultaneous_interval=Interval(
                    low=wide_low,
                    high=wide_high,
                    level=level,
                    method=f"{wide_method}, Sidak over {len(columns)} columns",
                ),
            )
        )
    slices.sort(key=lambda part: -(part.value or 0))
    return Measurement(
        id="data.single_column_roc_auc",
        by=("column",),
        unit="number",
        better="neither",
        count=len(labels),
        slices=tuple(slices),
        source="ROC AUC of the class shares that the column's values have in the other half of the rows",
    )


def _drifts(subject: Subject, columns: Sequence[str]) -> dict[str, Drift]:
    training: Data | None = subject.training
    if training is None or not columns:
        return {}
    target = [subject.schema.target] if subject.schema.target is not None else []
    names = [name for name in (*columns, *target) if name in training.frame.columns]
    theirs = training.frame.iloc[_sample(len(training.frame), subject.seed)]
    mine = subject.data.frame.iloc[_sample(len(subject.labels), subject.seed)]
    return {name: _drift(column_values(theirs, name), column_values(mine, name)) for name in names}


Values = NDArray[np.float64] | tuple[NDArray[np.int64], list[str]] | None


def _drift(first: Values, second: Values) -> Drift:
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return numeric_drift(first, second)
    counts: list[dict[str, int]] = []
    for values in (first, second):
        if isinstance(values, tuple):
            codes, words = values
        else:
            assert values is not None
            distinct, codes = np.unique(values, return_inverse=True)
            words = [f"{value:g}" for value in distinct]
        found = np.bincount(codes.astype(np.int64) + 1, minlength=len(words) + 1)
        counts.append(dict(zip(["", *words], found.tolist(), strict=True)))
    together = sorted(counts[0].keys() | counts[1].keys())
    tables = [np.array([count.get(word, 0) for word in together], dtype=np.int64) for count in counts]
    return categorical_drift(tables[0], tables[1])


def _drift_measurement(drifts: Mapping[str, Drift], subject: Subject) -> Measurement:
    level = subject.conf_level
    each = simultaneous_level(level, len(drifts))
    method = "Dvoretzky-Kiefer-Wolfowitz or McDiarmid, for any distribution"
    slices = []
    for name, drift in sorted(drifts.items(), key=lambda item: -item[1].distance):
        alone, together = drift_interval(drift, level), drift_interval(drift, each)
        slices.append(
            Slice(
                name=name,
                value=drift.distance,
                count=drift.sizes[1],
                interval=Interval(low=alone[0], high=alone[1], level=level, method=method),
                simultaneous_interval=Interval(
                    low=together[0], high=together[1], level=level, method=f"{method}, Sidak over {len(drifts)} columns"
                ),
            )
        )
    return Measurement(
        id="data.drift_distance",
        by=("column",),
        unit="share",
        better="lower",
        count=len(subject.labels),
        slices=tuple(slices),
        source="Kolmogorov-Smirnov distance of numbers and dates, total variation of categories",
        reason=None if slices else "no training data to compare with; pass --train-dataset FILE",
    )


def _drift_table(drifts: Mapping[str, Drift], level: float) -> tuple[Table, str]:
    corrected = dict(zip(drifts, holm(np.array([drift.p_value for drift in drifts.values()])), strict=True))
    moved = [name for name in drifts if corrected[name] < 1 - level]
    rows = tuple(
        (name, drift.kind, drift.distance, float(corrected[name]), "yes" if name in moved else "no")
        for name, drift in sorted(drifts.items(), key=lambda item: -item[1].distance)
    )
    table = Table(
        title="Drift between training and audited data",
        note=f"Tested by Kolmogorov-Smirnov or chi-squared; p-values corrected for {len(drifts)} columns (Holm). With "
        "many rows a difference can be beyond chance and small: read the distance.",
        columns=(
            Column(name="column"),
            Column(name="distance by"),
            Column(name="distance", unit="share"),
            Column(name="corrected p-value", unit="number"),
            Column(name="beyond chance"),
        ),
        rows=rows,
    )
    error = f"{(1 - level) * 100:g} %"
    listed = f": {', '.join(moved[:10])}{', ...' if len(moved) > 10 else ''}" if moved else ""
    return table, (
        f"{len(moved)} of {len(drifts)} columns differ between training and audited data beyond chance, at {error} "
        f"for all tests together{listed}."
    )


def _glance(
    subject: Subject, columns: Sequence[str], repeated: int, shared: Measurement, constants: Sequence[str]
) -> Facts:
    shares: Callable[[float], str] = lambda value: f"{value * 100:.1f} %"  # noqa: E731
    row_count = len(subject.labels)
    rows = [
        ("Rows", f"{row_count:,} audited of {subject.row_count_read:,} read"),
        ("Columns", f"{len(columns):,}"),
        ("Rows that repeat an earlier one in every column", f"{repeated:,} ({shares(repeated / row_count)})"),
        (
            "Rows that also occur in the training data",
            shared.reason or f"{round((shared.value or 0) * row_count):,} ({shares(shared.value or 0)})",
        ),
        ("Constant columns", ", ".join(constants) or "none"),
    ]
    return Facts(title="The data at a glance", rows=tuple(rows))
