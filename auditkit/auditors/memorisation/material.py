"""The texts of both sides: those that a language model was trained on, and those that it never read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.auditors.memorisation.units import units_of
from auditkit.engine.subject import Subject
from auditkit.engine.texts import texts_of
from auditkit.engine.work import SHADOWS
from auditkit.errors import NotRun
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import LanguageModel
from auditkit.models.language import TokenScores

Codes = NDArray[np.int64]
FEWEST_TEXTS = 50


@dataclass(frozen=True, eq=False)
class Side:
    """Texts of one side with what the model says of their tokens; `rows` are their places in `frame`."""

    frame: pd.DataFrame
    rows: Codes
    texts: list[str]
    scores: list[TokenScores]


@dataclass(frozen=True, eq=False)
class Material:
    """Training texts and unseen texts that were sampled, members first.

    `clusters` has the cluster of each text, in which texts that say the same are together, None where every text stands
    alone; `groups` the group of each text by
    sensitive column that both sides have. `notes` says what was sampled and left out.
    """

    seen: Side
    unseen: Side
    clusters: Codes | None
    groups: dict[str, NDArray[np.str_]]
    notes: tuple[str, ...]

    @property
    def texts(self) -> list[str]:
        """The texts of both sides, training texts first."""
        return [*self.seen.texts, *self.unseen.texts]

    @property
    def scores(self) -> list[TokenScores]:
        """The scores of both sides, training texts first."""
        return [*self.seen.scores, *self.unseen.scores]

    @property
    def member(self) -> NDArray[np.bool_]:
        """Which texts are training texts."""
        return np.arange(len(self.texts)) < len(self.seen.texts)


def material_of(subject: Subject, most: int, planted: frozenset[str]) -> Material:
    """Return at most `most` texts of each side, drawn by the seed, with their scores.

    Left out are empty texts, canaries (`planted`), and texts that stand on both sides, which are members and are none.

    Raises:
        NotRun: fewer than 50 texts are left on a side.
    """
    assert subject.training is not None
    frames = (subject.training.frame, subject.data.frame)
    known, others = (texts_of(frame, subject.schema) for frame in frames)
    shared = {text for text in set(known) & set(others) if text.strip()}
    notes: list[str] = []
    if shared:
        notes.append(
            Message(
                "{n:,} different texts stand both in the training data and in the audited data; they were left out "
                "where these are compared.",
                n=len(shared),
            )
        )
    generator = np.random.default_rng((subject.seed, 45))
    most = min(most, max(len(known), len(others)))
    wanted = subject.work.rows(most, 1, SHADOWS)
    notes += subject.work.limited(wanted, most)
    chosen = []
    for side in (known, others):
        usable = [row for row, text in enumerate(side) if text.strip() and text not in shared and text not in planted]
        if len(usable) < FEWEST_TEXTS:
            raise NotRun(
                Message(
                    "needs at least {fewest} training texts and as many others that stand on one side alone, got {n:,}",
                    fewest=FEWEST_TEXTS,
                    n=len(usable),
                )
            )
        chosen.append(np.sort(generator.permutation(usable)[:wanted]))
    able = subject.model.require(LanguageModel)
    texts = [known[row] for row in chosen[0]]
    seen = Side(frames[0], chosen[0], texts, able.score(texts, device=subject.device, progress=subject.progress))
    every = subject.token_scores
    unseen = Side(frames[1], chosen[1], [others[row] for row in chosen[1]], [every[row] for row in chosen[1]])
    notes.append(
        Message(
            "{seen:,} of {known:,} training texts are compared with {unseen:,} of {others:,} texts that the model is "
            "said never to have read.",
            seen=len(seen.texts), known=len(known), unseen=len(unseen.texts), others=len(others),
        )
    )  # fmt: skip
    clusters = _clusters(subject, (seen, unseen), notes)
    return Material(seen, unseen, clusters, _groups(subject, (seen, unseen), notes), tuple(notes))


def _clusters(subject: Subject, sides: Sequence[Side], notes: list[str]) -> Codes | None:
    """Return the cluster of each text; those that say the same are in one. None where each text stands alone."""
    column = subject.cluster
    notes += [
        Message("The training data have no column {column}: each of their texts is a cluster.", column=column)
        for side in sides
        if column is not None and column not in side.frame.columns
    ]
    texts = [text for side in sides for text in side.texts]
    found = units_of([side.frame.iloc[side.rows] for side in sides], texts, column)
    repeated = len(texts) - len(set(texts))
    if repeated:
        notes.append(
            Message(
                "{n:,} of the compared texts say what another one says: texts that say the same are one cluster.",
                n=repeated,
            )
        )
    return None if len(np.unique(found)) == len(found) else found


def _groups(subject: Subject, sides: Sequence[Side], notes: list[str]) -> dict[str, NDArray[np.str_]]:
    """Return the group of each text by each sensitive column that both sides have."""
    found = {}
    for column in subject.sensitive:
        if column not in sides[0].frame.columns:
            notes.append(
                Message("The training data have no column {column}, by which memorisation is not told.", column=column)
            )
            continue
        parts = []
        for side in sides:
            codes, words = subject.coded(side.frame, column)
            parts.append(np.array([*words, subject.missing_group])[codes[side.rows]])
        found[column] = np.concatenate(parts)
    return found
