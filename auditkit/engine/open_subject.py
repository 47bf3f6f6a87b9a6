"""From what the user names to a Subject: the model opened, the rows read and checked, the predictions made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch

from auditkit.data.dataset import Data, data_from_frame, read_data
from auditkit.data.filter import columns_named
from auditkit.engine.load import load_subject
from auditkit.engine.subject import Subject
from auditkit.errors import InputError
from auditkit.models.cache import Cache
from auditkit.models.model import Model
from auditkit.models.open import Declared, model_for
from auditkit.models.recorded import Decisions, decision_schema
from auditkit.progress import AuditProgress
from auditkit.schema.schema import target_names


@dataclasses.dataclass
class Stage:
    """Passes progress on under the name of the part that is running."""

    report: AuditProgress
    name: str = "subject"

    def __call__(self, fraction: float, what: str) -> None:
        """Report that `fraction` of the part is done."""
        self.report(self.name, fraction, what)


def load(
    model: torch.nn.Module | Model | str | Path | None,
    data: pd.DataFrame | str | Path,
    training_data: pd.DataFrame | str | Path | None,
    target: str | None,
    sensitive: Sequence[str] | None,
    declared: Declared,
    *,
    prediction: str | None,
    score: str | None,
    bins: Mapping[str, str] | None,
    where: str | None,
    also: Sequence[str],
    conf_level: float,
    top_k: int | None,
    limit: int | None,
    seed: int,
    device: str,
    encoding: str,
    cache: Cache | None,
    progress: Stage,
) -> Subject:
    """Open the model, read the rows it is to be audited on, check that they fit, and predict.

    The arguments are those of `auditkit.audit`; `also` names columns of the data that auditors need besides.

    Raises:
        InputError: the model or the data cannot be used.
    """
    progress(0.0, "opening the model")
    read: list[Data] = []
    named: list[str] = [*also]

    def rows() -> Data:
        if not read:
            progress(0.2, "reading the data")
            read.append(_read(data, encoding, named or None))
        return read[0]

    opened: Model | None = None
    decisions: Decisions | None = None
    if model is None:
        decisions = Decisions(prediction=prediction, score=score, threshold=declared.threshold)
        given = declared.schema
        named += [*decisions.columns, *(sensitive or (given.sensitive if given else ())), *([target] if target else [])]
        named += [part for name in (prediction, score, target) if name for part in target_names(name, ())]
        named += given.targets if given else []
        named += columns_named(where)
        schema = decision_schema(
            rows, target=target, sensitive=sensitive, classes=declared.classes, task=declared.task, given=given
        )
        decisions = dataclasses.replace(decisions, several_labels=schema.task == "multilabel")
    else:
        if prediction is not None or score is not None:
            raise InputError("prediction and score are columns of recorded decisions; leave them, or the model, out.")
        if top_k is not None and declared.threshold is not None:
            raise InputError("top_k and threshold are two ways to decide; pass --top-k or --threshold, not both.")
        opened = model_for(model, rows, target=target, sensitive=sensitive, declared=declared)
        schema = opened.schema
        named += [column for feature in schema.features for column in feature.reads]
        named += [*(schema.sensitive if sensitive is None else sensitive), *columns_named(where)]
        named += schema.targets
    training = None if training_data is None else _read(training_data, encoding, None)
    progress(0.5, "checking the data")
    subject = load_subject(
        opened,
        rows(),
        schema=schema,
        decisions=decisions,
        sensitive=sensitive,
        bins=bins,
        training=training,
        where=where,
        conf_level=conf_level,
        top_k=top_k,
        limit=limit,
        seed=seed,
        device=device,
        cache=cache,
        progress=progress,
    )
    progress(0.7, "predicting")
    _ = subject.predictions
    progress(1.0, "")
    return subject


def _read(data: pd.DataFrame | str | Path, encoding: str, needed: Sequence[str] | None) -> Data:
    if isinstance(data, pd.DataFrame):
        return data_from_frame(data)
    return read_data(data, encoding=encoding, needed=needed)
