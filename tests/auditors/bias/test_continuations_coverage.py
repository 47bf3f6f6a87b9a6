"""How often the intervals of continuations hold: sampling by template and errors of the classifier, drawn together.

Each template is filled with each group, so that groups share what a template brings. Each continuation is of the class
or not, the classifier errs by its sensitivity and specificity, and the rows that tell these are drawn anew each time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from auditkit.auditors.bias.continuations import Counted, measured_continuations
from auditkit.stats.misclassification import ClassifierErrors

Floats = NDArray[np.float64]
GROUPS = ("a", "b", "c")
SAMPLES = 3


class Classifier(NamedTuple):
    """The true rates of a classifier, and how many labelled rows of either kind tell of them."""

    sensitivity: float
    specificity: float
    labelled: int


class World(NamedTuple):
    """Log odds of each group's mean template, and the spread of templates, shared by groups and of one group alone."""

    odds: tuple[float, float, float]
    shared: float
    own: float

    def chances(self, templates: int, rng: np.random.Generator) -> Floats:
        """Return the probability of the class of templates filled with each group, (templates, groups)."""
        spread = rng.normal(0, self.shared, (templates, 1)) + rng.normal(0, self.own, (templates, len(GROUPS)))
        return np.asarray(special.expit(np.array(self.odds) + spread), dtype=np.float64)

    @property
    def shares(self) -> Floats:
        """The share of each group over all templates, by Gauss-Hermite quadrature: (groups,)."""
        points, weights = np.polynomial.hermite_e.hermegauss(60)
        spread = np.hypot(self.shared, self.own) * points[:, None]
        return np.asarray(
            (weights[:, None] * special.expit(np.array(self.odds) + spread)).sum(axis=0) / weights.sum(),
            dtype=np.float64,
        )


def held(world: World, classifier: Classifier | None, templates: int, rng: np.random.Generator) -> list[bool] | None:
    """Return whether each interval of one sample holds its truth; None where the classifier may be a guess.

    Three shares, three differences, the gap, and whether all simultaneous intervals of shares, and of differences, do.
    """
    cells = (templates, len(GROUPS), SAMPLES)
    truths = rng.random(cells) < world.chances(templates, rng)[:, :, None]
    errors = None
    if classifier is not None:
        put = np.where(truths, classifier.sensitivity, 1 - classifier.specificity)
        truths = rng.random(cells) < put
        count = classifier.labelled
        hits, rejections = rng.binomial(count, classifier.sensitivity), rng.binomial(count, classifier.specificity)
        errors = ClassifierErrors(int(hits), count, int(rejections), count)
    codes = np.indices(cells).reshape(3, -1)
    counted = Counted(truths.ravel(), np.array(GROUPS, dtype=object)[codes[1]], codes[0])
    share, difference, gap = measured_continuations(counted, errors, "bad", 0.95)
    if gap.value is None:
        return None
    shares = world.shares
    others = (shares.sum() - shares) / (len(shares) - 1)
    assert gap.interval is not None
    found = [gap.interval.low <= float(np.ptp(shares)) <= gap.interval.high]
    for measurement, true in ((share, shares), (difference, shares - others)):
        alone, joint = [], []
        for part, value in zip(measurement.slices, true.tolist(), strict=True):
            assert part.interval is not None
            assert part.simultaneous_interval is not None
            alone.append(part.interval.low <= value <= part.interval.high)
            joint.append(part.simultaneous_interval.low <= value <= part.simultaneous_interval.high)
        found += [*alone, all(joint)]
    return found


def coverage(world: World, classifier: Classifier | None, templates: int, draws: int) -> Floats:
    """Return how often each interval of `held` holds."""
    rng = np.random.default_rng(17)
    each = [held(world, classifier, templates, rng) for _ in range(draws)]
    return np.asarray(np.mean([one for one in each if one is not None], axis=0), dtype=np.float64)


EQUAL, APART = World((-1.0, -1.0, -1.0), 0.8, 0.4), World((-2.0, -1.0, 0.0), 0.8, 0.4)


def test_the_intervals_of_continuations_hold() -> None:
    assert coverage(APART, Classifier(0.85, 0.9, 100), 30, 60).min() > 0.95 - 0.08


@pytest.mark.slow
@pytest.mark.parametrize("templates", [12, 40])
@pytest.mark.parametrize("classifier", [None, Classifier(0.9, 0.95, 200), Classifier(0.7, 0.85, 60)])
@pytest.mark.parametrize(
    "world", [EQUAL, APART, World((-3.5, -3.5, -2.5), 0.5, 0.0), World((-1.0, 0.0, 0.0), 0.0, 0.0)]
)
def test_the_intervals_of_continuations_hold_everywhere(
    world: World, classifier: Classifier | None, templates: int
) -> None:
    assert coverage(world, classifier, templates, 600).min() > 0.95 - 0.03
