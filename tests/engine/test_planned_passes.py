"""The plan of a run and the run itself: what is said to go through the model is counted by a hook on the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from languages import gpt2, opened, sentences
from planted import images, reviews
from torch import nn

import auditkit
from auditkit import terminal
from auditkit.auditors.explainability.table_costs import TableCost, affordable
from auditkit.auditors.robustness.auditor import Robustness
from auditkit.data.dataset import data_from_frame
from auditkit.engine.plan import Plan
from auditkit.engine.replay import _repeated
from auditkit.engine.work import EXPLANATION, GRADIENT, Work
from auditkit.models.formats.opening import open_model
from auditkit.training.train import train

FACTOR = 2.0
"""What an auditor computes is planned right within this factor."""

SMALL = {"explainability": {"rows": 60}, "robustness": {"rows": 60}}


class Lookup(nn.Module):
    """Reads integer codes, as a model of characters does."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, 4)
        self.head = nn.Linear(4 * width, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.head(self.embedding(rows.long()).flatten(1))  # type: ignore[no-any-return]


def table(width: int, *, codes: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 30, (200, width)) if codes else rng.standard_normal((200, width)).round(3)
    return pd.DataFrame(cells, columns=[f"c{place}" for place in range(width)]).assign(y=rng.integers(0, 2, 200))


def mlp(width: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, 2))


def weighed(frame: pd.DataFrame) -> np.ndarray:
    """Score rows by a rule of numpy, which has no gradient."""
    cells = frame.to_numpy()
    score = (1 + np.tanh((cells[:, 0] + cells[:, 1] * cells[:, 2] + cells.sum(axis=1)) / 9)) / 2
    return np.stack([1 - score, score], axis=1)


def counted(model: Any, data: Any, **options: Any) -> tuple[Plan, Counter[str], auditkit.Report]:
    """Audit, and return the plan and how many passes each auditor made, a pass with a gradient counted as four."""
    passes: Counter[str] = Counter()
    plans: list[Plan] = []
    now = ["subject"]

    def count(module: nn.Module, inputs: Any, named: Any) -> None:
        rows = inputs[0] if inputs else named["input_ids"]
        passes[now[0]] += len(rows) * (GRADIENT if torch.is_grad_enabled() else 1)

    def function(frame: pd.DataFrame) -> np.ndarray:
        passes[now[0]] += len(frame)
        return model(frame)  # type: ignore[no-any-return]

    def progress(auditor: str, share: float, what: str) -> None:
        now[0] = auditor

    network = getattr(model, "module", model)
    network = getattr(network, "network", network)  # of transformers, which greedy decoding calls by itself
    hooks = [network.register_forward_pre_hook(count, with_kwargs=True)] if isinstance(network, nn.Module) else []
    planned = ["explainability", "robustness", "language", "identity_terms"]
    asked = {"only": planned, "device": "cpu", **options}
    audited: Any = model if hooks else function
    report = auditkit.audit(audited, data, progress=progress, announce=plans.append, **asked)
    for hook in hooks:
        hook.remove()
    assert not [outcome.error for outcome in report.outcomes if outcome.error]
    return plans[0], passes, report


def image_model(folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    train(data_from_frame(images(200)), target="label", out=folder / "i.pt", epochs=1, device="cpu")
    return open_model(folder / "i.pt"), images(60), {}


def text_model(folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    data = data_from_frame(reviews(200))
    small: dict[str, Any] = {"architecture": "transformer", "architecture_args": {"width": 8, "heads": 2}}
    train(data, target="label", text="text", **small, out=folder / "t.pt", epochs=1, device="cpu")
    return open_model(folder / "t.pt"), reviews(60), {}


def language_model(folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    texts = sentences(30, seed=3)
    return opened(gpt2(folder / "g", texts, width=8, seed=4), texts), pd.DataFrame({"text": texts}), {"text": "text"}


MODELS: dict[str, Callable[[Path], tuple[Any, Any, dict[str, Any]]]] = {
    "network of columns": lambda _: (mlp(6), table(6), {"target": "y"}),
    "network of codes": lambda _: (Lookup(15), table(15, codes=True), {"target": "y"}),
    "one column": lambda _: (mlp(1), table(1), {"target": "y"}),
    "function of 20 columns": lambda _: (weighed, table(20), {"target": "y"}),
    "images": image_model,
    "texts": text_model,
    "language model": language_model,
}


@pytest.mark.parametrize("name", MODELS)
def test_what_is_planned_is_what_goes_through_the_model(name: str, tmp_path: Path) -> None:
    model, data, options = MODELS[name](tmp_path)
    plan, passes, _ = counted(model, data, settings=SMALL, **options)
    planned = {part.auditor: part.passes for part in plan.parts if part.passes}
    assert {"explainability", "robustness"} <= planned.keys()
    assert ("identity_terms" in planned) == (name == "texts")
    for auditor, count in planned.items():
        assert count / FACTOR <= passes[auditor] <= count * FACTOR, (auditor, count, passes[auditor])


@pytest.mark.parametrize("name", ["network of columns", "network of codes", "function of 20 columns"])
def test_a_dear_table_is_explained_within_its_budget(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row costs what one of a two-layer LSTM of 256 units over 15 characters does: 200,000 passes are paid for."""
    model, data, options = MODELS[name](tmp_path)
    monkeypatch.setattr(Work, "passes", lambda self, share: 200_000 * share / EXPLANATION)
    plan, passes, report = counted(model, data, only=["explainability"], **options)
    assert not plan.idle
    share = report.measurement("explainability.attribution_share", ("column",))
    assert share is not None
    assert 10 <= share.count < len(data)
    assert passes["explainability"] <= 200_000 * 1.2
    assert passes["explainability"] >= 200_000 / 20
    (outcome,) = [one for one in report.outcomes if one.auditor == "explainability"]
    drawn = [note for note in outcome.notes if "Kernel SHAP to " in note]
    assert bool(drawn) == (name != "network of columns")
    assert all("512 coalitions of each row instead of 1,024" in note for note in drawn)


def test_the_least_rung_of_a_wide_table_leaves_out_recourse_before_the_explanation() -> None:
    cost = TableCost(row_count=2000, column_count=100, layer_count=0, options=(40,) * 100)
    found = affordable(Work("standard", 4_000_000), ["kernel_shap"], cost, 300)
    assert found.rung.rows(2000) >= 40
    assert found.recourse_rows == 0
    assert found.passes <= Work("standard", 4_000_000).passes(EXPLANATION)


def test_exact_values_give_way_to_drawn_coalitions_before_few_rows_are_explained() -> None:
    cost = TableCost(row_count=2000, column_count=14, layer_count=0)
    methods = ["shapley", "kernel_shap"]
    assert affordable(Work("thorough", 1), methods, cost, 0).method == "shapley"
    dear = affordable(Work("standard", 1_000_000), methods, cost, 0)
    assert (dear.method, dear.rung.rows(2000) >= 200) == ("kernel_shap", True)
    assert affordable(Work("standard", 1_000_000), ["shapley"], cost, 0).rung.rows(2000) <= 100, "as it was asked for"


@pytest.mark.parametrize(
    ("microseconds", "operations"), [(0, 1), (10, 1), (16, 1), (17, 4), (60, 4), (70, 16), (1000, 64), (10_000, 1024)]
)
def test_what_is_measured_is_rounded_up_in_steps_of_four(microseconds: float, operations: int) -> None:
    found = Work.of_time("standard", microseconds * 1e-6)
    assert (found.operations, found.measured) == (operations * 1_000_000, True)
    assert Work.of_time("standard", microseconds * 1e-6, counted=10**12).operations == 10**12


def test_a_replay_spends_what_the_run_did_whatever_a_row_takes_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([40e-6, 5e-3])
    monkeypatch.setattr("auditkit.engine.row_cost.seconds_of_a_row", lambda *_: next(times))
    made: dict[str, Any] = {"only": ["robustness"], "target": "y", "effort": "quick", "settings": SMALL}
    frame = table(20)
    slow = auditkit.audit(weighed, frame, **made)  # type: ignore[arg-type]
    assert slow.config.run.operations_per_row == 4_000_000
    assert slow.config.run.effort == "quick"
    stated = auditkit.audit(weighed, frame, operations_per_row=4_000_000, **made)  # type: ignore[arg-type]
    again = _repeated(slow, {one.auditor: one for one in slow.outcomes if not one.left_out}, "cpu")
    assert (again.run.effort, again.run.operations_per_row) == ("quick", 4_000_000)
    assert stated.outcomes[0].notes == slow.outcomes[0].notes
    dearer = auditkit.audit(weighed, frame, **made)  # type: ignore[arg-type]
    assert dearer.config.run.operations_per_row == 1_024_000_000


def test_an_auditor_whose_plan_fails_stops_neither_the_plan_nor_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(self: Robustness, subject: Any) -> float:
        raise ArithmeticError("1 of 2 rows")

    monkeypatch.setattr(Robustness, "passes", fails)
    plans: list[Plan] = []
    report = auditkit.audit(mlp(6), table(6), target="y", only=["robustness"], settings=SMALL, announce=plans.append)
    assert (plans[0].idle, dict(plans[0].unplanned)) == ((), {"robustness": "ArithmeticError: 1 of 2 rows"})
    terminal.announce(plans[0])
    said = capsys.readouterr().err
    assert "  not planned, but run: robustness (ArithmeticError: 1 of 2 rows)" in said
    assert "not run" not in said
    assert [one.auditor for one in report.outcomes if one.measurements] == ["robustness"]
