"""Metrics of rows with weights or clusters: each by the influence of every row, its share in the metric's error.

The variance adds up the squares of the units' summed influences, a unit being a cluster, or a row by itself
(Taylor linearisation: Binder 1983; Liang & Zeger 1986). What lies in [0, 1] has the interval of a rate of the effective
number of rows, with Student's t over the units (Korn & Graubard 1998); means have Student's t joined with Hall's.
`auditkit.stats.quality` and `auditkit.stats.regression` have the metrics of simple samples under the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from auditkit.evidence.messages import Message
from auditkit.stats import calibration, confusion
from auditkit.stats.clustered import FEWEST_HOLDING, design_freedom, roc_auc_interval
from auditkit.stats.estimates import Bound, Codes, Estimate, Probabilities, absent, too_few
from auditkit.stats.intervals import proportion_interval, skewed_mean_interval, student_share
from auditkit.stats.rates import stated
from auditkit.stats.sampling import Floats, Sampling
from auditkit.stats.weighted import Weighted, weighted_roc_auc

LINEARISED = Message("Student's t joined with Hall's, linearised")
FEWEST_EVENTS = 10
STEP = 1e-6
"""By how much a share of a confusion table is moved to see its influence."""


@dataclass(frozen=True)
class Spread:
    """What the influences of rows say of an estimate: its variance, from how many units, and how skewed.

    `effective` is the number of equal, independent rows that would know as much, `most` the highest that it can be,
    `of_units` the effective number of units by their weights (Kish), and `holding` the number of units with the rarer
    outcome, and `design_freedom` the degrees of freedom with which a rate's design effect is known.
    """

    variance: float
    units: int
    skewness: float
    largest: float
    effective: float
    most: float
    of_units: float
    holding: int
    design_freedom: float

    @property
    def freedom(self) -> int:
        """The degrees of freedom of the variance, by the number of units."""
        return max(self.units - 1, 1)


def spread_of(value: float, influence: Floats, sampling: Sampling) -> Spread:
    """Return the spread of an estimate of rows by the influence of each on it, (rows,), which sum to 0."""
    count = len(influence)
    weights = sampling.weights_of(count)
    _, units = np.unique(sampling.units_of(count), return_inverse=True)
    sums, summed = np.bincount(units, influence).astype(np.float64), np.bincount(units, weights)
    total, unit_count = weights.sum(), len(sums)
    variance = float((sums**2).sum()) * unit_count / max(unit_count - 1, 1)
    away = sums - sums.mean()
    second = float((away**2).mean())
    skewness = float((away**3).mean()) / second**1.5 if second > 0 else 0.0
    of_units = float(total**2 / (summed**2).sum())
    most = float(count) if sampling.clusters is not None else float(total**2 / (weights**2).sum())
    seen = float((influence**2 / weights).sum() * total)
    rarer = influence > 0 if value <= 0.5 else influence < 0
    holding = int((np.bincount(units, np.where(rarer, np.abs(influence), 0.0)) > 0).sum())
    effective = min(seen / variance, most) if variance > 0 else of_units
    alone = np.zeros(unit_count, dtype=np.intp)
    freedom = float(design_freedom(np.array([value]), sums, alone, np.array([unit_count]))[0])
    return Spread(variance, unit_count, skewness, float(sums.max()), effective, most, of_units, holding, freedom)


def rate_estimate(
    value: float, influence: Floats, levels: Sequence[float], sampling: Sampling, most: float = np.inf
) -> Estimate:
    """Return an estimate in [0, 1] with the intervals of a rate of the effective number of rows, at most `most`."""
    if not levels:
        return Estimate(value)
    spread = spread_of(value, influence, sampling)
    trials = min(value * (1 - value) / spread.variance, spread.most) if spread.variance > 0 else spread.of_units
    trials = min(trials if spread.holding >= FEWEST_HOLDING else min(trials, spread.of_units), most)
    bounds: list[Bound | None] = []
    for level in levels:
        known = trials * float(student_share(level, spread.design_freedom))
        low, high = proportion_interval(min(max(value, 0.0), 1.0) * known, known, level)
        bounds.append((min(float(low), value), max(float(high), value), stated("Wilson", is_simple=False)))
    return Estimate(value, tuple(bounds), one_record=1 / trials, effective=spread.effective, influence=influence)


def mean_estimate(
    values: Floats,
    levels: Sequence[float],
    sampling: Sampling,
    *,
    lowest: float = -np.inf,
    highest: float = np.inf,
    sizes: bool = False,
) -> Estimate:
    """Return the weighted mean of values, (rows,), with Student's t intervals joined with Hall's over the units.

    Of `sizes`, errors without sign or squared, the upper end is what it would be if one unit more were as far off as
    the farthest. None where all values are alike: they tell nothing of the spread.
    """
    weights = sampling.weights_of(len(values))
    total = float(weights.sum())
    value = float((weights * values).sum() / total)
    return _of_mean(value, weights * (values - value) / total, levels, sampling, (lowest, highest), sizes=sizes)


def _of_mean(
    value: float,
    influence: Floats,
    levels: Sequence[float],
    sampling: Sampling,
    ends: tuple[float, float],
    *,
    sizes: bool = False,
) -> Estimate:
    if not levels:
        return Estimate(value)
    spread = spread_of(value, influence, sampling)
    if spread.variance <= 0 or spread.units < 2:
        reason = Message("all rows are alike, which says nothing of the spread that an interval needs")
        return Estimate(value, (None,) * len(levels), reason, effective=spread.effective)
    bounds: list[Bound | None] = []
    for level in levels:
        low, high = skewed_mean_interval(value, spread.variance * spread.units, spread.skewness, spread.units, level)
        high += spread.largest if sizes else 0.0
        bounds.append((min(max(low, ends[0]), value), max(min(high, ends[1]), value), LINEARISED))
    return Estimate(value, tuple(bounds), effective=spread.effective, influence=influence)


Table = NDArray[np.float64]


def _table(labels: Codes, decisions: Codes, classes: int, sampling: Sampling) -> tuple[Table, Codes]:
    """Return the shares of the weight by label and decision, (classes, classes), and the cell of each row."""
    cells = labels * classes + decisions
    weights = sampling.weights_of(len(labels))
    shares = np.bincount(cells, weights, minlength=classes * classes).reshape(classes, classes)
    return shares / weights.sum(), cells


def _balanced(table: Table) -> float:
    return float((np.diag(table) / table.sum(axis=1)).mean())


def _f1(table: Table) -> float:
    own = np.diag(table)
    either = table.sum(axis=0) + table.sum(axis=1) - own
    if len(table) == 2:
        own, either = own[1:], either[1:]
    return float((2 * own / (own + either)).mean())


def _matthews(table: Table) -> float:
    by_label, by_decision = table.sum(axis=1), table.sum(axis=0)
    whole = table.sum()
    above = np.trace(table) * whole - by_label @ by_decision
    return float(above / np.sqrt((whole**2 - by_label @ by_label) * (whole**2 - by_decision @ by_decision)))


def _of_table(function: Callable[[Table], float], table: Table, cells: Codes, sampling: Sampling) -> Floats:
    """Return the influence of each row on a function of a table that depends on its proportions alone."""
    slope = np.zeros(table.size)
    for cell in np.flatnonzero(table.ravel()):
        moved = np.zeros(table.size)
        moved[cell] = step = STEP * table.ravel()[cell]
        up, down = (function(table + sign * moved.reshape(table.shape)) for sign in (1, -1))
        slope[cell] = (up - down) / (2 * step)
    weights = sampling.weights_of(len(cells))
    influence: Floats = weights / weights.sum() * (slope[cells] - float(slope @ table.ravel()))
    return influence


def accuracy(labels: Codes, decisions: Codes, levels: Sequence[float], sampling: Sampling, classes: int) -> Estimate:
    """Return the share of the weight whose decision is the label: 1 is ideal."""
    weights, right = sampling.weights_of(len(labels)), (labels == decisions).astype(np.float64)
    value = float((weights * right).sum() / weights.sum())
    return rate_estimate(value, weights * (right - value) / weights.sum(), levels, sampling)


def balanced_accuracy(
    labels: Codes, decisions: Codes, levels: Sequence[float], sampling: Sampling, classes: int
) -> Estimate:
    """Return the mean over the classes of the share of their weight that is decided right: 1 is ideal."""
    table, cells = _table(labels, decisions, classes, sampling)
    if not table.sum(axis=1).all():
        return Estimate(reason=absent(np.bincount(labels, minlength=classes)))
    return rate_estimate(_balanced(table), _of_table(_balanced, table, cells, sampling), levels, sampling)


def f1(labels: Codes, decisions: Codes, levels: Sequence[float], sampling: Sampling, classes: int) -> Estimate:
    """Return the F1 score of the positive class, with more classes the mean of each class's: 1 is ideal."""
    table, cells = _table(labels, decisions, classes, sampling)
    simple = confusion.f1(confusion.confusion_table(labels, decisions, classes), ())
    if simple.value is None:
        return simple
    return rate_estimate(_f1(table), _of_table(_f1, table, cells, sampling), levels, sampling)


def matthews_correlation(
    labels: Codes, decisions: Codes, levels: Sequence[float], sampling: Sampling, classes: int
) -> Estimate:
    """Return the Matthews correlation of label and decision, on Fisher's scale joined with the delta method."""
    simple = confusion.matthews_correlation(confusion.confusion_table(labels, decisions, classes), ())
    if simple.value is None:
        return simple
    table, cells = _table(labels, decisions, classes, sampling)
    value, influence = _matthews(table), _of_table(_matthews, table, cells, sampling)
    spread = spread_of(value, influence, sampling)
    bounds: list[Bound | None] = []
    for level in levels:
        half = float(special.stdtrit(spread.freedom, (1 + level) / 2)) * spread.variance**0.5
        if 1 - value**2 < 1e-9 or half == 0:
            return Estimate(value, (None,) * len(levels), too_few(FEWEST_EVENTS), effective=spread.effective)
        scaled = np.tanh(np.arctanh(value) + np.array([-1, 1]) * half / (1 - value**2))
        low, high = min(value - half, float(scaled[0])), max(value + half, float(scaled[1]))
        method = Message("delta method, joined with Fisher's scale, linearised")
        bounds.append((max(low, -1.0), min(high, 1.0), method))
    return Estimate(value, tuple(bounds), effective=spread.effective, influence=influence)


def roc_auc(labels: Codes, probabilities: Probabilities, levels: Sequence[float], sampling: Sampling) -> Estimate:
    """Return the area under the ROC curve, each pair counted by its weights; of several classes their mean."""
    classes = probabilities.shape[1]
    rows = np.bincount(labels, minlength=classes)
    if not rows.all():
        return Estimate(reason=absent(rows))
    asked = [1] if classes == 2 else list(range(classes))
    areas = [weighted_roc_auc(labels == code, probabilities[:, code], sampling.weights) for code in asked]
    value = float(np.mean([area.value for area in areas]))
    influence = np.mean([area.influence for area in areas], axis=0)
    if not levels:
        return Estimate(value)
    smaller = min(_kish_units(sampling, labels == code) for code in range(classes))
    whole = Weighted(value, influence, np.ones(len(labels), dtype=bool))
    spread = spread_of(value, influence, sampling)
    method = Message("DeLong on the logit scale, linearised")
    units = np.unique(sampling.units_of(len(labels)), return_inverse=True)[1]
    bounds = tuple((*roc_auc_interval(whole, level, units, smaller=smaller), method) for level in levels)
    return Estimate(value, bounds, one_record=1 / smaller, effective=spread.effective, influence=influence)


def _kish_units(sampling: Sampling, rows: NDArray[np.bool_]) -> float:
    """Return the effective number of units among some rows, by their weights."""
    own = sampling.take(rows)
    count = int(rows.sum())
    summed = np.bincount(np.unique(own.units_of(count), return_inverse=True)[1], own.weights_of(count))
    return float(summed.sum() ** 2 / (summed**2).sum())


def average_precision(
    labels: Codes, probabilities: Probabilities, levels: Sequence[float], sampling: Sampling
) -> Estimate:
    """Return the weighted average precision (area under the precision-recall curve); of several classes the mean.

    Its interval is at least as wide as that of a rate among the units with a positive row.
    """
    classes = probabilities.shape[1]
    rows = np.bincount(labels, minlength=classes)
    asked = [1] if classes == 2 else list(range(classes))
    if not rows[asked].all():
        return Estimate(reason=absent(rows))
    found = [_average_precision(labels == code, probabilities[:, code], sampling) for code in asked]
    value = float(np.mean([one for one, _ in found]))
    influence = np.mean([own for _, own in found], axis=0)
    most = sum(_kish_units(sampling, labels == code) for code in asked) if levels else np.inf
    return rate_estimate(value, influence, levels, sampling, most)


def _average_precision(positive: NDArray[np.bool_], scores: Floats, sampling: Sampling) -> tuple[float, Floats]:
    """Return the value, and the influence of each row: on its own precision, and on that of every row below it."""
    weights = sampling.weights_of(len(scores))
    _, place = np.unique(-scores, return_inverse=True)  # equal scores are one step, from the highest down
    gained = np.bincount(place, weights * positive)
    reached, passed = np.cumsum(gained), np.cumsum(np.bincount(place, weights))
    precision = reached / passed
    total = float(gained.sum())
    value = float((gained * precision).sum() / total)
    below = np.cumsum((gained / passed)[::-1])[::-1]
    lost = np.cumsum((gained * precision / passed)[::-1])[::-1]
    influence = weights / total * (positive * (precision[place] - value + below[place]) - lost[place])
    return value, influence


def log_loss(labels: Codes, probabilities: Probabilities, levels: Sequence[float], sampling: Sampling) -> Estimate:
    """Return the weighted mean negative logarithm of the probability given to the true class, in nats: 0 is ideal.

    There is no interval on fewer than 10 rows with a rarer label, as in a simple sample.
    """
    epsilon = float(np.finfo(np.float64).eps)
    losses = -np.log(probabilities.clip(epsilon, 1 - epsilon))[np.arange(len(labels)), labels]
    if levels and len(labels) - int(np.bincount(labels).max()) < FEWEST_EVENTS:
        reason = Message(
            "fewer than {fewest} rows with a rarer label are too few for an interval", fewest=FEWEST_EVENTS
        )
        bare = mean_estimate(losses, (), sampling)
        spread = spread_of(0.0, losses - losses.mean(), sampling)
        return Estimate(bare.value, (None,) * len(levels), reason, effective=spread.effective)
    return mean_estimate(losses, levels, sampling, lowest=0.0, sizes=True)


def brier_score(labels: Codes, probabilities: Probabilities, levels: Sequence[float], sampling: Sampling) -> Estimate:
    """Return the weighted mean squared error of the probabilities: 0 is ideal; at least as wide as that of a rate."""
    classes = probabilities.shape[1]
    highest = 1.0 if classes == 2 else 2.0
    if classes == 2:
        errors = (labels - probabilities[:, 1]) ** 2
    else:
        errors = ((np.eye(classes)[labels] - probabilities) ** 2).sum(axis=1)
    few = len(labels) - int(np.bincount(labels).max()) < 3 * FEWEST_EVENTS
    return _bounded_mean(errors, levels, sampling, highest, few=few)


def mean_score(labels: Codes, probabilities: Probabilities, levels: Sequence[float], sampling: Sampling) -> Estimate:
    """Return the weighted mean probability of the positive class, with more than two of the most probable one."""
    _, values = calibration.confidence(labels, probabilities)
    few = len(values) * min(float(values.mean()), 1 - float(values.mean())) < 3 * FEWEST_EVENTS
    return _bounded_mean(values, levels, sampling, 1.0, few=few)


def _bounded_mean(
    values: Floats, levels: Sequence[float], sampling: Sampling, highest: float, *, few: bool
) -> Estimate:
    """Return the mean of values in [0, `highest`], with `few` events at least as wide as that of a rate."""
    found = mean_estimate(np.asarray(values, dtype=np.float64), levels, sampling, lowest=0.0, highest=highest)
    if not levels or found.value is None or not (few or None in found.bounds):
        return found
    trials = _kish_units(sampling, np.ones(len(values), dtype=bool))
    bounds: list[Bound | None] = []
    for level, bound in zip(levels, found.bounds, strict=True):
        known = trials * float(student_share(level, max(trials - 1, 1)))
        low, high = (float(end) * highest for end in proportion_interval(found.value / highest * known, known, level))
        own = (low, high) if bound is None else bound[:2]
        method = Message("{method}, joined with that of a rate", method=LINEARISED)
        bounds.append((min(own[0], low), max(own[1], high), method))
    return Estimate(found.value, tuple(bounds), effective=found.effective, influence=found.influence)


def calibration_error(
    labels: Codes, probabilities: Probabilities, levels: Sequence[float], sampling: Sampling
) -> Estimate:
    """Return the weighted expected calibration error over 15 bins: 0 is ideal.

    The value is above the truth in small samples. Below, the interval allows for the chance residuals of the bins,
    drawn with the covariance that the units give them; above, an error is at least its own tangent, whose variance
    that is.
    """
    outcomes, promised = calibration.confidence(labels, probabilities)
    weights = sampling.weights_of(len(labels))
    share = weights / weights.sum()
    edges = np.linspace(0, 1, calibration.BIN_COUNT + 1)
    code = np.searchsorted(edges[1:-1], promised)
    residuals = np.bincount(code, share * (outcomes - promised), calibration.BIN_COUNT)
    value = float(np.abs(residuals).sum())
    if not levels:
        return Estimate(value)
    in_bin = np.bincount(code, share, calibration.BIN_COUNT)
    away = share * ((outcomes - promised) - (residuals / np.maximum(in_bin, 1e-300))[code])
    _, units = np.unique(sampling.units_of(len(labels)), return_inverse=True)
    count = int(units.max()) + 1
    sums = np.bincount(units * calibration.BIN_COUNT + code, away, count * calibration.BIN_COUNT)
    by_unit = sums.reshape(count, calibration.BIN_COUNT)
    covariance = by_unit.T @ by_unit * (count / max(count - 1, 1))
    implied = np.bincount(code, share**2 * promised * (1 - promised), calibration.BIN_COUNT)
    covariance[np.diag_indices_from(covariance)] = np.maximum(np.diag(covariance), implied)
    spread = np.sqrt(np.diag(covariance))
    clear = np.abs(residuals) > np.sqrt(2 * np.log(max(count, 2))) * spread
    draws = np.random.default_rng(0).multivariate_normal(
        np.zeros(len(residuals)), covariance, calibration.REPLICATES, method="eigh"
    )
    growth = draws[:, clear] @ np.sign(residuals[clear]) + np.abs(draws[:, ~clear]).sum(axis=1)
    signs = np.sign(residuals)
    tangent = float(np.sqrt(max(signs @ covariance @ signs, float(np.diag(covariance).sum()))))
    influence = share * (signs[code] * (outcomes - promised) - value)
    effective = spread_of(value, influence, sampling).effective
    bounds: list[Bound | None] = []
    for level in levels:
        quantile = float(special.stdtrit(max(count - 1, 1), (1 + level) / 2))
        least = max(float(np.quantile(growth, (1 + level) / 2)), float(growth.mean() + quantile * growth.std()))
        method = Message("tangent above, resampled residuals of the bins below, linearised")
        bounds.append((max(value - least, 0.0), min(value + quantile * tangent, 1.0), method))
    return Estimate(value, tuple(bounds), one_record=2 / effective, effective=effective, influence=influence)


def calibration_slope(
    labels: Codes, probabilities: Probabilities, levels: Sequence[float], sampling: Sampling
) -> Estimate:
    """Return Cox's calibration slope by weighted maximum likelihood, with the sandwich variance of the units."""
    outcomes, promised = calibration.confidence(labels, probabilities)
    fitted = calibration.fitted_slope(outcomes, promised, sampling.weights)
    if fitted is None:
        return Estimate(reason=Message("no slope fits outcomes that are all alike, or that a threshold separates,"))
    spread = spread_of(fitted.value, fitted.influence, sampling)
    error = spread.variance**0.5
    halves = [float(special.stdtrit(spread.freedom, (1 + level) / 2)) * error for level in levels]
    method = Message("Wald, sandwich variance")
    bounds = tuple((fitted.value - half, fitted.value + half, method) for half in halves)
    return Estimate(fitted.value, bounds, effective=spread.effective, influence=fitted.influence)


def mean_error(labels: Floats, predictions: Floats, levels: Sequence[float], sampling: Sampling) -> Estimate:
    """Return the weighted mean of prediction minus label."""
    return mean_estimate(predictions - labels, levels, sampling)


def mean_prediction(labels: Floats, predictions: Floats, levels: Sequence[float], sampling: Sampling) -> Estimate:
    """Return the weighted mean of the predictions."""
    return mean_estimate(predictions, levels, sampling)


def mean_label(labels: Floats, predictions: Floats, levels: Sequence[float], sampling: Sampling) -> Estimate:
    """Return the weighted mean of the labels."""
    return mean_estimate(labels, levels, sampling)


def mean_absolute_error(labels: Floats, predictions: Floats, levels: Sequence[float], sampling: Sampling) -> Estimate:
    """Return the weighted mean absolute error."""
    return mean_estimate(np.abs(predictions - labels), levels, sampling, lowest=0.0, sizes=True)


def root_mean_squared_error(
    labels: Floats, predictions: Floats, levels: Sequence[float], sampling: Sampling
) -> Estimate:
    """Return the root of the weighted mean squared error."""
    squares = mean_estimate((predictions - labels) ** 2, levels, sampling, lowest=0.0, sizes=True)
    assert squares.value is not None
    root = squares.value**0.5
    bounds = tuple(
        None if bound is None else (bound[0] ** 0.5, bound[1] ** 0.5, Message("root of {method}", method=bound[2]))
        for bound in squares.bounds
    )
    influence = None if squares.influence is None or root == 0 else squares.influence / (2 * root)
    return Estimate(root, bounds, squares.reason, effective=squares.effective, influence=influence)


def r2(labels: Floats, predictions: Floats, levels: Sequence[float], sampling: Sampling) -> Estimate:
    """Return 1 - the weighted mean squared error over the weighted variance of the labels."""
    weights = sampling.weights_of(len(labels))
    share = weights / weights.sum()
    away = (labels - float((share * labels).sum())) ** 2
    variance = float((share * away).sum())
    if variance == 0:
        return Estimate(reason=Message("all labels are alike, and their variance is zero,"))
    errors = (predictions - labels) ** 2
    ratio = float((share * errors).sum()) / variance
    found = _of_mean(ratio, share * (errors - ratio * away) / variance, levels, sampling, (0.0, np.inf), sizes=True)
    bounds = tuple(
        None if bound is None else (1 - bound[1], 1 - bound[0], Message("{method}, delta method", method=bound[2]))
        for bound in found.bounds
    )
    influence = None if found.influence is None else -found.influence
    return Estimate(1 - ratio, bounds, found.reason, effective=found.effective, influence=influence)


def related_of(influences: Sequence[Floats | None], units: Sequence[NDArray[Any]]) -> Floats | float:
    """Return the correlation of estimates of different rows whose clusters may be the same, (estimates, estimates).

    `influences` and `units` have one array an estimate, (its rows,).
    """
    if any(one is None for one in influences):
        return 0.0
    _, codes = np.unique(np.concatenate(list(units)), return_inverse=True)
    owner = np.repeat(np.arange(len(units)), [len(one) for one in units])
    every = np.concatenate([one for one in influences if one is not None])
    count = int(codes.max()) + 1
    sums = np.bincount(codes * len(units) + owner, every, count * len(units)).reshape(count, len(units))
    shared = sums.T @ sums
    own = np.sqrt(np.diag(shared))
    product = own[:, None] * own[None, :]
    related: Floats = np.clip(np.divide(shared, product, out=np.zeros_like(shared), where=product > 0), -1, 1)
    return related
