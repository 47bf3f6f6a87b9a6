"""How far apart the groups' scores lie: Kolmogorov-Smirnov and Wasserstein distances, and gaps between means."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from auditkit.evidence.measurement import Group, Interval, Measurement
from auditkit.evidence.messages import Message
from auditkit.stats.estimates import Breakdown, Estimate, Quantity, Statistic, applied, shown_rows
from auditkit.stats.intervals import limits_gap_interval, normal_quantile, studentized_range_level
from auditkit.stats.jackknife import MAXIMUM_ROWS, assign_blocks, assign_unit_blocks, block_count, rounded
from auditkit.stats.rates import FEW_CLUSTERS, lowest_and_highest, too_small
from auditkit.stats.sampled import related_of

Array = NDArray[np.float64]
REPLICATES = 1_000
REPLICATES_AT_ONCE = 100
"""So many stay in the processor's cache, whatever the number of groups."""

CELLS = 128
MOST_GROUPS = 50
"""Distances between the groups of a breakdown are taken up to so many: their pairs grow with the square."""


def kolmogorov_smirnov(first: Array, second: Array) -> float:
    """Return the largest gap between the shares of two samples up to a number.

    >>> kolmogorov_smirnov(np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 4.0, 5.0, 6.0]))
    0.5
    """
    shares, _ = _shares_up_to(first, second)
    return float(np.abs(shares[0] - shares[1]).max())


def wasserstein(first: Array, second: Array) -> float:
    """Return the mean distance that the numbers of one sample have to move to become the other.

    >>> wasserstein(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    2.0
    """
    shares, numbers = _shares_up_to(first, second)
    return float(np.abs(shares[0] - shares[1])[:-1] @ np.diff(numbers))


def _shares_up_to(first: Array, second: Array) -> tuple[list[Array], Array]:
    """Return the share of each sample up to every number of either, and these numbers, ascending."""
    numbers = np.sort(np.concatenate([first, second]))
    return [np.searchsorted(np.sort(part), numbers, side="right") / len(part) for part in (first, second)], numbers


DISTANCES: dict[str, tuple[Callable[[Array, Array], float], str]] = {
    "score_kolmogorov_smirnov_distance": (
        kolmogorov_smirnov,
        Message("two-sample Kolmogorov-Smirnov statistic, largest over the pairs of groups"),
    ),
    "score_wasserstein_distance": (
        wasserstein,
        Message("Wasserstein distance of order 1, largest over the pairs of groups"),
    ),
}
"""The distances by name: the function of two samples, and the definition."""


def distance_measurements(
    scores: Array, breakdown: Breakdown, *, prefix: str = "fairness", level: float = 0.95, seed: int = 0
) -> list[Measurement]:
    """Return the largest distance between the score distributions of two groups, by two measures: 0 is ideal.

    Kolmogorov-Smirnov: the largest gap between the shares of the groups up to a score, from 0 to 1. Wasserstein: the
    mean distance that scores would have to move, in their unit. `compared` names the two groups, the lower mean first.
    An estimate of a distance is off by no more than the same distance of the two samples' errors (the triangle
    inequality); these errors are simulated as Brownian bridges over the groups' distributions, and their largest over
    the pairs, each by its standard scale, bounds all pairs at once. So an interval excludes 0 no more often than
    stated where all groups are alike, which a bootstrap of the distance itself would always do.
    """
    groups = shown_rows(breakdown, len(scores))
    reason = _undefined(scores, groups, breakdown.min_group)
    keys = list(groups)
    samples = [np.asarray(scores[rows], dtype=np.float64) for rows in groups.values()]
    measurements = []
    replicated = _distance_replicates(samples, breakdown) if reason is None else {}
    slacks, alike = _slacks(samples, level, seed) if reason is None else ({}, {})
    for name, (distance, definition) in DISTANCES.items():
        value = interval = compared = None
        if reason is None:
            value, places, interval = _largest(name, distance, samples, slacks[name], alike[name], level)
            compared = tuple(Group(by=breakdown.columns, key=keys[place]) for place in places)
        measurements.append(
            Measurement(
                id=f"{prefix}.{name}",
                by=breakdown.columns,
                value=value,
                unit="number",
                better="lower",
                count=sum(map(len, samples)),
                interval=interval,
                compared=compared,
                replicates=replicated.get(name, ()),
                definition=definition,
                reason=reason,
            )
        )
    return measurements


def _undefined(scores: Array, groups: Mapping[tuple[str, ...], NDArray[np.intp]], min_group: int) -> str | None:
    """Return why there is no distance between the groups, if so."""
    if len(groups) > MOST_GROUPS:
        return Message(
            "{groups_count} groups have too many pairs to compare; at most {most_groups} are compared",
            groups_count=len(groups),
            most_groups=MOST_GROUPS,
        )
    if len(groups) < 2:
        return too_small(min_group)
    if min(map(len, groups.values())) < 2:
        return Message("a group has a single row, and no spread")
    if not np.isfinite(scores).all():
        return Message("{count:,} scores are not finite", count=int((~np.isfinite(scores)).sum()))
    return None


def _largest(
    name: str, distance: Callable[[Array, Array], float], samples: list[Array], slack: Array, alike: Array, level: float
) -> tuple[float, list[int], Interval]:
    """Return the largest distance over the pairs of samples, the pair's places (lower mean first), and the interval.

    `slack`, (samples, samples), is how far an estimate may be off; `alike`, if all samples had one distribution.
    """
    pairs = [(i, j) for i in range(len(samples)) for j in range(i)]
    found = np.array([distance(samples[i], samples[j]) for i, j in pairs])
    off = np.array([slack[i, j] for i, j in pairs])
    # A small sample of a skewed score misses its tail. If the groups are alike, all rows together show that
    # tail: a distance is told from 0 only if it exceeds what either distribution allows.
    off_from_zero = np.maximum(off, [alike[i, j] for i, j in pairs])
    worst = int(found.argmax())
    high = float((found + off).max())
    interval = Interval(
        low=max(float((found - off_from_zero).max()), 0.0),
        high=min(high, 1.0) if name == "score_kolmogorov_smirnov_distance" else high,
        level=level,
        method=Message("simulated Brownian bridges")
        + (Message(", largest over all pairs") if len(samples) > 2 else ""),
    )
    return float(found[worst]), sorted(pairs[worst], key=lambda place: float(samples[place].mean())), interval


def _distance_replicates(samples: list[Array], breakdown: Breakdown) -> dict[str, tuple[float, ...]]:
    """Return both distances without each block of rows, from the shares of each group up to every score that occurs."""
    blocks = block_count(min(map(len, samples)), breakdown.min_group)
    if len(breakdown.columns) > 1 or not blocks or sum(map(len, samples)) > MAXIMUM_ROWS:
        return {}
    edges, places = np.unique(np.concatenate(samples), return_inverse=True)
    cells = np.split(places, np.cumsum([len(sample) for sample in samples])[:-1])
    block_of = [assign_blocks(len(sample), blocks) for sample in samples]
    found: dict[str, list[float]] = {name: [] for name in DISTANCES}
    for block in range(blocks):
        kept = [cell[block_of != block] for cell, block_of in zip(cells, block_of, strict=True)]
        shares = [np.cumsum(np.bincount(cell, minlength=len(edges)))[:-1] / len(cell) for cell in kept]
        apart = [np.abs(shares[i] - shares[j]) for i in range(len(shares)) for j in range(i)]
        found["score_kolmogorov_smirnov_distance"].append(max(float(gap.max(initial=0.0)) for gap in apart))
        found["score_wasserstein_distance"].append(max(float(gap @ np.diff(edges)) for gap in apart))
    return {name: rounded(values) for name, values in found.items()}


def _slacks(samples: list[Array], level: float, seed: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return, for each distance, how far the estimate of each pair may be off: (groups, groups).

    First by the distribution of each group, then if every group had the distribution of all rows together.
    """
    pooled = np.concatenate(samples)
    edges = np.unique(np.quantile(pooled, np.linspace(0, 1, CELLS + 1)))
    widths = np.diff(edges, append=edges[-1])
    everyone = np.bincount(np.searchsorted(edges, pooled), minlength=len(edges)) / len(pooled)
    own: list[_Bridges] = []
    alike: list[_Bridges] = []
    for place, sample in enumerate(samples):
        seen = np.bincount(np.searchsorted(edges, sample), minlength=len(edges))
        steps, _ = _steps(seed, place, len(edges))
        # As Student's quantile is to the normal one: a small sample does not know its own spread.
        student = special.stdtrit(len(sample) - 1, (1 + level) / 2) / normal_quantile(level)
        # One row spread like all rows keeps a sample of equal scores from looking certain.
        for shares, bridges in (((seen + everyone) / (len(sample) + 1), own), (everyone, alike)):
            bridges.append(_Bridges(steps, shares, student, len(sample)))
    sizes = np.array([len(sample) for sample in samples])
    scale = np.sqrt(1 / sizes[:, None] + 1 / sizes[None, :])
    return _off_by(own, scale, widths, level), _off_by(alike, scale, widths, level)


@functools.lru_cache(maxsize=8)
def _steps(seed: int, place: int, cells: int) -> tuple[Array, Mapping[str, Any]]:
    """Return the normal draws of the sample at a place, (replicates, cells), and the generator's state after them.

    The last ones are kept, 1 MB each: every breakdown of an audit draws the same for its first groups.
    """
    draws = np.random.default_rng(seed)
    if place:
        draws.bit_generator.state = _steps(seed, place - 1, cells)[1]
    steps = draws.standard_normal((REPLICATES, cells))
    steps.flags.writeable = False
    return steps, draws.bit_generator.state


class _Bridges(NamedTuple):
    """Simulated errors of a sample's distribution: of normal `steps`, (replicates, cells), and `shares`, (cells,)."""

    steps: Array
    shares: Array
    student: float
    size: int

    def walks(self, replicates: slice) -> Array:
        """Return some of the errors, (replicates, cells)."""
        walk = np.cumsum(self.steps[replicates] * np.sqrt(self.shares), axis=1)
        walk -= walk[:, -1:] * np.cumsum(self.shares)
        walk *= self.student
        walk /= np.sqrt(self.size - 1)
        return walk


def _off_by(bridges: list[_Bridges], scale: Array, widths: Array, level: float) -> dict[str, Array]:
    """Return the slack of each pair from simulated errors of the groups, at their scale."""
    largest = {name: np.zeros(REPLICATES) for name in DISTANCES}
    for start in range(0, REPLICATES, REPLICATES_AT_ONCE):
        part = slice(start, start + REPLICATES_AT_ONCE)
        errors = [of_group.walks(part) for of_group in bridges]
        for i in range(len(errors)):
            for j in range(i):
                between = np.abs(errors[i] - errors[j])
                norms = {
                    "score_kolmogorov_smirnov_distance": between.max(axis=1),
                    "score_wasserstein_distance": between @ widths,
                }
                for name, norm in norms.items():
                    largest[name][part] = np.maximum(largest[name][part], norm / scale[i, j])
    bounds = {name: float(np.quantile(most, level)) for name, most in largest.items()}
    # A walk that is looked at in its cells only seems to stray less far than it does (Chernoff 1965).
    bounds["score_kolmogorov_smirnov_distance"] += 0.5826 / float(np.sqrt(len(widths)))
    return {name: scale * bound for name, bound in bounds.items()}


def mean_gap_measurement(
    quantity: Quantity,
    statistic: Statistic,
    labels: NDArray[Any],
    predictions: NDArray[Any],
    breakdown: Breakdown,
    *,
    level: float = 0.95,
    fewest_rows: int = 0,
) -> Measurement:
    """Return the highest minus the lowest value of a statistic over the groups: 0 is ideal.

    Groups of fewer than `fewest_rows` rows, those of one cluster, and those where it is undefined, are left out. The
    lower end bounds all pairs at once (`limits_gap_interval`). Where a group that is compared has a value without an
    interval, so has the gap, with the group's reason.
    """
    fewest_rows = max(fewest_rows, breakdown.min_group)
    large = {key: rows for key, rows in shown_rows(breakdown, len(labels)).items() if len(rows) >= fewest_rows}
    groups = {key: rows for key, rows in large.items() if not breakdown.sampling.take(rows).is_one_cluster(len(rows))}
    reason = None if len(groups) > 1 else FEW_CLUSTERS if len(large) > 1 else too_small(fewest_rows)
    found: list[Group] = []
    estimates: list[Estimate] = []
    units: list[NDArray[np.int64]] = []
    each = studentized_range_level(level, max(len(groups), 2))
    for key, rows in groups.items():
        sampling = breakdown.sampling.take(rows)
        part = applied(statistic, labels[rows], predictions[rows], (level, each), sampling)
        if part.value is not None:
            found.append(Group(by=breakdown.columns, key=key))
            estimates.append(part)
            units.append(sampling.units_of(len(rows)))
    values = [part.value for part in estimates if part.value is not None]
    if reason is None and len(values) < 2:
        reason = Message("it is defined in fewer than two groups")
    defined = reason is None
    unbounded = next((part.reason for part in estimates if _ends(part) is None and part.reason), None)
    interval = None
    if defined and unbounded is None:
        related: float | Array = 0.0
        if breakdown.sampling.clusters is not None:
            related = related_of([part.influence for part in estimates], units)
        interval = _gap_interval(estimates, related, level)
    paired = defined and len(breakdown.columns) == 1
    return Measurement(
        id=quantity.id,
        by=breakdown.columns,
        value=max(values) - min(values) if defined else None,
        unit=quantity.unit,
        better=quantity.better,
        count=sum(map(len, groups.values())),
        effective_count=sum(part.effective or 0.0 for part in estimates) or None,
        interval=interval,
        compared=tuple(found[place] for place in lowest_and_highest(values)) if defined else None,
        replicates=_gap_replicates(statistic, labels, predictions, groups, breakdown) if paired else (),
        definition=quantity.definition,
        reason=reason or unbounded,
    )


def _ends(part: Estimate) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Return the limits of a value at both levels, None where one is missing."""
    own, wide = part.bounds or (None, None)
    return None if own is None or wide is None else (own[:2], wide[:2])


def _gap_interval(estimates: Sequence[Estimate], related: float | Array, level: float) -> Interval:
    """Return the interval of the highest minus the lowest of values that all have limits."""
    values = np.array([part.value for part in estimates])
    own, wide = zip(*(ends for part in estimates if (ends := _ends(part)) is not None), strict=True)
    low, high = limits_gap_interval(values, _columns(own), _columns(wide), related)
    family = (
        Message(", lower end for all pairs of {values_count} groups at once", values_count=len(values))
        if len(values) > 2
        else ""
    )
    method = Message("MOVER of the groups' limits{family}", family=family)
    return Interval(low=low, high=high, level=level, method=method)


def _gap_replicates(
    statistic: Statistic,
    labels: NDArray[Any],
    predictions: NDArray[Any],
    groups: Mapping[tuple[str, ...], NDArray[np.intp]],
    breakdown: Breakdown,
) -> tuple[float, ...]:
    """Return the gap without each block of rows: the rows of each group block_of by themselves, clusters over all."""
    sampling = breakdown.sampling
    if sum(map(len, groups.values())) > MAXIMUM_ROWS:
        return ()
    if sampling.clusters is None:
        blocks = block_count(min(map(len, groups.values())), breakdown.min_group)
        block_of = {key: assign_blocks(len(rows), blocks) for key, rows in groups.items()} if blocks else {}
    else:
        whole = assign_unit_blocks(len(labels), sampling)
        blocks = 0 if whole is None else int(whole.max()) + 1
        block_of = {} if whole is None else {key: whole[rows] for key, rows in groups.items()}
    if not blocks:
        return ()

    def gap(block: int) -> float | None:
        kept = (rows[block_of[key] != block] for key, rows in groups.items())
        values = [
            applied(statistic, labels[rows], predictions[rows], (), sampling.take(rows)).value if len(rows) else None
            for rows in kept
        ]
        known = [value for value in values if value is not None]
        return max(known) - min(known) if len(known) > 1 else None

    return rounded([gap(block) for block in range(blocks)])


def _columns(ends: Sequence[tuple[float, float]]) -> tuple[Array, Array]:
    low, high = np.array(ends).T
    return low, high
