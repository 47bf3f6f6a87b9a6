"""Attacks along the gradient: exact on linear networks, within their bounds, and honest where there is no gradient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from auditkit.auditors.robustness.adversarial import Attack, attack, margin_function
from auditkit.errors import NotRun
from auditkit.schema.infer import numeric_schema
from auditkit.schema.schema import Schema
from auditkit.tasks.base import task_for

STRENGTHS = (0.05, 0.2, 0.5, 1.0)
CPU = torch.device("cpu")


def schema_of(classes: Sequence[str] = ("no", "yes"), output: str = "logits") -> Schema:
    return numeric_schema(["a", "b", "c"], target="y", classes=classes).model_copy(update={"output": output})


def linear(weights: np.ndarray, bias: np.ndarray) -> torch.nn.Linear:
    layer = torch.nn.Linear(weights.shape[1], weights.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


def attacked(module: torch.nn.Module, rows: np.ndarray, decided: np.ndarray, **more: object) -> Attack:
    options = {"unit": np.ones(rows.shape[1:], dtype=np.float32), "strengths": STRENGTHS, "seed": 0, "device": CPU}
    schema = more.pop("schema", schema_of())
    assert isinstance(schema, Schema)
    return attack(margin_function(module.eval(), task_for(schema)), rows, decided, **{**options, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("unit", [np.ones(3), np.array([2.0, 0.5, 0.0])])
def test_on_a_linear_network_both_turn_exactly_what_lies_within_reach(columns: int, unit: np.ndarray) -> None:
    """A change of at most e_i a cell moves w x by at most the sum of e_i |w_i|."""
    rng = np.random.default_rng(0)
    weights, bias = rng.normal(size=(columns, 3)), rng.normal(size=columns)
    rows = rng.normal(size=(500, 3)).astype(np.float32)
    module = linear(weights, bias)
    direction = weights[0] if columns == 1 else weights[1] - weights[0]
    scores = rows @ direction + (bias[0] if columns == 1 else bias[1] - bias[0])
    found = attacked(module, rows, (scores >= 0).astype(np.int64), unit=unit.astype(np.float32))
    for place, strength in enumerate(STRENGTHS):
        reach = strength * np.abs(unit * direction).sum()
        clear = np.abs(np.abs(scores) - reach) > 1e-4
        expected = np.abs(scores) < reach
        assert np.array_equal(found.one_step[place][clear], expected[clear])
        assert np.array_equal(found.ten_steps[place][clear], expected[clear])
    assert found.flat_count == 0


def network(seed: int, outputs: int) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.ReLU(), torch.nn.Linear(16, outputs))
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.8)
    return module


def test_ten_steps_turn_what_one_does_and_more_strength_turns_more() -> None:
    module = network(1, 4)
    rows = np.random.default_rng(1).normal(size=(300, 3)).astype(np.float32)
    with torch.no_grad():
        decided = module(torch.from_numpy(rows)).argmax(dim=1).numpy()
    schema = schema_of(("a", "b", "c", "d"))
    found = attacked(module, rows, decided, schema=schema)
    assert not (found.one_step & ~found.ten_steps).any()
    assert not (found.ten_steps[:-1] & ~found.ten_steps[1:]).any()
    assert found.ten_steps[0].mean() < found.ten_steps[-1].mean()
    again = attacked(module, rows, decided, schema=schema)
    assert np.array_equal(found.ten_steps, again.ten_steps)
    # A gradient finds more than a hundred random changes of the same size do; not each of those, for it can get stuck.
    rng, reached = np.random.default_rng(2), np.zeros(300, dtype=bool)
    for _ in range(100):
        moved = torch.from_numpy((rows + rng.uniform(-0.5, 0.5, rows.shape)).astype(np.float32))
        with torch.no_grad():
            reached |= module(moved).argmax(dim=1).numpy() != decided
    assert found.ten_steps[2].sum() >= reached.sum()


def test_no_cell_leaves_its_bounds() -> None:
    seen: list[torch.Tensor] = []

    class Recorder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network(3, 1)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            seen.append(inputs.detach())
            return self.network(inputs)  # type: ignore[no-any-return]  # a call of a module, or of a library, is Any

    rows = np.random.default_rng(3).uniform(0, 1, (50, 3)).astype(np.float32)
    unit = np.array([1, 1, 0], dtype=np.float32)
    attacked(Recorder(), rows, np.zeros(50, dtype=np.int64), bounds=(0.0, 1.0), unit=unit)
    every = torch.cat(seen)
    assert every.min() >= 0
    assert every.max() <= 1
    assert set(every[:, 2].tolist()) <= set(rows[:, 2].tolist()), "a cell of unit 0 is never changed"


@pytest.mark.parametrize(("output", "threshold"), [("probabilities", 0.5), ("score", 3.0)])
def test_margins_follow_the_kind_of_output(output: str, threshold: float) -> None:
    module = linear(np.array([[1.0, 0.0, 0.0]]), np.array([0.0]))
    schema = schema_of(output=output).model_copy(update={"threshold": 3.0 if output == "score" else None})
    rows = torch.tensor([[threshold + 1, 0.0, 0.0], [threshold - 2, 0.0, 0.0]])
    assert margin_function(module, task_for(schema))(rows, torch.tensor([1, 0])).tolist() == pytest.approx([1.0, 2.0])


def test_rows_without_a_slope_are_counted() -> None:
    class Step(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.relu(inputs[:, :1] - 1) - 0.5

    rows = np.array([[0.0, 0, 0], [2.0, 0, 0]], dtype=np.float32)
    assert attacked(Step(), rows, np.array([0, 1])).flat_count == 1


def test_without_a_gradient_there_is_no_attack() -> None:
    class Rounded(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs.detach()[:, :1]

    with pytest.raises(NotRun, match="no gradient"):
        attacked(Rounded(), np.zeros((4, 3), dtype=np.float32), np.zeros(4, dtype=np.int64))
