"""How many texts or images are explained and checked: the most that the budget of an audit pays for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.explainability.target_function import Floats
from auditkit.engine.work import EXPLANATION, GRADIENT, Work

STEPS = (20, 60, 180)
"""The steps of integrated gradients: the first number that is complete enough is taken."""

TOLERANCE = 0.01
OCCLUSION = "occlusion"
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Trials:
    """How many rows are `explained`, and how many each check takes.

    `checked` rows are explained twice more and lose halves of their parts, `fewest` are explained after each of
    `repeats` small moves and with the weights of `layers` layers shuffled (None: of every layer), and `fewer` from
    each of `repeats` other baselines.
    """

    explained: int = 2**31
    checked: int = 200
    fewer: int = 60
    fewest: int = 30
    repeats: int = 10
    layers: int | None = None

    def checked_of(self, count: int, *, seed: int) -> Rows:
        """Return which of `count` explained rows the dearer trust checks take: a seeded sample."""
        chosen = np.random.default_rng([seed, 1]).choice(count, size=min(count, self.checked), replace=False)
        return np.sort(chosen).astype(np.int64)


LADDER = (
    Trials(),
    Trials(1000),
    Trials(400),
    Trials(200, 100, 30, 30, 5, 4),
    Trials(100, 50, 20, 20, 4, 4),
    Trials(50, 20, 12, 12, 3, 3),
    Trials(50, 10, 8, 8, 2, 1),
    Trials(24, 8, 6, 6, 2, 1),
    Trials(12, 6, 6, 6, 2, 1),
)
"""From all that auditkit would do to the least that is worth a number."""


@dataclass(frozen=True)
class Cost:
    """What decides how dear explanations are: the method, the rows, the parts of a row, the layers of the network.

    `other_baselines` says whether the rows are explained from other baselines too, for the stability.
    """

    method: str
    row_count: int
    part_count: int
    layer_count: int
    other_baselines: bool = False

    def passes(self, trials: Trials, steps: int) -> int:
        """Return how many forward passes these trials take about."""
        of_gradients, of_occlusion = GRADIENT * steps, self.part_count + 1
        own, other = of_gradients, of_occlusion
        if self.method == OCCLUSION:
            own, other = of_occlusion, GRADIENT * STEPS[0]
        layers = self.layer_count if trials.layers is None else min(trials.layers, self.layer_count)
        explained, checked, fewest, fewer = (
            min(count, self.row_count) for count in (trials.explained, trials.checked, trials.fewest, trials.fewer)
        )
        repeated = fewest * (trials.repeats + layers) + (fewer * trials.repeats if self.other_baselines else 0)
        return explained * (own + 6) + checked * (2 * own + other + 33) + repeated * own

    def affordable(self, work: Work, steps: int) -> Trials | None:
        """Return the most trials that the budget pays for, None where it does not pay for the least."""
        return next((trials for trials in LADDER if self.passes(trials, steps) <= work.passes(EXPLANATION)), None)

    def planned(self, work: Work, steps: int) -> int:
        """Return how many passes the trials take about that the budget pays for.

        Raises:
            NotRun: it does not pay for the least.
        """
        trials = self.affordable(work, steps)
        if trials is None:
            least = LADDER[-1]
            raise work.too_dear(self.passes(least, steps) / min(least.explained, self.row_count))
        return self.passes(trials, steps)


def choose_trials(
    work: Work, cost: Cost, missed: Callable[[Rows, int], Floats] | None, change: Floats, *, seed: int
) -> tuple[Trials, Rows, int]:
    """Return the trials that the budget pays for, which rows they explain, and the steps of integrated gradients.

    `missed(rows, steps)` says how far the sums of the attributions are off the `change`, (rows,); None for a method
    without steps. Complete enough is a mean error of 1 % of the mean change: else more steps are taken, over fewer rows
    where the budget asks for it, or the most steps, and the check will say it.

    Raises:
        NotRun: the budget does not pay for the least.
    """
    choices = STEPS if missed is not None else (1,)
    cost.planned(work, choices[0])
    for steps in choices:
        trials = cost.affordable(work, steps)
        if trials is None:
            break
        count = min(trials.explained, cost.row_count)
        rows = np.sort(np.random.default_rng(seed).choice(cost.row_count, size=count, replace=False)).astype(np.int64)
        taken = trials, rows, steps
        if missed is None:
            break
        few = rows[trials.checked_of(count, seed=seed)]
        if np.abs(missed(few, steps)).mean() <= TOLERANCE * np.abs(change[few]).mean():
            break
    return taken
