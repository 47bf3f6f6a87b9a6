"""Models that read raw columns, audited whole: two inputs by preprocessing, estimators, functions, code by name."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

import auditkit
from auditkit.auditors.privacy.auditor import Privacy
from auditkit.auditors.privacy.leakage import Leakage
from auditkit.cli import call
from auditkit.evidence.report import Report

CASES = Path(__file__).parent.parent.parent / "shared" / "cases"

NETS = """
import torch
from torch import nn

class Emb(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = nn.Embedding(3, 1)
        self.l = nn.Linear(1, 1)

    def forward(self, x):
        return self.e(x[:, 0].long().clamp(0, 2)) + self.l(x[:, 1:2])

class Two(Emb):
    def forward(self, x_cat, x_num):
        return self.e(x_cat[:, 0]) + self.l(x_num)

class Code(Emb):
    def forward(self, x):
        return self.e(x[:, 0].long().clamp(0, 2))

class Wide(Emb):
    def forward(self, x):
        return self.e(x[:, 0].long().clamp(0, 2)) + 0.5 * x[:, 1:2] - 0.6 * x[:, 2:3] + 0.1

def tensors(frame):
    return torch.tensor(frame[["cat"]].to_numpy().astype(int)), torch.tensor(frame[["x"]].to_numpy()).float()

def named(frame):
    codes, numbers = tensors(frame)
    return {"x_num": numbers, "x_cat": codes}

def fails(frame):
    return frame["cat"].map({1: 1}).astype(int)

def by_hand(frame):
    return 1 / (1 + 2.718281828 ** -(frame["x"] - 0.5))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"cat": rng.integers(0, 3, 300), "x": rng.normal(size=300).round(3)})
    frame["y"] = (frame["cat"] - 1 + frame["x"] + rng.logistic(size=300) > 0).astype(int)
    frame["g"] = rng.choice(["F", "M"], 300)
    frame.to_csv(tmp_path / "emb.csv", index=False)
    weights = {"e.weight": torch.tensor([[-1.3], [0.2], [1.1]]), "l.weight": torch.tensor([[0.7]])}
    torch.save(weights | {"l.bias": torch.tensor([0.1])}, tmp_path / "emb.pt")
    (tmp_path / "my_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(folder: Path, *arguments: str) -> dict[tuple[str, tuple[str, ...]], Any]:
    common = ["--dataset", "emb.csv", "--target", "y", "--sensitive", "g", "--out", str(folder / "out"), "--quiet"]
    only = [f"--only={name}" for name in ("performance", "fairness", "explainability")]
    assert call(["run", *arguments, *common, *only]) in (0, 1)
    document = json.loads((folder / "out/results.json").read_text())
    return {
        (measurement["id"], tuple(measurement["by"])): (measurement["value"], measurement["slices"])
        for outcome in document["outcomes"]
        for measurement in outcome["measurements"]
    }


def near(one: Any, other: Any) -> bool:
    """Whether two parts of a results.json say the same but for the rounding of float32, which differs by processor."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-6)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(near(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(near, one, other))
    return bool(one == other)


def test_two_inputs_by_preprocessing_give_the_numbers_of_one(folder: Path) -> None:
    logits = ["--output", "logits", "--explain", "shapley"]
    one = run(folder, "emb.pt", "--architecture", "my_nets:Emb", *logits)
    for function in ("my_nets:tensors", "my_nets:named"):
        two = run(folder, "emb.pt", "--architecture", "my_nets:Two", "--preprocess", function, *logits)
        # Without a gradient the second method, which the first is compared with, is another one.
        different = {key[0] for key in one if not near(one[key], two.get(key))}
        assert different <= {"explainability.method_agreement"}
        assert set(one) == set(two)


@pytest.mark.parametrize(("network", "columns"), [("Emb", 2), ("Code", 1), ("Wide", 3), ("Wide with a constant", 3)])
def test_an_integer_code_is_explained_by_values_and_not_called_untrustworthy(
    folder: Path, network: str, columns: int
) -> None:
    """Two columns have two orders alone, so that checks that compare orders are a matter of luck."""
    frame = pd.read_csv("emb.csv")
    third = np.random.default_rng(1).normal(size=len(frame)) if network == "Wide" else 2.0
    inputs = {"cat": frame["cat"], "x": frame["x"], "third": third}
    data = pd.DataFrame({name: inputs[name] for name in list(inputs)[:columns]})
    data[["y", "g"]] = frame[["y", "g"]]
    data.to_csv("emb.csv", index=False)
    architecture = f"my_nets:{network.split()[0]}"
    found = run(
        folder, "emb.pt", "--architecture", architecture, "--output", "logits", "--explain=integrated_gradients"
    )
    assert found["explainability.failed_trust_checks", ()][0] == 0
    codes, embedding = frame["cat"].to_numpy(), np.array([-1.3, 0.2, 1.1])
    sizes = [np.abs(embedding[codes] - embedding[np.bincount(codes).argmax()]).mean()]
    slopes = [0.7] if network == "Emb" else [0.5, -0.6]
    for slope, name in zip(slopes, list(inputs)[1:columns], strict=False):
        sizes.append(np.abs(slope * (data[name] - data[name].mean())).mean())
    shares = found["explainability.attribution_share", ("column",)][1]
    by_column = {part["group"]["key"][0]: part["value"] for part in shares}
    assert by_column["cat"] == pytest.approx(sizes[0] / sum(sizes), abs=1e-5)


def test_what_goes_wrong_in_the_users_code_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "emb.pt", "--architecture", "my_nets:Two", "--dataset", "emb.csv", "--target", "y"]
    for code, said in (
        ("my_nets:fails", "preprocess my_nets:fails: IntCastingNaNError: Cannot convert non-finite values"),
        ("my_nets:absent", "preprocess my_nets:absent: AttributeError"),
        ("nowhere:f", "preprocess nowhere:f: no module 'nowhere' in"),
        ("my_nets", "preprocess 'my_nets' is not understood; write package.module:name"),
    ):
        assert call([*arguments, "--preprocess", code]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert len(error.strip().splitlines()) == 1


def test_a_function_named_by_the_user_is_a_model(folder: Path) -> None:
    found = run(folder, "--predictor", "my_nets:by_hand", "--explain", "shapley")
    shares = found["explainability.attribution_share", ("column",)][1]
    assert len(shares) == 1  # only x is read
    frame = pd.read_csv("emb.csv")
    accuracy = found["performance.accuracy", ()][0]
    assert accuracy == pytest.approx(float(((frame["x"] >= 0.5) == frame["y"]).mean()))


def people(count: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"age": rng.integers(18, 80, count), "pay": rng.normal(30, 8, count).round(2)})
    frame["job"] = rng.choice(["clerk", "nurse", "pilot"], count)
    frame["sex"] = rng.choice(["F", "M"], count)
    score = 0.06 * (frame["age"] - 45) + 0.1 * (frame["pay"] - 30) + (frame["job"] == "pilot")
    frame["ok"] = np.where(score + rng.logistic(size=count) > 0, "good", "bad")
    return frame


def value(report: Report, id: str) -> float:
    measurement = report.measurement(id, ())
    assert measurement is not None
    assert measurement.value is not None, measurement.reason
    return measurement.value


def test_a_pipeline_gets_every_audit_that_needs_no_gradient() -> None:
    train, test = people(400, 0), people(300, 1)
    encode = make_column_transformer((StandardScaler(), ["age", "pay"]), (OneHotEncoder(), ["job"]))
    pipeline = make_pipeline(encode, LogisticRegression()).fit(train.drop(columns="ok"), train["ok"])
    report = auditkit.audit(
        pipeline,
        test,
        target="ok",
        sensitive=["sex"],
        training_data=train,
        settings={"leakage": {"shadows": 2}},
        skip=["tradeoff", "weak_spots", "proxies"],
    )
    outcomes = {outcome.auditor: outcome for outcome in report.outcomes}
    assert [name for name, outcome in outcomes.items() if outcome.error] == []
    assert value(report, "performance.accuracy") == pytest.approx(pipeline.score(test, test["ok"]))
    assert "no network of torch" in str(outcomes["privacy"].reason)
    assert 0.4 < value(report, "leakage.membership_auc") < 0.6
    facts = [exhibit for exhibit in outcomes["leakage"].exhibits if exhibit.title == "How the shadow models were made"]
    assert facts == []
    assert report.measurement("explainability.attribution_share", ("column",)) is not None
    assert report.measurement("robustness.missing_values_flip_rate", ()) is not None
    assert report.subject.model is not None
    assert report.subject.model.kind == "Pipeline"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.jobs = nn.Embedding(3, 2)
        self.head = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, jobs: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(torch.cat([self.jobs(jobs), numbers], dim=1))
        return out


def encode(frame: pd.DataFrame) -> dict[str, torch.Tensor]:
    numbers = torch.tensor((frame[["age", "pay"]].to_numpy() - [49, 30]) / [18, 8]).float()
    return {"numbers": numbers, "jobs": torch.tensor(frame["job"].map({"clerk": 0, "nurse": 1, "pilot": 2}).to_numpy())}


def test_private_retraining_and_shadows_of_two_inputs() -> None:
    train, test = people(600, 0), people(300, 1)
    torch.manual_seed(0)
    report = auditkit.audit(
        Net(),
        test,
        target="ok",
        preprocess=encode,
        training_data=train,
        auditors=[Privacy(epsilon=(8.0,), canaries=20), Leakage(shadows=2)],
    )
    outcomes = {outcome.auditor: outcome for outcome in report.outcomes}
    for name in ("privacy", "leakage"):
        assert outcomes[name].error is None, outcomes[name].error
        assert outcomes[name].reason is None, outcomes[name].reason
    accuracy = report.measurement("privacy.accuracy", ("retraining",))
    assert accuracy is not None
    slices = [part.value or 0 for part in accuracy.slices]
    assert max(slices) > 0.6  # of a network with fresh weights, which learnt through both inputs
    assert value(report, "leakage.membership_auc") < 0.6


def test_what_a_request_cannot_mean_is_refused() -> None:
    frame = people(50, 0)
    nothing: Any = object()
    column: Any = lambda rows: rows["age"] * 0.01  # noqa: E731
    one_row: Any = lambda rows: [0.5]  # noqa: E731
    with pytest.raises(auditkit.InputError, match="an ONNX session or a function, got object"):
        auditkit.audit(nothing, frame, target="ok")
    with pytest.raises(auditkit.InputError, match="target must name the label's column"):
        auditkit.audit(column, frame)
    with pytest.raises(auditkit.InputError, match="must return one row for each of"):
        auditkit.audit(one_row, frame, target="ok")
