"""Shares of the rows: values that are missing, classes, and groups beside a population that is stated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auditkit.documents import parse_toml
from auditkit.engine.subject import Subject
from auditkit.errors import InputError
from auditkit.evidence.measurement import (
    Group,
    Interval,
    Measurement,
    Slice,
)
from auditkit.evidence.messages import Message
from auditkit.files import read_text
from auditkit.stats import one_vs_rest
from auditkit.stats.counts import not_compared, tally
from auditkit.stats.estimates import Breakdown, Quantity
from auditkit.stats.one_vs_rest import LABEL
from auditkit.stats.rates import rate_intervals, rate_measurement, too_small
from auditkit.stats.regression import regression_measurement

COLUMNS_PER_GROUP = 20
"""Missing values are broken down by group for this many columns: those where most is missing."""

PIXELS = 100
"""Rows of more columns of one kind than this (the pixels of an image) are not examined column by column."""


def read_population(path: str | Path) -> dict[str, dict[str, float]]:
    """Read a reference population: TOML with a table for each sensitive column, the groups' shares in it.

    Raises:
        InputError: the file is missing, is not TOML, or holds something other than such tables.
    """
    text = read_text(path, f"population {path}")
    try:
        document = parse_toml(text)
    except ValueError as error:
        raise InputError(f"population {path}: not valid TOML: {error}.") from error
    for column, shares in document.items():
        numeric = isinstance(shares, dict) and all(type(share) in (int, float) for share in shares.values())
        if not numeric or not all(math.isfinite(share) for share in shares.values()):
            raise InputError(f'population {path}: [{column}] must give each group its share, such as "F" = 0.51.')
    return {column: {group: float(share) for group, share in shares.items()} for column, shares in document.items()}


COUNTED = Message("a count over the audited rows")
MISSING = Quantity("data.missing_rate", "rate", "lower", COUNTED)


def missing_rates(missing: Mapping[str, NDArray[np.bool_]], level: float) -> Measurement:
    """Return the share of missing values of each column."""
    names = list(missing)
    if len(names) > PIXELS:
        names = [name for name in names if missing[name].any()][:PIXELS]
    counts = np.array([int(missing[name].sum()) for name in names], dtype=np.int64)
    rows = np.array([len(missing[name]) for name in names], dtype=np.int64)
    return _sliced(
        MISSING,
        ("column",),
        [(name,) for name in names],
        counts,
        rows,
        level,
        reason=Message("nothing is missing in any column"),
    )


def missing_by_group(subject: Subject, missing: Mapping[str, NDArray[np.bool_]]) -> list[Measurement]:
    """Return the same by group, of the columns where most is missing."""
    shown = sorted((name for name in missing if missing[name].any()), key=lambda name: -int(missing[name].sum()))
    measurements = []
    for column in subject.sensitive if shown else ():
        names, codes = subject.group_codes((column,))
        sizes = np.bincount(codes, minlength=len(names))
        kept = np.flatnonzero(~not_compared(sizes, subject.min_group, names))
        keys, counts, rows = [], [], []
        for name in [name for name in shown if name != column][:COLUMNS_PER_GROUP]:
            found = np.bincount(codes[missing[name]], minlength=len(names))
            for group in kept:
                keys.append((name, *names[group]))
                counts.append(found[group])
                rows.append(sizes[group])
        if keys:
            measurements.append(
                _sliced(
                    MISSING,
                    ("column", column),
                    keys,
                    np.array(counts),
                    np.array(rows),
                    subject.conf_level,
                    reason="",
                )
            )
    return measurements


def label_shares(subject: Subject) -> Measurement:
    """Return what the labels are over all rows: the share of each class or label, or the mean of the numbers."""
    if subject.task.axis:
        return label_base_rates(subject, ())
    return class_shares(subject) if subject.schema.classes else mean_label(subject, Breakdown())


def labels_by_group(subject: Subject, column: str) -> tuple[list[Measurement], tuple[str, ...], str]:
    """Return what the labels are by the groups of a column, what that is sliced by, and a title; nothing of classes."""
    columns = (column,)
    if subject.task.axis:
        return [label_base_rates(subject, columns)], (*columns, LABEL), Message("Labels by {column}", column=column)
    names, codes = subject.group_codes(columns)
    if not subject.schema.classes:
        found = mean_label(subject, Breakdown(columns, names, codes, subject.min_group))
        return [found], columns, Message("Mean {target} by {column}", target=subject.schema.target, column=column)
    title = Message("Actual outcome {classes}, by {column}", classes=subject.schema.classes[-1], column=column)
    if subject.task.positive is None:
        return [], columns, title
    counts = tally(columns, names, codes, subject.labels, subject.labels, subject.schema.classes)
    own = rate_measurement(counts, "base_rate", prefix="data", level=subject.conf_level, min_group=subject.min_group)
    return [own], columns, title


def mean_label(subject: Subject, breakdown: Breakdown) -> Measurement:
    """Return the mean of the numbers that a regression predicts, over all rows or by group."""
    labels, level = subject.labels, subject.conf_level
    return regression_measurement("mean_label", labels, labels, breakdown, level=level, prefix="data")


def label_base_rates(subject: Subject, columns: tuple[str, ...]) -> Measurement:
    """Return the share of the rows that have each label, as the data auditor's base rate: by `columns` and label."""
    names, codes = subject.group_codes(columns)
    counts = [
        tally(columns, names, codes, own, own, ("not this label", label))
        for label, own in zip(subject.schema.classes, subject.labels.T, strict=True)
    ]
    least = subject.min_group if columns else 0
    rates = one_vs_rest.rate_measurements(
        counts, one_vs_rest.LABEL, prefix="data", level=subject.conf_level, min_group=least
    )
    return next(rate for rate in rates if rate.id == "data.base_rate")


def class_shares(subject: Subject) -> Measurement:
    """Return the share of each class among the labels."""
    classes = subject.schema.classes
    counts = np.bincount(subject.labels, minlength=len(classes))
    rows = np.full(len(classes), len(subject.labels))
    return _sliced(
        Quantity("data.class_share", "rate", "neither", COUNTED),
        ("class",),
        [(name,) for name in classes],
        counts,
        rows,
        subject.conf_level,
        reason="",
    )


def group_shares(
    column: str, names: tuple[tuple[str, ...], ...], sizes: NDArray[np.int64], subject: Subject
) -> Measurement:
    """Return the share of each group among the rows."""
    kept = np.flatnonzero(~not_compared(sizes, subject.min_group, names))
    return _sliced(
        Quantity("data.group_share", "rate", "neither", COUNTED),
        (column,),
        [names[group] for group in kept],
        sizes[kept],
        np.full(len(kept), sizes.sum()),
        subject.conf_level,
        reason=too_small(subject.min_group),
    )


def shares_against(
    shares: Mapping[str, float],
    column: str,
    names: tuple[tuple[str, ...], ...],
    sizes: NDArray[np.int64],
    subject: Subject,
) -> Measurement:
    """Return each group's share less its share in the stated population; a group that is absent counts no rows."""
    found = {name: int(size) for name, size in zip(names, sizes, strict=True)}
    rows = sum(found.values())
    kept = {names[group] for group in np.flatnonzero(~not_compared(sizes, subject.min_group, names))}
    stated = [(group,) for group in shares if (group,) in kept or (group,) not in found]
    counts = np.array([found.get(group, 0) for group in stated], dtype=np.int64)
    share = _sliced(
        Quantity("data.group_share_difference", "rate", "neither", Message("the stated reference population")),
        (column,),
        stated,
        counts,
        np.full(len(stated), rows),
        subject.conf_level,
        reason=too_small(subject.min_group),
    )
    slices = [
        part.model_copy(
            update={
                "value": (part.value or 0.0) - shares[part.group.key[0]],
                "interval": _shifted(part.interval, shares[part.group.key[0]]),
                "simultaneous_interval": _shifted(part.simultaneous_interval, shares[part.group.key[0]]),
            }
        )
        for part in share.slices
    ]
    return share.model_copy(update={"unit": "rate_difference", "slices": tuple(slices)})


def _shifted(interval: Interval | None, by: float) -> Interval | None:
    if interval is None:
        return None
    return interval.model_copy(update={"low": interval.low - by, "high": interval.high - by})


def _sliced(
    quantity: Quantity,
    by: tuple[str, ...],
    keys: Sequence[tuple[str, ...]],
    successes: NDArray[np.int64],
    trials: NDArray[np.int64],
    level: float,
    *,
    reason: str,
) -> Measurement:
    """Return rates of parts of the rows as one measurement, each with its own and a simultaneous interval."""
    slices = []
    if len(keys):
        alone = rate_intervals(successes, trials, level)
        together = rate_intervals(successes, trials, level, family_size=len(keys))
        for place, key in enumerate(keys):
            value, count = float(successes[place] / trials[place]), int(trials[place])
            slices.append(
                Slice(
                    group=Group(by=by, key=key),
                    value=value,
                    count=count,
                    interval=alone[place],
                    simultaneous_interval=together[place],
                )
            )
    return Measurement(
        id=quantity.id,
        by=by,
        unit=quantity.unit,
        better=quantity.better,
        count=int(trials.max()) if len(trials) else 0,
        slices=tuple(slices),
        definition=quantity.definition,
        reason=None if slices else reason,
    )
