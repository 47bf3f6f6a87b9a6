"""One network in six forms: weights, torch.export, TorchScript, ONNX, a Lightning checkpoint and a function agree."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import auditkit
from auditkit.evidence.report import Report

ADULT = Path(__file__).parents[4] / "shared" / "data" / "adult.csv.gz"
COLUMNS = ["age", "education-num", "hours-per-week", "sex", "income"]


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def census() -> pd.DataFrame:
    """400 rows of UCI Adult, or, where the file is not at hand, rows with the same columns."""
    if ADULT.is_file():
        found = pd.read_csv(ADULT)
        found.columns = [str(name).strip().replace("_", "-") for name in found.columns]
        return found[COLUMNS].iloc[:400].reset_index(drop=True)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.integers(1, 60, 400) for name in COLUMNS[:3]})
    frame["sex"] = rng.choice(["Female", "Male"], 400)
    frame["income"] = np.where(frame["age"] + rng.normal(0, 9, 400) > 30, ">50K", "<=50K")
    return frame


def prepare(frame: pd.DataFrame) -> torch.Tensor:
    numbers = frame[COLUMNS[:3]].to_numpy(dtype=np.float32) / np.float32(50)
    return torch.from_numpy(np.column_stack([numbers, (frame["sex"] == "Male").to_numpy()]).astype(np.float32))


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, dict[str, tuple[Any, dict[str, Any]]]]:
    folder = tmp_path_factory.mktemp("forms")
    frame = census()
    torch.manual_seed(0)
    network = net()
    inputs, labels = prepare(frame), torch.tensor((frame["income"] == frame["income"].max()).to_numpy().astype(int))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    network.eval()
    torch.save(network.state_dict(), folder / "weights.pt")
    lightning = {"state_dict": {f"model.{key}": value for key, value in network.state_dict().items()}, "epoch": 3}
    torch.save({**lightning, "pytorch-lightning_version": "2.5.0"}, folder / "last.ckpt")
    shapes = ({0: torch.export.Dim("rows", min=2)},)
    torch.export.save(torch.export.export(network, (inputs[:4],), dynamic_shapes=shapes), folder / "model.pt2")
    axes = {"x": {0: "rows"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would have us use torch.export for everything
        torch.jit.trace(network, inputs[:4]).save(folder / "script.pt")
        torch.onnx.export(
            network, (inputs[:4],), folder / "model.onnx", input_names=["x"], dynamic_axes=axes, dynamo=False
        )

    def trusted(name: str) -> dict[str, str]:
        return {"trust_model": f"sha256:{hashlib.sha256((folder / name).read_bytes()).hexdigest()}"}

    def function(rows: pd.DataFrame) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = network(prepare(rows)).softmax(1).numpy()
        return found

    named = {"architecture": f"{__name__}:net", "preprocess": prepare}
    return frame, {
        "weights": (folder / "weights.pt", named),
        "lightning": (folder / "last.ckpt", named),
        "export": (folder / "model.pt2", {"preprocess": prepare, **trusted("model.pt2")}),
        "script": (folder / "script.pt", {"preprocess": prepare, **trusted("script.pt")}),
        "onnx": (folder / "model.onnx", {"preprocess": prepare}),
        "function": (function, {}),
    }


def findings(report: Report) -> dict[tuple[str, str], tuple[str, float | None]]:
    return {
        (finding.measurement, str(finding.group)): (
            finding.verdict, None if finding.value is None else round(finding.value, 5)
        )
        for finding in report.findings
    }  # fmt: skip


def test_every_form_gives_the_same_findings(
    forms: tuple[pd.DataFrame, dict[str, tuple[Any, dict[str, Any]]]],
) -> None:
    frame, made = forms
    found = {}
    for name, (model, options) in made.items():
        report = auditkit.audit(
            model, frame, target="income", sensitive=["sex"], only=["performance", "fairness"], **options
        )
        assert [part.error for part in report.outcomes if part.error] == [], name
        found[name] = findings(report)
    assert len(found["weights"]) > 3
    for name, others in found.items():
        assert others == found["weights"], name
