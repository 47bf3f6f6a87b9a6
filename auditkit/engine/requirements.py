"""What an auditor requires of a model and its data, and what a request lacks: told alike before a run and in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from auditkit.engine.subject import A_MODEL, Subject
from auditkit.evidence.messages import Message, with_remedy
from auditkit.models.audited import Audited
from auditkit.models.capabilities import (
    Capability,
    Differentiable,
    Generative,
    LanguageModel,
    Layered,
    PrivatelyTrained,
    Refittable,
    Reproducing,
    Runnable,
    Samples,
    SampleTable,
    Words,
)
from auditkit.schema.schema import Schema, has_label
from auditkit.tasks.base import Task, task_for

Requirement = Literal[
    "labels",
    "scores",
    "sensitive",
    "training",
    "model",
    "gradients",
    "layers",
    "refitting",
    "generation",
    "samples",
    "synthetic records",
    "language",
    "reproduction",
    "words",
    "private training",
    "records",
    "predictions",
    "predictions or language",
    "answers",
]
"""What an auditor can ask for; where it is absent the auditor is `not_run`, with that reason."""

CAPABILITIES: dict[str, type[Capability]] = {
    "model": Runnable,
    "gradients": Differentiable,
    "layers": Layered,
    "refitting": Refittable,
    "generation": Generative,
    "samples": Samples,
    "synthetic records": SampleTable,
    "language": LanguageModel,
    "reproduction": Reproducing,
    "words": Words,
    "private training": PrivatelyTrained,
}
"""The requirements that are capabilities of the model."""

OF_PREDICTORS = ("model", "gradients", "layers", "refitting")
"""Those that a model in the place of what is audited could bring. The others are of another kind of model."""

ONE_LABEL = Message("this auditor reads one label a row, and these rows have several (task multilabel)")
"""Why an auditor that does not declare `multilabel` is `not_run` on a multi-label model."""


@dataclass(frozen=True)
class Lack:
    """Something that an auditor requires and a request has not: why, and the option that supplies it, if one does."""

    requirement: str
    reason: str
    remedy: str | None = None

    @property
    def sentence(self) -> str:
        """The reason with its remedy, as a report states it."""
        return with_remedy(self.reason, self.remedy)


@dataclass(frozen=True)
class Request:
    """What a request has of what auditors may require.

    `lacks` says what is missing, by requirement; what it does not list is there. `multilabel` says whether a row
    has more than one label.
    """

    lacks: Mapping[str, Lack] = field(default_factory=dict)
    multilabel: bool = False

    def missing(self, auditor: Any) -> list[Lack]:
        """Return what an auditor, or its class, requires and the request has not."""
        found = [self.lacks[name] for name in getattr(auditor, "requires", ()) if name in self.lacks]
        if self.multilabel and not getattr(auditor, "multilabel", False):
            found.insert(0, Lack("multilabel", ONE_LABEL))
        return found


def request_of(subject: Subject) -> Request:
    """Return what a loaded subject has of what auditors may require."""
    found = request(
        subject.schema,
        capability_lacks(subject.audited),
        sensitive=subject.sensitive,
        training=subject.training is not None,
    )
    lacks = dict(found.lacks)
    if not subject.has_labels.any():
        lacks.setdefault("labels", Lack("labels", Message("no row has a label"), "--target COLUMN"))
    if subject.training_labels is not None and not has_label(subject.training_labels).all():
        lacks["training"] = Lack("training", Message("no training row has a label"))
    return Request(lacks, multilabel=found.multilabel)


def capability_lacks(model: Audited) -> dict[type[Capability], str]:
    """Return the capabilities that a model has not got, each with the reason."""
    return {kind: model.lack(kind) for kind in CAPABILITIES.values() if model.capability(kind) is None}


def request(
    schema: Schema | None,
    lacks: Mapping[type[Capability], str],
    *,
    sensitive: Sequence[str],
    training: bool,
) -> Request:
    """Return what a model and a data set have of what auditors may require.

    `schema` is None where it is not known, `lacks` are the model's (`capability_lacks`).
    """
    found = []
    if schema is None or not schema.targets:
        found.append(Lack("labels", Message("the data has no labels"), "--target COLUMN"))
    task = None if schema is None else task_for(schema)
    if task is not None:
        found += _task_lacks(task, LanguageModel not in lacks)
    if not sensitive:
        found.append(Lack("sensitive", Message("no column was named sensitive"), "--sensitive COLUMN"))
    if not training:
        found.append(Lack("training", Message("no training data"), "--train-dataset FILE"))
    remedy = A_MODEL if Runnable in lacks else None
    for name, kind in CAPABILITIES.items():
        reason = next((said for other, said in lacks.items() if issubclass(kind, other)), None)
        if reason is not None:
            found.append(Lack(name, reason, remedy if name in OF_PREDICTORS else None))
    return Request({lack.requirement: lack for lack in found}, multilabel=task is not None and bool(task.axis))


def _task_lacks(task: Task, has_language: bool) -> list[Lack]:
    """Return what the outputs of a task are not, and its rows; a language model gives probabilities instead."""
    found = [] if task.unscored is None else [Lack("scores", task.unscored)]
    if task.unpredicted is not None:
        found.append(Lack("predictions", task.unpredicted))
        if not has_language:
            found.append(Lack("predictions or language", task.unpredicted))
        if task.outcomes(np.zeros(0)) is None:
            found.append(Lack("answers", task.unpredicted))
    if task.unrecorded is not None:
        found.append(Lack("records", task.unrecorded))
    return found
