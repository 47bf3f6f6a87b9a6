"""From a network with the user's preprocessing, an estimator, a function or an ONNX session to a Model of columns."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from pydantic import ValidationError
from torch import nn

from auditkit.data.dataset import Data, factorize, naming
from auditkit.errors import InputError, closest
from auditkit.evidence.measurement import first_problem
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import Capability, Differentiable, Refittable
from auditkit.models.columns import RawColumns, columns_read, decoder_of
from auditkit.models.model import NATIVE, Model
from auditkit.models.onnx import OnnxColumns, input_names, is_session
from auditkit.models.predictors import (
    Estimator,
    FittedAnew,
    FromPreprocessed,
    Function,
    Preprocess,
    Preprocessed,
    as_preprocess,
    class_names,
    is_regressor,
    names_of,
    reads_texts,
    stated_threshold,
)
from auditkit.schema.infer import MAXIMUM_CATEGORIES, target_classes
from auditkit.schema.schema import Schema, Target, target_names, task_of
from auditkit.schema.verbatim import is_free_text

CPU = torch.device("cpu")
EXAMPLE_ROWS = 8
COMPARED_ROWS = 1_000
"""In at most so many rows an estimator's own predictions are compared with what its outputs decide."""

NO_NETWORK = Message("the model is no network of torch, so that no fresh weights can be drawn")


def _no_gradient(what: str) -> Message:
    return Message(
        "{what} stands between the columns and the model's outputs, so that they have no gradient", what=what
    )


class OfColumns(NamedTuple):
    """A model of raw columns: its module and schema, and what it can do."""

    module: RawColumns
    schema: Schema
    capabilities: tuple[type[Capability], ...]
    lacks: dict[type[Capability], str]
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Columns:
    """The data that a model of columns is made for, and what the user says about its task.

    `read_rows` gives the audited rows, `read_training` the training rows, if any: both say which values columns hold.
    `left_out` names columns that no model reads, such as the scores that it is expected to give;
    `text` the column of texts that a model of texts reads, or that is free text among other columns.
    `missing_as` is what a model of columns is given where a category is missing; None for NaN.
    """

    read_rows: Callable[[], Data]
    read_training: Callable[[], Data | None]
    target: Target | None
    sensitive: tuple[str, ...] = ()
    task: str | None = None
    classes: tuple[str, ...] | None = None
    left_out: tuple[str, ...] = ()
    text: str | None = None
    missing_as: str | None = None

    def has(self, names: Sequence[str]) -> bool:
        """Return whether the data have all of these columns."""
        return set(names) <= {str(column) for column in self.read_rows().frame.columns}

    def preprocessed(self, network: nn.Module, given: Any, name: str) -> OfColumns:
        """Return a network behind preprocessing as a model of the columns that this reads.

        Raises:
            InputError: the preprocessing fails on the data, or returns no batch.
        """
        preprocess = as_preprocess(given, name)
        read = self._read(preprocess, self._fitted_to(given, name), f"preprocess {name}")
        made = self._made(Preprocessed(network, preprocess), read, "logits", self._classes(None))
        lacks: dict[type[Capability], str] = {Differentiable: _no_gradient(Message("the user's preprocessing"))}
        return OfColumns(
            *made,
            (FromPreprocessed,),
            lacks,
            self._notes(Message("The preprocessing {name}", name=name), read, made[1]),
        )

    def schema(self, given: Any, name: str) -> Schema:
        """Return the schema of the columns that the preprocessing reads, before there is a network."""
        preprocess: Preprocess = as_preprocess(given, name)
        read = self._read(preprocess, self._fitted_to(given, name), f"preprocess {name}")
        return self._made(Preprocessed(nn.Identity(), preprocess), read, "logits", self._classes(None))[1]

    def predictor(self, thing: Any, name: str) -> OfColumns:
        """Return an estimator, an ONNX session or a function as a model of the columns that it reads.

        Raises:
            InputError: it is none of these, or fails on the data.
        """
        lacks: dict[type[Capability], str] = {
            Differentiable: _no_gradient(f"a {type(thing).__name__}"),
            Refittable: NO_NETWORK,
        }
        if is_session(thing):
            read = tuple(column for column in input_names(thing))
            made = self._made(
                OnnxColumns(thing), self._known(read, "the ONNX model"), "probabilities", self._classes(None)
            )
            return OfColumns(*made, (), lacks, self._notes(Message("The ONNX model"), read, made[1]))
        if hasattr(thing, "predict"):
            return self._estimator(thing, name, lacks)
        if callable(thing):
            function = Function(thing, name)
            read = self._read(lambda frame: function.outputs(frame, CPU), None, f"predictor {name}")
            made = self._made(function, read, "logits", self._classes(None))
            return OfColumns(*made, (), lacks, self._notes(Message("The predictor {name}", name=name), read, made[1]))
        raise InputError(
            f"model must be a torch.nn.Module, an estimator with predict, an ONNX session or a function, got "
            f"{type(thing).__name__}."
        )

    def _estimator(self, thing: Any, name: str, lacks: dict[type[Capability], str]) -> OfColumns:
        known = self._fitted_to(thing, name)
        read = self._known(known, name) if known is not None else self._counted(thing, name)
        _check_single(thing, name, self.target)
        known_classes = class_names(thing) if hasattr(thing, "classes_") else None
        classes, names = self._named(known_classes)
        if len(classes) > 2 and self.task is None and is_regressor(thing):
            classes = ()  # numbers that are few enough to look like classes
        if classes and known_classes is None:
            raise InputError(
                f"model {name}: a {type(thing).__name__} has no classes_, and target {self.target!r} has the classes "
                f"{', '.join(classes[:8])}; pass a fitted classifier, or a function of a data frame that returns "
                "probabilities, or --task regression if it predicts this number."
            )
        estimator = Estimator(thing, classes, names)
        clonable = hasattr(thing, "get_params") and hasattr(thing, "fit")
        module, schema = self._made(estimator, read, estimator.output, classes)
        threshold, notes = self._own_decisions(module, schema) if classes else (None, ())
        if threshold is not None:
            schema = schema.model_copy(update={"threshold": threshold})
        notes = (*self._notes(Message("The {kind}", kind=type(thing).__name__), read, schema), *notes)
        return OfColumns(module, schema, (FittedAnew,) if clonable else (), lacks, notes)

    def _own_decisions(self, module: RawColumns, schema: Schema) -> tuple[float | None, tuple[str, ...]]:
        """Return the threshold that an estimator itself decides by, where it states one, and what is said of it.

        It is taken where the estimator's own predictions confirm it. Where they are others than the usual threshold
        gives, for instance in ties, that is said.
        """
        estimator, rows = module.predictor, self.read_rows().frame
        assert isinstance(estimator, Estimator)
        complete = rows[rows[[feature.name for feature in schema.features]].notna().all(axis=1)]
        chosen = (complete if len(complete) else rows).iloc[:COMPARED_ROWS]
        frame = module.decoder.frame(schema.encode(chosen).astype(np.float64))
        try:
            differing = estimator.differing(frame)
            stated = stated_threshold(estimator.estimator) if differing and len(estimator.classes) == 2 else None
            for threshold in () if stated is None else (stated, 1 - stated):  # of the last class, or of the other one
                if 0 < threshold < 1 and estimator.differing(frame, threshold) == 0:
                    said = Message(
                        "The {kind} decides by a threshold of its own, {threshold:.4g}, as its predict method "
                        "confirms, and so does the audit.",
                        kind=type(estimator.estimator).__name__,
                        threshold=threshold,
                    )
                    return threshold, (said,)
        except Exception:  # noqa: BLE001  # whatever it raises, the predictions of all rows will tell, with its rows
            return None, ()
        if not differing:
            return None, ()
        said = Message(
            "The predict method of {kind} gives another class than its probabilities or scores do in {differing:,} of "
            "{rows:,} rows. The audit judges by the latter{how}.",
            kind=type(estimator.estimator).__name__,
            differing=differing,
            rows=len(frame),
            how=Message(", with --threshold") if len(estimator.classes) == 2 else Message(": the likeliest class"),
        )
        return None, (said,)

    def _fitted_to(self, thing: Any, name: str) -> tuple[str, ...] | None:
        """Return the columns that a fitted object knows, or the one of texts that it reads; None of others."""
        known = names_of(thing)
        return (self._only_text(name),) if known is None and reads_texts(thing) else known

    def _only_text(self, name: str) -> str:
        """Return the column of texts that a model of one reads: the stated one, or the only one of free text."""
        candidates = self._candidates()
        if self.text is not None:
            return self.text
        frame = self.read_rows().frame
        found = [one for one in candidates if is_free_text(frame[one], most_categories=MAXIMUM_CATEGORIES)]
        if len(found) != 1:
            listed = (
                f"{len(found)} columns of free text ({', '.join(found[:8])})" if found else "no column of free text"
            )
            raise InputError(f"{name}: reads one column of texts, and the data have {listed}; pass --text COLUMN.")
        return found[0]

    def _counted(self, thing: Any, name: str) -> tuple[str, ...]:
        """Return the columns of an estimator that was fitted on a matrix: all but target and sensitive, by count."""
        others = self._candidates()
        count = getattr(thing, "n_features_in_", None)
        features = tuple(column for column in others if column not in self.sensitive)
        for columns in (features, others):
            if count in (None, len(columns)):
                return columns
        few = count is not None and count > len(others)
        remedy = (
            "it seems to be the last step of several: pass the whole pipeline, or code of your own that makes these "
            "columns of the data, --predictor my_module:function"
            if few
            else "leave the others out of the data"
        )
        raise InputError(
            f"model {name}: was fitted on a matrix of {count} columns, and the data have {len(features)} that are "
            f"neither target nor sensitive ({', '.join(features[:8])}); {remedy}."
        )

    def _candidates(self) -> tuple[str, ...]:
        """Return the columns that a model may read: all but the target."""
        rows = self.read_rows()
        columns = tuple(str(column) for column in rows.frame.columns)
        if self.target is None:
            raise InputError(
                "target must name the label's column: the model has no schema that does; pass --target COLUMN."
            )
        targets = target_names(self.target)
        for target in targets:
            if target not in columns:
                raise InputError(f"target {target!r} is not a column of the data{closest(target, columns)}.")
        return tuple(column for column in columns if column not in targets and column not in self.left_out)

    def _known(self, names: Sequence[str], what: str) -> tuple[str, ...]:
        columns = self._candidates()
        assert self.target is not None
        labels = [name for name in names if name in target_names(self.target)]
        if labels:
            raise InputError(
                f"{what} reads the column {labels[0]!r}, which is the target; fit it to columns without the label."
            )
        absent = [name for name in names if name not in columns]
        if absent:
            more = f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""
            raise InputError(
                f"{self.read_rows().name}: has no column {absent[0]!r}{more}, which {what} reads"
                f"{closest(absent[0], columns)}."
            )
        return tuple(names)

    def _read(self, function: Callable[[Any], Any], known: tuple[str, ...] | None, what: str) -> tuple[str, ...]:
        if known is not None:
            return self._known(known, what)
        candidates = self._candidates()
        features = tuple(column for column in candidates if column not in self.sensitive)
        frame = self.read_rows().frame
        try:
            return columns_read(function, frame, candidates, what=what, missing_as=self.missing_as)
        except InputError:
            if features == candidates or not features:
                raise
        return columns_read(function, frame, features, what=what, missing_as=self.missing_as)

    def _named(self, known: Sequence[str] | None) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return the classes in the order of the outputs, and their names where the model knows the codes 0, 1, ..."""
        if not known or list(known) != [str(code) for code in range(len(known))]:
            return self._classes(known), {}
        rows = self.read_rows()
        self._candidates()
        assert self.target is not None
        with naming(rows):
            of_data = target_classes(rows.frame, self.target, None, self.task)[1]
        if not of_data or set(of_data) <= set(known):
            return self._classes(known), {}
        stated = self.classes or ()
        if len(stated) != len(known) or not set(of_data) <= set(stated):
            raise InputError(
                f"{rows.name}: target {self.target!r} has the classes {', '.join(of_data[:8])}, and the model the "
                f"codes {', '.join(known[:8])}; pass --classes with their names in the order of the codes, such as "
                f"--classes {shlex.quote(','.join(of_data))}."
            )
        return stated, dict(zip(known, stated, strict=True))

    def _classes(self, known: Sequence[str] | None) -> tuple[str, ...]:
        """Return the classes in the order of the outputs: as stated, as the model has them, or as the data."""
        rows = self.read_rows()
        if known is not None:
            stated = self.classes or tuple(known)
            if sorted(stated) != sorted(known):
                raise InputError(f"classes must be those of the model, {','.join(known)}, got {','.join(stated)}.")
            return stated
        self._candidates()
        assert self.target is not None
        with naming(rows):
            return target_classes(rows.frame, self.target, self.classes, self.task)[1]

    def _made(
        self, predictor: Any, read: tuple[str, ...], output: str, classes: tuple[str, ...]
    ) -> tuple[RawColumns, Schema]:
        rows, training = self.read_rows(), self.read_training()
        if self.text is not None and self.text not in read:
            raise InputError(f"text: the model reads no column {self.text!r}{closest(self.text, read)}.")
        with naming(rows):
            frames = [rows.frame, *([] if training is None else [training.frame])]
            decoder = decoder_of(frames, read, text=self.text, missing_as=self.missing_as)
        several = self.target is not None and len(target_names(self.target)) > 1
        try:
            schema = Schema.model_validate(
                {
                    "features": decoder.features,
                    "target": classes if several else self.target,
                    "task": "multilabel" if several else task_of(classes, self.task),
                    "classes": classes,
                    "sensitive": self.sensitive,
                    "output": output if classes else "value",
                    "threshold": 0.0 if output == "score" else None,
                    "modality": decoder.modality,
                }
            )
        except ValidationError as error:
            raise InputError(f"model: {first_problem(error)[1]}.") from error
        with naming(rows):
            example = schema.encode(rows.frame.iloc[:EXAMPLE_ROWS])
        return RawColumns(decoder, predictor, example), schema

    def _notes(self, what: str, read: Sequence[str], schema: Schema) -> tuple[str, ...]:
        """Return what is said of the columns that are read: which they are, their gaps, which are free text."""
        frame = self.read_rows().frame
        texts = [feature.name for feature in schema.features if feature.is_verbatim]
        of_texts = (_text_note(frame, name, stated=name == self.text) for name in texts)
        return (_note(what, read), *_gap_notes(frame, schema, self.missing_as), *of_texts)


def applied(model: Model, made: OfColumns, *, trust: str) -> Model:
    """Return an opened network as the model of columns that was made of it."""
    stated = {"output": model.schema.output, "threshold": model.schema.threshold} if model.kind == NATIVE else {}
    return dataclasses.replace(
        model,
        kind="weights" if model.kind == NATIVE else model.kind,
        module=made.module.eval(),
        schema=made.schema.model_copy(update=stated),
        trust=Message("{first}; {second}", first=model.trust, second=trust),
        notes=(*model.notes, *made.notes),
        capabilities=made.capabilities if model.capability(Refittable) is not None else (),
        lacks={**made.lacks, **model.lacks},
    )


def model_of(
    made: OfColumns, *, name: str, kind: str, trust: str, path: str | None = None, sha256: str | None = None
) -> Model:
    """Return the Model of something that predicts from columns."""
    return Model(
        name=name,
        module=made.module.eval(),
        schema=made.schema,
        card=None,
        path=path,
        sha256=sha256,
        kind=kind,
        trust=trust,
        notes=made.notes,
        capabilities=made.capabilities,
        lacks=made.lacks,
    )


def _check_single(thing: Any, name: str, target: Target | None) -> None:
    """Raise InputError where an estimator predicts several labels or numbers, or several targets ask for them."""
    targets = () if target is None else target_names(target)
    several = len(targets) > 1
    codes = several and hasattr(thing, "classes_") and not {*targets} <= {*class_names(thing)}
    if isinstance(getattr(thing, "classes_", None), list) or codes:
        raise InputError(
            f"model {name}: a {type(thing).__name__} predicts several labels; pass code of your own that returns one "
            "probability for each label, --predictor my_module:function, and a --target for each."
        )
    if several and is_regressor(thing):
        raise InputError(
            f"model {name}: a {type(thing).__name__} predicts numbers, and several targets are labels that hold 0 or "
            "1; audit one number at a time: --predictor my_module:function returns it, and --target names its column."
        )


def _note(what: str, read: Sequence[str]) -> Message:
    if len(read) == 1:
        return Message("{what} reads the column {name} as it is in the data.", what=what, name=read[0])
    listed = ", ".join(read[:12]) + (", ..." if len(read) > 12 else "")
    return Message(
        "{what} reads {count} columns as they are in the data: {listed}.", what=what, count=len(read), listed=listed
    )


def _text_note(frame: pd.DataFrame, name: str, *, stated: bool) -> Message:
    codes, words = factorize(frame[name])
    missing = int((codes < 0).sum())
    note = (
        Message("Column {name} is free text, as --text says: {count:,} different texts.", name=name, count=len(words))
        if stated
        else Message(
            "Guessed: column {name} is free text, and no category, since it holds {count:,} different texts. --text "
            "{name} states it.",
            name=name,
            count=len(words),
        )
    )
    if missing:
        note += Message(" {missing:,} of {rows:,} rows have no text.", missing=missing, rows=len(codes))
    return note


def _gap_notes(frame: pd.DataFrame, schema: Schema, missing_as: str | None) -> list[str]:
    """Return what a model is given where a category is missing; nothing where none is."""
    words = [feature.name for feature in schema.features if feature.categories and feature.kind == "categorical"]
    missing = {name: factorize(frame[name])[0] < 0 for name in words}
    held = [name for name in words if missing[name].any()]
    if not held:
        return []
    gaps = {"columns": held, "rows": int(np.any([missing[name] for name in held], axis=0).sum())}
    if missing_as is not None:
        return [
            Message(
                "{rows:,} rows have no value, or '?', in {columns}: the model is given {given} there.",
                given=repr(missing_as), **gaps,
            )
        ]  # fmt: skip
    return [
        Message(
            "{rows:,} rows have no value, or '?', in {columns}: the model is given NaN there. If it was trained on '?' "
            "as a category, pass --missing-as '?'.",
            **gaps,
        )
    ]
