"""What explanations of texts and images share, such as trust checks; some of it serves tables too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from auditkit.auditors.explainability.target_function import Floats, TargetFunction
from auditkit.auditors.explainability.trials import Trials
from auditkit.engine.subject import Subject
from auditkit.errors import NotRun
from auditkit.evidence.measurement import Facts, Table
from auditkit.evidence.messages import Message
from auditkit.modalities.base import Segments
from auditkit.models.capabilities import Differentiable

UNSIGNED = ("saliency",)
"""Methods that say how much a part matters, and not which way."""

UNSCALED = ("saliency", "grad_cam")
"""Methods whose attributions are not in the unit of what is explained."""

Attribute = Callable[[str, SegmentedRows], Floats]
"""Returns the attributions of a named method to the parts of rows: (rows, parts)."""


def segmented_rows(
    subject: Subject, module: nn.Module, rows: NDArray[np.int64], inputs: NDArray[Any], segments: Segments
) -> SegmentedRows:
    """Return `inputs`, the encoded `rows`, with the segments that are deleted to explain what a network says."""
    return SegmentedRows(
        decision=TargetFunction(module, subject.task),
        inputs=inputs,
        predicted=subject.task.explained(subject.predictions.take(rows)),
        counts=segments.counts,
        width=segments.width,
        delete=segments.delete,
        device=subject.device,
    )


def change_of(parts: SegmentedRows, what: str) -> Floats:
    """Return how far the decision moves when all parts are deleted, (rows,).

    Raises:
        NotRun: it moves in no row.
    """
    change = parts.change()
    if not change.any():
        raise NotRun(Message("the model's output does not change when {what}", what=what))
    return change


@dataclass(frozen=True, eq=False)
class CheckedMethod:
    """What the trust checks ask of a method that attributes the decisions of rows to their parts.

    `attribute` returns the attributions of any method. `move` returns rows after a small random move, for the
    sensitivity, None where rows have no small moves; `with_other_baselines` the attributions from other baselines, for
    the stability, where the method has any.
    """

    method: str
    parts: SegmentedRows
    attribute: Attribute
    move: Callable[[SegmentedRows, np.random.Generator], SegmentedRows] | None = None
    with_other_baselines: Callable[[SegmentedRows], Floats] | None = None


def trust_checks(
    subject: Subject, checked: CheckedMethod, attributions: Floats, *, trials: Trials
) -> tuple[list[Check], list[Table]]:
    """Run every trust check on attributions per part, and shuffle the network's layers one after another.

    `trials` says how many rows each check takes. A network without weights has no layers, and no table of them.
    """
    level, seed, method = subject.conf_level, subject.seed, checked.method
    few = trials.checked_of(len(attributions), seed=seed)
    part, given = checked.parts.take(few), attributions[few]
    fewest = np.arange(min(trials.fewest, len(few)))
    least, least_given = part.take(fewest), given[fewest]
    found = []
    if METHODS[method].complete:
        change = checked.parts.change()
        found.append(completeness_check(attributions.sum(axis=1) - change, change, METHODS[method].reference, level))
    found.append(_infidelity(method, part, given, level=level, seed=seed))
    if checked.move is not None:
        found.append(_sensitivity(checked, least, least_given, trials.repeats, level=level, seed=seed))
    found.append(_deletion(method, part, given, level=level, seed=seed))
    slopes = subject.audited.capability(Differentiable) is not None
    second = _second_method(method, subject.modality.explained_as, checked.parts.decision.network, slopes)
    if second is not None:
        found.append(_agreement(checked, second, part, given, level=level))
    if checked.with_other_baselines is not None:
        fewer = np.arange(min(trials.fewer, len(few)))
        stability = agreement(given[fewer], checked.with_other_baselines(part.take(fewer)))
        definition = Message(
            "in-house: cosine with the same method and the mean over other baselines, drawn from the data"
        )
        found.append(mean_check("stability", stability, "higher", 0.6, definition, level))
    by_layer = []
    for name, network in checks.randomised_layers(checked.parts.decision.network, seed=seed, most=trials.layers):
        shuffled = checked.attribute(method, least.of_network(network))
        by_layer.append((name, float(np.nan_to_num(rank_correlations(least_given, shuffled, least.counts)).mean())))
    if by_layer:
        correlations = rank_correlations(given, checked.attribute(method, part.of_network(network)), part.counts)
        definition = Message("Adebayo et al. 2018, arXiv:1810.03292; all layers randomised; signed, over parts")
        found.append(mean_check("randomised_weights_correlation", correlations, "lower", 0.8, definition, level))
    return found, [layers_table(by_layer, len(fewest))] if by_layer else []


def _infidelity(method: str, part: SegmentedRows, given: Floats, *, level: float, seed: int) -> Check:
    rows = infidelity(part, given, perturbation_count=20, seed=seed, scaled=method in UNSCALED)
    definition = Message("Yeh et al. 2019, arXiv:1901.09392, scaled; random halves of the parts deleted")
    return mean_check("infidelity", rows, "lower", 0.25, definition, level)


def _sensitivity(
    checked: CheckedMethod, least: SegmentedRows, given: Floats, repeats: int, *, level: float, seed: int
) -> Check:
    move, rng = checked.move, np.random.default_rng([seed, 2])
    assert move is not None
    rows = maximum_sensitivity(
        given, lambda: checked.attribute(checked.method, move(least, rng)), perturbation_count=repeats
    )
    return mean_check("maximum_sensitivity", rows, "lower", 0.5, Message("Yeh et al. 2019, arXiv:1901.09392"), level)


def _deletion(method: str, part: SegmentedRows, given: Floats, *, level: float, seed: int) -> Check:
    rows = deletion_advantage(part, given, seed=seed, signed=method not in UNSIGNED)
    definition = Message("Samek et al. 2017, arXiv:1509.06321")
    return mean_check("deletion_advantage", rows, "higher", 0.0, definition, level)


def _agreement(checked: CheckedMethod, second: str, part: SegmentedRows, given: Floats, *, level: float) -> Check:
    other = checked.attribute(second, part)
    alike = agreement(given, np.abs(other) if checked.method in UNSIGNED else other)
    definition = Message(
        "cosine with {title} ({reference})", title=METHODS[second].title, reference=METHODS[second].reference
    )
    return mean_check("method_agreement", alike, "higher", 0.6, definition, level)


def _second_method(method: str, kind: str, module: nn.Module, has_gradient: bool) -> str | None:
    """Return a method of another kind that is right for the model, to compare with."""
    gradients = {"image": "integrated_gradients", "text": "layer_integrated_gradients"}.get(kind)
    if method != "occlusion":
        return "occlusion"
    return gradients if gradients and refusal(gradients, module=module, has_gradient=has_gradient) is None else None


NOUNS = {"images": Message("images"), "rows": Message("rows"), "texts": Message("texts")}
"""What rows are called where they are explained."""


def settings_facts(subject: Subject, what: str, count: int, facts: Sequence[tuple[str, str]]) -> Facts:
    """Return how the attributions of `count` rows, which `what` of `NOUNS` calls, were made."""
    sample = Message(
        "{count:,} of {labels_count:,} {what}, drawn with seed {seed}",
        count=count,
        labels_count=len(subject.labels),
        what=NOUNS[what],
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
                what=NOUNS[what],
            )
        )
    if show_rows:
        notes.append(Message("Single {what} of the audited data are shown, as --show-rows asks.", what=NOUNS[what]))
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
