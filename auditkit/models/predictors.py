"""Anything that predicts from columns: a network behind the user's preprocessing, an estimator, a function, ONNX."""

from __future__ import annotations

import copy
import importlib
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.errors import InputError, ModelFileError, NotRun
from auditkit.models.batch import Batch, PackedInputs, as_batch, call, layout_of, to_device
from auditkit.models.capabilities import Refittable, SelfFitting
from auditkit.models.columns import RawColumns, describe
from auditkit.models.outputs import first_tensor
from auditkit.models.refit import reset_weights, seeded

Preprocess = Callable[[pd.DataFrame], Batch]

OTHER_NAMES = "X (has|does not have) (valid )?feature names"
"""How scikit-learn's warning begins that an estimator was fitted with or without names of columns."""


def load_object(spec: str, what: str) -> Any:
    """Return the object that the user names as `package.module:name`; its module is imported as `python` would here.

    Raises:
        InputError: the words are not understood, there is no such module or name, or importing it fails.
    """
    module_name, _, path = spec.partition(":")
    if not path or not all(part.isidentifier() for part in [*module_name.split("."), *path.split(".")]):
        raise InputError(f"{what} {spec!r} is not understood; write package.module:name, such as my_model:clean.")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        own = error.name == module_name.partition(".")[0]
        where = f"in {here} or installed" if own else f"installed, which {module_name} imports; install it"
        raise InputError(f"{what} {spec}: no module {error.name!r} {where}.") from error
    except Exception as error:  # the user's code may raise anything; it is named, and is bad input
        raise InputError(f"{what} {spec}: {describe(error)}.") from error
    finally:
        sys.path.remove(here)
    return found


def as_preprocess(given: Any, name: str) -> Preprocess:
    """Return a function from a data frame to a batch, of a function or of a fitted scikit-learn transformer.

    A transformer of texts, such as TfidfVectorizer, is given the frame's only column.

    Raises:
        InputError: it is neither.
    """
    function = given.transform if hasattr(given, "transform") else given
    if not callable(function):
        raise InputError(f"preprocess must be a function or a fitted transformer, got {type(given).__name__}.")

    def preprocess(frame: pd.DataFrame) -> Batch:
        rows = frame.iloc[:, 0] if reads_texts(given) else frame
        return as_batch(function(rows), row_count=len(frame), maker=f"preprocess {name}")

    return preprocess


class Preprocessed(nn.Module):
    """A network behind the user's preprocessing, which makes its inputs of a data frame."""

    def __init__(self, network: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        self.network = network
        self.preprocess = preprocess

    def outputs(self, frame: pd.DataFrame, device: torch.device) -> torch.Tensor:
        """Return the network's outputs, (rows, ...)."""
        found = first_tensor(call(self.network, to_device(self.preprocess(frame), device)))
        if not isinstance(found, torch.Tensor):
            raise ModelFileError(f"model: must return a tensor, got {type(found).__name__}.")
        return found


class FromPreprocessed(Refittable):
    """A network behind preprocessing: its weights are drawn anew, and it is trained on what the preprocessing makes."""

    def fresh(self, seed: int) -> nn.Module:
        """Return the network with fresh weights, as a module of what `encoded` returns."""
        columns, predictor = _parts(self.model.module)
        network = copy.deepcopy(predictor.network)
        if self.model.card is not None:
            from auditkit.models.factory import build_network

            with seeded(seed):
                network = build_network(self.model.card.architecture, self.model.card.arguments)
        else:
            with seeded(seed):
                reset_weights(network)
        layout = layout_of(predictor.preprocess(columns.decoder.frame(columns.example.astype(np.float64))))
        made = network if layout is None else PackedInputs(network, layout)
        return made.requires_grad_(True).train()

    def encoded(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Return what a fresh network reads, of encoded rows: the preprocessing's output, packed into rows."""
        columns, predictor = _parts(self.model.module)
        batch = predictor.preprocess(columns.decoder.frame(inputs.astype(np.float64)))
        layout = layout_of(batch)
        if layout is not None:
            return layout.pack(batch)
        assert isinstance(batch, torch.Tensor)
        return batch.numpy()


def _parts(module: nn.Module) -> tuple[RawColumns, Preprocessed]:
    columns = next(part for part in module.modules() if isinstance(part, RawColumns))
    assert isinstance(columns.predictor, Preprocessed)
    return columns, columns.predictor


class Estimator(nn.Module):
    """A fitted estimator in scikit-learn's way: `predict_proba`, else `decision_function`, else `predict`.

    `classes` are the class names in the order of the outputs that are wanted, none for a regressor; `names` are the
    names of the estimator's own classes, where it knows them as codes. One that was fitted without column names is
    given a matrix; one that takes texts apart is given one column of texts.
    """

    def __init__(self, estimator: Any, classes: Sequence[str], names: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.estimator = estimator
        self.classes = tuple(classes)
        self.names = dict(names or {})

    @property
    def known(self) -> list[str]:
        """Return the names of the estimator's classes, in the order of its outputs."""
        return [self.names.get(one, one) for one in class_names(self.estimator)]

    def differing(self, frame: pd.DataFrame, threshold: float | None = None) -> int:
        """Return in how many rows the estimator's own `predict` gives another class than its outputs do.

        Of two classes the last one is decided from `threshold` on, 0.5 (of scores 0) if None; of more the likeliest is.
        """
        outputs = self.outputs(frame, torch.device("cpu")).numpy()
        if len(self.classes) == 2:
            usual = 0.0 if self.output == "score" else 0.5
            codes = (outputs[:, -1] >= (usual if threshold is None else threshold)).astype(np.int64)
        else:
            codes = outputs.argmax(axis=1)
        return int(
            (np.array(self.classes, dtype=object)[codes] != self._predicted(_as_fitted(self.estimator, frame))).sum()
        )

    def _predicted(self, rows: Any) -> NDArray[np.object_]:
        """Return the names of the classes that the estimator predicts, (rows,)."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=OTHER_NAMES)
            words = [_word(value) for value in self.estimator.predict(rows)]
        return np.array([self.names.get(word, word) for word in words], dtype=object)

    @property
    def output(self) -> str:
        """What the outputs are, in the words of a schema."""
        if not self.classes:
            return "value"
        if hasattr(self.estimator, "predict_proba") or len(self.classes) > 2:
            return "probabilities"
        return "score" if hasattr(self.estimator, "decision_function") else "probabilities"

    def outputs(self, frame: pd.DataFrame, device: torch.device) -> torch.Tensor:
        """Return the outputs, (rows, classes) or (rows, 1)."""
        rows = _as_fitted(self.estimator, frame)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=OTHER_NAMES)
            found = self._outputs(rows)
        return torch.from_numpy(np.ascontiguousarray(found, dtype=np.float64)).to(device)

    def _outputs(self, rows: Any) -> NDArray[Any]:
        if not self.classes:
            return np.asarray(self.estimator.predict(rows)).reshape(len(rows), -1)
        known = self.known
        if hasattr(self.estimator, "predict_proba"):
            found = np.asarray(self.estimator.predict_proba(rows))
            probabilities: NDArray[Any] = found[:, [known.index(name) for name in self.classes]]
            return probabilities
        if self.output == "score":
            sign = 1.0 if known[-1] == self.classes[-1] else -1.0
            scores: NDArray[Any] = sign * np.asarray(self.estimator.decision_function(rows)).reshape(len(rows), 1)
            return scores
        said = self._predicted(rows)
        chosen: NDArray[Any] = (said[:, None] == np.array(self.classes, dtype=object)).astype(np.float64)
        return chosen


class FittedAnew(SelfFitting):
    """An estimator in scikit-learn's way: a clone with the same settings is fitted to other rows."""

    def refit(self, inputs: NDArray[Any], labels: NDArray[Any], seed: int) -> nn.Module:
        """Return the clone, fitted to encoded rows and their class codes, as a module of encoded rows."""
        from sklearn.base import clone

        columns = next(part for part in self.model.module.modules() if isinstance(part, RawColumns))
        assert isinstance(columns.predictor, Estimator)
        estimator = columns.predictor.estimator
        frame = columns.decoder.frame(inputs.astype(np.float64))
        rows = _as_fitted(estimator, frame)
        try:
            fitted = clone(estimator)
            seeds = {name: seed for name in fitted.get_params() if name.rpartition("__")[2] == "random_state"}
            fitted.set_params(**seeds)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of convergence, which its owner accepted
                fitted.fit(rows, self._targets(columns.predictor, labels))
        except Exception as error:
            raise NotRun(f"the estimator cannot be fitted anew: {describe(error)}") from error
        again = Estimator(fitted, columns.predictor.classes, columns.predictor.names)
        return RawColumns(columns.decoder, again, columns.example)

    def _targets(self, predictor: Estimator, labels: NDArray[Any]) -> NDArray[Any]:
        if not predictor.classes:
            return labels
        named = dict(zip(predictor.known, list(predictor.estimator.classes_), strict=True))
        return np.array([named[predictor.classes[code]] for code in labels.astype(np.int64)])


class Function(nn.Module):
    """A function of a data frame that returns the outputs of its rows."""

    def __init__(self, function: Callable[[pd.DataFrame], Any], name: str) -> None:
        super().__init__()
        self.function = function
        self.name = name

    def outputs(self, frame: pd.DataFrame, device: torch.device) -> torch.Tensor:
        """Return the outputs, (rows, ...)."""
        found = as_batch(self.function(frame), row_count=len(frame), maker=f"predictor {self.name}")
        tensor = first_tensor(found)
        return tensor.double().to(device)  # type: ignore[no-any-return]  # a batch holds tensors


def _as_fitted(estimator: Any, frame: pd.DataFrame) -> Any:
    """Return rows as an estimator was fitted to them: a frame, a matrix, or one column of texts."""
    if names_of(estimator) is not None:
        return frame
    return frame.iloc[:, 0] if reads_texts(estimator) else frame.to_numpy()


def reads_texts(estimator: Any) -> bool:
    """Return whether an estimator, or the first step of a pipeline, is fitted to texts, as TfidfVectorizer is."""
    if hasattr(estimator, "build_analyzer"):
        return True
    parts = getattr(estimator, "steps", None) or getattr(estimator, "transformer_list", None)
    inner = parts[0][1] if parts else getattr(estimator, "best_estimator_", getattr(estimator, "estimator", None))
    return inner is not None and reads_texts(inner)


def names_of(estimator: Any) -> tuple[str, ...] | None:
    """Return the columns that a fitted estimator or transformer reads, None where it does not know them.

    Of a pipeline they are its first step's; of a ColumnTransformer those of its steps, as long as these name them.
    """
    steps = getattr(estimator, "steps", None)
    if steps and (of_first := names_of(steps[0][1])) is not None:
        return of_first
    for name in ("feature_names_in_", "feature_name_"):
        found = getattr(estimator, name, None)
        if found is not None and all(isinstance(each, str) for each in found):
            return _selected(estimator, tuple(found))
    return None


def _selected(transformer: Any, fitted_on: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns that the steps of a ColumnTransformer name; all where one counts, or it is another object."""
    named: set[str] = set()
    for _, step, columns in getattr(transformer, "transformers_", ()):
        if isinstance(step, str) and step == "drop":
            continue
        listed: list[Any] = (
            [columns] if isinstance(columns, str) else list(columns) if isinstance(columns, list) else [0]
        )
        if not all(isinstance(one, str) for one in listed):
            return fitted_on
        named.update(listed)
    return tuple(name for name in fitted_on if name in named) if named else fitted_on


def is_regressor(estimator: Any) -> bool:
    """Return whether an estimator says, in scikit-learn's way, that it predicts numbers."""
    tags = getattr(estimator, "__sklearn_tags__", None)
    kind = getattr(estimator, "_estimator_type", None) if tags is None else tags().estimator_type
    return kind == "regressor"


def stated_threshold(estimator: Any) -> float | None:
    """Return the probability that an estimator, or the last step of it, compares with; None where it states none.

    scikit-learn's TunedThresholdClassifierCV and FixedThresholdClassifier do.
    """
    steps = getattr(estimator, "steps", None)
    last = steps[-1][1] if steps else getattr(estimator, "best_estimator_", None)
    if last is not None:
        return stated_threshold(last)
    stated = getattr(estimator, "best_threshold_", getattr(estimator, "threshold", None))
    return float(stated) if isinstance(stated, int | float | np.number) else None


def class_names(estimator: Any) -> list[str]:
    """Return the classes of a fitted classifier as texts, in the order of its outputs."""
    return [_word(value) for value in estimator.classes_]


def _word(value: Any) -> str:
    """Return a class as `factorize` writes it: a whole number without `.0`."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()
