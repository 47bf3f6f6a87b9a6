"""From what the user names to a Subject: the model opened, the rows read and checked, the predictions made."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from auditkit.config import AuditConfig, ModelConfig, configured
from auditkit.data.dataset import Data, data_from_frame, read_data
from auditkit.data.filter import columns_named, select
from auditkit.data.members import divided
from auditkit.engine.guesses import check_guesses
from auditkit.engine.inputs import Inputs
from auditkit.engine.load import load_subject
from auditkit.engine.subject import Subject
from auditkit.engine.weighting import columns_of_sampling
from auditkit.errors import InputError
from auditkit.models.cache import Cache
from auditkit.models.capabilities import OwnRows
from auditkit.models.recorded import Decisions, Recorded, decision_schema, guesses_of, recorded_outcomes
from auditkit.models.stray_values import stray_question
from auditkit.progress import AuditProgress
from auditkit.schema.schema import Schema, as_target

if TYPE_CHECKING:
    from auditkit.models.model import Model


@dataclasses.dataclass
class ProgressReporter:
    """Passes progress on under the name of the part that is running."""

    report: AuditProgress
    name: str = "subject"

    def __call__(self, fraction: float, what: str) -> None:
        """Report that `fraction` of the part is done."""
        self.report(self.name, fraction, what)


def load(
    inputs: Inputs,
    *,
    also: Sequence[str],
    cache: Cache | None,
    progress: ProgressReporter,
) -> Subject:
    """Open the model, read the rows it is to be audited on, check that they fit, and predict.

    `also` names columns of the data that auditors need besides.

    Raises:
        InputError: the model or the data cannot be used.
    """
    config = inputs.config
    progress(0.0, "opening the model")
    without_model = inputs.model is None and config.model.predictor is None
    rows = _Rows(inputs, [*also], every_column=without_model, progress=progress)
    if without_model:
        inputs = _with_scores(inputs, lambda: rows.audited)
        config = inputs.config
    audited = _without_model(inputs, lambda: rows.audited, rows.named) if without_model else _model(inputs, rows)
    training = rows.training
    progress(0.5, "checking the data")
    subject = load_subject(
        audited,
        rows.audited,
        training=training,
        config=config,
        cache=cache,
        progress=progress,
        public_data=inputs.policy.public_data,
    )
    progress(0.7, "predicting")
    if subject.task.unpredicted is None:
        _ = subject.predictions, subject.encoding
        if subject.audited.asks and not _is_stated(inputs, subject.schema):
            check_guesses(subject, outputs_stated=config.model.output is not None)
    progress(1.0, "")
    return subject


@dataclasses.dataclass
class _Rows:
    """The rows that are audited and those that trained the model, each read when they are first asked for.

    `named` are the columns that are read of the audited rows, all of them where nothing is named. Of recorded decisions
    `every_column` is read: each may have led to them, or stand in for a sensitive one. `own` are those that a model
    brings of its own.
    """

    inputs: Inputs
    named: list[str]
    every_column: bool
    progress: ProgressReporter
    own: Data | None = None

    @functools.cached_property
    def audited(self) -> Data:
        """The rows that are audited.

        Raises:
            InputError: there are none.
        """
        if self.own is not None:
            return self.own
        if self.inputs.data is None:
            raise InputError("no rows to audit; pass a data set (--dataset FILE).")
        self.progress(0.2, "reading the data")
        if self.inputs.config.data.member is not None:
            return self._both[0]
        named = None if self.every_column else self.named or None
        return _read(self.inputs.data, self.inputs.config.data.encoding, named)

    @functools.cached_property
    def training(self) -> Data | None:
        """The rows that trained the model, if they are given."""
        if self.inputs.config.data.member is not None:
            return self._both[1]
        if self.inputs.training is None:
            return None
        return _read(self.inputs.training, self.inputs.config.data.encoding, None)

    @functools.cached_property
    def _both(self) -> tuple[Data, Data]:
        """The audited rows and those that trained the model, where one data set holds both.

        Raises:
            InputError: the training rows are named otherwise too, or the column does not tell the rows apart.
        """
        config = self.inputs.config.data
        if self.inputs.training is not None:
            raise InputError("member and train_dataset both name the training rows; pass --member or --train-dataset.")
        assert config.member is not None
        assert self.inputs.data is not None
        return divided(_read(self.inputs.data, config.encoding, None), config.member)


def _model(inputs: Inputs, rows: _Rows) -> Model:
    """Open the model, and name the columns that it and the request need."""
    from auditkit.models.from_columns import Columns
    from auditkit.models.open import model_for

    config = inputs.config
    _check_model_options(config.model)
    sensitive, expected = config.groups.sensitive, [config.model.expect] if config.model.expect else []
    columns = Columns(
        read_rows=lambda: rows.audited,
        read_training=lambda: rows.training,
        target=None if config.data.target is None else as_target(config.data.target),
        sensitive=tuple(sensitive or ()),
        task=config.model.task,
        classes=config.model.classes,
        text=config.model.text,
        missing_as=config.model.missing_as,
        left_out=(*expected, *columns_of_sampling(config.data)),
    )
    model = model_for(inputs.model, columns, config=config.model, schema=inputs.schema, preprocess=inputs.preprocess)
    rows.own = _own_rows(model, inputs.data)
    schema = model.schema
    rows.named += [column for feature in schema.features for column in feature.reads]
    rows.named += [*(schema.sensitive if sensitive is None else sensitive), *columns_named(config.data.where)]
    rows.named += [*schema.targets, *expected, *columns_of_sampling(config.data)]
    return model


def _own_rows(model: Model, data: pd.DataFrame | Path | None) -> Data | None:
    """Return the rows that a model brings of its own; None where it brings none.

    Raises:
        InputError: it does, and a data set is named too.
    """
    own = model.capability(OwnRows)
    if own is None:
        return None
    if data is not None:
        raise InputError(
            "vectors of words, and encoders of texts, are audited on words of their own; leave the data set out."
        )
    return own.rows()


def _without_model(inputs: Inputs, rows: Callable[[], Data], named: list[str]) -> Recorded | Model:
    """Return the synthetic records that are named, or else the recorded decisions (see `_recorded`)."""
    config = inputs.config
    samples = config.model.samples
    if samples is None or not _are_synthetic(config):
        return _recorded(inputs, rows, named)
    from auditkit.models.samples import model_of_samples

    target = None if config.data.target is None else as_target(config.data.target)
    return model_of_samples(samples, rows(), target=target, sensitive=tuple(config.groups.sensitive or ()))


def _are_synthetic(config: AuditConfig) -> bool:
    """Return whether rows that a generator made are what is audited: they are named, and no model or decisions are."""
    stated = (config.model.prediction, config.model.score, config.model.outcome)
    return config.model.samples is not None and all(one is None for one in stated)


def _check_model_options(config: ModelConfig) -> None:
    if config.outcome is not None:
        raise InputError("outcome compares recorded numbers without a model; leave it, or the model, out.")
    if config.prediction is not None or config.score is not None:
        raise InputError("prediction and score are columns of recorded decisions; leave them, or the model, out.")
    if config.top_k is not None and config.threshold is not None:
        raise InputError("top_k and threshold are two ways to decide; pass --top-k or --threshold, not both.")


def _with_scores(inputs: Inputs, rows: Callable[[], Data]) -> Inputs:
    """Return the request with what a log of an evaluation says: its score, its clusters and its groups.

    Raises:
        InputError: the log has several scores, and the request names none.
    """
    config = inputs.config
    if config.model.prediction is not None or config.model.score is not None or isinstance(inputs.data, pd.DataFrame):
        return inputs
    scores = rows().scores
    if scores is None:
        return inputs
    if config.model.outcome is None and len(scores.columns) > 1:
        named = ", ".join([*scores.columns[:10], *(["..."] if len(scores.columns) > 10 else [])])
        raise InputError(f"{rows().name}: has the scores {named}; name one of them with --outcome COLUMN.")
    stated = {
        "outcome": config.model.outcome or scores.columns[0],
        "cluster": config.data.cluster or scores.cluster,
        "sensitive": (scores.group,) if config.groups.sensitive is None else config.groups.sensitive,
    }
    return dataclasses.replace(inputs, config=configured(config, stated))


def _recorded(inputs: Inputs, rows: Callable[[], Data], named: list[str]) -> Recorded:
    """Return the recorded decisions; the columns that this takes are added to `named` before rows are read."""
    config, given = inputs.config.model, inputs.schema
    named_targets = inputs.config.data.target or ()
    target = as_target(named_targets) if named_targets else None
    sensitive = inputs.config.groups.sensitive
    if config.outcome is not None:
        if target is not None or config.prediction is not None or config.score is not None:
            raise InputError("outcome compares recorded numbers by themselves; leave out target, prediction and score.")
        columns = sensitive if sensitive is not None else given.sensitive if given else ()
        named += [config.outcome, *columns, *columns_named(inputs.config.data.where)]
        named += columns_of_sampling(inputs.config.data)
        return recorded_outcomes(config.outcome, tuple(dict.fromkeys(columns)), given.bins if given else {})
    decisions = Decisions(
        prediction=as_target(config.prediction) if config.prediction else None,
        score=as_target(config.score) if config.score else None,
        threshold=config.threshold,
    )
    named += [*decisions.columns, *(sensitive or (given.sensitive if given else ())), *named_targets]
    named += given.targets if given else []
    named += [*columns_named(inputs.config.data.where), *columns_of_sampling(inputs.config.data)]
    decisions.require_columns(rows().frame)
    chosen = _chosen(rows(), inputs.config.data.where)
    schema = decision_schema(
        lambda: chosen,
        decisions,
        target=target,
        sensitive=sensitive,
        classes=config.classes,
        task=config.task,
        given=given,
        positive=config.positive,
    )
    stated = _is_stated(inputs, schema)
    if not stated and config.task is None:
        question = stray_question(chosen.frame, schema.target, decisions.prediction, schema.task)
        if question is not None:
            raise InputError(question)
    guesses = guesses_of(chosen.frame, decisions, schema, stated=stated)
    return Recorded(schema, decisions, guesses)


def _chosen(data: Data, where: str | None) -> Data:
    """Return the rows that are audited: what is left out has no say in which classes there are."""
    if where is None:
        return data
    rows = select(data.frame, where)
    return dataclasses.replace(data, frame=data.frame[rows]) if rows.any() else data


def _is_stated(inputs: Inputs, schema: Schema) -> bool:
    """Return whether the request says what decisions and outputs mean, so that there is nothing to ask."""
    config = inputs.config.model
    numbers = config.task is not None and not schema.classes
    return bool(config.positive or config.classes or config.expect or inputs.schema or numbers)


def _read(data: pd.DataFrame | str | Path, encoding: str, needed: Sequence[str] | None) -> Data:
    if isinstance(data, pd.DataFrame):
        return data_from_frame(data)
    return read_data(data, encoding=encoding, needed=needed)
