"""Files of fitted estimators: skops by its own safe loader, joblib and pickle only where the user trusts the file."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from auditkit.errors import ModelFileError
from auditkit.evidence.messages import Message
from auditkit.extras import install_extra
from auditkit.models.base import Match, OpenOptions, Source, Trust, opened
from auditkit.models.capabilities import Capability, Differentiable, Refittable
from auditkit.models.formats.archive import open_zip
from auditkit.models.formats.exported import refusal, running_code
from auditkit.models.formats.pickles import Refused
from auditkit.models.formats.weights import check_finite
from auditkit.models.from_columns import model_of
from auditkit.models.model import ONLY_PREDICTS, Model, first_line
from auditkit.models.predictors import load_object

TRUST = "--trust-pickle"
PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
SAVE_SKOPS = (
    "Where it was made, save it by skops.io.dump(estimator, 'model.skops'), which opens without running code unless it "
    "holds trees"
)
OWN_CODE = "Load it in code of your own, and pass that: --predictor my_model:estimator"
OF_UNKNOWN_TYPES = "skops file of types that skops does not know"
PLAIN = frozenset(
    {
        "builtins.object",
        "numpy.dtype",
        "numpy.floating",
        "numpy.integer",
        "numpy.number",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.feature_selection._mutual_info.mutual_info_classif",
        "sklearn.feature_selection._univariate_selection.chi2",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
        "sklearn.metrics._classification.balanced_accuracy_score",
        "sklearn.metrics._scorer._CurveScorer",
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.metrics._scorer._Scorer",
        "sklearn.model_selection._split.KFold",
        "sklearn.model_selection._split.StratifiedKFold",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.utils._bunch.Bunch",
        "sklearn.utils._metadata_requests.MetadataRequest",
        "sklearn.utils._metadata_requests.MethodMetadataRequest",
    }
)
"""What skops does not list, and is as plain as what it does: the types of an imputer's numbers and of a selector's
columns, and classes and functions of scikit-learn in Python, whose building sets attributes. Trees and neighbours are
not: they read memory by the numbers of the file."""

COEFFICIENTS = frozenset(
    {"coef_", "coefs_", "components_", "dual_coef_", "intercept_", "intercepts_", "support_vectors_", "theta_"}
)
"""What the predictions of estimators are computed of. Other fitted values may be NaN or infinite, such as the scores of
a search, the rows that an imputer keeps and the edges of bins."""

LACKS: dict[type[Capability], str] = {
    Differentiable: Message("an estimator gives outputs and no gradient"),
    Refittable: Message("the model is no network of torch, so that no fresh weights can be drawn"),
}


class SkopsFormat:
    """Files of `skops.io.dump`."""

    def recognise(self, source: Source) -> Match | None:
        """Return a match where the file is a zip archive with a schema.json, as skops writes it."""
        if source.file is None or not source.head.startswith(b"PK"):
            return None
        try:
            with open_zip(source.file, source.byte_count) as archive:
                names = set(archive.namelist())
        except Refused:
            return None
        if "schema.json" not in names or "data.pkl" in names:
            return None
        unknown = unknown_types(source)
        match = Match("skops", lacks=ONLY_PREDICTS | LACKS, check=lambda options: _check(source, skops_object, unknown))
        if not unknown:
            return match
        what = f"{OF_UNKNOWN_TYPES}: {_listed(unknown)}"
        return dataclasses.replace(match, kind=what, trust=TRUST, remedy=OWN_CODE)

    def open(self, source: Source, trust: Trust, config: OpenOptions) -> Model:
        """Return the estimator by skops's loader, which builds types that it knows; others where the file is trusted.

        Raises:
            ModelFileError: the file names types that skops does not know, which are listed, and it is not trusted.
        """
        unknown = unknown_types(source)
        if not unknown:
            for option in trust.given():
                raise ModelFileError(f"{source.name}: is a skops file, which needs no trust; leave {option} out.")
            said = Message("types that skops knows; nothing else was run")
        else:
            check_trust(source, trust, f"a {OF_UNKNOWN_TYPES}: {_listed(unknown)}", OWN_CODE)
            said = Message("trusted by its hash: types that skops does not know were built: {types}", types=unknown)
        return _model(source, skops_object(source, unknown), config, kind="skops", trust=said)


def unknown_types(source: Source) -> list[str]:
    """Return the types that a file of `skops.io.dump` names and that are not built unasked.

    Raises:
        ModelFileError: it is damaged.
    """
    try:
        import skops.io
    except ImportError as error:
        raise ModelFileError(
            f"{source.name}: is a skops file of a scikit-learn model; {install_extra('sklearn')}."
        ) from error
    try:
        return [str(one) for one in skops.io.get_untrusted_types(data=source.content()) if str(one) not in PLAIN]
    except Exception as error:  # a damaged file may raise anything
        raise ModelFileError(f"{source.name}: skops cannot open it: {first_line(error)}.") from error


def skops_object(source: Source, trusted: Sequence[str] = ()) -> Any:
    """Return what a file of `skops.io.dump` holds, by skops's loader, which also builds the types that are trusted.

    Raises:
        ModelFileError: it is damaged.
    """
    import skops.io

    try:
        with running_code():
            return skops.io.loads(source.content(), trusted=[*trusted, *PLAIN])
    except Exception as error:  # a damaged file may raise anything
        raise ModelFileError(f"{source.name}: skops cannot open it: {first_line(error)}.") from error


def check_trust(source: Source, trust: Trust, what: str, remedy: str) -> None:
    """Hold a file against the hash that the user trusts.

    Raises:
        ModelFileError: none was named, or that of another file.
    """
    given = trust.given().get(TRUST)
    if given is None:
        raise ModelFileError(f"{source.name}: {refusal(TRUST, what, source.sha256, remedy)}")
    if given != f"sha256:{source.sha256}":
        raise ModelFileError(f"{source.name}: {TRUST} names {given[:80]!r}, but this file is sha256:{source.sha256}.")


def _listed(types: Sequence[str]) -> str:
    return ", ".join(types[:6]) + (f" and {len(types) - 6} more" if len(types) > 6 else "")


def fitted_object(spec: str) -> Any:
    """Return the fitted object of a skops file, or of the user's own `package.module:object`.

    Raises:
        InputError: there is none, or it cannot be opened safely.
    """
    if not spec.endswith(".skops"):
        return load_object(spec, "like")
    with opened(spec) as source:
        if SkopsFormat().recognise(source) is None:
            raise ModelFileError(f"{source.name}: is no file of skops.io.dump.")
        if unknown := unknown_types(source):
            raise ModelFileError(
                f"{source.name}: holds types that skops does not know: {_listed(unknown)}; save the ColumnTransformer "
                "alone by skops.io.dump, and pass that file."
            )
        return skops_object(source)


class JoblibFormat:
    """Files of `joblib.dump` and `pickle.dump`: pickles, which run their author's code when they are opened."""

    def recognise(self, source: Source) -> Match | None:
        """Return a match where the file is a pickle of an estimator, as its name or its first bytes say."""
        if not source.head.startswith(PICKLES) or (source.contents is not None and source.contents.content is not None):
            return None
        known = b"sklearn" in source.head or b"xgboost" in source.head or b"lightgbm" in source.head
        if not known and source.path.suffix != ".joblib":
            return None
        return Match(
            _what(source),
            trust=TRUST,
            lacks=ONLY_PREDICTS | LACKS,
            remedy=SAVE_SKOPS,
            check=lambda options: _check(source, _unpickled),
        )

    def open(self, source: Source, trust: Trust, config: OpenOptions) -> Model:
        """Return the estimator; opening the file runs its author's code."""
        check_trust(source, trust, f"a {_what(source)}", SAVE_SKOPS)
        trusted = Message("trusted by its hash: its author's code was run")
        return _model(source, _unpickled(source), config, kind="joblib", trust=trusted)


def _unpickled(source: Source) -> Any:
    """Return what a trusted file of joblib holds, by running the code in it."""
    import joblib

    try:
        with running_code():
            return joblib.load(io.BytesIO(source.content()))
    except Refused as error:
        raise ModelFileError(f"{source.name}: {error}.") from error


def _check(source: Source, load: Callable[..., Any], *arguments: Any) -> None:
    """Raise ModelFileError where a file that needs no more trust does not open, or a coefficient is not finite."""
    _check_coefficients(source.name, load(source, *arguments))


def _check_coefficients(name: str, estimator: Any) -> None:
    for place, values in coefficients(estimator):
        check_finite(name, {place: torch.from_numpy(np.array(values))})


def coefficients(
    part: Any, place: str = "", seen: set[int] | None = None
) -> Iterator[tuple[str, NDArray[np.floating[Any]]]]:
    """Yield the coefficients of a fitted estimator and of its parts, each with the attributes that lead to it.

    Parts are what its attributes hold: other objects of scikit-learn, in lists, tuples and dictionaries, too.
    """
    seen = set() if seen is None else seen
    if id(part) in seen:
        return
    seen.add(id(part))
    if isinstance(part, list | tuple):
        inner = {str(at): value for at, value in enumerate(part)}
    elif isinstance(part, Mapping):
        inner = {str(key): value for key, value in part.items()}
    else:
        own = hasattr(part, "get_params") or type(part).__module__.startswith("sklearn.")
        inner = dict(getattr(part, "__dict__", {})) if own else {}
    for key, value in inner.items():
        named = f"{place}.{key}".removeprefix(".")
        if key in COEFFICIENTS:
            for held in value if isinstance(value, list) else [value]:
                values = np.asarray(held.data if sparse.issparse(held) else held)
                if np.issubdtype(values.dtype, np.floating):
                    yield named, values
        else:
            yield from coefficients(value, named, seen)


def _what(source: Source) -> str:
    for word, what in ((b"xgboost", "an XGBoost"), (b"lightgbm", "a LightGBM")):
        if word in source.head:
            return f"joblib file of {what} model"
    return "joblib file of a scikit-learn model" if b"sklearn" in source.head else "joblib file"


def _model(source: Source, estimator: Any, config: OpenOptions, *, kind: str, trust: str) -> Model:
    if config.columns is None:
        raise ModelFileError(f"{source.name}: is an estimator, which is opened for a data set: auditkit run --dataset.")
    _check_coefficients(source.name, estimator)
    made = config.columns.predictor(estimator, source.path.name)
    return model_of(made, name=source.path.stem, kind=kind, trust=trust, path=str(source.path), sha256=source.sha256)
