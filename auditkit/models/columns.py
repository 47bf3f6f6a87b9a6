"""Models of raw columns: what a model reads is a data frame, and what is explained and changed are its columns.

An encoded row holds each column as it is: a number in one cell, a category in one cell each, a free text by codes of
its own (`schema.verbatim`). `ColumnDecoder` turns such cells back into the columns, so that methods which only ask for
predictions (Shapley values, permutation, ablation, corruptions, changes for recourse) work on the columns of the user's
data, whatever the model makes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.data.dataset import factorize
from auditkit.data.values import FALSE_WORDS, TRUE_WORDS
from auditkit.errors import InputError, ModelFileError
from auditkit.models.networks import OutsideTorch
from auditkit.schema.infer import MAXIMUM_CATEGORIES, feature_of
from auditkit.schema.schema import Schema
from auditkit.schema.table import Feature
from auditkit.schema.text import PADDING
from auditkit.schema.verbatim import TEXT_CODES, is_free_text, verbatim_length

PROBED_ROWS = 64
"""So many rows tell which columns a function reads."""

DAYS = pd.Timestamp("1970-01-01")


class Predictor(Protocol):
    """Something that maps a data frame to outputs: a network behind its preprocessing, an estimator, a function."""

    def outputs(self, frame: pd.DataFrame, device: torch.device) -> torch.Tensor:
        """Return the outputs of each row, (rows, outputs) or (rows,)."""
        ...


@dataclass(frozen=True, eq=False)
class ColumnDecoder:
    """Encoded rows back to the columns that they were made from, typed as `pandas.read_csv` would type them.

    `features` describe the columns; `whole` names the numeric ones that hold whole numbers, `dtypes` those of a
    pandas Categorical, with its categories. `missing_as` stands where a category is missing; None
    for NaN. Sent to another process, it takes the codes of texts along.
    """

    features: tuple[Feature, ...]
    whole: frozenset[str]
    dtypes: dict[str, pd.CategoricalDtype]
    missing_as: str | None = None

    @property
    def modality(self) -> str | None:
        """The modality of rows that are one text, whose words can be left out; None for columns of a table."""
        return "verbatim" if len(self.features) == 1 and self.features[0].is_verbatim else None

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields, and the codes that texts have in this process."""
        texts = TEXT_CODES.state() if any(feature.is_verbatim for feature in self.features) else []
        return {**vars(self), "texts": texts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set the fields, once texts have the same codes in this process.

        Raises:
            ModelFileError: they have other ones already.
        """
        TEXT_CODES.restore(state.pop("texts"))
        vars(self).update(state)

    def frame(self, cells: NDArray[np.float64]) -> pd.DataFrame:
        """Return the columns of encoded rows, (rows, cells). A category that no cell names is missing."""
        columns: dict[str, Any] = {}
        start = 0
        for feature in self.features:
            part = cells[:, start : start + feature.width]
            columns[feature.name] = self._texts(feature, part) if feature.is_verbatim else self._column(feature, part)
            start += feature.width
        return pd.DataFrame(columns)

    def patterns(self, cells: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return a code for each row, (rows,), of which of its columns are missing; 0 where none is."""
        gone = np.zeros((len(cells), len(self.features)), dtype=bool)
        start = 0
        for place, feature in enumerate(self.features):
            part = cells[:, start : start + feature.width]
            if feature.is_verbatim:
                gone[:, place] = _no_text(feature, part)
            else:
                gone[:, place] = part[:, -1] > 0.5 if feature.missing else False
            if feature.categories:
                gone[:, place] |= ~(part[:, : len(feature.categories)] > 0).any(axis=1)
            start += feature.width
        _, codes = np.unique(np.concatenate([np.zeros_like(gone[:1]), gone]), axis=0, return_inverse=True)
        found: NDArray[np.int64] = codes.reshape(-1)[1:]
        return found

    def _column(self, feature: Feature, cells: NDArray[np.float64]) -> Any:
        missing = cells[:, -1] > 0.5 if feature.missing else np.zeros(len(cells), dtype=bool)
        if feature.categories:
            part = cells[:, : len(feature.categories)]
            missing |= ~(part > 0).any(axis=1)
            return self._words(feature, part.argmax(axis=1), missing)
        values = cells[:, 0] * feature.scale + feature.mean
        values[missing] = np.nan
        if feature.kind == "boolean":
            return _booleans(values >= 0.5, missing)
        if feature.kind == "date":
            return _dates(values, missing)
        if feature.name in self.whole and not missing.any() and bool((values == np.round(values)).all()):
            return values.astype(np.int64)
        return values

    def _words(self, feature: Feature, codes: NDArray[np.int64], missing: NDArray[np.bool_]) -> Any:
        if feature.name in self.dtypes:
            words = self._objects(feature)[codes]
            words[missing] = self.missing_as if self.missing_as in self.dtypes[feature.name].categories else None
            return pd.Categorical(words.tolist(), dtype=self.dtypes[feature.name])
        folded = {word.casefold() for word in feature.categories}
        if folded <= {"true", "false"}:
            truth = np.array([word.casefold() == "true" for word in feature.categories])
            return _booleans(truth[codes], missing)
        words = np.array(feature.categories, dtype=object)[codes]
        words[missing] = np.nan if self.missing_as is None else self.missing_as
        return words

    def _texts(self, feature: Feature, cells: NDArray[np.float64]) -> Any:
        """Return the texts of a column, NaN where there is none, as in a file with missing texts."""
        texts = TEXT_CODES.join(_text_codes(feature, cells))
        texts[_no_text(feature, cells)] = np.nan
        return pd.Categorical(texts, dtype=self.dtypes[feature.name]) if feature.name in self.dtypes else texts

    def _objects(self, feature: Feature) -> NDArray[Any]:
        """Return the categories as the values that the column holds: numbers where it holds numbers."""
        known = {str(value): value for value in self.dtypes[feature.name].categories}
        return np.array([known.get(word, word) for word in feature.categories], dtype=object)


def _text_codes(feature: Feature, cells: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.round(cells[:, : feature.length]).astype(np.int64)


def _no_text(feature: Feature, cells: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows have no text, not even an empty one: (rows,)."""
    none: NDArray[np.bool_] = (_text_codes(feature, cells) == PADDING).all(axis=1)
    return none & feature.missing


def _booleans(values: NDArray[np.bool_], missing: NDArray[np.bool_]) -> Any:
    if not missing.any():
        return values
    found = values.astype(object)
    found[missing] = np.nan
    return found


def _dates(values: NDArray[np.float64], missing: NDArray[np.bool_]) -> Any:
    days = pd.to_timedelta(np.where(missing, 0.0, values), unit="D") + DAYS
    words = np.where(days == days.normalize(), days.strftime("%Y-%m-%d"), days.strftime("%Y-%m-%d %H:%M:%S"))
    found = words.astype(object)
    found[missing] = np.nan
    return found


def decoder_of(
    frames: Sequence[pd.DataFrame], names: Sequence[str], *, text: str | None = None, missing_as: str | None = None
) -> ColumnDecoder:
    """Return the decoder of the named columns as several frames, of audited and of training rows, hold them.

    `text` names a column of free text; others are told by their values (`is_free_text`). `missing_as` is what it gives
    where a category is missing; None for NaN.
    """
    joined = pd.concat([frame[list(names)] for frame in frames], ignore_index=True) if len(frames) > 1 else frames[0]
    features = []
    whole = set()
    dtypes: dict[str, pd.CategoricalDtype] = {}
    for name in names:
        if name == text or is_free_text(joined[name], most_categories=MAXIMUM_CATEGORIES):
            features.append(_text_of(joined, name, alone=len(names) == 1))
            dtype = frames[0][name].dtype
            if isinstance(dtype, pd.CategoricalDtype):
                dtypes[name] = dtype
            continue
        feature = feature_of(joined, name)
        if feature.kind == "boolean" and not pd.api.types.is_bool_dtype(joined[name].dtype):
            feature = _spelled(joined, feature)
        feature = feature.model_copy(update={"mean": 0.0, "scale": 1.0})
        features.append(feature)
        dtype = frames[0][name].dtype
        if isinstance(dtype, pd.CategoricalDtype) and feature.categories:
            dtypes[name] = dtype
        if feature.kind == "numeric":
            cells = np.zeros((len(joined), feature.width), dtype=np.float32)
            feature.write(joined, cells)
            if bool((cells[:, 0] == np.round(cells[:, 0])).all()):
                whole.add(name)
    return ColumnDecoder(tuple(features), frozenset(whole), dtypes, missing_as)


def _text_of(frame: pd.DataFrame, name: str, *, alone: bool) -> Feature:
    """Return a column of free text: whole texts beside other columns, `alone` texts whose words can be left out."""
    codes, _ = factorize(frame[name])
    length = verbatim_length(frame[name]) if alone else 1
    return Feature(name=name, kind="text", tokenizer="verbatim", length=length, missing=bool((codes < 0).any()))


def _spelled(frame: pd.DataFrame, feature: Feature) -> Feature:
    """Return a column of two words for yes and no as categories, so that the words are known again."""
    words = sorted({str(value).strip() for value in frame[feature.name].dropna()})
    words = [word for word in words if word.casefold() in TRUE_WORDS | FALSE_WORDS]
    return Feature(name=feature.name, kind="categorical", categories=tuple(words), missing=feature.missing)


class RawColumns(OutsideTorch, nn.Module):
    """A predictor of data frames as a module of encoded rows: decoded, then given to the predictor.

    `example` are a few encoded rows of the data, (rows, cells). Where the predictor raises on rows with missing values,
    as a lookup of categories does, these rows have NaN as their outputs: they have no answer, and `unanswered` says in
    which columns the gaps are, and why. What it raises on whole rows is raised.
    """

    def __init__(self, decoder: ColumnDecoder, predictor: Predictor, example: NDArray[np.float32]) -> None:
        super().__init__()
        self.decoder = decoder
        self.predictor = predictor
        self.example = example
        self.unanswered: str | None = None

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        """Return the outputs of encoded rows, (rows, outputs)."""
        rows = cells.detach().double().cpu().numpy()
        try:
            return self._outputs(rows, cells.device)
        except Exception:
            patterns = self.decoder.patterns(rows)
            if not patterns.any():
                raise
        return self._by_pattern(rows, patterns, cells.device)

    def _outputs(self, rows: NDArray[np.float64], device: torch.device) -> torch.Tensor:
        frame = self.decoder.frame(rows)
        try:
            found = self.predictor.outputs(frame, device)
        except (InputError, MemoryError, RuntimeError):  # of memory, the caller knows how to make the batch smaller
            raise
        except Exception as error:
            raise ModelFileError(f"model: {describe(error)} (given {len(frame):,} rows).") from error
        return found[:, None] if found.ndim == 1 else found

    def _by_pattern(self, rows: NDArray[np.float64], patterns: NDArray[np.int64], device: torch.device) -> torch.Tensor:
        found: dict[int, torch.Tensor] = {}
        failure: Exception | None = None
        for pattern in np.unique(patterns).tolist():
            try:
                found[pattern] = self._outputs(rows[patterns == pattern], device)
            except Exception as error:  # the user's function; raised below where it is not of a gap
                if pattern == 0:
                    raise
                failure = error
                self.unanswered = self._why(rows[patterns == pattern], error)
        if not found:
            assert failure is not None
            raise failure
        first = next(iter(found.values()))
        outputs = torch.full((len(rows), *first.shape[1:]), torch.nan, dtype=first.dtype, device=device)
        for pattern, part in found.items():
            outputs[torch.from_numpy(patterns == pattern).to(device)] = part
        return outputs

    def _why(self, rows: NDArray[np.float64], error: Exception) -> str:
        """Return in words in which columns the rows of one pattern have gaps, and what the predictor raises on them."""
        frame = self.decoder.frame(rows[:1])
        names = [name for name in frame.columns if frame[name].isna().all()]
        said = str(error).removeprefix("model: ").rstrip(".")
        return (
            f"where {', '.join(names)} {'is' if len(names) == 1 else 'are'} missing, it fails: {said}. Fill such gaps "
            f'in your own code, or leave the rows out: --where "{" and ".join(_not_missing(name) for name in names)}"'
        )


def _not_missing(name: str) -> str:
    return f"{name if name.isidentifier() else f'`{name}`'} is not missing"


def columns_read(
    outputs: Callable[[pd.DataFrame], Any],
    frame: pd.DataFrame,
    candidates: Sequence[str],
    *,
    what: str,
    missing_as: str | None = None,
) -> tuple[str, ...]:
    """Return which of the candidate columns a function of a data frame reads.

    A column is read if the function fails without it, or returns something else. `missing_as` is what it is given
    where a category is missing; None for NaN.

    Raises:
        InputError: the function fails on all of the candidates, or reads none of them.
    """
    try:
        some, whole = _probed(outputs, frame, candidates, missing_as)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{what}: {describe(error)} (given the columns {', '.join(candidates)}).") from error
    read = []
    for name in candidates:
        try:
            part = _flat(outputs(some.drop(columns=[name])))
        except Exception:  # noqa: BLE001  # whatever the function raises without a column, it reads it
            read.append(name)
            continue
        if part.shape != whole.shape or not np.array_equal(part, whole, equal_nan=True):
            read.append(name)
    if not read:
        raise InputError(f"{what}: reads none of the columns {', '.join(candidates)}.")
    return tuple(read)


def _probed(
    outputs: Callable[[pd.DataFrame], Any], frame: pd.DataFrame, candidates: Sequence[str], missing_as: str | None
) -> tuple[pd.DataFrame, NDArray[Any]]:
    """Return a few rows and a function's outputs of them; only whole rows where it fails on those with a gap."""
    rows = np.linspace(0, len(frame) - 1, min(len(frame), PROBED_ROWS)).astype(np.int64)
    some = _typed(frame.iloc[rows], candidates, missing_as)
    try:
        return some, _flat(outputs(some))
    except Exception:
        gaps = some.isna().any(axis=1)
        if not gaps.any() or gaps.all():
            raise
    return some[~gaps], _flat(outputs(some[~gaps]))


def _typed(frame: pd.DataFrame, names: Sequence[str], missing_as: str | None) -> pd.DataFrame:
    """Return columns typed as `pandas.read_csv` would."""
    columns: dict[str, Any] = {}
    for name in names:
        decoder = decoder_of([frame], [name], missing_as=missing_as)
        schema = Schema(features=decoder.features, target=None, task="regression", output="value")
        columns[name] = decoder.frame(schema.encode(frame).astype(np.float64))[name].to_numpy()
    return pd.DataFrame(columns)


def _flat(outputs: Any) -> NDArray[Any]:
    parts = outputs.values() if isinstance(outputs, dict) else outputs if isinstance(outputs, tuple) else [outputs]
    arrays = [part.detach().cpu().numpy() if isinstance(part, torch.Tensor) else np.asarray(part) for part in parts]
    return np.concatenate([array.ravel() for array in arrays])


def describe(error: BaseException) -> str:
    """Return what a user's function raised, on one line: the type and its first line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0].rstrip('.')}"
