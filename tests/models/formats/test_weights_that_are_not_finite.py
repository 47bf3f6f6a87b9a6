"""What `inspect` tells of estimators and ONNX models without data: weights that are NaN or infinite, and inputs."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import pandas as pd
import pytest
import skops.io
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import VotingClassifier
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.impute import KNNImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

import auditkit
from auditkit.cli import call
from auditkit.engine.inspect import Inspection, inspect_model

Floats = NDArray[np.float32]


def table() -> tuple[pd.DataFrame, NDArray[Any]]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=list("abc"))
    return frame, np.where(frame["a"] + rng.normal(size=60) > 0, "yes", "no")


def calibrated() -> tuple[BaseEstimator, NDArray[Any]]:
    encode = make_union(make_column_transformer((StandardScaler(), ["a", "b", "c"])))
    model = make_pipeline(encode, CalibratedClassifierCV(LogisticRegression(), cv=2)).fit(*table())
    return model, model[-1].calibrated_classifiers_[1].estimator.coef_


def voted() -> tuple[BaseEstimator, NDArray[Any]]:
    model = VotingClassifier([("net", MLPClassifier((2,), tol=1.0)), ("line", LogisticRegression())]).fit(*table())
    return model, model.estimators_[0].coefs_[1]


def searched() -> tuple[BaseEstimator, NDArray[Any]]:
    model = GridSearchCV(LogisticRegression(), {"C": [1.0, 2.0]}, cv=2).fit(*table())
    return model, model.best_estimator_.intercept_


@pytest.mark.parametrize("made", [calibrated, voted, searched])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_coefficient_of_any_part_of_an_estimator_is_told(made: Any, value: float, tmp_path: Path) -> None:
    model, weights = made()
    path = tmp_path / "model.joblib"
    joblib.dump(model, path)
    assert inspect_model(path, trust_pickle=_hash(path)).opens
    weights[..., 0] = value
    joblib.dump(model, path)
    assert "weight" not in inspect_model(path).problems[0], "nothing is run before it is trusted"
    (problem,) = inspect_model(path, trust_pickle=_hash(path)).problems
    assert f"has {weights[..., 0].size} values that are NaN or infinite; train it again." in problem
    with pytest.raises(auditkit.InputError, match="NaN or infinite; train it again"):
        auditkit.audit(path, table()[0].assign(y=table()[1]), target="y", trust_pickle=_hash(path))


def test_a_skops_file_is_told_without_trust_unless_it_needs_it(tmp_path: Path) -> None:
    model, weights = calibrated()
    path = tmp_path / "model.skops"
    skops.io.dump(model, path)
    assert inspect_model(path).opens
    weights[0, 1] = math.nan
    skops.io.dump(model, path)
    place = "steps.1.1.calibrated_classifiers_.1.estimator.coef_"
    said = f"model {path}: weight {place!r} has 1 values that are NaN or infinite; train it again."
    assert inspect_model(path).problems == (said,)


def test_fitted_values_that_are_no_coefficients_may_be_missing(tmp_path: Path) -> None:
    """An imputer keeps rows with gaps, a selection has no score for a constant column."""
    frame, labels = table()
    frame.loc[:5, "b"] = np.nan
    frame["c"] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the constant column
        model = make_pipeline(KNNImputer(), SelectKBest(f_classif, k=2), LogisticRegression()).fit(frame, labels)
    assert np.isnan(model[1].scores_).any()
    skops.io.dump(model, tmp_path / "model.skops")
    assert inspect_model(tmp_path / "model.skops", trust_pickle=_trust(tmp_path / "model.skops")).problems == ()


def test_a_sparse_coefficient_and_a_number_are_told(tmp_path: Path) -> None:
    frame, labels = table()
    sparse = LogisticRegression().fit(frame, labels).sparsify()
    sparse.coef_.data[0] = math.inf
    number = LinearRegression().fit(frame, np.arange(60.0))
    number.intercept_ = math.nan
    for name, model in (("coef_", sparse), ("intercept_", number)):
        skops.io.dump(model, tmp_path / "model.skops")
        trust = _trust(tmp_path / "model.skops")
        assert (
            f"weight {name!r} has 1 values" in inspect_model(tmp_path / "model.skops", trust_pickle=trust).problems[0]
        )


def _hash(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def _trust(path: Path) -> str | None:
    """Return the hash of a skops file that holds types that skops does not know."""
    return _hash(path) if inspect_model(path).trust.startswith("opens only") else None


def graph(path: Path, weight: Floats, mask: Floats, nodes: Sequence[onnx.NodeProto] = ()) -> Path:
    """Write `y = a @ weight + mask`, and more nodes that nothing reads."""
    given = [
        helper.make_tensor_value_info("a", TensorProto.FLOAT, ["rows", 2]),
        helper.make_tensor_value_info("code", TensorProto.INT64, [None]),
    ]
    made = helper.make_graph(
        [
            helper.make_node("MatMul", ["a", "weight"], ["h"]),
            helper.make_node("Add", ["h", "mask"], ["y"]),
            helper.make_node("Identity", ["code"], ["z"]),
            *nodes,
        ],
        "graph",
        given,
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 2]),
            helper.make_tensor_value_info("z", TensorProto.INT64, [None]),
        ],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(mask, "mask")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    path.write_bytes(helper.make_model(made, opset_imports=opsets, ir_version=9).SerializeToString())
    return path


ONES, ZEROS = np.ones((2, 2), dtype=np.float32), np.zeros(2, dtype=np.float32)


def one(values: Floats, value: float) -> Floats:
    changed = values.copy()
    changed.flat[1] = value
    return changed


def told(path: Path) -> Inspection:
    found = inspect_model(path)
    assert found.opens is not bool(found.problems)
    return found


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_weight_of_an_onnx_model_is_told(value: float, tmp_path: Path) -> None:
    path = graph(tmp_path / "model.onnx", one(ONES, value), ZEROS)
    said = f"model {path}: weight 'weight' has 1 values that are NaN or infinite; train it again."
    assert told(path).problems == (said,)


def test_a_mask_may_be_infinite_and_nothing_may_be_nan(tmp_path: Path) -> None:
    assert told(graph(tmp_path / "mask.onnx", ONES, one(ZEROS, -math.inf))).problems == ()
    assert "weight 'mask' has 1" in told(graph(tmp_path / "nan.onnx", ONES, one(ZEROS, math.nan))).problems[0]
    hidden = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(one(ZEROS, math.nan)))
    path = graph(tmp_path / "constant.onnx", ONES, ZEROS, [hidden])
    assert "weight '(a constant)' has 1 values" in told(path).problems[0]


@pytest.mark.parametrize("name", ["coefficients", "intercepts"])
def test_the_coefficients_of_a_linear_classifier_are_told(name: str, tmp_path: Path) -> None:
    stated = {"coefficients": [1.0, 2.0, -1.0, -2.0], "intercepts": [0.0, 1.0]}
    for value in (3.0, math.nan):
        stated[name][1] = value
        node = helper.make_node("LinearClassifier", ["a"], ["l", "p"], "line", domain="ai.onnx.ml")
        node.attribute.append(helper.make_attribute("classlabels_ints", [0, 1]))
        node.attribute.extend(helper.make_attribute(key, values) for key, values in stated.items())
        problems = told(graph(tmp_path / "model.onnx", ONES, ZEROS, [node])).problems
        assert bool(problems) is math.isnan(value)
    assert f"weight 'line: {name}' has 1 values" in problems[0]


def test_the_inputs_of_an_onnx_model_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = graph(tmp_path / "model.onnx", ONES, ZEROS)
    assert told(path).inputs == (("a", ("rows", 2), "tensor(float)"), ("code", (None,), "tensor(int64)"))
    assert call(["inspect", str(path)]) == 0
    said = capsys.readouterr().out
    assert "  input         a (rows x 2) tensor(float)\n" in said
    assert "  input         code (any) tensor(int64)\n" in said
    path.write_bytes(path.read_bytes()[:-40])
    assert (told(path).opens, told(path).inputs) == (False, ())
