"""Layers put back into exported programs: they compute the same, under the same names, or are left alone."""

from __future__ import annotations

import pytest
import torch
from clipped import batch, distance, exact_sum, make
from programs import exported
from torch import nn

from auditkit.models.program_layers import LAYERS, restore_layers
from auditkit.tasks.objectives import CrossEntropy
from auditkit.training.dp.clipping import clipper_for

pytestmark = pytest.mark.filterwarnings("ignore")  # torch.export's own


@pytest.mark.parametrize("name", ["mlp", "cnn", "gru", "transformer", "twice", "images"])
def test_books_of_restored_layers_give_what_a_loop_over_the_original_gives(name: str) -> None:
    module, data = make(name), batch(name)
    program = exported(module, data[0])
    said, names = program(data[0]), list(program.state_dict())
    restore_layers(program.network)
    assert torch.equal(program(data[0]), said)
    assert list(program.state_dict()) == names
    assert not [node for node in program.network.graph.nodes if node.target in LAYERS]
    with clipper_for(program, *data, objective=CrossEntropy(), clipping="bookkeeping") as clipper:
        found = clipper.clipped_sum(*data, 0.05)
    by_name = dict(zip((name for name, _ in program.network.named_parameters()), found, strict=True))
    ordered = [by_name[name] for name, _ in module.named_parameters()]
    assert distance(ordered, exact_sum(module, data, 0.05)) < 1e-6


class Odd(nn.Module):
    """Weights that are read twice in different ways, in part, transposed, beside a buffer, or never."""

    def __init__(self) -> None:
        super().__init__()
        self.tied, self.doubled, self.turned, self.cut = (nn.Linear(4, 4) for _ in range(4))
        self.buffered, self.unbiased, self.unread = (nn.Linear(4, 4) for _ in range(3))
        self.buffered.register_buffer("scale", torch.rand(4))
        self.stride, self.own = nn.Conv1d(1, 2, 2), nn.Parameter(torch.rand(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        function = nn.functional
        x = torch.tanh(function.linear(self.tied(x), self.tied.weight, x.new_zeros(4)))
        x = torch.tanh(self.doubled(x) * self.doubled.bias)
        x = torch.tanh(function.linear(x, self.turned.weight.T, self.turned.bias))
        x = torch.tanh(function.linear(x, self.cut.weight[:4], self.cut.bias))
        x = torch.tanh(self.buffered(x) * self.buffered.scale)
        x = torch.tanh(function.linear(x, self.unbiased.weight) @ self.own)
        strides = [function.conv1d(x[:, None], self.stride.weight, self.stride.bias, stride=n).mean(2) for n in (1, 2)]
        return torch.cat(strides, dim=1)


def test_what_no_layer_computes_is_left_alone() -> None:
    torch.manual_seed(3)
    x = torch.randn(6, 4)
    program = exported(Odd(), x)
    said = program(x)
    restore_layers(program.network)
    assert torch.equal(program(x), said)
    called = {str(node.target) for node in program.network.graph.nodes if node.op == "call_module"}
    assert called <= {"_guards_fn"}
    with clipper_for(program, x, torch.arange(6) % 2, objective=CrossEntropy()) as clipper:
        assert clipper.way == "chunked"
