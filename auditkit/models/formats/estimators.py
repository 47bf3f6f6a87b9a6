"""Files of fitted estimators: skops by its own safe loader, joblib and pickle only where the user trusts the file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from auditkit.errors import ModelFileError
from auditkit.evidence.messages import Message
from auditkit.extras import install_extra
from auditkit.models.base import Match, OpenOptions, Source, Trust, opened
from auditkit.models.capabilities import Capability, Differentiable, Refittable
from auditkit.models.formats.archive import open_zip
from auditkit.models.formats.exported import refusal, running_code
from auditkit.models.formats.pickles import Refused
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
        "numpy.dtype",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.feature_selection._mutual_info.mutual_info_classif",
        "sklearn.feature_selection._univariate_selection.chi2",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    }
)
"""What skops does not list, and is as plain as what it does: an imputer's type of numbers, and classes and functions of
scikit-learn in Python, whose building sets attributes. Trees and neighbours are not: they read memory by the numbers of
the file."""

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
        if not unknown:
            return Match("skops", lacks=ONLY_PREDICTS | LACKS)
        return Match(
            f"{OF_UNKNOWN_TYPES}: {_listed(unknown)}", trust=TRUST, lacks=ONLY_PREDICTS | LACKS, remedy=OWN_CODE
        )

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
        if b"sklearn" in source.head or b"xgboost" in source.head or b"lightgbm" in source.head:
            return Match(_what(source), trust=TRUST, lacks=ONLY_PREDICTS | LACKS, remedy=SAVE_SKOPS)
        return (
            Match("joblib file", trust=TRUST, lacks=ONLY_PREDICTS | LACKS, remedy=SAVE_SKOPS)
            if source.path.suffix == ".joblib"
            else None
        )

    def open(self, source: Source, trust: Trust, config: OpenOptions) -> Model:
        """Return the estimator; opening the file runs its author's code."""
        check_trust(source, trust, f"a {_what(source)}", SAVE_SKOPS)
        import joblib

        try:
            with running_code():
                estimator = joblib.load(io.BytesIO(source.content()))
        except Refused as error:
            raise ModelFileError(f"{source.name}: {error}.") from error
        return _model(
            source, estimator, config, kind="joblib", trust=Message("trusted by its hash: its author's code was run")
        )


def _what(source: Source) -> str:
    for word, what in ((b"xgboost", "an XGBoost"), (b"lightgbm", "a LightGBM")):
        if word in source.head:
            return f"joblib file of {what} model"
    return "joblib file of a scikit-learn model" if b"sklearn" in source.head else "joblib file"


def _model(source: Source, estimator: Any, config: OpenOptions, *, kind: str, trust: str) -> Model:
    if config.columns is None:
        raise ModelFileError(f"{source.name}: is an estimator, which is opened for a data set: auditkit run --dataset.")
    made = config.columns.predictor(estimator, source.path.name)
    return model_of(made, name=source.path.stem, kind=kind, trust=trust, path=str(source.path), sha256=source.sha256)
