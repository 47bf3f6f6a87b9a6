"""From a generator and real rows to measurements: fresh sample sets, a ceiling of real rows, classes and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.generation.auditor import FEWEST_ROWS, QUALITIES
from auditkit.auditors.generation.features import FeatureSpace, learnt_space, plain_space
from auditkit.auditors.generation.neighbours import RealRows, covered_rows, kernel_distance, manifold_metrics, real_rows
from auditkit.auditors.generation.sample_sets import METHOD, SetEstimates, interval_of, over_sample_sets
from auditkit.auditors.generation.shares import corrected_shares
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import (
    Column,
    Evidence,
    Exhibit,
    Group,
    HeatMaps,
    Interval,
    Measurement,
    Panel,
    Slice,
    SliceChart,
    Table,
    grid_of,
)
from auditkit.evidence.messages import Message, title
from auditkit.models.capabilities import Generative
from auditkit.stats.intervals import simultaneous_level

Rows = NDArray[np.float32]

CLASS = "class"
SHOWN_SAMPLES = 12

DEFINITIONS: Mapping[str, str] = {
    "precision": Message(
        "share of samples within the neighbourhood of a real row, its distance to the 5th nearest other real row "
        "(Kynkaanniemi et al. 2019)"
    ),
    "recall": Message("share of real rows within the neighbourhood of a sample (Kynkaanniemi et al. 2019)"),
    "density": Message(
        "mean number of real neighbourhoods that a sample lies in, divided by 5: about 1 for equal distributions "
        "(Naeem et al. 2020)"
    ),
    "coverage": Message("share of real rows whose neighbourhood holds a sample (Naeem et al. 2020)"),
    "kernel_distance": Message(
        "unbiased squared maximum mean discrepancy with a cubic kernel, of samples from unseen rows (Binkowski et al. "
        "2018): 0 for equal distributions"
    ),
}
SHORTFALL = Message("how far the value for real rows, held against unseen real rows in the same way, exceeds it")
BOUNDS = {"precision": (0.0, 1.0), "recall": (0.0, 1.0), "coverage": (0.0, 1.0), "density": (0.0, np.inf)}


class MaterialError(ValueError):
    """There are too few real rows to hold samples against."""


@dataclass(frozen=True, eq=False)
class Material:
    """What is compared, as features: unseen real rows, sets of samples, and as many sets of other real rows.

    `real_classes` and `seen` are class codes: of the unseen rows, and those that the classifier sees in the unseen
    rows and in each set; None where rows have no classes. `splits` gives, for each column that real rows are told
    apart by, its groups and each unseen row's group.
    """

    real: Rows
    sets: Sequence[Rows]
    ceilings: Sequence[Rows]
    splits: Mapping[str, tuple[tuple[str, ...], NDArray[np.int64]]]
    real_classes: NDArray[np.int64] | None
    seen_in_real: NDArray[np.int64] | None
    seen_in_sets: Sequence[NDArray[np.int64]]
    class_names: tuple[str, ...]


class Part(NamedTuple):
    """Where the values of a measurement stand among all values: by column and group, None for all rows."""

    name: str
    column: str | None
    group: str | None
    row_count: int


def quality_evidence(subject: Subject, *, row_count: int, set_count: int) -> Evidence:
    """Draw samples, and return quality measurements, tables, charts and a sheet of samples.

    Raises:
        MaterialError: fewer than 200 real rows.
    """
    images, material, notes = _material(subject, row_count, set_count)
    parts = _parts(material)
    kept: dict[bytes, RealRows] = {}
    estimates = over_sample_sets(
        lambda rows, number: _values(material, parts, rows, number, kept),
        real_count=len(material.real),
        set_count=set_count,
        seed=subject.seed,
    )
    subject.progress(0.95, "")
    measurements = _measurements(parts, estimates, subject.conf_level)
    exhibits: list[Exhibit] = [_quality_table(measurements, parts, estimates)]
    exhibits += [
        SliceChart(
            title=Message("Coverage by {column}", column=column), measurement="generation.coverage", by=(column,)
        )
        for column in material.splits
    ]
    exhibits += _sheet(images)
    return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def _material(subject: Subject, row_count: int, set_count: int) -> tuple[Rows, Material, list[str]]:
    generator = np.random.default_rng(subject.seed)
    chosen = generator.permutation(len(subject.labels))
    others, other_labels = subject.training_inputs, subject.training_labels
    real_at = chosen
    if others is None or other_labels is None:
        real_at, others_at = np.array_split(chosen, 2)
        others, other_labels = subject.inputs[others_at], subject.labels[others_at]
    size = min(len(real_at), len(others), row_count)
    if size < FEWEST_ROWS:
        raise MaterialError(
            f"at least {FEWEST_ROWS} unseen rows and as many others must be there to hold samples against, got {size}"
        )
    real_at = np.sort(real_at[:size])
    names = subject.schema.classes
    space = (
        learnt_space(others, other_labels, seed=subject.seed, device=subject.device)
        if names and others.ndim == 4
        else plain_space(others)
    )
    subject.progress(0.2, "drawing samples")
    able = subject.model.require(Generative)
    drawn = [able.sample(size, seed=subject.seed + 1 + number, device=subject.device) for number in range(set_count)]
    subject.progress(0.4, "comparing samples")
    ceilings = [others[generator.permutation(len(others))[:size]] for _ in range(set_count)]
    real = subject.inputs[real_at]
    splits = {column: _by_column(subject, column, real_at) for column in subject.sensitive}
    if names:
        splits = {CLASS: (names, subject.labels[real_at].astype(np.int64))} | splits
    seen = space.classes(real)
    material = Material(
        real=space.features(real),
        sets=[space.features(rows) for rows in drawn],
        ceilings=[space.features(rows) for rows in ceilings],
        splits=splits,
        real_classes=None if seen is None else subject.labels[real_at].astype(np.int64),
        seen_in_real=seen,
        seen_in_sets=[] if seen is None else [found for rows in drawn if (found := space.classes(rows)) is not None],
        class_names=names,
    )
    return drawn[0], material, _notes(subject, space, size, set_count)


def _by_column(subject: Subject, column: str, rows: NDArray[np.int64]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    keys, codes = subject.group_codes((column,))
    return tuple(key[0] for key in keys), codes[rows].astype(np.int64)


def _notes(subject: Subject, space: FeatureSpace, size: int, set_count: int) -> list[str]:
    notes: list[str] = [
        Message(
            "{sets} fresh sets of {size:,} samples were drawn and held against {size:,} real rows that the "
            "generator is said never to have seen; the ceiling is as many other real rows, held against the same.",
            sets=set_count,
            size=size,
        )
    ]
    if space.sha256 is None:
        notes.append(Message("Distances are between rows as they are, each column standardised."))
    else:
        notes.append(
            Message(
                "Distances are between features of a small classifier that was trained for this audit on real rows "
                "with their classes (sha256 {sha256}).",
                sha256=space.sha256[:12],
            )
        )
    if subject.training_inputs is None:
        notes.append(
            Message("Without training rows, half of the unseen rows serve as ceiling; pass --train-dataset FILE.")
        )
    return notes


def _parts(material: Material) -> list[Part]:
    """Return what `_values` computes, in its order."""
    count = len(material.real)
    names = [*QUALITIES, *(f"{name}_shortfall" for name in QUALITIES), "kernel_distance"]
    parts = [Part(name, None, None, count) for name in names]
    for column, (groups, codes) in material.splits.items():
        sizes = np.bincount(codes, minlength=len(groups))
        for name in ("coverage", "coverage_shortfall"):
            parts += [Part(name, column, group, int(n)) for group, n in zip(groups, sizes, strict=True)]
    if material.seen_in_real is not None:
        sizes = np.bincount(material.splits[CLASS][1], minlength=len(material.class_names))
        parts += [
            Part("class_share_difference", CLASS, group, int(n))
            for group, n in zip(material.class_names, sizes, strict=True)
        ]
    return parts


def _values(
    material: Material, parts: list[Part], rows: NDArray[np.int64], number: int, kept: dict[bytes, RealRows]
) -> list[float]:
    """Return the value of every part for some real rows and one set of samples; `kept` spares the neighbourhoods."""
    key = rows.tobytes()
    if key not in kept:
        kept.clear()
        kept[key] = real_rows(material.real[rows])
    real = kept[key]
    fake, ceiling = material.sets[number], material.ceilings[number]
    own, best = np.array(manifold_metrics(real, fake)), np.array(manifold_metrics(real, ceiling))
    values = [*own, *(best - own), kernel_distance(material.real[rows], fake)]
    covered = covered_rows(real, fake), covered_rows(real, ceiling)
    for groups, codes in material.splits.values():
        sizes = np.maximum(np.bincount(codes[rows], minlength=len(groups)), 1)
        shares = [np.bincount(codes[rows], weights=one, minlength=len(groups)) / sizes for one in covered]
        values += [*shares[0], *(shares[1] - shares[0])]
    if material.seen_in_real is not None and material.real_classes is not None:
        true, count = material.real_classes[rows], len(material.class_names)
        found = corrected_shares(material.seen_in_sets[number], true, material.seen_in_real[rows], count)
        values += [*(found - np.bincount(true, minlength=count) / len(true))]
    assert len(values) == len(parts)
    return [float(value) for value in values]


def _measurements(parts: list[Part], estimates: SetEstimates, level: float) -> list[Measurement]:
    found = []
    for name, column in dict.fromkeys((part.name, part.column) for part in parts):
        places = [place for place, part in enumerate(parts) if (part.name, part.column) == (name, column)]
        if column is None:
            value, interval = _estimate(parts, estimates, places[0], level)
            found.append(_measurement(name, (), value=value, interval=interval, count=parts[places[0]].row_count))
            continue
        wide = simultaneous_level(level, len(places))
        slices = []
        for place in places:
            value, interval = _estimate(parts, estimates, place, level)
            slices.append(
                Slice(
                    group=Group(by=(column,), key=(parts[place].group or "",)),
                    value=value,
                    count=parts[place].row_count,
                    interval=interval,
                    simultaneous_interval=_estimate(parts, estimates, place, wide)[1],
                )
            )
        count = sum(part.count for part in slices)
        found.append(_measurement(name, (column,), slices=tuple(slices), count=count))
    return found


def _estimate(parts: list[Part], estimates: SetEstimates, place: int, level: float) -> tuple[float, Interval]:
    value = float(estimates.values[place])
    low, high = BOUNDS.get(parts[place].name, (-np.inf, np.inf))
    return value, interval_of(
        value,
        float(estimates.variances[place]),
        float(estimates.degrees[place]),
        level=level,
        count=max(parts[place].row_count, 1),
        low=low,
        high=high,
    )


def _measurement(
    name: str,
    by: tuple[str, ...],
    *,
    count: int,
    value: float | None = None,
    interval: Interval | None = None,
    slices: tuple[Slice, ...] = (),
) -> Measurement:
    if name == "class_share_difference":
        unit, better = "rate_difference", "neither"
        definition: str = Message(
            "share of a class among samples, corrected for the classifier's confusion, minus its share of real rows"
        )
    elif name == "kernel_distance":
        unit, better, definition = "number", "lower", DEFINITIONS[name]
    elif name.endswith("_shortfall"):
        quality = name.removesuffix("_shortfall")
        unit = "number" if quality == "density" else "rate_difference"
        better, definition = "lower", Message("{what}: {quality}", what=SHORTFALL, quality=DEFINITIONS[quality])
    else:
        unit, better, definition = "number" if name == "density" else "rate", "higher", DEFINITIONS[name]
    return Measurement(
        id=f"generation.{name}",
        by=by,
        value=value,
        unit=unit,
        better=better,
        count=count,
        interval=interval,
        slices=slices,
        definition=definition,
    )


def _quality_table(measurements: list[Measurement], parts: list[Part], estimates: SetEstimates) -> Table:
    overall = {one.id: one for one in measurements if not one.by}
    rows = []
    for name in QUALITIES:
        own, short = overall[f"generation.{name}"], overall[f"generation.{name}_shortfall"]
        assert own.value is not None
        assert own.interval is not None
        assert short.value is not None
        rows.append((title(f".{name}"), own.value, own.interval.low, own.interval.high, own.value + short.value))
    return Table(
        title=Message("Quality of samples beside its ceiling"),
        note=Message(
            "The ceiling is what real rows reach. Copies of training rows reach it too: read this table only beside "
            "the card on memorisation. Intervals: {method}.",
            method=METHOD,
        ),
        columns=(
            Column(name=Message("metric")),
            Column(name=Message("samples"), unit="number"),
            Column(name=Message("low"), unit="number"),
            Column(name=Message("high"), unit="number"),
            Column(name=Message("ceiling"), unit="number"),
        ),
        rows=tuple(rows),
    )


def _sheet(images: Rows) -> list[Exhibit]:
    if images.ndim != 4:
        return []
    panels = []
    for place, image in enumerate(images[:SHOWN_SAMPLES]):
        grey = image.mean(axis=0)
        blank = np.zeros_like(grey)
        panels.append(
            Panel(
                name=Message("sample {number}", number=place + 1),
                image=grid_of(grey.tolist()),
                heat=grid_of(blank.tolist()),
            )
        )
    return [HeatMaps(title=Message("Samples"), note=Message("Drawn at random for this audit."), panels=tuple(panels))]
