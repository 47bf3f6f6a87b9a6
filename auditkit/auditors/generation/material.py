"""What is compared: unseen real rows, fresh sets of samples, and as many sets of other real rows, as features."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.generation.auditor import FEWEST_ROWS
from auditkit.auditors.generation.features import FeatureSpace, learnt_space, plain_space
from auditkit.auditors.generation.neighbours import RealRows, real_rows
from auditkit.engine.subject import Subject
from auditkit.errors import NotRun
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import Generative

Rows = NDArray[np.float32]
Codes = NDArray[np.int64]

CLASS = "class"


@dataclass(frozen=True, eq=False)
class SeenClasses:
    """Class codes: the true ones of the unseen rows, and those that the classifier sees in them and in each set."""

    real: Codes
    seen_in_real: Codes
    seen_in_sets: Sequence[Codes]


@dataclass(frozen=True, eq=False)
class Material:
    """What is compared, as features, (rows, width) each: unseen real rows, sets of samples, and of other real rows.

    `splits` gives, for each column that real rows are told apart by, its groups and each unseen row's group. `classes`
    is None where no classifier sees classes in samples.
    """

    real: Rows
    sets: Sequence[Rows]
    ceilings: Sequence[Rows]
    splits: Mapping[str, tuple[tuple[str, ...], Codes]]
    classes: SeenClasses | None

    @functools.cached_property
    def all_real(self) -> RealRows:
        """All unseen rows with their neighbourhoods."""
        return real_rows(self.real)

    def with_sets(self, space: FeatureSpace, drawn: Sequence[Rows]) -> Material:
        """Return the same real rows with sets of samples, (rows, ...), of another generator."""
        seen = [codes for rows in drawn if (codes := space.classes(rows)) is not None]
        classes = None if self.classes is None else dataclasses.replace(self.classes, seen_in_sets=seen)
        return dataclasses.replace(self, sets=[space.features(rows) for rows in drawn], classes=classes)

    def group_sizes(self, column: str) -> Codes:
        """Return how many unseen rows each group of a column has, (groups,)."""
        groups, codes = self.splits[column]
        return np.bincount(codes, minlength=len(groups)).astype(np.int64)


class Gathered(NamedTuple):
    """What was drawn: a set of samples as rows, everything as features, the space of these, and notes."""

    samples: Rows
    material: Material
    space: FeatureSpace
    notes: list[str]


def gather(subject: Subject, row_count: int, set_count: int) -> Gathered:
    """Draw sets of samples, and compute the features of them and of real rows.

    Raises:
        NotRun: fewer than 100 unseen rows and as many others.
    """
    generator = np.random.default_rng(subject.seed)
    real_at = generator.permutation(len(subject.labels))
    others, other_labels = subject.training_inputs, subject.training_labels
    if others is None or other_labels is None:
        real_at, others_at = np.array_split(real_at, 2)
        others, other_labels = subject.inputs[others_at], subject.labels[others_at]
    size = min(len(real_at), len(others), row_count)
    if size < FEWEST_ROWS:
        raise NotRun(
            Message(
                "at least {fewest} unseen rows and as many others must be there to hold samples against, got {size}",
                fewest=FEWEST_ROWS,
                size=size,
            )
        )
    real_at = np.sort(real_at[:size])
    names = subject.schema.classes
    space = (
        learnt_space(others, other_labels, seed=subject.seed, device=subject.device)
        if names and others.ndim == 4
        else plain_space(others)
    )
    subject.progress(0.2, "drawing samples")
    able = subject.audited.capability(Generative)
    assert able is not None
    drawn = [able.sample(size, seed=subject.seed + 1 + number, device=subject.device) for number in range(set_count)]
    subject.progress(0.4, "comparing samples")
    ceilings = [others[generator.permutation(len(others))[:size]] for _ in range(set_count)]
    real = subject.inputs[real_at]
    splits = {column: _by_column(subject, column, real_at) for column in subject.sensitive}
    labels = subject.labels[real_at].astype(np.int64)
    if names:
        splits = {CLASS: (names, labels)} | splits
    seen = space.classes(real)
    found = [codes for rows in drawn if (codes := space.classes(rows)) is not None]
    material = Material(
        real=space.features(real),
        sets=[space.features(rows) for rows in drawn],
        ceilings=[space.features(rows) for rows in ceilings],
        splits=splits,
        classes=None if seen is None else SeenClasses(labels, seen, found),
    )
    return Gathered(drawn[0], material, space, _notes(subject, space, size, set_count))


def _by_column(subject: Subject, column: str, rows: Codes) -> tuple[tuple[str, ...], Codes]:
    keys, codes = subject.group_codes((column,))
    return tuple(key[0] for key in keys), codes[rows].astype(np.int64)


def _notes(subject: Subject, space: FeatureSpace, size: int, set_count: int) -> list[str]:
    notes: list[str] = [
        Message(
            "{sets} fresh sets of {size:,} samples were drawn and held against {size:,} real rows that the "
            "generator is said never to have seen; the ceiling is as many other real rows, held against the same.",
            sets=set_count,
            size=size,
        )
    ]
    if space.sha256 is None:
        notes.append(Message("Distances are between rows as they are, each column standardised."))
    else:
        notes.append(
            Message(
                "Distances are between features of a small classifier that was trained for this audit on real rows "
                "with their classes (sha256 {sha256}).",
                sha256=space.sha256[:12],
            )
        )
    if subject.training_inputs is None:
        notes.append(
            Message("Without training rows, half of the unseen rows serve as ceiling; pass --train-dataset FILE.")
        )
    return notes
