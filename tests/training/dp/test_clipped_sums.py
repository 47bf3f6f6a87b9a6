"""Each way to sum clipped gradients against a loop in float64."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from clipped import NETWORKS, batch, distance, exact_sum, make, seeded, sum_by
from torch import nn

from auditkit.tasks.objectives import BinaryCrossEntropy, CrossEntropy, Objective, SquaredError
from auditkit.training import fit
from auditkit.training.dp import clip_chunked, per_example
from auditkit.training.dp.clipping import summed_by
from auditkit.training.dp.settings import Way

# Opacus's modes are passed over where they would be wrong; test_clipping.py holds that they are.
WRONG = {("ghost", "twice"), ("ghost", "images"), ("ghost", "tokens"), ("hooks", "tokens")}
RIGHT = [
    (way, name) for way in ("bookkeeping", "chunked", "ghost", "hooks") for name in NETWORKS if (way, name) not in WRONG
]


@pytest.mark.parametrize("clip", [0.05, 1e3])
@pytest.mark.parametrize(("way", "name"), RIGHT)
def test_a_batch_is_clipped_as_by_a_float64_loop(name: str, way: Way, clip: float) -> None:
    module, data = make(name), batch(name)
    expected = exact_sum(module, data, clip)
    size = float(torch.cat([part.flatten() for part in expected]).norm())
    assert distance(sum_by(way, module, data, clip), expected) < 1e-6 * max(clip if clip < 1 else 1.0, size)


@pytest.mark.parametrize("way", ["bookkeeping", "chunked"])
@pytest.mark.parametrize("name", NETWORKS)
def test_one_row_is_a_batch_too(name: str, way: Way) -> None:
    module, (inputs, labels) = make(name), batch(name)
    data = inputs[3:4], labels[3:4]
    assert distance(sum_by(way, module, data, 0.05), exact_sum(module, data, 0.05)) < 1e-6


def test_the_first_layers_output_may_be_changed_in_place() -> None:
    """Nothing before that layer is trained, so book-keeping makes its output the start of the graph."""
    data = batch("mlp")
    inner = [nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 4), nn.ReLU(inplace=True)]
    module = nn.Sequential(*inner, make("mlp"))
    assert distance(sum_by("bookkeeping", module, data, 0.05), exact_sum(module, data, 0.05)) < 1e-6


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_in_another_order_give_the_same_sum(name: str) -> None:
    module, (inputs, labels) = make(name), batch(name)
    order = torch.randperm(len(labels), generator=seeded())
    one = sum_by("bookkeeping", module, (inputs, labels), 0.05)
    other = sum_by("bookkeeping", module, (inputs[order], labels[order]), 0.05)
    assert distance(one, other) < 1e-6


@pytest.mark.parametrize("way", ["bookkeeping", "chunked", "hooks"])
def test_outputs_of_every_kind_agree(way: Way) -> None:
    inputs, labels = batch("mlp")
    cases: list[tuple[Objective, torch.Tensor, nn.Module]] = [
        (CrossEntropy("probabilities"), labels, nn.Softmax(dim=1)),
        (SquaredError(), torch.randn(9, generator=seeded()), nn.Linear(2, 1)),
        (BinaryCrossEntropy(), torch.stack([labels % 2, labels // 2], dim=1).float(), nn.Linear(2, 2)),
    ]
    for objective, targets, head in cases:
        module = nn.Sequential(make("mlp"), head)
        found = sum_by(way, module, (inputs, targets), 0.3, objective)
        expected = sum_by("chunked", copy.deepcopy(module).double(), (inputs.double(), targets), 0.3, objective)
        assert distance(found, expected) < 1e-6


def test_reduced_precision_is_clipped_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: the network runs in bfloat16, norms and sums are float32, and no row is above the bound."""
    for name in ("mlp", "cnn", "transformer", "lstm"):
        module, (inputs, labels) = make(name), batch(name)
        plain = sum_by("bookkeeping", module, (inputs, labels), 0.05)
        with monkeypatch.context() as patch:
            patch.setattr(per_example, "autocast_on", lambda device: torch.autocast("cpu", dtype=torch.bfloat16))
            found = sum_by("bookkeeping", module, (inputs, labels), 0.05)
            alone = [sum_by("bookkeeping", module, (inputs[row, None], labels[row, None]), 0.05) for row in range(9)]
        assert all(part.dtype == torch.float32 for part in found)
        for sums in alone:
            assert float(torch.cat([part.flatten() for part in sums]).norm()) <= 0.05 * (1 + 1e-5)
        assert 0 < distance(found, plain) < 0.1 * 0.05


def test_large_networks_are_cut_into_smaller_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_chunked, "CELLS_AT_ONCE", 200)
    module, data = make("mlp"), batch("mlp")
    assert distance(sum_by("chunked", module, data, 0.05), exact_sum(module, data, 0.05)) < 1e-6


@pytest.mark.parametrize("working", [True, False])
def test_long_trainings_are_compiled_where_that_works(working: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []

    def stand_in(function: Any, *, dynamic: bool) -> Any:
        compiled.append(function)

        def run(*arguments: Any) -> Any:
            if not working:
                raise RuntimeError("no compiler")
            assert len(arguments[1]) == clip_chunked.ROWS_AT_ONCE
            return function(*arguments)

        return run

    monkeypatch.setattr(torch, "compile", stand_in)
    module, data = make("mlp"), batch("mlp", 70)
    with summed_by("chunked", module, objective=CrossEntropy(), row_passes=clip_chunked.COMPILED_FROM) as clipped_sum:
        found = clipped_sum(*data, 0.05)
        again = clipped_sum(*data, 0.05)
    assert len(compiled) == 1
    assert distance(found, exact_sum(module, data, 0.05)) < 1e-6
    assert distance(found, again) < 1e-6
    monkeypatch.setattr(clip_chunked, "LARGEST_COMPILED", 1)
    with summed_by("chunked", module, objective=CrossEntropy(), row_passes=clip_chunked.COMPILED_FROM) as clipped_sum:
        clipped_sum(*data, 0.05)
    assert len(compiled) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer", "twice"])
def test_the_compiled_chunks_agree_with_a_float64_loop(name: str) -> None:
    module, data = make(name), batch(name, 70)
    with summed_by("chunked", module, objective=CrossEntropy(), row_passes=clip_chunked.COMPILED_FROM) as clipped_sum:
        found = clipped_sum(*data, 0.05)
    expected = exact_sum(module, data, 0.05)
    assert distance(found, expected) < 2e-6


def test_autocast_is_for_cuda_only() -> None:
    assert not fit.autocast_on(torch.device("cpu"))._enabled
