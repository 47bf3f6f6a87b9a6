"""Shadow models of a small language model: trained as it was, each on a random half of both sides' texts.

They come in pairs, of which one reads a half and the other the rest. All texts of a cluster, such as an author, and all
texts that say the same stay in one half.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from auditkit.auditors.memorisation.material import Material, Side
from auditkit.auditors.memorisation.units import units_of
from auditkit.engine.subject import Subject
from auditkit.engine.texts import texts_of
from auditkit.engine.work import GRADIENT, SHADOWS
from auditkit.errors import NotRun
from auditkit.evidence.measurement import Facts
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import CausalLanguageModel, LanguageModel, RepeatableTraining
from auditkit.models.language import TokenScores
from auditkit.models.model import Model
from auditkit.progress import Progress, part_of
from auditkit.stats.shadows import halves

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Marks = NDArray[np.bool_]

LARGEST_UNIT = 0.1
"""Halves are drawn unless so large a share of the texts belongs together."""


@dataclasses.dataclass(frozen=True, eq=False)
class Shadows:
    """What shadow models say of the compared texts: log odds, (models, texts), and which texts each read."""

    odds: Floats
    inside: Marks
    pool_count: int
    epochs: int
    seconds: float

    def facts(self) -> Facts:
        """Return how they were made."""
        return Facts(
            title=Message("How the shadow models were made"),
            rows=(
                (
                    Message("Shadow models"),
                    Message("{count}, of the audited architecture, with fresh weights", count=len(self.odds)),
                ),
                (
                    Message("Each read"),
                    Message(
                        "a random half of all {count:,} training texts and others; texts of one cluster, and those "
                        "that say the same, stay together",
                        count=self.pool_count,
                    ),
                ),
                (
                    Message("Recipe"),
                    Message(
                        "that of auditkit train, {epochs} epochs, with the audited model's tokenizer",
                        epochs=self.epochs,
                    ),
                ),
                (Message("Cost"), Message("{seconds:.0f} seconds", seconds=self.seconds)),
            ),
        )


def log_odds(scores: Sequence[TokenScores]) -> Floats:
    """Return the log odds of the geometric mean of the probabilities of each text's tokens, (texts,).

    As the log odds of a class are more nearly normal than its probability (Carlini et al. 2022), these are.
    """
    means = np.minimum([one.log_probabilities.mean() for one in scores], -1e-12)
    odds: Floats = means - np.log(-np.expm1(means))
    return odds


def shadows_of(subject: Subject, material: Material, wanted: int) -> Shadows:
    """Train shadow models on halves of all texts, and return what they say of the compared ones.

    Raises:
        NotRun: the training cannot be repeated, the effort does not allow two, or halves cannot be drawn.
    """
    count, epochs = planned(subject, wanted)
    sides = (material.seen, material.unseen)
    known = [texts_of(side.frame, subject.schema) for side in sides]
    usable = [np.flatnonzero([bool(text.strip()) for text in texts]) for texts in known]
    pool = [texts[row] for texts, rows in zip(known, usable, strict=True) for row in rows]
    units = units_of([side.frame.iloc[rows] for side, rows in zip(sides, usable, strict=True)], pool, subject.cluster)
    _check_units(units)
    inside = halves(int(units.max()) + 1, count, subject.seed)[:, units]
    able = subject.model.require(LanguageModel)
    work = functools.partial(
        train_shadow, subject.model, [able.tokens(text)[0].tolist() for text in pool], material.texts, epochs
    )
    shards = (Shard(subject.seed + 1 + index, np.flatnonzero(inside[index])) for index in range(count))

    def told(place: int) -> Progress:
        said = f"shadow model {place + 1} of {count} "
        return part_of(subject.progress, 0.45 + 0.25 * place / count, 0.45 + 0.25 * (place + 1) / count, said)

    started = time.perf_counter()
    odds = np.stack(list(subject.executor.map(work, shards, told)))
    compared = _places(sides, usable)
    return Shadows(odds, inside[:, compared], len(pool), epochs, time.perf_counter() - started)


class Shard(NamedTuple):
    """One shadow model: its seed, and the places of the texts that it reads."""

    seed: int
    rows: Codes


def train_shadow(
    model: Model,
    ids: Sequence[Sequence[int]],
    compared: Sequence[str],
    epochs: int,
    shard: Shard,
    device: str,
    progress: Progress,
) -> Floats:
    """Train one shadow model on the texts, given as tokens, of a shard; return the log odds of the compared texts."""
    from auditkit.training.train_language import fit_texts

    place = torch.device(device)
    module = model.require(RepeatableTraining).fresh(shard.seed)
    own = [ids[row] for row in shard.rows]
    fit_texts(module, own, epochs=epochs, seed=shard.seed, device=place, progress=part_of(progress, 0.0, 0.9))
    trained = dataclasses.replace(model, module=module).require(LanguageModel)
    return log_odds(trained.score(compared, device=place, progress=part_of(progress, 0.9, 1.0)))


def planned(subject: Subject, wanted: int) -> tuple[int, int]:
    """Return how many shadow models the effort allows, an even number, and for how many epochs each is trained.

    Raises:
        NotRun: none are wanted, not even two are allowed, or the training cannot be repeated.
    """
    if not wanted:
        raise NotRun(Message("none were asked for"))
    if subject.work.effort == "quick":
        raise NotRun(Message("the effort quick trains none"))
    epochs = subject.model.require(RepeatableTraining).epochs
    allowed = subject.work.passes(SHADOWS) / passes_of_one(subject, epochs)
    if allowed < 2:
        raise subject.work.too_dear(2 * passes_of_one(subject, epochs) / _text_count(subject))
    return int(min(wanted, allowed)) // 2 * 2, epochs


def passes_of_one(subject: Subject, epochs: int) -> float:
    """Return how many times as much as the scores of a text one shadow model takes, training and scores.

    A masked model scores a text by as many passes as it has tokens, and is trained on it by one.
    """
    causal = subject.model.capability(CausalLanguageModel) is not None
    one_pass = 1 if causal else 1 / (subject.schema.features[0].length or 1)
    return _text_count(subject) * (GRADIENT * epochs / 2 * one_pass + 1)


def _text_count(subject: Subject) -> int:
    return len(subject.data.frame) + (0 if subject.training is None else len(subject.training.frame))


def _check_units(units: Codes) -> None:
    """Raise NotRun where a tenth of the texts or more hang together."""
    share = np.bincount(units).max() / len(units)
    if share >= LARGEST_UNIT:
        raise NotRun(
            Message(
                "{share:.0%} of the texts belong together, by their cluster or because they say the same, and no "
                "halves of the texts can be drawn at random",
                share=share,
            )
        )


def _places(sides: Sequence[Side], usable: Sequence[Codes]) -> Codes:
    """Return the places of the compared texts among all usable ones of both sides."""
    first, second = (np.searchsorted(rows, side.rows) for side, rows in zip(sides, usable, strict=True))
    return np.concatenate([first, len(usable[0]) + second])
