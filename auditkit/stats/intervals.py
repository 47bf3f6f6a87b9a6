"""Confidence intervals over arrays: for one rate, two rates, the widest gap among many, a mean, and any statistic.

Every function returns `(low, high)`, arrays of the shape of its inputs (or two numbers). `level` is the nominal
coverage, in (0, 1). The coverage that they reach is computed in tests/evidence/test_intervals.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from auditkit.errors import InputError

Array = NDArray[np.float64]
Bounds = tuple[Array, Array]

Combine = Callable[[Array, Bounds, Array, Bounds, ArrayLike], Bounds]
"""Takes a value and its limits, another's, and their correlation; returns the bounds of what they are compared by."""

WEIGHTED_GROUPS = 24
"""With more groups than this one more changes little, and limits of each pair by itself cost more than they bring."""

PAIRS_AT_ONCE = 2**20
"""How many pairs of groups are held in memory at a time."""

NEWTON_STEPS = 6
"""Of these, 4 give a mid-P limit to the last bits at every level and number of trials that was tried."""

KEPT_SIZE = WEIGHTED_GROUPS**2
"""Mid-P limits of at most so many rates are kept, should they be asked for again."""

MID_P_WEIGHT = 0.6
"""How much of the probability of the result that was seen counts as at least as extreme, in the limits of a pair.

Mid-P's usual half lets 4 equal groups of 24 exclude a gap of zero in 6.4 % of samples at 95 %, where the binomial
is coarsest; with 0.6 no number of groups from 2 to 50 exceeds 5.8 %. The difference vanishes with the rows.
"""


def normal_quantile(level: float) -> float:
    """Return z, with `level` of a standard normal between -z and z: 1.96 at 0.95.

    Raises:
        InputError: `level` outside (0, 1).
    """
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, got {level}; 0.95 is usual.")
    return float(-special.ndtri((1 - level) / 2))


def _rates(successes: ArrayLike, trials: ArrayLike) -> tuple[Array, Array]:
    """Return both as float64 arrays of one shape, checked: 0 <= successes <= trials, 1 <= trials."""
    x, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    if x.shape != n.shape:
        x, n = np.broadcast_arrays(x, n)
    if not ((x >= 0) & (x <= n) & (n > 0)).all():
        raise InputError("successes must lie between 0 and trials, and trials above 0; a rate of no rows is undefined.")
    return x, n


def wilson(successes: ArrayLike, trials: ArrayLike, level: float) -> Bounds:
    """Return the score interval of a rate (Wilson 1927).

    >>> low, high = wilson(8, 10, 0.95)
    >>> round(float(low), 4), round(float(high), 4)
    (0.4902, 0.9433)
    """
    x, n = _rates(successes, trials)
    z = normal_quantile(level)
    centre = (x + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * np.sqrt(x * (n - x) / n + z * z / 4)
    return np.where(x == 0, 0.0, np.maximum(centre - half, 0)), np.where(x == n, 1.0, np.minimum(centre + half, 1))


def clopper_pearson(successes: ArrayLike, trials: ArrayLike, level: float) -> Bounds:
    """Return the exact interval of a rate, which never covers less than `level` (Clopper & Pearson 1934)."""
    x, n = _rates(successes, trials)
    tail = (1 - level) / 2
    some, not_all = np.where(x > 0, x, 1), np.where(x < n, x, n - 1)  # a weighted count may lie between 0 and 1
    low = special.betaincinv(some, n - some + 1, tail)
    high = special.betaincinv(not_all + 1, n - not_all, 1 - tail)
    return np.where(x == 0, 0.0, low), np.where(x == n, 1.0, high)


def needs_exact(successes: ArrayLike, trials: ArrayLike, level: float) -> NDArray[np.bool_]:
    """Return where the Wilson interval would cover too little: fewer than z**4 successes, or failures.

    Wilson's one-sided errors are off by the skewness of the binomial, which grows with z and shrinks with the
    rarer outcome. From z**4 on (14.8 at 95 %), it misses at most 1.4 times as often as it says, at every level.
    """
    x, n = _rates(successes, trials)
    few: NDArray[np.bool_] = np.minimum(x, n - x) < normal_quantile(level) ** 4
    return few


def proportion_interval(successes: ArrayLike, trials: ArrayLike, level: float) -> Bounds:
    """Return the interval of a rate: Wilson's, or Clopper-Pearson's where `needs_exact`.

    Raises:
        InputError: no trials, successes that are not from 0 to `trials`, or a `level` outside (0, 1).

    >>> low, high = proportion_interval(2, 50, 0.95)  # so few that the interval is exact
    >>> round(float(low), 4), round(float(high), 4)
    (0.0049, 0.1371)
    """
    exact = needs_exact(successes, trials, level)
    if not exact.any():
        return wilson(successes, trials, level)
    if exact.all():
        return clopper_pearson(successes, trials, level)
    bounds = zip(clopper_pearson(successes, trials, level), wilson(successes, trials, level), strict=True)
    low, high = (np.where(exact, conservative, score) for conservative, score in bounds)
    return low, high


def mid_p(successes: ArrayLike, trials: ArrayLike, level: ArrayLike, *, weight: float = MID_P_WEIGHT) -> Bounds:
    """Return the mid-P interval of a rate: Clopper-Pearson's with a part of the probability of what was seen.

    Too short for one rare rate by itself; the right limits to combine into an interval for two.
    """
    x, n = _rates(successes, trials)
    x, n, levels = np.broadcast_arrays(x, n, np.asarray(level, dtype=np.float64))
    if x.size > KEPT_SIZE:
        low, rest = _mid_p_low(np.stack([x, n - x]), n, levels, weight)
    else:
        low, rest = _kept_mid_p_low(x.shape, x.tobytes(), n.tobytes(), levels.tobytes(), weight)
    return low, 1 - rest


@functools.lru_cache(maxsize=1024)
def _kept_mid_p_low(shape: tuple[int, ...], x: bytes, n: bytes, level: bytes, weight: float) -> Array:
    """Return `_mid_p_low` of successes and of failures, kept: a gap and a ratio of the same groups have one pair."""
    successes, trials, levels = (np.frombuffer(part).reshape(shape) for part in (x, n, level))
    low = _mid_p_low(np.stack([successes, trials - successes]), trials, levels, weight)
    low.flags.writeable = False
    return low


def _mid_p_low(x: Array, n: Array, level: Array, weight: float) -> Array:
    """Return where the weighted probability of as much as `x`, and of more, is the tail of `level`.

    The limit lies between those of Clopper & Pearson for `x` and for `x` + 1. Newton's method finds it there, in the
    logarithms of both: a tail is nearly a power of the rate.
    """
    tail, fails = np.log((1 - level) / 2), x < n
    some, not_all = np.where(x > 0, x, 1), np.where(fails, x, n - 1)
    # The first axis: the chances of `x` and more, and of more, which are the shares below a rate of beta distributions.
    one, other = np.array([some, not_all + 1]), np.array([n - some + 1, n - not_all])
    weights = np.array([np.full(x.shape, weight), np.where(fails, 1 - weight, 0.0)])
    least, most = special.betaincinv(one, other, np.exp(tail))
    most = np.where(fails, most, 1.0)
    rate = np.sqrt(least) * np.sqrt(most)
    constants, power = special.betaln(one, other), np.array([n - some, n - not_all - 1])
    with np.errstate(all="ignore"):
        for _ in range(NEWTON_STEPS):
            log_rate, log_rest = np.log(rate), special.log1p(-np.minimum(rate, 1 - 2**-53))
            chances = weights * special.betainc(one, other, rate)
            slopes = weights * np.exp(one * log_rate + power * log_rest - constants)
            chance = chances[0] + chances[1]
            step = rate * np.exp((tail - np.log(chance)) * chance / (slopes[0] + slopes[1]))
            last, rate = rate, np.where(np.isfinite(step), np.minimum(np.maximum(step, least), most), rate)
            if (rate == last).all():  # and would be after every further step
                break
    return np.where(x == 0, 0.0, rate)


def student_share(level: ArrayLike, freedom: ArrayLike) -> Array:
    """Return by how much trials count less whose number is known with so many degrees of freedom; 1 where infinite.

    The square of the normal over Student's quantile (Korn & Graubard 1998).
    """
    tail = (1 + np.asarray(level, dtype=np.float64)) / 2
    known = np.asarray(freedom, dtype=np.float64)
    share = (special.ndtri(tail) / special.stdtrit(np.where(np.isinf(known), 1.0, known), tail)) ** 2
    return np.where(np.isinf(known), 1.0, share)


def _limits(x: ArrayLike, n: ArrayLike, level: ArrayLike, freedom: ArrayLike = np.inf) -> Bounds:
    """Return the mid-P limits of rates whose numbers of trials are known with so many degrees of freedom."""
    share = student_share(level, freedom)
    return mid_p(np.asarray(x) * share, np.asarray(n) * share, level)


def newcombe(
    successes: ArrayLike,
    trials: ArrayLike,
    other_successes: ArrayLike,
    other_trials: ArrayLike,
    level: float,
    *,
    freedom: tuple[float, float] = (np.inf, np.inf),
    related: ArrayLike = 0.0,
) -> Bounds:
    """Return the interval of a difference of two rates, the first minus the other.

    Newcombe's square-and-add (1998, method 10), with mid-P limits in the place of Wilson's: those let a pair of
    20 and 1,000 rows exclude zero five times as often as they say at 99.75 %, these at most 1.15 times. `related` is
    the correlation of the two (Zou 2008), `freedom` the degrees of freedom with which their trials are known.

    >>> low, high = newcombe(56, 70, 48, 80, 0.95)
    >>> round(float(low), 3), round(float(high), 3)
    (0.051, 0.338)
    """
    first, other = _rates(successes, trials), _rates(other_successes, other_trials)
    limits, other_limits = _limits(*first, level, freedom[0]), _limits(*other, level, freedom[1])
    return _difference(first[0] / first[1], limits, other[0] / other[1], other_limits, related)


def _difference(
    rate: Array, limits: Bounds, other_rate: Array, other_limits: Bounds, related: ArrayLike = 0.0
) -> Bounds:
    difference, shared = rate - other_rate, np.asarray(related)
    rest = np.sqrt(1 - shared * shared)

    def joined(one: Array, other: Array) -> Array:
        """Return the square root of `one`**2 + `other`**2 - 2 * related * one * other."""
        return np.asarray(np.hypot(one - shared * other, rest * other))

    low = difference - joined(rate - limits[0], other_limits[1] - other_rate)
    high = difference + joined(limits[1] - rate, other_rate - other_limits[0])
    return low, high


def donner_zou(
    successes: ArrayLike,
    trials: ArrayLike,
    other_successes: ArrayLike,
    other_trials: ArrayLike,
    level: float,
    *,
    freedom: tuple[float, float] = (np.inf, np.inf),
    related: ArrayLike = 0.0,
) -> Bounds:
    """Return the interval of a ratio of two rates, the first over the other.

    Limits recovered from those of the two rates (Donner & Zou 2012, MOVER-R), here mid-P: the interval excludes 1
    exactly where `newcombe` excludes 0. A rate of zero needs no correction; `high` is infinite where the other
    rate may be zero. `freedom` and `related` as in `newcombe`.
    """
    first, other = _rates(successes, trials), _rates(other_successes, other_trials)
    limits, other_limits = _limits(*first, level, freedom[0]), _limits(*other, level, freedom[1])
    return _ratio(first[0] / first[1], limits, other[0] / other[1], other_limits, related)


def _ratio(rate: Array, limits: Bounds, other_rate: Array, other_limits: Bounds, related: ArrayLike = 0.0) -> Bounds:
    low = _ratio_high(other_rate, other_limits[1], rate, limits[0], related)
    high = _ratio_high(rate, limits[1], other_rate, other_limits[0], related)
    with np.errstate(divide="ignore"):
        return np.where(low < 1 / np.finfo(np.float64).eps, 1 / low, 0.0), high  # one degree of freedom gives 1e-200


def _ratio_high(rate: Array, high: Array, other_rate: Array, other_low: Array, related: ArrayLike) -> Array:
    """Return the upper limit of rate / other_rate (Donner & Zou 2012, equation 9), with their correlation."""
    product = rate * other_rate - np.asarray(related) * (high - rate) * (other_rate - other_low)
    denominator = other_low * (2 * other_rate - other_low)
    root = np.sqrt(np.maximum(product**2 - high * (2 * rate - high) * denominator, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        # Where the correlation makes the product negative, the same root is written so that it does not cancel.
        stable = -high * (2 * rate - high) / (root - product)
        found = np.where(product < 0, stable, (product + root) / denominator)
        return np.where(other_low > 0, found, np.inf)


def simultaneous_level(level: float, family_size: int) -> float:
    """Return the level for each of `family_size` independent intervals that all hold with `level` (Sidak 1967)."""
    normal_quantile(level)
    return float(level ** (1 / max(family_size, 1)))


@functools.lru_cache(maxsize=1024)
def studentized_range_level(level: float, group_count: int) -> float:
    """Return the level for each pair among `group_count` groups, with all pairs holding with `level` at once.

    Tukey's studentised range for large samples; with unequal group sizes (Tukey & Kramer) it holds more than
    `level` (Hayter 1984). Less wide than Bonferroni over the pairs.

    >>> round(studentized_range_level(0.95, 2), 6)
    0.95
    """
    normal_quantile(level)
    grid = np.linspace(-8.5, 8.5, 2001)
    weights = np.exp(-grid * grid / 2) / np.sqrt(2 * np.pi) * (grid[1] - grid[0])
    below = special.ndtr(grid)

    def coverage(z: float) -> float:
        spread = below - special.ndtr(grid - z * np.sqrt(2))
        return float(group_count * (weights * spread ** (group_count - 1)).sum())

    low, high = 0.0, 12.0
    for _ in range(60):
        z = (low + high) / 2
        low, high = (z, high) if coverage(z) < level else (low, z)
    return float(1 - 2 * special.ndtr(-(low + high) / 2))


def pair_levels(trials: ArrayLike, level: float) -> Array:
    """Return the level of each pair of groups, (groups, groups), with all pairs holding with `level` at once.

    The chance of an error is shared out in proportion to what a pair can tell, `n m / (n + m)` (weighted Bonferroni),
    so that a small group takes next to nothing from the others; where that gives no pair more than Tukey's studentised
    range does, as for groups of equal size, every pair has the level of that. The choice rests on the numbers of trials
    alone, not on the rates.

    >>> pair_levels([1000, 1000, 10], 0.95).round(4)[0].tolist()
    [0.9519, 0.9519, 0.999]
    """
    n = np.asarray(trials, dtype=np.float64)
    worth = n[:, None] * n / (n[:, None] + n)
    np.fill_diagonal(worth, 0.0)
    shares = 2 * worth / np.sort(worth, axis=None).sum()  # sorted: the order of groups must not change a bit of it
    np.fill_diagonal(shares, shares[0, 1])
    equal = studentized_range_level(level, len(n))
    return np.full(shares.shape, equal) if (1 - level) * shares.max() <= 1 - equal else 1 - (1 - level) * shares


def difference_gap_interval(
    successes: ArrayLike,
    trials: ArrayLike,
    level: float,
    *,
    freedom: ArrayLike = np.inf,
    related: ArrayLike = 0.0,
) -> tuple[float, float]:
    """Return the interval of the largest minus the smallest of k rates, k at least 2.

    The lower end is the largest lower bound of a pair (`newcombe`), all of them bounded at once (`pair_levels`): where
    all rates are equal it excludes 0 in 1 - `level` of samples, whatever k. (A percentile bootstrap of the gap
    excludes 0 in most of them: it is not a test.) The upper end is the largest upper bound of a pair at `level`
    itself: the gap is the difference of one pair, and that pair's upper bound errs in (1 - `level`) / 2 of samples,
    whatever the others do (Berger 1982). `freedom`, (k,), are the degrees of freedom with which the numbers of trials
    are known, and `related`, (k, k), the correlation of the rates, if they are not independent.
    """
    x, n = _of_groups(successes, trials)
    known = np.broadcast_to(freedom, x.shape)
    return _gap(x / n, _in_each_pair(_limits(x, n, level, known)), _limits_in_pairs(x, n, level, known), related)


def difference_gap_intervals(successes: ArrayLike, trials: ArrayLike, level: float) -> list[tuple[float, float]]:
    """Return the `difference_gap_interval` of each of several samples of the same groups, (samples, k) and (k,).

    The limits of all rates are found at once, which takes little longer than those of one sample.
    """
    x, n = _rates(successes, trials)
    _of_groups(x[0], n[0])
    known = np.full(x.shape, np.inf)
    own, wide = _in_each_pair(_limits(x, n, level, known)), _limits_in_pairs(x, n, level, known)
    return [
        _gap(x[place] / n[place], (own[0][place], own[1][place]), (wide[0][place], wide[1][place]))
        for place in range(len(x))
    ]


def limits_gap_interval(
    values: Array, limits: Bounds, simultaneous_limits: Bounds, related: ArrayLike = 0.0
) -> tuple[float, float]:
    """Return the interval of the largest minus the smallest of k values, k at least 2, from their limits.

    `limits` are those of each value at the interval's level, `simultaneous_limits` those at the
    `studentized_range_level`, from which all pairs are bounded at once. A pair is bounded by the squares of the
    distances to the limits (Zou & Donner 2008, MOVER), the gap as in `difference_gap_interval`.
    """
    return _gap(values, _in_each_pair(limits), _in_each_pair(simultaneous_limits), related)


def _gap(values: Array, own: Bounds, wide: Bounds, related: ArrayLike = 0.0) -> tuple[float, float]:
    """Return the interval of the largest minus the smallest value from the limits of each in its pairs, (k, k).

    The lower end is that of `wide` limits, from which all pairs are bounded at once, the upper end that of its `own`.
    """
    low = max(0.0, *(float(bounds[0].max()) for bounds in _pairs(_difference, values, wide, related)))
    return low, max(float(bounds[1].max()) for bounds in _pairs(_difference, values, own, related))


def ratio_gap_interval(
    successes: ArrayLike,
    trials: ArrayLike,
    level: float,
    *,
    freedom: ArrayLike = np.inf,
    related: ArrayLike = 0.0,
) -> tuple[float, float]:
    """Return the interval of the smallest over the largest of k rates, k at least 2.

    As `difference_gap_interval`, by the ratios of all pairs (`donner_zou`), with the ends changed over; 1 stands where
    0 stood there.
    """
    x, n = _of_groups(successes, trials)
    known = np.broadcast_to(freedom, x.shape)
    wide = _pairs(_ratio, x / n, _limits_in_pairs(x, n, level, known), related)
    high = min(1.0, *(float(bounds[1].min()) for bounds in wide))
    own = _pairs(_ratio, x / n, _in_each_pair(_limits(x, n, level, known)), related)
    return min(1.0, *(float(bounds[0].min()) for bounds in own)), high


def ratio_to_highest_interval(
    successes: ArrayLike,
    trials: ArrayLike,
    level: float,
    *,
    freedom: ArrayLike = np.inf,
    related: ArrayLike = 0.0,
) -> Bounds:
    """Return the intervals of each of k rates over the highest of them, k at least 2: arrays (k,).

    All hold at once with `level`. A rate over the highest is its smallest ratio to any other, or 1: its upper end is
    the smallest upper bound, of all ratios together as in `ratio_gap_interval`, and its lower end the smallest lower
    bound of its ratios at a level that holds for the k - 1 groups below the highest. Where all rates are equal one of
    them excludes 1 in 1 - `level` of samples at most. `freedom` and `related` as in `difference_gap_interval`.
    """
    x, n = _of_groups(successes, trials)
    known, shared = np.broadcast_to(freedom, x.shape), np.broadcast_to(related, (len(x), len(x)))
    rates, limits = x / n, _limits(x, n, simultaneous_level(level, len(x) - 1), known)
    wide = _limits_in_pairs(x, n, level, known)
    low, high = np.ones(len(x)), np.ones(len(x))
    for first in range(len(x)):
        others = np.arange(len(x)) != first
        own = limits[0][first], limits[1][first]
        both = shared[first][others]
        bounds = _ratio(rates[first], own, rates[others], (limits[0][others], limits[1][others]), both)
        low[first] = min(1.0, bounds[0].min())
        own, theirs = ((wide[0][pairs], wide[1][pairs]) for pairs in ((first, others), (others, first)))
        high[first] = min(1.0, _ratio(rates[first], own, rates[others], theirs, both)[1].min())
    return low, high


def _of_groups(successes: ArrayLike, trials: ArrayLike) -> tuple[Array, Array]:
    x, n = _rates(np.atleast_1d(successes), np.atleast_1d(trials))
    if len(x) < 2:
        raise InputError(f"a gap needs at least 2 groups, got {len(x)}.")
    return x, n


def _limits_in_pairs(x: Array, n: Array, level: float, known: Array) -> Bounds:
    """Return the limits of each rate in its pair with each other one, (..., k, k), with all pairs holding at once."""
    count = x.shape[-1]
    trials = n.reshape(-1, count)[0]  # several samples are of the same groups
    few = count <= WEIGHTED_GROUPS
    levels = pair_levels(trials, level) if few else np.full((1, 1), studentized_range_level(level, count))
    if (levels == levels[0, 0]).all():  # a rate has the same limits in each of its pairs
        return _in_each_pair(_limits(x, n, levels[0, 0], known))
    return _limits(x[..., None], n[..., None], levels, known[..., None])


def _in_each_pair(limits: Bounds) -> Bounds:
    """Return limits of values, (..., k), as those of each in its pair with each other one, (..., k, k)."""
    low, high = (np.broadcast_to(ends[..., None], (*ends.shape, ends.shape[-1])) for ends in limits)
    return low, high


def _pairs(combine: Combine, values: Array, limits: Bounds, related: ArrayLike = 0.0) -> Iterator[Bounds]:
    """Yield the bounds of all ordered pairs of values, a block at a time to bound the memory.

    `limits` are those of each value in its pair with each other one, (k, k).
    """
    if len(values) < 2:
        raise InputError(f"a gap needs at least 2 groups, got {len(values)}.")
    (low, high), shared = limits, np.broadcast_to(related, (len(values), len(values)))
    step = max(1, PAIRS_AT_ONCE // len(values))
    for start in range(0, len(values), step):
        block = slice(start, start + step)
        others = low.T[block], high.T[block]
        bounds = combine(values[block, None], (low[block], high[block]), values[None, :], others, shared[block])
        apart = np.arange(len(values))[block, None] != np.arange(len(values))
        yield bounds[0][apart], bounds[1][apart]


def paired_difference_interval(
    only_first: ArrayLike, only_second: ArrayLike, trials: ArrayLike, level: float
) -> Bounds:
    """Return the interval of a difference of two rates over the same rows, the first minus the second.

    `only_first` and `only_second` count the rows where one succeeds and the other does not. Wald's interval with
    one row added to each of the two (Bonett & Price 2012).
    """
    n = np.asarray(trials, dtype=np.float64) + 2
    first, second = (np.asarray(only_first) + 1) / n, (np.asarray(only_second) + 1) / n
    half = normal_quantile(level) * np.sqrt((first + second - (first - second) ** 2) / n)
    return np.maximum(first - second - half, -1), np.minimum(first - second + half, 1)


def mean_interval(
    mean: ArrayLike, variance: ArrayLike, count: ArrayLike, level: float, freedom: ArrayLike | None = None
) -> Bounds:
    """Return Student's t interval of a mean, from the sample's mean, variance (of n - 1) and count, at least 2.

    `freedom` stands for count - 1 degrees of freedom, where the variance is known less well.
    """
    n = np.asarray(count, dtype=np.float64)
    if (n < 2).any():
        raise InputError("count must be at least 2 for the interval of a mean; one value has no spread.")
    centre = np.asarray(mean, dtype=np.float64)
    quantile = special.stdtrit(n - 1 if freedom is None else np.asarray(freedom, dtype=np.float64), (1 + level) / 2)
    half = quantile * np.sqrt(np.asarray(variance, dtype=np.float64) / n)
    return np.asarray(centre - half), np.asarray(centre + half)


def skewed_mean_interval(
    mean: float, variance: float, skewness: float, count: int, level: float, *, kurtosis: float = 3.0
) -> tuple[float, float]:
    """Return an interval of a mean that allows for skewness and heavy tails: Student's t, joined with Hall's.

    Hall's cubic transformation (1992, equation 2.6) takes the skewness out of the t statistic, exactly where t alone
    covers too little; joining the two keeps the side on which it would be the shorter. Student's t has as many degrees
    of freedom as the sample's variance does by the `kurtosis` of the values (Satterthwaite 1946): count - 1 for the
    3 of normal ones, few where few values make up the variance. `variance` is above 0.
    """
    freedom = min(count - 1, 2 * count * (count - 1) / (kurtosis * (count - 1) - (count - 3)))
    low, high = (float(bound) for bound in mean_interval(mean, variance, count, level, freedom))
    slant = skewness / np.sqrt(count)
    if abs(slant) < 1e-6:  # the transformation is the identity in the limit, and 0 / 0 at it
        return low, high
    quantile, error = float(special.stdtrit(freedom, (1 + level) / 2)), np.sqrt(variance / count)

    def original(transformed: float) -> float:
        return float(3 / slant * (np.cbrt(1 + slant * (transformed - slant / 6)) - 1))

    return min(low, mean - error * original(quantile)), max(high, mean - error * original(-quantile))


def multinomial_bootstrap(
    table: NDArray[np.int64],
    statistic: Callable[[NDArray[np.int64]], Array],
    *,
    replicates: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Bounds:
    """Return the percentile bootstrap interval of any statistic of a table of counts.

    Resampling rows is drawing a multinomial over the cells, at a cost that does not depend on the number of rows.
    `statistic` maps `(replicates, *table.shape)` to `(replicates, ...)`; replicates where it is NaN are left out. It is
    for a statistic without a formula for its interval, such as one of a plugin's own; not for the largest gap among
    groups, nor for rare cells: there it covers too little.

    Raises:
        InputError: a table that counts no rows.

    >>> right = lambda tables: tables[:, 0] / tables.sum(axis=1)
    >>> low, high = multinomial_bootstrap(np.array([80, 20]), right)
    >>> round(float(low), 2), round(float(high), 2)
    (0.72, 0.88)
    """
    rows = int(table.sum())
    if rows == 0:
        raise InputError("table must count at least 1 row to be resampled, got 0.")
    draws = np.random.default_rng(seed).multinomial(rows, table.ravel() / rows, size=replicates)
    values = statistic(draws.reshape(replicates, *table.shape))
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
