"""Guesses are checked against the data: where they contradict it, the run stops with one question.

A guess is what nobody stated: which class a decision or a score stands for, the order of a model's outputs, whether
they are logits, the unit of predicted numbers. It contradicts the data where labels show, by an interval of 99.9 %,
that decisions agree with them clearly less than chance would, or that the other reading fits clearly better.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from auditkit.engine.subject import Subject
from auditkit.errors import InputError
from auditkit.evidence.messages import number
from auditkit.stats.intervals import newcombe, normal_quantile, wilson
from auditkit.stats.ranking import roc_auc, roc_auc_interval

LEVEL = 0.999
FEWEST_ROWS = 30
"""With fewer labelled rows nothing is asked: chance explains too much."""

CLEARLY = 0.1
"""So far below chance decisions must surely be: a weak relation the wrong way is a finding, and no wrong reading."""

SATURATED = 1e-6
"""Probabilities so near to 0 or 1 say that numbers on another scale were read as logits."""

MOST_ORDERS = 5
"""The order of so many classes is searched at most."""

Floats = NDArray[np.float64]


def check_guesses(subject: Subject, *, outputs_stated: bool = False) -> None:
    """Stop with a question where labels contradict what was guessed about decisions, scores, outputs or units.

    Nothing is asked of what outputs are where that was stated.

    Raises:
        InputError: the question, with the option that answers it.
    """
    known = subject.labelled
    if len(known.labels) < FEWEST_ROWS or known.labels.ndim > 1:
        return
    checks: tuple[Callable[[Subject], str | None], ...] = (_direction, _ranking, _outputs, _order, _unit)
    for check in checks:
        question = None if check is _outputs and outputs_stated else check(known)
        if question is not None:
            raise InputError(question)


def _is_model(subject: Subject) -> bool:
    return not subject.decision_columns


def _sides(subject: Subject) -> tuple[str, str]:
    """Return the positive class, and the other one, as they are typed in an option."""
    negative, positive = (f"'{name}'" if " " in name else name for name in subject.schema.classes)
    return positive, negative


def _answer(subject: Subject) -> str:
    """Return the two options of which one answers which class decisions or high scores stand for."""
    positive, negative = _sides(subject)
    if _is_model(subject):
        return (
            f"Its outputs were taken for the classes {negative},{positive} in this order: pass --classes "
            f"{positive},{negative} if it is the other one, or --classes {negative},{positive} if this one is right."
        )
    columns = " and ".join(subject.decision_columns)
    if set(subject.data.frame[subject.decision_columns[0]].astype(str).unique()) & set(subject.schema.classes):
        return (
            f"If {columns} and {subject.schema.target} mean opposite things, recode one of them; if they mean the "
            f"same, pass --positive {positive}."
        )
    return (
        f"A decision or a high score in {columns} was taken for {subject.schema.target} = {positive}: pass --positive "
        f"{negative} if it stands for that, or --positive {positive} if this is right."
    )


def _direction(subject: Subject) -> str | None:
    """Ask about decisions that agree with the labels clearly less often than chance."""
    if subject.task.positive is None:
        return None
    labels, decisions = subject.labels == 1, subject.predictions.labels == 1
    sizes = int(labels.sum()), int((~labels).sum())
    if not all(sizes) or decisions.all() or not decisions.any():
        return None
    hits = int((decisions & labels).sum()), int((decisions & ~labels).sum())
    _, high = newcombe(hits[0], sizes[0], hits[1], sizes[1], LEVEL)
    if float(high) >= -CLEARLY:
        return None
    agree = number(float((labels == decisions).mean()), "rate")
    whose = "the model" if _is_model(subject) else f"the decisions in {subject.decision_columns[0]}"
    return (
        f"{whose} agree{'s' if _is_model(subject) else ''} with {subject.schema.target} in {agree} of {len(labels):,} "
        f"rows, clearly less often than chance. {_answer(subject)}"
    )


def _scores(subject: Subject) -> Floats | None:
    predictions = subject.predictions
    if subject.task.positive is None or (predictions.ranking is None and predictions.class_probabilities is None):
        return None
    return np.asarray(predictions.scores, dtype=np.float64)


def _ranking(subject: Subject) -> str | None:
    """Ask about scores that order the rows against the labels."""
    scores = _scores(subject)
    labels = subject.labels == 1
    if scores is None or labels.all() or not labels.any():
        return None
    area = roc_auc(labels, scores)
    bound = roc_auc_interval(area, LEVEL)
    if bound is None or bound[1] >= 0.5 - CLEARLY / 2:
        return None
    return (
        f"the scores order the rows against {subject.schema.target}: the area under the ROC curve is {area.value:.3f}, "
        f"clearly below chance. {_answer(subject)}"
    )


def _outputs(subject: Subject) -> str | None:
    """Ask about outputs that fit the labels clearly better as logits, or decide alike for all rows they order well."""
    scores = _scores(subject)
    if scores is None or not _is_model(subject) or subject.schema.output == "score":
        return None
    labels, decisions = subject.labels == 1, subject.predictions.labels
    if labels.all() or not labels.any():
        return None
    if subject.schema.output == "probabilities":
        read, other = (_loss(labels, values) for values in (scores, special.expit(scores)))
        gain = read - other
        clearly = normal_quantile(LEVEL) * float(gain.std(ddof=1)) / np.sqrt(len(gain)) + 0.01
        if float(gain.mean()) > clearly and not _sums_to_one(subject):
            return (
                "the outputs lie from 0 to 1 and were read as probabilities; read as logits they fit "
                f"{subject.schema.target} clearly better (log loss {other.mean():.3f} instead of {read.mean():.3f}): "
                "pass --output logits, or --output probabilities if they are."
            )
    if len(np.unique(decisions)) > 1:
        return None
    bound = roc_auc_interval(roc_auc(labels, scores), LEVEL)
    saturated = bool((np.abs(scores - decisions) < SATURATED).all())
    if saturated or (bound is not None and bound[0] > 0.5 + CLEARLY):
        never = subject.schema.classes[1 - int(decisions[0])]
        how = "all rows get a probability of 0 or 1" if saturated else "the outputs order the rows well"
        return (
            f"no row is predicted {never}, and {how}: pass --output score --threshold NUMBER if the outputs are "
            f"scores, or --output {subject.schema.output} if they are {subject.schema.output}."
        )
    return None


def _sums_to_one(subject: Subject) -> bool:
    """Return whether probabilities are an output for each class: such sum to 1 in each row, which no logits do."""
    import torch

    module = subject.model.module
    device = next((part.device for part in module.parameters()), torch.device("cpu"))
    rows = torch.from_numpy(np.ascontiguousarray(subject.encode(slice(0, 2)))).to(device)
    with torch.inference_mode():
        outputs = module(rows)
    return bool(outputs.ndim == 2 and outputs.shape[1] > 1)


def _loss(labels: NDArray[np.bool_], probabilities: Floats) -> Floats:
    chance = np.clip(np.where(labels, probabilities, 1 - probabilities), 1e-6, 1.0)
    return np.asarray(-np.log(chance))


def _order(subject: Subject) -> str | None:
    """Ask about a model whose predictions fit the labels clearly better with its classes in another order."""
    classes = subject.schema.classes
    if not _is_model(subject) or subject.task.positive is not None or not 2 < len(classes) <= MOST_ORDERS:
        return None
    table = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(table, (subject.labels, subject.predictions.labels), 1)
    now = int(np.trace(table))
    places = np.arange(len(classes))
    best = max(permutations(range(len(classes))), key=lambda order: int(table[list(order), places].sum()))
    then = int(table[list(best), places].sum())
    rows = int(table.sum())
    high, low = float(wilson(now, rows, LEVEL)[1]), float(wilson(then, rows, LEVEL)[0])
    if low <= high + CLEARLY:
        return None
    other = ",".join(classes[code] for code in best)
    return (
        f"the model agrees with {subject.schema.target} in {number(now / rows, 'rate')} of {rows:,} rows, and in "
        f"{number(then / rows, 'rate')} with its classes in the order {other}: pass --classes {other}, or --classes "
        f"{','.join(classes)} if that order is right."
    )


def _unit(subject: Subject) -> str | None:
    """Ask about predicted numbers that follow the labels, and lie on another scale."""
    if subject.views:
        return None
    labels, predictions = np.asarray(subject.labels, dtype=float), np.asarray(subject.predictions.labels, dtype=float)
    if np.ptp(labels) == 0 or np.ptp(predictions) == 0:
        return None
    related = float(np.corrcoef(labels, predictions)[0, 1])
    sure = np.tanh(np.arctanh(min(abs(related), 1 - 1e-9)) - normal_quantile(LEVEL) / np.sqrt(len(labels) - 3))
    slope = related * float(labels.std()) / float(predictions.std())
    apart = abs(float(labels.mean() - predictions.mean())) > float(labels.std())
    other_scale = not 0.2 <= slope <= 5 or (apart and not 0.5 <= slope <= 2)
    if sure < 0.5 or not other_scale:
        return None
    return (
        f"the predictions follow {subject.schema.target} (correlation {related:.2f}), but lie from "
        f"{predictions.min():.4g} to {predictions.max():.4g} where the labels lie from {labels.min():.4g} to "
        f"{labels.max():.4g}: give them in the same unit, or pass --task regression if they are."
    )
