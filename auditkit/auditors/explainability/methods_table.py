"""Attributions to the columns of a table by every method that is for tables: (rows, columns), in one call."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from auditkit.auditors.explainability.gradients import (
    BASELINES,
    POINTS_A_BASELINE,
    drawn_baselines,
    enough_steps,
    gradient_shap,
    integrated_gradients,
)
from auditkit.auditors.explainability.methods import METHODS
from auditkit.auditors.explainability.rungs import LADDER, Rung
from auditkit.auditors.explainability.shapley import exact_shapley, kernel_shap
from auditkit.auditors.explainability.statistics import sum_by_column
from auditkit.auditors.explainability.target_function import ExplanationInput, Floats
from auditkit.errors import NotRun
from auditkit.evidence.messages import Message

Attribute = Callable[[ExplanationInput, int], Floats]
"""A method with its settings: maps an explained decision and a seed to attributions by column, (rows, columns)."""

ALL = LADDER[0]
SHUFFLES = 10
SUM_TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class Explanation:
    """A sample of rows explained by one method: `by_column` are its attributions, (rows, columns).

    `method` is its name, `settings` tell of it in words, and `passes` says how often it takes a row through the model.
    `attribute` is the method with these settings. Checks take the rows and the repetitions that `rung` states.
    """

    explained: ExplanationInput
    method: str
    settings: str
    passes: int
    seed: int
    attribute: Attribute
    by_column: Floats
    rung: Rung = ALL

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self.explained.columns)

    @property
    def size(self) -> Floats:
        """The absolute attributions, (rows, columns)."""
        return np.abs(self.by_column)

    @property
    def definition(self) -> str:
        """What the method is, for the measurements made of it."""
        method = METHODS[self.method]
        return Message("{title} ({reference})", title=method.title, reference=method.reference)

    def again(self, explained: ExplanationInput) -> Floats:
        """Return the attributions of the same method, settings and seed for other rows, or another decision."""
        return self.attribute(explained, self.seed)

    def local(self, explained: ExplanationInput) -> Floats:
        """Return attributions of a few rows, each by itself; shuffling, which mixes rows, is replaced by ablation."""
        return feature_ablation(explained) if self.method == "permutation" else self.again(explained)

    def with_other_baselines(self, explained: ExplanationInput, *, baseline_count: int) -> Floats:
        """Return the attributions with another seed, and the mean over baselines drawn by it: (rows, columns).

        Methods that draw their baselines themselves are given the seed alone.
        """
        seed = self.seed + 1
        if self.method in ("permutation", "gradient_shap"):
            return self.attribute(explained, seed)
        drawn = np.random.default_rng(seed).choice(len(explained.others), size=baseline_count)
        moved = (replace(explained, baseline=explained.others[place]) for place in drawn)
        return np.asarray(np.mean([self.attribute(part, seed) for part in moved], axis=0))


def attribute_columns(
    name: str,
    explained: ExplanationInput,
    *,
    tolerance: float,
    seed: int,
    rung: Rung = ALL,
    steps: int | None = None,
) -> Explanation:
    """Return the attributions of the named method, its settings chosen; of `steps` those that are not given."""
    attribute, settings, passes = _method(name, explained, tolerance, rung, steps)
    return Explanation(explained, name, settings, passes, seed, attribute, attribute(explained, seed), rung)


def _method(
    name: str, explained: ExplanationInput, tolerance: float, rung: Rung, steps: int | None
) -> tuple[Attribute, str, int]:
    """Return a method, its settings in words, and how often it takes a row through the model (a slope counts 3)."""
    columns = dict(explained.columns)
    width = len(columns)
    if name == "integrated_gradients":
        count = enough_steps(explained, tolerance=tolerance) if steps is None else steps
        settings = Message(
            "{steps} Gauss-Legendre steps (complete within {tolerance:g})", steps=count, tolerance=tolerance
        )
        return lambda part, _: sum_by_column(integrated_gradients(part, steps=count), columns), settings, 3 * count
    if name == "kernel_shap":
        count = rung.coalitions_of(width)
        settings = Message("one drawn design of up to {count:,} coalitions for all rows", count=count)
        return lambda part, seed: kernel_shap(part, coalition_count=count, seed=seed), settings, count
    others: dict[str, tuple[Attribute, str, int]] = {
        "gradient_shap": (
            lambda part, seed: sum_by_column(gradient_shap(part, seed=seed), columns),
            Message(
                "{count} drawn baselines, {points_a_baseline} points on the way from each",
                count=min(BASELINES, len(explained.others)),
                points_a_baseline=POINTS_A_BASELINE,
            ),
            3 * BASELINES * POINTS_A_BASELINE,
        ),
        "permutation": (
            lambda part, seed: permutation(part, seed=seed),
            Message("{shuffles} shuffles", shuffles=SHUFFLES),
            SHUFFLES * width,
        ),
        "deep_lift": (lambda part, _: deep_lift(part), Message("the rescale rule, by Captum"), 3),
        "shapley": (lambda part, _: exact_shapley(part), Message("all {value:,} coalitions", value=2**width), 2**width),
        "feature_ablation": (
            lambda part, _: feature_ablation(part),
            Message("one column at a time at the baseline"),
            width,
        ),
    }
    return others[name]


def feature_ablation(explained: ExplanationInput) -> Floats:
    """Return how much the decision falls when one column alone is put back to the baseline: (rows, columns)."""
    full = explained.values(explained.inputs)
    return np.asarray(full[:, None] - explained.coalition_values(~np.eye(len(explained.columns), dtype=bool)))


def permutation(explained: ExplanationInput, *, seed: int) -> Floats:
    """Return how much the decision falls, on average, when one column holds another row's values: (rows, columns)."""
    rng = np.random.default_rng(seed)
    full = explained.values(explained.inputs)
    falls = np.zeros((len(full), len(explained.columns)))
    for _ in range(SHUFFLES):
        order = rng.permutation(len(full))
        for place, cells in enumerate(explained.columns.values()):
            shuffled = explained.inputs.copy()
            shuffled[:, cells] = explained.inputs[order, cells]
            falls[:, place] += (full - explained.values(shuffled)) / SHUFFLES
    return falls


def deep_lift(explained: ExplanationInput) -> Floats:
    """Return DeepLift's attributions by column, (rows, columns), after checking that they sum to the change.

    The rescale rule is exact where Captum can hook every nonlinearity. A sum that is off says that it could not.

    Raises:
        NotRun: the sums are off, or the decision is no module whose layers could be hooked.
    """
    from captum.attr import DeepLift

    if not isinstance(explained.decision, torch.nn.Module):
        raise NotRun(Message("DeepLift is refused: it needs a torch.nn.Module, whose layers it hooks"))
    origin = torch.from_numpy(explained.baseline).to(explained.device)[None]
    rows = torch.from_numpy(explained.inputs).to(explained.device).requires_grad_()
    classes = torch.from_numpy(explained.predicted).to(explained.device)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Captum says that it sets hooks
            cells = DeepLift(explained.decision).attribute(
                rows, baselines=origin.expand_as(rows), additional_forward_args=(classes,)
            )
    except (AssertionError, RuntimeError) as error:
        raise NotRun(
            Message("DeepLift is refused: Captum cannot hook the layers: {value}", value=str(error).splitlines()[0])
        ) from error
    attributions = sum_by_column(cells.detach().double().cpu().numpy(), dict(explained.columns))
    change = explained.change()
    off = np.abs(attributions.sum(axis=1) - change).mean() / max(float(np.abs(change).mean()), 1e-12)
    if off > SUM_TOLERANCE:
        raise NotRun(
            Message(
                "DeepLift is refused: its sums miss the change of the decision by {off:.1%}, where they "
                "should be equal: the model has a nonlinearity that is no layer of its own, such as "
                "torch.relu in forward(), or uses one layer twice",
                off=off,
            )
        )
    return attributions


def expected_change(given: Explanation) -> Floats:
    """Return what the attributions of a complete method must sum to: (rows,)."""
    explained = given.explained
    if given.method != "gradient_shap":
        return explained.change()
    values = explained.values(explained.inputs)
    baselines = drawn_baselines(explained, given.seed)
    against = [explained.values(np.broadcast_to(row, explained.inputs.shape).copy()) for row in baselines]
    return np.asarray(values - np.mean(against, axis=0))
