"""From what the user names to a Subject: the model opened, the rows read and checked, the predictions made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from auditkit.config import ModelConfig
from auditkit.data.dataset import Data, data_from_frame, read_data
from auditkit.data.filter import columns_named
from auditkit.engine.guesses import check_guesses
from auditkit.engine.inputs import Inputs
from auditkit.engine.load import load_subject
from auditkit.engine.subject import Subject
from auditkit.engine.weighting import columns_of_sampling
from auditkit.errors import InputError
from auditkit.models.audited import Audited
from auditkit.models.cache import Cache
from auditkit.models.capabilities import OwnRows
from auditkit.models.recorded import Decisions, Recorded, decision_schema, guesses_of, recorded_outcomes
from auditkit.progress import AuditProgress
from auditkit.schema.schema import Schema, as_target


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
    predict: bool = True,
) -> Subject:
    """Open the model, read the rows it is to be audited on, check that they fit, and, if asked, predict.

    `also` names columns of the data that auditors need besides.

    Raises:
        InputError: the model or the data cannot be used.
    """
    config = inputs.config
    target = None if config.data.target is None else as_target(config.data.target)
    sensitive, where = config.groups.sensitive, config.data.where
    progress(0.0, "opening the model")
    read: list[Data] = []
    trained: list[Data] = []
    named: list[str] = [*also]
    recorded = inputs.model is None and config.model.predictor is None

    def rows() -> Data:
        if not read:
            if inputs.data is None:
                raise InputError("no rows to audit; pass a data set (--dataset FILE).")
            progress(0.2, "reading the data")
            # Of recorded decisions every column is read: each may have led to them, or stand in for a sensitive one.
            read.append(_read(inputs.data, config.data.encoding, None if recorded else named or None))
        return read[0]

    def training_rows() -> Data | None:
        if inputs.training is None:
            return None
        if not trained:
            trained.append(_read(inputs.training, config.data.encoding, None))
        return trained[0]

    audited: Audited
    if recorded:
        audited = _recorded(inputs, rows, named)
    else:
        _check_model_options(config.model)
        from auditkit.models.from_columns import Columns
        from auditkit.models.open import model_for

        columns = Columns(
            read_rows=rows,
            read_training=training_rows,
            target=target,
            sensitive=tuple(sensitive or ()),
            task=config.model.task,
            classes=config.model.classes,
            text=config.model.text,
            left_out=(*([config.model.expect] if config.model.expect else []), *columns_of_sampling(config.data)),
        )
        audited = model_for(
            inputs.model, columns, config=config.model, schema=inputs.schema, preprocess=inputs.preprocess
        )
        read += _own_rows(audited, inputs.data)
        schema = audited.schema
        named += [column for feature in schema.features for column in feature.reads]
        named += [*(schema.sensitive if sensitive is None else sensitive), *columns_named(where)]
        named += [*schema.targets, *([config.model.expect] if config.model.expect else [])]
        named += columns_of_sampling(config.data)
    training = training_rows()
    progress(0.5, "checking the data")
    subject = load_subject(
        audited,
        rows(),
        training=training,
        config=config,
        cache=cache,
        progress=progress,
    )
    progress(0.7, "predicting")
    if predict and subject.task.unpredicted is None:
        _ = subject.predictions, subject.encoding
        if subject.audited.asks and not _is_stated(inputs, subject.schema):
            check_guesses(subject, outputs_stated=config.model.output is not None)
    progress(1.0, "")
    return subject


def _own_rows(audited: Audited, data: pd.DataFrame | Path | None) -> list[Data]:
    """Return the rows that a model brings of its own; nothing where it brings none.

    Raises:
        InputError: it does, and a data set is named too.
    """
    own = audited.capability(OwnRows)
    if own is None:
        return []
    if data is not None:
        raise InputError("a file of word vectors is audited on its own words; leave the data set out.")
    return [own.rows()]


def _check_model_options(config: ModelConfig) -> None:
    if config.outcome is not None:
        raise InputError("outcome compares recorded numbers without a model; leave it, or the model, out.")
    if config.prediction is not None or config.score is not None:
        raise InputError("prediction and score are columns of recorded decisions; leave them, or the model, out.")
    if config.top_k is not None and config.threshold is not None:
        raise InputError("top_k and threshold are two ways to decide; pass --top-k or --threshold, not both.")


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
    schema = decision_schema(
        rows,
        decisions,
        target=target,
        sensitive=sensitive,
        classes=config.classes,
        task=config.task,
        given=given,
        positive=config.positive,
    )
    guesses = guesses_of(rows().frame, decisions, schema, stated=_is_stated(inputs, schema))
    return Recorded(schema, decisions, guesses)


def _is_stated(inputs: Inputs, schema: Schema) -> bool:
    """Return whether the request says what decisions and outputs mean, so that there is nothing to ask."""
    config = inputs.config.model
    numbers = config.task is not None and not schema.classes
    return bool(config.positive or config.classes or config.expect or inputs.schema or numbers)


def _read(data: pd.DataFrame | str | Path, encoding: str, needed: Sequence[str] | None) -> Data:
    if isinstance(data, pd.DataFrame):
        return data_from_frame(data)
    return read_data(data, encoding=encoding, needed=needed)
