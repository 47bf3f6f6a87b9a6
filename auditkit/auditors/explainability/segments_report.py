"""What explanations of texts and images share, such as trust checks; some of it serves tables too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from auditkit.auditors.explainability import checks
from auditkit.auditors.explainability.checks_report import Check, completeness_check, layers_table, mean_check
from auditkit.auditors.explainability.methods import METHODS, refusal
from auditkit.auditors.explainability.segments import (
    SegmentedRows,
    agreement,
    deletion_advantage,
    infidelity,
    maximum_sensitivity,
    rank_correlations,
)
from auditkit.auditors.explainability.target_function import Floats
from auditkit.auditors.explainability.trials import Trials
from auditkit.engine.subject import Subject
from auditkit.errors import NotRun
from auditkit.evidence.measurement import Facts, Table
from auditkit.evidence.messages import Message

UNSIGNED = ("saliency",)
"""Methods that say how much a part matters, and not which way."""

UNSCALED = ("saliency", "grad_cam")
"""Methods whose attributions are not in the unit of what is explained."""

Attribute = Callable[[str, SegmentedRows], Floats]
"""Returns the attributions of a named method to the parts of rows: (rows, parts)."""


def change_of(parts: SegmentedRows, what: str) -> Floats:
    """Return how far the decision moves when all parts are deleted, (rows,).

    Raises:
        NotRun: it moves in no row.
    """
    change = parts.change()
    if not change.any():
        raise NotRun(Message("the model's output does not change when {what}", what=what))
    return change


def trust_checks(
    subject: Subject,
    method: str,
    parts: SegmentedRows,
    attributions: Floats,
    attribute: Attribute,
    move: Callable[[SegmentedRows, np.random.Generator], SegmentedRows] | None,
    elsewhere: Callable[[SegmentedRows], Floats] | None = None,
    *,
    trials: Trials,
) -> tuple[list[Check], Table]:
    """Run every trust check on attributions per part, and shuffle the network's layers one after another.

    `move` returns the rows after a small random move, for the sensitivity, None where rows have no small moves;
    `elsewhere` the attributions from other baselines, for the stability, where a method has any.
    `trials` says how many rows each check takes.
    """
    level, seed = subject.conf_level, subject.seed
    few = trials.checked_of(len(attributions), seed=seed)
    part, given = parts.take(few), attributions[few]
    fewest = np.arange(min(trials.fewest, len(few)))
    least, least_given = part.take(fewest), given[fewest]
    rng = np.random.default_rng([seed, 2])
    found = []
    if METHODS[method].complete:
        missed, change = attributions.sum(axis=1) - parts.change(), parts.change()
        found.append(completeness_check(missed, change, METHODS[method].reference, level))
    found.append(
        mean_check(
            "infidelity",
            infidelity(part, given, perturbation_count=20, seed=seed, scaled=method in UNSCALED),
            "lower",
            0.25,
            Message("Yeh et al. 2019, arXiv:1901.09392, scaled; random halves of the parts deleted"),
            level,
        )
    )
    if move is not None:
        small = move
        sensitivity = maximum_sensitivity(
            least_given, lambda: attribute(method, small(least, rng)), perturbation_count=trials.repeats
        )
        definition = Message("Yeh et al. 2019, arXiv:1901.09392")
        found.append(mean_check("maximum_sensitivity", sensitivity, "lower", 0.5, definition, level))
    found.append(
        mean_check(
            "deletion_advantage",
            deletion_advantage(part, given, seed=seed, signed=method not in UNSIGNED),
            "higher",
            0.0,
            Message("Samek et al. 2017, arXiv:1509.06321"),
            level,
        )
    )
    second = _second_method(method, subject.modality.explained_as, parts.decision.network)
    if second is not None:
        other = attribute(second, part)
        alike = agreement(given, np.abs(other) if method in UNSIGNED else other)
        definition = Message(
            "cosine with {title} ({reference})", title=METHODS[second].title, reference=METHODS[second].reference
        )
        found.append(mean_check("method_agreement", alike, "higher", 0.6, definition, level))
    if elsewhere is not None:
        fewer = np.arange(min(trials.fewer, len(few)))
        stability = agreement(given[fewer], elsewhere(part.take(fewer)))
        definition = Message(
            "in-house: cosine with the same method and the mean over other baselines, drawn from the data"
        )
        found.append(mean_check("stability", stability, "higher", 0.6, definition, level))
    by_layer = []
    for name, network in checks.randomised_layers(parts.decision.network, seed=seed, most=trials.layers):
        shuffled = attribute(method, least.of_network(network))
        by_layer.append((name, float(np.nan_to_num(rank_correlations(least_given, shuffled, least.counts)).mean())))
    if by_layer:
        correlations = rank_correlations(given, attribute(method, part.of_network(network)), part.counts)
        definition = Message("Adebayo et al. 2018, arXiv:1810.03292; all layers randomised; signed, over parts")
        found.append(mean_check("randomised_weights_correlation", correlations, "lower", 0.8, definition, level))
    return found, layers_table(by_layer, len(fewest))


def _second_method(method: str, kind: str, module: nn.Module) -> str | None:
    """Return a method of another kind that is right for the model, to compare with."""
    gradients = {"image": "integrated_gradients", "text": "layer_integrated_gradients"}.get(kind)
    if method != "occlusion":
        return "occlusion"
    return gradients if gradients and refusal(gradients, module=module) is None else None


def settings_facts(subject: Subject, what: str, count: int, facts: Sequence[tuple[str, str]]) -> Facts:
    """Return how the attributions of `count` rows, of which there is a word in `what`, were made."""
    sample = Message(
        "{count:,} of {labels_count:,} {what}, drawn with seed {seed}",
        count=count,
        labels_count=len(subject.labels),
        what=what,
        seed=subject.seed,
    )
    explained = subject.task.target_name()
    return Facts(
        title=Message("How the attributions were made"),
        rows=(facts[0], (Message("Explained"), explained), *facts[1:], (Message("Sample"), sample)),
    )


def sample_notes(subject: Subject, what: str, count: int, *, show_rows: bool) -> list[str]:
    """Say that a sample was explained, and that single rows are shown, where that is so."""
    notes: list[str] = []
    if count < len(subject.labels):
        notes.append(
            Message(
                "A random sample of {count:,} of {labels_count:,} {what} was explained.",
                count=count,
                labels_count=len(subject.labels),
                what=what,
            )
        )
    if show_rows:
        notes.append(Message("Single {what} of the audited data are shown, as --show-rows asks.", what=what))
    return notes


def shown_rows(
    subject: Subject,
    rows: NDArray[np.int64],
    prototypes: Callable[[NDArray[np.int64]], NDArray[Any]],
    error_count: int,
) -> tuple[list[tuple[str, int]], list[int], Floats]:
    """Return the rows to show, as positions in `rows`: prototypes with their class, the worst errors, all sureness.

    Of the rows of a class that are predicted right, `prototypes` chooses; the worst errors are the surest ones.
    """
    labels, predicted = subject.labels[rows], subject.predictions.labels[rows]
    sureness = subject.predictions.probabilities[rows].max(axis=1)
    known = subject.has_labels[rows]
    right = known & (predicted == labels)
    typical = [
        (name, int(row))
        for code, name in enumerate(subject.schema.classes)
        for row in prototypes(np.flatnonzero(right & (labels == code)))
    ]
    wrong = np.flatnonzero(known & ~right)
    worst = wrong[np.argsort(-sureness[wrong], kind="stable")][:error_count]
    return typical, [int(row) for row in worst], sureness
