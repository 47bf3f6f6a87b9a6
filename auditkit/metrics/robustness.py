"""How decisions hold when inputs get worse: what changes and what is lost, on the same rows before and after.

Rows stand in the same order before and after a damage. An answer is right, or is not: bool, (rows,). All intervals are
of pairs, so that they are as short as the agreement of the two answers allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.intervals import (
    mean_interval,
    needs_exact,
    paired_difference_interval,
    proportion_interval,
    simultaneous_level,
)
from auditkit.evidence.measurement import Interval, Line, Measurement, Slice
from auditkit.metrics.estimates import Breakdown, Estimate, measure

Right = NDArray[np.bool_]


def accuracy_loss(before: NDArray[Any], after: NDArray[Any], levels: Sequence[float]) -> Estimate:
    """Return the share of right answers before minus that after, over the same rows; below 0 where more are right.

    >>> estimate = accuracy_loss(np.array([True, True, False, True]), np.array([True, False, False, False]), (0.95,))
    >>> estimate.value
    0.5
    """
    lost, won = int((before & ~after).sum()), int((after & ~before).sum())
    bounds = []
    for level in levels:
        low, high = paired_difference_interval(lost, won, len(before), level)
        bounds.append((float(low), float(high), "Bonett-Price, paired"))
    return Estimate((lost - won) / len(before), tuple(bounds))


def flip_rate(before: NDArray[Any], after: NDArray[Any], levels: Sequence[float]) -> Estimate:
    """Return the share of rows whose answer is another one after than before: 0 is ideal."""
    return share(before != after, levels)


def share(chosen: Right, levels: Sequence[float]) -> Estimate:
    """Return the share of the rows that are chosen, with Wilson's or Clopper and Pearson's interval."""
    count, rows = int(chosen.sum()), len(chosen)
    bounds = []
    for level in levels:
        low, high = proportion_interval(count, rows, level)
        method = "Clopper-Pearson" if needs_exact(count, rows, level) else "Wilson"
        bounds.append((float(low), float(high), method))
    return Estimate(count / rows, tuple(bounds))


def accuracy_loss_measurement(
    name: str, before: Right, after: Right, breakdown: Breakdown, *, level: float, source: str
) -> Measurement:
    """Return `robustness.NAME_accuracy_loss`: accuracy on the rows as they are minus that on the damaged ones."""
    return measure(
        f"robustness.{name}_accuracy_loss",
        accuracy_loss,
        before,
        after,
        breakdown,
        level,
        unit="rate_difference",
        better="lower",
        source=source,
    )


def flip_rate_measurement(
    name: str,
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    breakdown: Breakdown,
    *,
    level: float,
    source: str,
) -> Measurement:
    """Return `robustness.NAME_flip_rate`: the share of rows that are decided otherwise when they are damaged."""
    return measure(
        f"robustness.{name}_flip_rate",
        flip_rate,
        before,
        after,
        breakdown,
        level,
        unit="rate",
        better="lower",
        source=source,
    )


def loss_line(name: str, strengths: Sequence[float], before: Right, after: Sequence[Right], *, level: float) -> Line:
    """Return the accuracy lost at each strength, from none at strength 0 on, with a band of paired intervals."""
    found = [accuracy_loss(before, right, (level,)) for right in after]
    return _line(name, strengths, [(one.value or 0.0, *_ends(one, 0)) for one in found])


def worst_group_line(
    name: str,
    strengths: Sequence[float],
    before: Right,
    after: Sequence[Right],
    groups: Mapping[str, NDArray[np.intp]],
    *,
    level: float,
) -> tuple[Line, tuple[str, ...]]:
    """Return the loss of the worst group at each strength, and which group that is.

    `groups` holds the rows of each, at least one group. The band is the interval of that group that holds for all
    groups at once, so that choosing one is allowed for. The worst group is the one whose loss is surely the largest:
    with the highest lower end, so that a few rows of a small group do not take the place.
    """
    each = simultaneous_level(level, len(groups))
    points, worst = [], []
    for right in after:
        found = {group: accuracy_loss(before[rows], right[rows], (each,)) for group, rows in groups.items()}
        group = max(found, key=lambda one: _ends(found[one], 0))
        points.append((found[group].value or 0.0, *_ends(found[group], 0)))
        worst.append(group)
    return _line(name, strengths, points), tuple(worst)


def share_line(name: str, strengths: Sequence[float], chosen: Sequence[Right], *, level: float) -> Line:
    """Return the share of chosen rows at each strength, from none at strength 0 on, with a band of intervals."""
    found = [share(rows, (level,)) for rows in chosen]
    return _line(name, strengths, [(one.value or 0.0, *_ends(one, 0)) for one in found])


def odd_input_confidence(confidences: dict[str, NDArray[np.float64]], *, level: float, source: str) -> Measurement:
    """Return `robustness.odd_input_confidence`: the mean probability of the likeliest class, for each kind of input.

    `confidences` holds, for each kind, the largest probability of each of its rows. One row has no interval.
    """
    several = [kind for kind, values in confidences.items() if len(values) > 1]
    each = simultaneous_level(level, max(len(several), 1))
    family = f", Sidak over {len(several)} kinds of input" if len(several) > 1 else ""
    slices = []
    for kind, values in confidences.items():
        mean, together, alone = float(values.mean()), None, None
        if len(values) > 1:
            variance = float(values.var(ddof=1))
            alone = _mean_interval(mean, variance, len(values), level, level, "Student's t")
            together = _mean_interval(mean, variance, len(values), each, level, f"Student's t{family}")
        slices.append(Slice(name=kind, value=mean, count=len(values), interval=alone, simultaneous_interval=together))
    return Measurement(
        id="robustness.odd_input_confidence",
        by=("input",),
        unit="rate",
        better="lower",
        count=sum(part.count for part in slices),
        slices=tuple(slices),
        source=source,
    )


def _mean_interval(mean: float, variance: float, count: int, each: float, level: float, method: str) -> Interval:
    low, high = (float(end) for end in mean_interval(mean, variance, count, each))
    return Interval(low=max(low, 0.0), high=min(high, 1.0), level=level, method=method)


def _ends(estimate: Estimate, place: int) -> tuple[float, float]:
    bound = estimate.bounds[place]
    assert bound is not None
    return bound[0], bound[1]


def _line(name: str, strengths: Sequence[float], points: Sequence[tuple[float, float, float]]) -> Line:
    value, low, high = zip((0.0, 0.0, 0.0), *points, strict=True)
    return Line(name=name, x=(0.0, *strengths), y=value, low=low, high=high)
