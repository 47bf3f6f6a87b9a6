"""How answers hold when inputs get worse: what changes and what is lost, on the same rows before and after.

Rows stand in the same order before and after a corruption. What an answer costs is bool, (rows,), whether it is wrong,
or in a regression float64, how far it is off, NaN where there is no answer. All intervals are of pairs, so that they
are as short as the agreement of the two answers allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.measurement import Group, Interval, Line, Measurement, Slice
from auditkit.evidence.messages import Message
from auditkit.stats.bounded import bounded_student_interval
from auditkit.stats.estimates import Breakdown, Estimate, Quantity, measure, too_few
from auditkit.stats.intervals import (
    needs_exact,
    paired_difference_interval,
    proportion_interval,
    simultaneous_level,
)
from auditkit.stats.regression import mean_estimate

Errors = NDArray[Any]
"""Whether each row is answered wrong, bool, or how far off its number is, float64: (rows,)."""

LARGE = 1e50
"""Of numbers above it, as a corruption makes them of a model with exponentials, the fourth power exceeds 64 bits."""


def added_error(before: Errors, after: Errors, levels: Sequence[float]) -> Estimate:
    """Return the mean error after minus that before, over the same rows; below 0 where it falls.

    Of wrong answers that is the accuracy lost, with the interval of Bonett and Price; of distances the mean absolute
    error added, with Student's t joined with Hall's, over the rows that have an answer both times.

    >>> added_error(np.array([False, False, True, False]), np.array([False, True, True, True]), (0.95,)).value
    0.5
    """
    if before.dtype != np.bool_:
        return _added_distance(before, after, levels)
    lost, won = int((after & ~before).sum()), int((before & ~after).sum())
    bounds = []
    for level in levels:
        low, high = paired_difference_interval(lost, won, len(before), level)
        bounds.append((float(low), float(high), Message("Bonett-Price, paired")))
    return Estimate((lost - won) / len(before), tuple(bounds))


def _added_distance(before: Errors, after: Errors, levels: Sequence[float]) -> Estimate:
    added = (after - before)[np.isfinite(after) & np.isfinite(before)]
    if not len(added):
        return Estimate(reason=Message("no row has an answer"))
    if len(added) < 2:
        return Estimate(float(added.mean()), (None,) * len(levels), too_few(2))
    largest = float(np.abs(added).max())
    scale = largest if largest > LARGE else 1.0
    found = mean_estimate(added / scale, levels)
    ends = [None if one is None else (scale * float(one[0]), scale * float(one[1]), one[2]) for one in found.bounds]
    bounds = tuple(
        None if end is None or not np.isfinite(end[:2]).all() else (*end[:2], Message("{bound}, paired", bound=end[2]))
        for end in ends
    )
    reason = found.reason or (Message("the interval exceeds 64-bit numbers") if None in bounds else None)
    return Estimate(None if found.value is None else scale * found.value, bounds, reason)


def flip_rate(before: NDArray[Any], after: NDArray[Any], levels: Sequence[float]) -> Estimate:
    """Return the share of rows of which any decision is another after than before: 0 is ideal."""
    return share((before != after).reshape(len(before), -1).any(axis=1), levels)


def share(chosen: NDArray[np.bool_], levels: Sequence[float]) -> Estimate:
    """Return the share of the rows that are chosen, with Wilson's or Clopper and Pearson's interval."""
    count, rows = int(chosen.sum()), len(chosen)
    bounds = []
    for level in levels:
        low, high = proportion_interval(count, rows, level)
        method = Message("Clopper-Pearson") if needs_exact(count, rows, level) else "Wilson"
        bounds.append((float(low), float(high), method))
    return Estimate(count / rows, tuple(bounds))


def added_error_measurement(
    name: str, before: Errors, after: Errors, breakdown: Breakdown, *, level: float, definition: str
) -> Measurement:
    """Return `robustness.NAME_accuracy_loss`, in a regression `robustness.NAME_error_increase`: 0 is ideal."""
    of_decisions = before.dtype == np.bool_
    quantity = (
        Quantity(f"robustness.{name}_accuracy_loss", "rate_difference", "lower", definition)
        if of_decisions
        else Quantity(f"robustness.{name}_error_increase", "number", "lower", definition)
    )
    return measure(quantity, added_error, before, after, breakdown, level)


def flip_rate_measurement(
    name: str, before: NDArray[Any], after: NDArray[Any], breakdown: Breakdown, *, level: float, definition: str
) -> Measurement:
    """Return `robustness.NAME_flip_rate`: the share of rows that are decided otherwise when they are corrupted."""
    quantity = Quantity(f"robustness.{name}_flip_rate", "rate", "lower", definition)
    return measure(quantity, flip_rate, before, after, breakdown, level)


def added_line(name: str, strengths: Sequence[float], before: Errors, after: Sequence[Errors], *, level: float) -> Line:
    """Return the error added at each strength, from none at strength 0 on, with a band of paired intervals."""
    return _line(name, strengths, [added_error(before, errors, (level,)) for errors in after])


def worst_group(
    before: Errors, after: Errors, groups: Mapping[Group, NDArray[np.intp]], *, level: float
) -> tuple[Group, Estimate]:
    """Return the group that surely loses most, and what is added to its error.

    `groups` holds the rows of each, at least one group. The interval is the one that holds for all groups at once, so
    that choosing one is allowed for. The group with the highest lower end is chosen, and not the one with the highest
    value, so that a few rows of a small group do not take the place.
    """
    each = simultaneous_level(level, len(groups))
    found = {group: added_error(before[rows], after[rows], (each,)) for group, rows in groups.items()}
    group = max(found, key=lambda one: _ends(found[one])[1:])
    return group, found[group]


def worst_group_line(
    name: str,
    strengths: Sequence[float],
    before: Errors,
    after: Sequence[Errors],
    groups: Mapping[Group, NDArray[np.intp]],
    *,
    level: float,
) -> Line:
    """Return what is added to the error of the worst group at each strength, with a band of its intervals."""
    return _line(name, strengths, [worst_group(before, errors, groups, level=level)[1] for errors in after])


def share_line(name: str, strengths: Sequence[float], chosen: Sequence[NDArray[np.bool_]], *, level: float) -> Line:
    """Return the share of chosen rows at each strength, from none at strength 0 on, with a band of intervals."""
    return _line(name, strengths, [share(rows, (level,)) for rows in chosen])


def odd_input_confidence(confidences: dict[str, NDArray[np.float64]], *, level: float, definition: str) -> Measurement:
    """Return `robustness.odd_input_confidence`: the mean probability of the likeliest class, for each kind of input.

    `confidences` holds, for each kind, the largest probability of each of its rows. The only input of its kind has an
    exact value.
    """
    several = [kind for kind, values in confidences.items() if len(values) > 1]
    each = simultaneous_level(level, max(len(several), 1))
    family = (
        Message(", Sidak over {several_count} kinds of input", several_count=len(several)) if len(several) > 1 else ""
    )
    slices = []
    for kind, values in confidences.items():
        mean = float(values.mean())
        alone = together = Interval(low=mean, high=mean, level=level, method=Message("exact, a single input"))
        if len(values) > 1:
            alone = _confidence_interval(values, level, level, Message("Student's t"))
            together = _confidence_interval(values, each, level, Message("Student's t{family}", family=family))
        group = Group(by=("input",), key=(kind,))
        slices.append(Slice(group=group, value=mean, count=len(values), interval=alone, simultaneous_interval=together))
    return Measurement(
        id="robustness.odd_input_confidence",
        by=("input",),
        unit="rate",
        better="lower",
        count=sum(part.count for part in slices),
        slices=tuple(slices),
        definition=definition,
        reason=None if slices else Message("the model gives no finite answer to any of them"),
    )


def _confidence_interval(values: NDArray[np.float64], each: float, level: float, method: str) -> Interval:
    low, high, joined = bounded_student_interval(values, 0.0, 1.0, each)
    return Interval(low=max(low, 0.0), high=min(high, 1.0), level=level, method=method + joined)


def _ends(estimate: Estimate) -> tuple[float, float, float]:
    """Return the value and the ends of its one interval; without an answer, or without a spread, what it has."""
    value = estimate.value or 0.0
    low, high, _ = (estimate.bounds[0] if estimate.bounds else None) or (value, value, "")
    return value, low, high


def _line(name: str, strengths: Sequence[float], estimates: Sequence[Estimate]) -> Line:
    shown = [(at, *_ends(one)) for at, one in zip(strengths, estimates, strict=True) if one.value is not None]
    x, value, low, high = zip((0.0, 0.0, 0.0, 0.0), *shown, strict=True)
    return Line(name=name, x=x, y=value, low=low, high=high)
