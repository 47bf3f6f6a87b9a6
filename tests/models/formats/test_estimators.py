"""Files of other libraries: ONNX, skops and joblib, opened as far as each is safe, with the numbers of the original."""

from __future__ import annotations

import functools
import hashlib
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import pandas as pd
import pytest
import skops.io
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier, StackingClassifier, VotingClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, TunedThresholdClassifierCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from torch import nn

import auditkit
from auditkit.data.dataset import data_from_frame
from auditkit.engine.inspect import inspect_model
from auditkit.errors import ModelFileError
from auditkit.models.formats.onnx import EXTERNAL
from auditkit.models.formats.opening import open_model
from auditkit.models.from_columns import Columns
from auditkit.models.predictors import names_of
from auditkit.schema.infer import numeric_schema


def people(count: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(18, 80, count), "pay": rng.normal(30, 8, count).round(2)})
    frame["job"] = rng.choice(["clerk", "nurse", "pilot"], count)
    frame["ok"] = np.where(0.06 * (frame["age"] - 45) + rng.logistic(size=count) > 0, "good", "bad")
    return frame


def fitted(frame: pd.DataFrame) -> Pipeline:
    encode = make_column_transformer((StandardScaler(), ["age", "pay"]), (OneHotEncoder(), ["job"]))
    return make_pipeline(encode, LogisticRegression()).fit(frame.drop(columns="ok"), frame["ok"])


def accuracy(model: Any, frame: pd.DataFrame, **options: Any) -> tuple[float, str]:
    report = auditkit.audit(model, frame, target="ok", only=["performance"], **options)
    measurement = report.measurement("performance.accuracy", ())
    assert measurement is not None
    assert report.subject.model is not None
    return float(measurement.value or 0), report.subject.model.trust


def test_skops_opens_what_it_knows(tmp_path: Path) -> None:
    frame = people()
    pipeline = fitted(frame)
    skops.io.dump(pipeline, tmp_path / "model.skops")
    found, trust = accuracy(tmp_path / "model.skops", frame)
    assert found == pytest.approx(pipeline.score(frame, frame["ok"]))
    assert "nothing else was run" in trust
    able = {one.auditor for one in inspect_model(tmp_path / "model.skops").abilities if one.able}
    assert "data" in able
    assert not able & {"language", "generation", "memorisation", "bias", "synthetic"}, "it only predicts"
    odd = make_pipeline(FunctionTransformer(np.fft.fft), pipeline)
    skops.io.dump(odd, tmp_path / "odd.skops")
    with pytest.raises(auditkit.InputError, match=r"types that skops does not know: numpy\.fft"):
        accuracy(tmp_path / "odd.skops", frame)


def test_ordinary_pipelines_in_a_skops_file_need_no_trust(tmp_path: Path) -> None:
    """An imputer keeps a numpy.dtype, a selection its function, a calibration and a network classes of scikit-learn."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(80, 4)), columns=list("abcd"))
    frame.loc[:5, "a"] = np.nan
    labels = np.where(frame["b"] > 0, "yes", "no")
    for estimator in (
        make_pipeline(SimpleImputer(), StandardScaler(), SelectKBest(k=2), LogisticRegression()),
        make_pipeline(SimpleImputer(), CalibratedClassifierCV(LogisticRegression())),
        make_pipeline(SimpleImputer(), MLPClassifier((4,), max_iter=5)),
        make_pipeline(
            SimpleImputer(), VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], voting="soft")
        ),
        make_pipeline(SimpleImputer(), StackingClassifier([("a", LogisticRegression()), ("b", GaussianNB())])),
        GridSearchCV(make_pipeline(SimpleImputer(), LogisticRegression()), {"logisticregression__C": [0.1, 1.0]}),
        TunedThresholdClassifierCV(make_pipeline(SimpleImputer(), LogisticRegression())),
        make_pipeline(
            make_column_transformer((SimpleImputer(), make_column_selector(dtype_include="number"))),
            LogisticRegression(),
        ),
        make_pipeline(
            make_column_transformer(
                (OneHotEncoder(), make_column_selector(dtype_include=[object, "string"])),
                (SimpleImputer(), make_column_selector(dtype_include=[np.number, np.floating, np.integer])),
            ),
            LogisticRegression(),
        ),
        make_pipeline(SimpleImputer(), make_union(PCA(2), SelectKBest(k=2)), LogisticRegression()),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # five iterations are few
            estimator.fit(frame, labels)
        path = tmp_path / "model.skops"
        skops.io.dump(estimator, path)
        columns = Columns(functools.partial(data_from_frame, frame.assign(y=labels)), lambda: None, target="y")
        model = open_model(path, columns=columns)
        assert "nothing else was run" in model.trust
        found = model.predict(model.schema.encode(frame)).probabilities
        assert np.asarray(found)[:, -1] == pytest.approx(estimator.predict_proba(frame)[:, 1])


def test_joblib_opens_only_where_it_is_trusted(tmp_path: Path) -> None:
    frame = people()
    pipeline = fitted(frame)
    path = tmp_path / "model.joblib"
    joblib.dump(pipeline, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(auditkit.InputError, match=r"refused: a joblib file of a scikit-learn model\. Where"):
        accuracy(path, frame)
    with pytest.raises(auditkit.InputError, match="but this file is sha256"):
        accuracy(path, frame, trust_pickle="sha256:0")
    found, trust = accuracy(path, frame, trust_pickle=f"sha256:{digest}")
    assert found == pytest.approx(pipeline.score(frame, frame["ok"]))
    assert "author's code was run" in trust


def onnx_file(network: nn.Linear, path: Path) -> Path:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = [
        numpy_helper.from_array(network.weight.detach().numpy().T.copy(), "w"),
        numpy_helper.from_array(network.bias.detach().numpy(), "b"),
    ]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["h", "b"], ["logits"])]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])
    outputs = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph(nodes, "net", [given], [outputs], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_an_onnx_file_gives_what_the_network_gives(tmp_path: Path) -> None:
    frame = people()[["age", "pay", "ok"]]
    torch.manual_seed(0)
    network = nn.Linear(2, 2)
    path = onnx_file(network, tmp_path / "model.onnx")
    order = {"classes": ["bad", "good"]}  # stated, since the network was never trained
    expected, _ = accuracy(network, frame, **order)
    assert accuracy(path, frame, **order) == (expected, "a graph of known operators, run by onnxruntime")

    def scaled(rows: pd.DataFrame) -> torch.Tensor:
        return torch.tensor(rows[["age", "pay"]].to_numpy()).float() / 10

    by_path = accuracy(path, frame, preprocess=scaled, **order)
    assert by_path[0] == accuracy(network, frame, preprocess=scaled, **order)[0]
    (tmp_path / "broken.onnx").write_bytes(path.read_bytes()[:-40])
    with pytest.raises(auditkit.InputError, match="onnxruntime cannot open it"):
        accuracy(tmp_path / "broken.onnx", frame)
    with pytest.raises(auditkit.InputError, match="which needs no trust"):
        accuracy(path, frame, trust_model="sha256:0")


def test_kinds_that_are_not_opened_are_named(tmp_path: Path) -> None:
    for content, what in (
        (b"GGUF" + b"\0" * 100, "is a GGUF file of version 0; auditkit reads versions 2 and 3"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "an HDF5 file, such as Keras saves"),
        (b"tree\nversion=v4\n", "a LightGBM model file"),
        (b"\x1c\0\0\0TFL3" + b"\0" * 100, r"a TensorFlow Lite model; convert it to ONNX with tf2onnx \(--tflite\)"),
        (b"\x08\x06\x12\x18\x0a\x05\x0a\x03abc" + b"\0" * 100, "a Core ML model; export the network"),
        (b"\x08\x06\x12\xda\x01\x0a\x18\x0a\x07input_2" + b"\0" * 100, "a Core ML model; export the network"),
    ):
        (tmp_path / "model.pt").write_bytes(content)
        with pytest.raises(auditkit.InputError, match=what):
            accuracy(tmp_path / "model.pt", people())
    (tmp_path / "nmp.mlpackage" / "Data").mkdir(parents=True)
    (tmp_path / "nmp.mlpackage" / "Manifest.json").write_text("{}")
    with pytest.raises(auditkit.InputError, match="a Core ML model; export the network"):
        accuracy(tmp_path / "nmp.mlpackage", people())


def test_an_onnx_model_whose_weights_lie_in_another_file_is_refused_however_that_is_coded(tmp_path: Path) -> None:
    """protobuf reads a number with idle bytes behind it as the same number: a search for the usual bytes misses it."""
    for tag in (b"\x0a", b"\x8a\x00", b"\x8a\x80\x80\x00"):
        for length in (b"\x08", b"\x88\x00", b"\x88\x80\x00"):
            entry = tag + length + b"location" + b"\x12\x05a.bin"
            assert onnx.StringStringEntryProto.FromString(entry).key == "location"
            assert EXTERNAL.search(b"..." + entry)
    path = tmp_path / "model.onnx"
    weights = onnx.numpy_helper.from_array(np.zeros((1, 2), dtype=np.float32), "w")
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", "../secret.bin"
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, width])
        for name, width in (("a", 1), ("y", 2))
    ]
    node = onnx.helper.make_node("MatMul", ["a", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:], [weights])
    path.write_bytes(onnx.helper.make_model(graph, ir_version=9).SerializeToString())
    with pytest.raises(
        ModelFileError, match=r"keeps weights in a file that is not called model\.onnx\.data; save it whole"
    ):
        open_model(path, schema=numeric_schema(["a"], target="y", classes=["no", "yes"]))


def test_trees_in_a_skops_file_open_where_the_file_is_trusted(tmp_path: Path) -> None:
    frame = people()
    encode = make_column_transformer((StandardScaler(), ["age", "pay"]), (OneHotEncoder(), ["job"]))
    forest = make_pipeline(encode, RandomForestClassifier(5, random_state=0)).fit(frame.drop(columns="ok"), frame["ok"])
    path = tmp_path / "forest.skops"
    skops.io.dump(forest, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(
        auditkit.InputError, match=r"skops does not know: .*Tree.*--predictor.*--trust-pickle sha256:"
    ) as no:
        accuracy(path, frame)
    assert digest in str(no.value)
    with pytest.raises(auditkit.InputError, match="but this file is sha256"):
        accuracy(path, frame, trust_pickle="sha256:0")
    found, trust = accuracy(path, frame, trust_pickle=f"sha256:{digest}")
    assert found == pytest.approx(forest.score(frame, frame["ok"]))
    assert trust.startswith("trusted by its hash")
    assert "sklearn.tree._tree.Tree" in trust
    skops.io.dump(fitted(frame), path)
    with pytest.raises(auditkit.InputError, match="needs no trust; leave --trust-pickle out"):
        accuracy(path, frame, trust_pickle=f"sha256:{digest}")


def test_inspecting_an_estimator_tells_what_a_run_tells(tmp_path: Path) -> None:
    joblib.dump(fitted(people()), tmp_path / "model.joblib")
    found = auditkit.inspect_model(tmp_path / "model.joblib")
    with pytest.raises(auditkit.InputError) as refused:
        accuracy(tmp_path / "model.joblib", people())
    assert not found.opens
    assert found.problems[0] in str(refused.value)


def test_a_pipeline_fitted_to_a_frame_with_its_label_reads_what_its_steps_name(tmp_path: Path) -> None:
    frame = people().assign(split="train")
    encode = make_column_transformer((StandardScaler(), ["age", "pay"]), (OneHotEncoder(), ["job"]))
    pipeline = make_pipeline(encode, LogisticRegression()).fit(frame, frame["ok"])
    report = auditkit.audit(pipeline, frame.drop(columns="split"), target="ok", only=["performance"])
    measurement = report.measurement("performance.accuracy", ())
    assert measurement is not None
    assert measurement.value == pytest.approx(pipeline.score(frame, frame["ok"]))
    assert [one["name"] for one in report.subject.schema_["features"]] == ["age", "pay", "job"]
    rest = make_column_transformer((StandardScaler(), ["age"]), (OneHotEncoder(), ["ok"]), remainder="drop")
    leaky = make_pipeline(rest, LogisticRegression()).fit(frame, frame["ok"])
    with pytest.raises(auditkit.InputError, match="reads the column 'ok', which is the target"):
        auditkit.audit(leaky, frame, target="ok", only=["performance"])


def test_columns_that_a_step_counts_are_read_whole() -> None:
    """A step that names its columns by position must be given all of them, or it would take others."""
    frame = people()[["age", "pay", "ok"]].rename(columns={"ok": "label"})[["label", "age", "pay"]]
    by_position = make_pipeline(make_column_transformer((StandardScaler(), [1, 2])), LogisticRegression())
    assert names_of(by_position.fit(frame, frame["label"])) == ("label", "age", "pay")
    by_name = make_pipeline(make_column_transformer((StandardScaler(), ["pay"])), LogisticRegression())
    assert names_of(by_name.fit(frame, frame["label"])) == ("pay",)
    whole = make_pipeline(
        make_column_transformer((StandardScaler(), ["pay"]), remainder="passthrough"), StandardScaler()
    )
    assert names_of(whole.fit(frame[["age", "pay"]])) == ("age", "pay")


def test_classes_known_as_codes_are_named_by_classes() -> None:
    frame = people()
    codes = (frame["ok"] == "good").astype(int)
    model = LogisticRegression().fit(frame[["age", "pay"]], codes)
    with pytest.raises(
        auditkit.InputError, match=r"the classes bad, good, and the model the codes 0, 1; pass --classes"
    ):
        accuracy(model, frame)
    with pytest.raises(auditkit.InputError, match="pass --classes"):
        accuracy(model, frame, classes=["bad", "awful"])
    report = auditkit.audit(model, frame, target="ok", classes=["bad", "good"], only=["performance", "leakage"])
    found = {name: report.measurement(f"performance.{name}", ()) for name in ("accuracy", "roc_auc")}
    scores = model.predict_proba(frame[["age", "pay"]])[:, 1]
    assert found["accuracy"] is not None
    assert found["accuracy"].value == pytest.approx(model.score(frame[["age", "pay"]], codes))
    assert found["roc_auc"] is not None
    assert found["roc_auc"].value == pytest.approx(roc_auc_score(codes, scores))
    svm = LinearSVC().fit(frame[["age", "pay"]], codes)
    assert accuracy(svm, frame, classes=["bad", "good"])[0] == pytest.approx(svm.score(frame[["age", "pay"]], codes))


def test_shadow_models_of_codes_and_of_names_are_the_same() -> None:
    frame = people(600)
    train, test = frame[:300], frame[300:]
    forest = RandomForestClassifier(20, random_state=0)
    by_name = clone(forest).fit(train[["age", "pay"]], train["ok"])
    by_code = clone(forest).fit(train[["age", "pay"]], (train["ok"] == "good").astype(int))
    attacked = [
        auditkit.audit(
            model,
            test,
            target="ok",
            classes=["bad", "good"],
            training_data=train,
            only=["leakage"],
            settings={"leakage": {"shadows": 2}},
        ).measurement("leakage.membership_auc", ())
        for model in (by_name, by_code)
    ]
    assert attacked[0] is not None
    assert attacked[0].value is not None
    assert attacked[0] == attacked[1]


def test_what_predicts_without_classes_is_named() -> None:
    class Booster:
        def predict(self, rows: object) -> None: ...

    with pytest.raises(auditkit.InputError, match=r"a Booster has no classes_, .* a function of a data frame"):
        accuracy(Booster(), people())
