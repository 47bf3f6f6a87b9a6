"""Does the explanation of a table deserve belief? Its trust checks, each held to a bound with its whole interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auditkit.auditors.explainability import checks
from auditkit.auditors.explainability.checks_report import Check, completeness_check, layers_table, mean_check
from auditkit.auditors.explainability.methods import METHODS
from auditkit.auditors.explainability.methods_table import Attributed, attribute_columns, expected_change
from auditkit.auditors.explainability.shapley import MOST_COLUMNS
from auditkit.auditors.explainability.target_function import Explained
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Exhibit
from auditkit.evidence.messages import Message

PASSES_AT_ONCE = 2**18
"""Passes through the model that one repetition of an explanation may take: a dear method is checked on fewer rows."""

MOST_ROWS, FEWEST_ROWS, COMPARED_ROWS = 500, 30, 200
BASELINES = 30
PERTURBATIONS = 10


def trust_checks(
    subject: Subject, given: Attributed, randomised: Sequence[tuple[str, Explained]], *, with_gradient: bool
) -> list[Check]:
    """Run every trust check on attributions.

    `randomised` holds, layer by layer from the output, the same decision with those layers' weights shuffled;
    `with_gradient` says whether the decision has a gradient, for the choice of a second method.
    """
    level, seed = subject.conf_level, subject.seed
    explained, by_column = given.explained, given.by_column
    # Drawn, since the sample keeps the order of the data.
    order = np.random.default_rng(seed).permutation(len(by_column))
    few = order[: max(FEWEST_ROWS, min(MOST_ROWS, PASSES_AT_ONCE // given.passes))]
    part = explained.take(few)
    found = []
    if METHODS[given.method].complete:
        missed = by_column.sum(axis=1) - expected_change(given)
        found.append(completeness_check(missed, explained.change(), given.definition, level))
    found += [
        mean_check(
            "infidelity",
            checks.infidelity(explained, by_column, perturbation_count=50, seed=seed),
            "lower",
            0.25,
            Message("Yeh et al. 2019, arXiv:1901.09392, scaled"),
            level,
        ),
        mean_check(
            "maximum_sensitivity",
            checks.maximum_sensitivity(
                part, given.again, given.again(part), radius=0.02, perturbation_count=PERTURBATIONS, seed=seed
            ),
            "lower",
            0.5,
            Message("Yeh et al. 2019, arXiv:1901.09392"),
            level,
        ),
    ]
    if len(given.columns) < 2:
        return found  # the other checks compare the order of columns
    second = second_method(given.method, len(given.columns), with_gradient=with_gradient)
    compared = order[:COMPARED_ROWS]
    other = attribute_columns(second, explained.take(compared), tolerance=0.01, seed=seed)
    found += [
        mean_check(
            "deletion_advantage",
            checks.deletion_advantage(explained, by_column, seed=seed),
            "higher",
            0.0,
            Message("Samek et al. 2017, arXiv:1509.06321"),
            level,
        ),
        mean_check(
            "insertion_advantage",
            checks.insertion_advantage(explained, by_column, seed=seed),
            "higher",
            0.0,
            Message("Petsiuk et al. 2018, arXiv:1806.07421"),
            level,
        ),
        mean_check(
            "method_agreement",
            checks.rank_correlation(by_column[compared], other.by_column),
            "higher",
            0.6,
            Message(
                "Spearman against {title} ({reference})",
                title=METHODS[second].title,
                reference=METHODS[second].reference,
            ),
            level,
        ),
    ]
    fewer = few[:COMPARED_ROWS]
    repeated = given.elsewhere(explained.take(fewer), baseline_count=BASELINES)
    found.append(
        mean_check(
            "stability",
            checks.rank_correlation(by_column[fewer], repeated),
            "higher",
            0.6,
            Message(
                "in-house: Spearman against the same method, another seed, the mean over {baselines} drawn baselines",
                baselines=BASELINES,
            ),
            level,
        )
    )
    if randomised:
        found.append(
            mean_check(
                "randomised_weights_correlation",
                checks.rank_correlation(by_column[few], given.again(randomised[-1][1].take(few))),
                "lower",
                0.8,
                Message("Adebayo et al. 2018, arXiv:1810.03292; all layers randomised"),
                level,
            )
        )
    return found


def second_method(name: str, column_count: int, *, with_gradient: bool) -> str:
    """Return a method of another kind than the named one, which reads the model in another way."""
    by_coalitions = "shapley" if column_count <= MOST_COLUMNS else "kernel_shap"
    if METHODS[name].reads != "outputs":
        return by_coalitions
    if with_gradient:
        return "integrated_gradients"
    return "permutation" if name in ("shapley", "kernel_shap") else by_coalitions


def by_layer(given: Attributed, randomised: Sequence[tuple[str, Explained]], *, seed: int) -> list[Exhibit]:
    """Return how much an explanation still resembles itself while layers are shuffled, from the output backwards."""
    if len(randomised) < 2:
        return []
    few = np.random.default_rng(seed).permutation(len(given.by_column))[:FEWEST_ROWS]
    rows = []
    for name, part in randomised:
        correlations = checks.rank_correlation(given.by_column[few], given.again(part.take(few)))
        rows.append((name, float(np.nan_to_num(correlations).mean())))
    return [layers_table(rows, len(few))]
