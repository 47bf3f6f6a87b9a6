"""Whether a probability means what it says: the expected calibration error, its interval, and the curve."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from auditkit.evidence.measurement import Curve, Line
from auditkit.evidence.messages import Message
from auditkit.stats.intervals import normal_quantile, proportion_interval

BIN_COUNT = 15
REPLICATES = 1_000


class Bins(NamedTuple):
    """Rows in equal-width bins of their probability: how many, the sum of probabilities, of outcomes, of squares.

    Each is (bins,). `squares` sums the squared difference of outcome and probability. Bins of parts add up.
    """

    rows: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    outcomes: NDArray[np.int64]
    squares: NDArray[np.float64]


def confidence(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return what is calibrated: (outcomes, probability of the outcome), both (rows,).

    With two classes the positive class and its probability; with more, whether the most probable class is right,
    and its probability (Guo et al. 2017).
    """
    if probabilities.shape[1] == 2:
        return labels == 1, probabilities[:, 1]
    return probabilities.argmax(axis=1) == labels, probabilities.max(axis=1)


def bin_probabilities(
    outcomes: NDArray[np.bool_], probabilities: NDArray[np.float64], bin_count: int = BIN_COUNT
) -> Bins:
    """Sort rows into bins of equal width over [0, 1], each closed on the right (0 falls into the first)."""
    edges = np.linspace(0, 1, bin_count + 1)
    code = np.searchsorted(edges[1:-1], probabilities)
    return Bins(
        rows=np.bincount(code, minlength=bin_count),
        probabilities=np.asarray(np.bincount(code, probabilities, bin_count), dtype=np.float64),
        outcomes=np.bincount(code, outcomes, bin_count).astype(np.int64),
        squares=np.asarray(np.bincount(code, (outcomes - probabilities) ** 2, bin_count), dtype=np.float64),
    )


def expected_calibration_error(bins: Bins) -> float:
    """Return the mean over rows of |share of outcomes - mean probability| of the row's bin: 0 is ideal.

    Chance makes the two differ in every bin, so this estimate is above the truth in small samples.
    """
    return float(np.abs(bins.outcomes - bins.probabilities).sum() / bins.rows.sum())


def calibration_error_intervals(bins: Bins, levels: Sequence[float], *, seed: int = 0) -> list[tuple[float, float]]:
    """Return an interval of each level of the bins' calibration error in the population, its upward bias allowed for.

    The estimate is the L1 norm of the bins' mean residuals. Below, it may be as far above the truth as chance
    lets the norm grow: in bins that are clearly off (beyond sqrt(2 log n) standard errors) by the signed
    chance residual, in all others by its absolute value, drawn from binomials (as in consistency resampling,
    Broecker & Smith 2007). Above, a norm is at least its own tangent, so the estimate falls short of the
    truth by a normal error at most. A bin's variance is the larger of what was seen and what its probabilities
    imply. Holds its level, and more: it is wide where many bins hold few rows.
    """
    rows = int(bins.rows.sum())
    filled = bins.rows > 0
    count, hits = bins.rows[filled], bins.outcomes[filled]
    promised, seen = bins.probabilities[filled] / count, (hits + 0.5) / (count + 1)
    rate = np.where(np.abs(promised - 0.5) < np.abs(seen - 0.5), promised, seen)
    residual = (hits - bins.probabilities[filled]) / rows
    variance = np.maximum(bins.squares[filled], count * rate * (1 - rate)) / rows**2
    clear = np.abs(residual) > np.sqrt(2 * np.log(max(rows, 2)) * variance)
    direction = np.where(clear, np.sign(residual), 0.0)
    growth = _growth(count.astype(np.int64).tobytes(), rate.tobytes(), direction.tobytes(), seed)
    error = float(np.abs(residual).sum())
    mean, spread = float(growth.mean()), float(growth.std())

    def interval(level: float) -> tuple[float, float]:
        z = normal_quantile(level)
        # The replicates are too few for the far quantiles of many groups; there the normal one is the larger.
        low = error - max(float(np.quantile(growth, (1 + level) / 2)), mean + z * spread)
        high = error + z * float(np.sqrt(variance.sum()))
        return min(max(low, 0.0), error), min(high, 1.0)

    return [interval(level) for level in levels]


@functools.lru_cache(maxsize=256)
def _growth(count: bytes, rate: bytes, direction: bytes, seed: int) -> NDArray[np.float64]:
    """Return by how much chance lets the norm grow in each replicate: (replicates,). Kept, as bins are judged twice.

    Once as performance by group, once as the gap between the groups. `count`, `rate` and `direction`, of the filled
    bins, are arrays as bytes; `direction` is the residual's where it is clear, else 0.
    """
    counts, rates, signs = np.frombuffer(count, np.int64), np.frombuffer(rate), np.frombuffer(direction)
    draws = np.random.default_rng(seed).binomial(counts, rates, (REPLICATES, len(counts)))
    chance = (draws - counts * rates) / counts.sum()
    growth: NDArray[np.float64] = chance[:, signs != 0] @ signs[signs != 0]
    growth += np.abs(chance[:, signs == 0]).sum(axis=1)
    growth.flags.writeable = False
    return growth


class Slope(NamedTuple):
    """The slope of a logistic regression of the outcome on the logit of its probability, and its standard error."""

    value: float
    standard_error: float


class FittedSlope(NamedTuple):
    """A slope, its standard error in a simple sample, and the influence of each row on it, (rows,)."""

    value: float
    standard_error: float
    influence: NDArray[np.float64]


def calibration_slope(outcomes: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> Slope | None:
    """Return Cox's (1958) calibration slope: 1 is ideal, under 1 the probabilities are too extreme, over 1 too timid.

    By maximum likelihood, with an intercept; probabilities are clipped to [2.2e-16, 1 - 2.2e-16]. None where the
    likelihood has no maximum: one outcome only, equal probabilities, or outcomes that a threshold separates.
    """
    fitted = fitted_slope(outcomes, probabilities)
    return None if fitted is None else Slope(fitted.value, fitted.standard_error)


def fitted_slope(
    outcomes: NDArray[np.bool_], probabilities: NDArray[np.float64], counted: NDArray[np.float64] | None = None
) -> FittedSlope | None:
    """Return the slope as `calibration_slope`, each row counted by its weight in `counted`, (rows,), if given."""
    epsilon = float(np.finfo(np.float64).eps)
    clipped = probabilities.clip(epsilon, 1 - epsilon)
    logit = np.log(clipped) - np.log1p(-clipped)
    positive, negative = logit[outcomes], logit[~outcomes]
    if not len(positive) or not len(negative):
        return None
    apart = positive.min() >= negative.max() or positive.max() <= negative.min()
    if apart or logit.min() == logit.max():
        return None
    centre, scale = float(logit.mean()), float(logit.std())
    x, y = (logit - centre) / scale, outcomes.astype(np.float64)
    each = np.ones(len(y)) if counted is None else counted / counted.mean()
    weights = np.array([np.log(y.mean() / (1 - y.mean())), 0.0])
    likelihood = -np.inf
    step = np.zeros(2)
    for _ in range(100):
        linear = weights[0] + weights[1] * x
        reached = float((each * (y * linear - np.logaddexp(0, linear))).sum())
        if reached < likelihood:  # the step went too far
            step /= 2
            weights -= step
            continue
        rate = special.expit(linear)
        away = each * (y - rate)
        gradient = np.array([away.sum(), (away * x).sum()])
        spread = each * (rate * (1 - rate))
        mixed = (spread * x).sum()
        information = np.array([[spread.sum(), mixed], [mixed, (spread * x * x).sum()]])
        step = np.linalg.solve(information, gradient)
        if float(gradient @ step) < 1e-16 * len(y):
            break
        likelihood = reached
        weights = weights + step
    inverse = np.linalg.inv(information)
    error = float(np.sqrt(inverse[1, 1]))
    influence = away * (inverse[1, 0] + inverse[1, 1] * x) / scale
    return FittedSlope(float(weights[1]) / scale, error / scale, influence)


def curve(bins: Bins, *, class_count: int, level: float, min_group: int) -> Curve:
    """Return the reliability curve of the bins that hold at least `min_group` rows, with a band of intervals."""
    shown = bins.rows >= max(min_group, 1)
    filled = int((bins.rows > 0).sum())
    count, hits = bins.rows[shown], bins.outcomes[shown]
    low, high = proportion_interval(hits, count, level)
    hidden = filled - int(shown.sum())
    note = Message(
        "{rows_count} bins of equal width; the band holds {value:g} % for each bin by itself.",
        rows_count=len(bins.rows),
        value=level * 100,
    )
    if hidden:
        rows = int(bins.rows[~shown].sum())
        note += Message(
            " Not shown: {hidden} of {filled} bins in use, with fewer than {min_group} rows each ({rows:,} in all).",
            hidden=hidden,
            filled=filled,
            min_group=min_group,
            rows=rows,
        )
    line = Line(
        name=Message("model"),
        x=tuple((bins.probabilities[shown] / count).tolist()),
        y=tuple((hits / count).tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
    )
    return Curve(
        title=Message("Calibration: probability of the positive class")
        if class_count == 2
        else Message("Calibration: probability of the most probable class being right"),
        note=note,
        x_label=Message("mean predicted probability"),
        y_label=Message("observed share"),
        x_unit="rate",
        y_unit="rate",
        identity=True,
        lines=(line,),
    )
