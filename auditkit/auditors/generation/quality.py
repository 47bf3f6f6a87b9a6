"""From a generator and real rows to measurements: fresh sample sets, a ceiling of real rows, classes and groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from auditkit.auditors.generation.comparison import Key, compare
from auditkit.auditors.generation.explanations import explanations
from auditkit.auditors.generation.material import CLASS, Material, gather
from auditkit.auditors.generation.pictures import exhibits_of
from auditkit.auditors.generation.private import Comparison, estimates_of, frontier
from auditkit.auditors.generation.sample_sets import SetEstimates
from auditkit.auditors.generation.shares import share_estimates
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Better, Evidence, Group, Interval, Measurement, Slice, Unit
from auditkit.evidence.messages import Message
from auditkit.stats.intervals import simultaneous_level

FEWEST_OF_CLASS = 20
"""From so many unseen rows on a class or a group is compared."""

COPIES = ("memorisation.near_copy_excess",)
"""What a limit on quality depends on: copies of training rows reach every quality."""

PRECISION = Message(
    "share of samples within the neighbourhood of a real row, its distance to the 5th nearest other real row "
    "(Kynkaanniemi et al. 2019)"
)
RECALL = Message("share of real rows within the neighbourhood of a sample (Kynkaanniemi et al. 2019)")
DENSITY = Message(
    "mean number of real neighbourhoods that a sample lies in, divided by 5: about 1 for equal distributions "
    "(Naeem et al. 2020)"
)
COVERAGE = Message("share of real rows whose neighbourhood holds a sample (Naeem et al. 2020)")
SHORTFALL = Message("how far the value for real rows, held against unseen real rows in the same way, exceeds it")


class QualityMetric(NamedTuple):
    """What a measurement is: its definition, unit, direction, and the bounds that its values cannot leave."""

    definition: str
    unit: Unit
    better: Better
    low: float = -np.inf
    high: float = np.inf


def _shortfall(quality: str, unit: Unit = "rate_difference") -> QualityMetric:
    bound = 1.0 if unit == "rate_difference" else np.inf
    return QualityMetric(Message("{what}: {quality}", what=SHORTFALL, quality=quality), unit, "lower", -bound, bound)


KINDS: Mapping[str, QualityMetric] = {
    "precision": QualityMetric(PRECISION, "rate", "higher", 0.0, 1.0),
    "recall": QualityMetric(RECALL, "rate", "higher", 0.0, 1.0),
    "density": QualityMetric(DENSITY, "number", "higher", 0.0),
    "coverage": QualityMetric(COVERAGE, "rate", "higher", 0.0, 1.0),
    "precision_shortfall": _shortfall(PRECISION),
    "recall_shortfall": _shortfall(RECALL),
    "density_shortfall": _shortfall(DENSITY, "number"),
    "coverage_shortfall": _shortfall(COVERAGE),
    "kernel_distance": QualityMetric(
        Message(
            "unbiased squared maximum mean discrepancy with a cubic kernel, of samples from unseen rows (Binkowski et "
            "al. 2018): 0 for equal distributions"
        ),
        "number",
        "lower",
    ),
    "class_share_difference": QualityMetric(
        Message(
            "share of a class among samples, corrected for the classifier's confusion, minus its share of real rows"
        ),
        "rate_difference",
        "neither",
        -1.0,
        1.0,
    ),
    "class_share_ratio": QualityMetric(
        Message(
            "share of a class among samples, corrected for the classifier's confusion, divided by its share of real "
            "rows: 1 is ideal, 0 where a class was forgotten"
        ),
        "ratio",
        "neither",
        0.0,
    ),
    "class_diversity_ratio": QualityMetric(
        Message(
            "root mean squared distance between samples seen as one class, divided by the same of real rows: 1 is "
            "ideal, near 0 where all samples of a class are alike"
        ),
        "ratio",
        "neither",
        0.0,
    ),
}


def quality_evidence(subject: Subject, *, row_count: int, set_count: int, epsilons: Sequence[float] = ()) -> Evidence:
    """Draw samples, and return quality measurements, tables, charts and a sheet of samples.

    With `epsilons` the generator is retrained with privacy at each, and compared likewise.

    Raises:
        NotRun: fewer than 100 unseen rows and as many others, or a generator that cannot be retrained as asked.
    """
    samples, material, space, notes = gather(subject, row_count, set_count)
    every = np.arange(len(material.real))
    shape = [(key, len(values)) for key, values in compare(material, every, 0, every).items()]
    estimates = estimates_of(material, set_count, subject.seed)
    measurements = list(_measurements(material, shape, estimates, subject.conf_level))
    measurements += _class_shares(material, subject.seed, subject.conf_level)
    exhibits = exhibits_of(measurements, [*material.splits], samples) + explanations(subject, samples)
    if epsilons:
        comparison = Comparison(material, space, shape, set_count)
        private = frontier(subject, comparison, estimates, samples, epsilons)
        measurements += private.measurements
        exhibits += private.exhibits
        notes += private.notes
    subject.progress(0.95, "")
    return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def _measurements(
    material: Material, shape: list[tuple[Key, int]], estimates: SetEstimates, level: float
) -> Iterator[Measurement]:
    """Yield a measurement for each key, whose values stand one behind the other among the estimates."""
    start = 0
    for (name, column), width in shape:
        places = range(start, start + width)
        start += width
        if column == "":
            interval = _interval(name, estimates, start - 1, level, count=len(material.real))
            yield _measurement(
                name, value=float(estimates.values[start - 1]), interval=interval, count=len(material.real)
            )
            continue
        groups = _groups(material, name, column, estimates, places, level)
        yield _measurement(name, by=(column,), slices=groups, count=sum(group.count for group in groups))


def _class_shares(material: Material, seed: int, level: float) -> list[Measurement]:
    classes = material.classes
    if classes is None:
        return []
    count = len(material.splits[CLASS][0])
    found = share_estimates(classes.seen_in_sets, classes.real, classes.seen_in_real, count, seed=seed)
    return [
        _measurement(
            name, by=(CLASS,), slices=_groups(material, name, CLASS, part, range(count), level), count=len(classes.real)
        )
        for name, part in zip(("class_share_difference", "class_share_ratio"), found, strict=True)
    ]


def _groups(
    material: Material, name: str, column: str, estimates: SetEstimates, places: range, level: float
) -> tuple[Slice, ...]:
    """Return the value of each group, with an interval of its own and one that holds for all groups at once."""
    sizes = material.group_sizes(column)
    enough = (sizes >= FEWEST_OF_CLASS) & np.isfinite(estimates.values[places.start : places.stop])
    tests = max(int(enough.sum()), 1)
    wide = simultaneous_level(level, tests)
    slices = []
    for place, size, group, shown in zip(places, sizes.tolist(), material.splits[column][0], enough, strict=True):
        key = Group(by=(column,), key=(group,))
        if size < FEWEST_OF_CLASS:
            few = Message("fewer than {fewest} unseen rows", fewest=FEWEST_OF_CLASS)
            slices.append(Slice(group=key, value=None, count=size, reason=few))
        elif not shown:
            alone = Message("some set has fewer than two samples of this class")
            slices.append(Slice(group=key, value=None, count=size, reason=alone))
        else:
            together = _interval(name, estimates, place, wide, count=size)
            slices.append(
                Slice(
                    group=key,
                    value=float(estimates.values[place]),
                    count=size,
                    interval=_interval(name, estimates, place, level, count=size),
                    simultaneous_interval=together.model_copy(
                        update={
                            "level": level,
                            "method": Message(
                                "{method}, Sidak over {count} groups", method=together.method, count=tests
                            ),
                        }
                    ),
                )
            )
    return tuple(slices)


def _interval(name: str, estimates: SetEstimates, place: int, level: float, *, count: int) -> Interval:
    return estimates.interval(place, level=level, count=count, low=KINDS[name].low, high=KINDS[name].high)


def _measurement(
    name: str,
    *,
    count: int,
    by: tuple[str, ...] = (),
    value: float | None = None,
    interval: Interval | None = None,
    slices: tuple[Slice, ...] = (),
) -> Measurement:
    kind = KINDS[name]
    return Measurement(
        id=f"generation.{name}",
        by=by,
        value=value,
        unit=kind.unit,
        better=kind.better,
        count=count,
        interval=interval,
        slices=slices,
        definition=kind.definition,
        only_with=COPIES,
    )
