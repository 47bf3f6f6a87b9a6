"""Does the explanation of a table deserve belief? Its trust checks, each held to a bound with its whole interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.explainability import checks
from auditkit.auditors.explainability.checks_report import Check, completeness_check, layers_table, mean_check
from auditkit.auditors.explainability.methods import METHODS
from auditkit.auditors.explainability.methods_table import Explanation, attribute_columns, expected_change
from auditkit.auditors.explainability.rungs import COMPARED_ROWS, FEWEST_ROWS, Rung
from auditkit.auditors.explainability.segments import agreement
from auditkit.auditors.explainability.shapley import MOST_COLUMNS
from auditkit.auditors.explainability.target_function import ExplanationInput, Floats
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Exhibit
from auditkit.evidence.messages import Message

FEWEST_RANKED = 5
"""Attributions to fewer columns are compared by their cosine: a few columns have few orders, and two have only two."""
INFIDELITY_SETS = 50
"""So many sets of columns are put back to the baseline, for the infidelity."""
FEW_COLUMNS_DRAWS = 10
"""So often are all weights randomised where few columns are compared: one draw may resemble the model by chance."""


@dataclass(frozen=True)
class Randomised:
    """A decision whose network has other weights: randomised layer by layer from the output, and `whole`, all of them.

    Both are empty, or nearly so, where there are no weights to randomise.
    """

    by_layer: Sequence[tuple[str, ExplanationInput]]
    whole: Sequence[ExplanationInput]


def trust_checks(subject: Subject, given: Explanation, randomised: Randomised, *, with_gradient: bool) -> list[Check]:
    """Run every trust check on attributions.

    `randomised` holds the same decision with other weights; `with_gradient` says whether the decision has a gradient,
    for the choice of a second method.
    """
    level, seed = subject.conf_level, subject.seed
    explained, by_column = given.explained, given.by_column
    # Drawn, since the sample keeps the order of the data.
    order = np.random.default_rng(seed).permutation(len(by_column))
    few = order[: given.rung.checked_rows(given.passes)]
    part = explained.take(few)
    found = []
    if METHODS[given.method].complete:
        missed = by_column.sum(axis=1) - expected_change(given)
        found.append(completeness_check(missed, explained.change(), given.definition, level))
    found += [
        mean_check(
            "infidelity",
            checks.infidelity(explained, by_column, perturbation_count=INFIDELITY_SETS, seed=seed),
            "lower",
            0.25,
            Message("Yeh et al. 2019, arXiv:1901.09392, scaled"),
            level,
        ),
        mean_check(
            "maximum_sensitivity",
            checks.maximum_sensitivity(
                part, given.again, given.again(part), radius=0.02, perturbation_count=given.rung.moves, seed=seed
            ),
            "lower",
            0.5,
            Message("Yeh et al. 2019, arXiv:1901.09392"),
            level,
        ),
    ]
    if len(given.columns) > 1:
        for name, source in (
            ("deletion_advantage", Message("Samek et al. 2017, arXiv:1509.06321")),
            ("insertion_advantage", Message("Petsiuk et al. 2018, arXiv:1806.07421")),
        ):
            advantage = getattr(checks, name)(explained, by_column, seed=seed)
            found.append(mean_check(name, advantage, "higher", 0.0, source, level))
    return found + _comparisons(subject, given, randomised, order, few, with_gradient=with_gradient)


def _comparisons(
    subject: Subject,
    given: Explanation,
    randomised: Randomised,
    order: NDArray[np.int64],
    few: NDArray[np.int64],
    *,
    with_gradient: bool,
) -> list[Check]:
    """Return the checks against another method, against other baselines, and against other weights.

    `order` are the explained rows in a random order, and `few` as many of them as a dear method can be asked about.
    Rows are compared by the order of their columns (Spearman); the signed values of all rows, by their cosine, where
    there are too few columns for an order to mean much.
    """
    level, seed = subject.conf_level, subject.seed
    explained = given.explained
    by_cosine = few_columns(explained)

    def alike(rows: NDArray[np.int64], other: Floats) -> Floats:
        pair = varying_columns(explained, given.by_column[rows]), varying_columns(explained, other)
        return agreement(*pair) if by_cosine else checks.rank_correlation(*pair)

    second = second_method(
        given.method,
        given.rung,
        column_count=len(given.columns),
        with_gradient=with_gradient,
        codes=bool(explained.codes or explained.texts),
    )
    count, baselines = given.rung.rows(COMPARED_ROWS), given.rung.baselines
    compared, fewer = order[:count], few[:count]
    other = attribute_columns(second, explained.take(compared), tolerance=0.01, seed=seed, rung=given.rung).by_column
    repeated = given.with_other_baselines(explained.take(fewer), baseline_count=baselines)
    definitions = _definitions(second, baselines, draws=len(randomised.whole), by_cosine=by_cosine)
    found = [
        mean_check("method_agreement", alike(compared, other), "higher", 0.6, definitions[0], level),
        mean_check("stability", alike(fewer, repeated), "higher", 0.6, definitions[1], level),
    ]
    if randomised.by_layer:
        shuffled = np.mean([alike(few, given.again(part.take(few))) for part in randomised.whole], axis=0)
        found.append(mean_check("randomised_weights_correlation", shuffled, "lower", 0.8, definitions[2], level))
    return found


def _definitions(second: str, baselines: int, *, draws: int, by_cosine: bool) -> tuple[Message, Message, Message]:
    """Return what the three comparisons are, with the `second` method, so many other baselines and other weights."""
    against = {"title": METHODS[second].title, "reference": METHODS[second].reference}
    if by_cosine:
        return (
            Message("cosine with {title} ({reference})", **against),
            Message(
                "in-house: cosine with the same method, another seed, the mean over {baselines} drawn baselines",
                baselines=baselines,
            ),
            Message("Adebayo et al. 2018, arXiv:1810.03292; all layers randomised {count} times; cosine", count=draws),
        )
    return (
        Message("Spearman against {title} ({reference})", **against),
        Message(
            "in-house: Spearman against the same method, another seed, the mean over {baselines} drawn baselines",
            baselines=baselines,
        ),
        Message("Adebayo et al. 2018, arXiv:1810.03292; all layers randomised"),
    )


def few_columns(explained: ExplanationInput) -> bool:
    """Return whether too few columns vary for their order to mean much: two have only two orders."""
    return len(explained.varying()) < FEWEST_RANKED


def varying_columns(explained: ExplanationInput, attributions: Floats) -> Floats:
    """Return the attributions, (rows, columns), of the columns that vary: all others have 0 by every method."""
    varying = explained.varying()
    return attributions[:, [name in varying for name in explained.columns]]


def second_method(name: str, rung: Rung, *, column_count: int, with_gradient: bool, codes: bool) -> str:
    """Return a method of another kind than the named one, which reads the model in another way.

    Of integer codes and texts it keeps the baseline: against another one every attribution is another.
    """
    by_coalitions = "shapley" if column_count <= MOST_COLUMNS and rung.exact else "kernel_shap"
    if METHODS[name].reads != "outputs":
        return by_coalitions
    if with_gradient:
        return "integrated_gradients"
    if codes:
        return "feature_ablation" if name in ("shapley", "kernel_shap") else by_coalitions
    return "permutation" if name in ("shapley", "kernel_shap") else by_coalitions


def by_layer(given: Explanation, randomised: Sequence[tuple[str, ExplanationInput]], *, seed: int) -> list[Exhibit]:
    """Return how much an explanation still resembles itself while layers are shuffled, from the output backwards."""
    if len(randomised) < 2 or few_columns(given.explained):
        return []
    few = np.random.default_rng(seed).permutation(len(given.by_column))
    few = few[: given.rung.rows(FEWEST_ROWS)]
    rows = []
    for name, part in randomised:
        shuffled = varying_columns(given.explained, given.again(part.take(few)))
        correlations = checks.rank_correlation(varying_columns(given.explained, given.by_column)[few], shuffled)
        rows.append((name, float(np.nan_to_num(correlations).mean())))
    return [layers_table(rows, len(few))]
