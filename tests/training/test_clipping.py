"""Each way to sum clipped gradients against a loop in float64, and how one is chosen."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from auditkit.errors import InputError, NotRun
from auditkit.subject.architectures import build
from auditkit.subject.program import ExportedNetwork
from auditkit.training import chunked, clipping, fit, per_row
from auditkit.training.clipping import Clipping, Way, clipper_for, summed_by
from auditkit.training.fit import Output
from auditkit.training.opacus_clipping import opacus_mode
from auditkit.training.private import fit_private

Batch = tuple[torch.Tensor, torch.Tensor]
Tensors = list[torch.Tensor]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Twice(nn.Module):
    """Calls one layer twice, whose gradients must be summed before they are clipped."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.layer, self.norm, self.head = nn.Linear(width, width), nn.LayerNorm(width), nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(2):
            x = torch.tanh(self.norm(self.layer(x)))
        out: torch.Tensor = self.head(x)
        return out


class Images(nn.Module):
    """Groups, strides, dilation, a convolution that runs twice, and a GroupNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2)
        self.again = nn.Conv2d(4, 4, (3, 1), padding=(2, 0), dilation=(2, 1), bias=False)
        self.norm, self.line = nn.GroupNorm(2, 4), nn.Conv1d(4, 3, 2)
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(torch.tanh(self.first(x)))
        x = torch.tanh(self.again(torch.tanh(self.again(x))))
        out: torch.Tensor = self.head(self.line(x.flatten(2)).mean(2))
        return out


class Tokens(nn.Module):
    """Sequences short enough that norms come from pairs of places, an unused layer, and one that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.unused = nn.Embedding(9, 24, padding_idx=0), nn.Linear(3, 3)
        self.wide, self.frozen, self.head = nn.Linear(24, 32), nn.Linear(32, 32), nn.Linear(32, 2)
        self.frozen.requires_grad_(False)
        self.head.bias.requires_grad_(False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        self.unused(self.unused.weight.new_zeros(len(ids), 3))  # runs, with no part in the loss
        out: torch.Tensor = self.head(torch.tanh(self.frozen(torch.relu(self.wide(self.words(ids))))).mean(1))
        return out


TEXT: dict[str, Any] = {"vocabulary_size": 12, "length": 6, "output_width": 2, "dropout": 0.2}
IMAGE: dict[str, Any] = {"input_shape": [2, 8, 8], "output_width": 2, "channels": [3, 4], "hidden": 5, "dropout": 0.2}
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: build("mlp", {"input_width": 4, "hidden": [8], "output_width": 2}),
    "cnn": lambda: build("cnn", IMAGE),
    "lstm": lambda: build("lstm", TEXT),
    "gru": lambda: build("gru", TEXT),
    "transformer": lambda: build("transformer", TEXT),
    "twice": Twice,
    "images": Images,
    "tokens": Tokens,
}


def make(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return NETWORKS[name]().eval()


def batch(name: str, count: int = 9) -> Batch:
    """Rows that the network reads; texts end early, and the first is empty."""
    generator = seeded(5)
    labels = torch.arange(count) % 2
    if name in ("cnn", "images"):
        return torch.randn(count, 2, 8, 8, generator=generator), labels
    if name in ("mlp", "twice"):
        return torch.randn(count, 4, generator=generator) * 3, labels
    ids = torch.randint(1, 9, (count, 6), generator=generator)
    ids[torch.arange(6)[None] >= torch.arange(count)[:, None] % 7] = 0
    return ids, labels


def exact_sum(module: nn.Module, data: Batch, clip: float) -> Tensors:
    """One backward pass a row, in float64, written without auditkit: the oracle."""
    module = copy.deepcopy(module).double()
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    for x, y in zip(*data, strict=True):
        module.zero_grad()
        row = x[None].double() if x.is_floating_point() else x[None]
        functional.cross_entropy(module(row), y[None]).backward()  # type: ignore[no-untyped-call]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        norm = float(torch.cat([part.flatten() for part in gradients]).norm())
        for total, part in zip(sums, gradients, strict=True):
            total += part * min(1.0, clip / (norm + 1e-6))  # Opacus adds this, and so do all ways
    return sums


def sum_by(way: Way, module: nn.Module, data: Batch, clip: float, output: Output = "logits") -> Tensors:
    if way in ("ghost", "hooks"):
        module.train()  # Opacus sees layers that train only
        for layer in module.modules():
            layer.training = not isinstance(layer, nn.Dropout)
    with summed_by(way, module, output=output) as clipped_sum:
        return clipped_sum(*data, clip)


def distance(found: Tensors, expected: Tensors) -> float:
    return max(float((one.double() - other).abs().max()) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("clip", [0.05, 1e3])
@pytest.mark.parametrize("way", ["bookkeeping", "chunked", "ghost", "hooks"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_batch_is_clipped_as_by_a_float64_loop(name: str, way: Way, clip: float) -> None:
    if (way, name) in {("ghost", "twice"), ("ghost", "images"), ("ghost", "tokens"), ("hooks", "tokens")}:
        pytest.skip("Opacus's mode is not used there: it would be wrong")
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
    for output, targets, head in (
        ("probabilities", labels, nn.Softmax(dim=1)),
        ("value", torch.randn(9, generator=seeded()), nn.Linear(2, 1)),
    ):
        module = nn.Sequential(make("mlp"), head)
        found = sum_by(way, module, (inputs, targets), 0.3, output)  # type: ignore[arg-type]
        expected = sum_by("chunked", copy.deepcopy(module).double(), (inputs.double(), targets), 0.3, output)  # type: ignore[arg-type]
        assert distance(found, expected) < 1e-6


def test_reduced_precision_is_clipped_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: the network runs in bfloat16, norms and sums are float32, and no row is above the bound."""
    for name in ("mlp", "cnn", "transformer", "lstm"):
        module, (inputs, labels) = make(name), batch(name)
        plain = sum_by("bookkeeping", module, (inputs, labels), 0.05)
        with monkeypatch.context() as patch:
            patch.setattr(per_row, "autocast_on", lambda device: torch.autocast("cpu", dtype=torch.bfloat16))
            found = sum_by("bookkeeping", module, (inputs, labels), 0.05)
            alone = [sum_by("bookkeeping", module, (inputs[row, None], labels[row, None]), 0.05) for row in range(9)]
        assert all(part.dtype == torch.float32 for part in found)
        for sums in alone:
            assert float(torch.cat([part.flatten() for part in sums]).norm()) <= 0.05 * (1 + 1e-5)
        assert 0 < distance(found, plain) < 0.1 * 0.05


# Choosing


class Positions(nn.Module):
    """Adds a parameter of its own, which no layer runs."""

    def __init__(self) -> None:
        super().__init__()
        self.places, self.head = nn.Parameter(torch.ones(4)), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(torch.tanh(x + self.places))
        return out


class Borrowed(nn.Module):
    """Uses a layer's weight a second time behind its back, as tied output embeddings do."""

    def __init__(self, often: bool = True) -> None:
        super().__init__()
        self.layer, self.head, self.often = nn.Linear(4, 4), nn.Linear(4, 2), often

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.layer(x))
        if self.often or len(x) > 20:
            x = x @ self.layer.weight
        out: torch.Tensor = self.head(x)
        return out


class InPlace(nn.Module):
    """Changes what a layer has read, which torch refuses too, where it has saved it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(x)
        read = self.layer(x)
        out: torch.Tensor = self.head(x.add_(1) + read)
        return out


class Mixes(nn.Module):
    """Lets each row see the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(x - x.mean(0))
        return out


class Scaled(nn.Linear):
    """An heir of a known layer that computes something else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * 3


class Flat(nn.Module):
    """Runs a layer over rows and places as one dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(x.reshape(-1, 2)).view(len(x), 2, 2).sum(1)
        return out


def tied() -> nn.Module:
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, 2))
    module[2].weight = module[0].weight
    return module


def hooked() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Positions, r"layer \(root\) is a Positions, which book-keeping does not know"),
        (Borrowed, "layer.weight is used outside the layer that owns it"),
        (Mixes, "clipping norms away from a loop"),
        (Flat, "layer layer does not see its rows in the first dimension"),
        (lambda: nn.Sequential(Scaled(4, 2)), "layer 0 is a Scaled, which"),
        (tied, "layer 2 is a Linear, whose weights another layer shares"),
        (hooked, "is a Parametrized"),
        (lambda: nn.Sequential(nn.Embedding(9, 2, scale_grad_by_freq=True), nn.Flatten()), "scale_grad_by_freq"),
        (
            lambda: nn.Sequential(
                nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 3, padding="same"), nn.Flatten(), nn.Linear(8, 2)
            ),
            "padding by zeros same",
        ),
    ],
)
def test_a_network_that_book_keeping_would_get_wrong_is_clipped_in_chunks(
    network: Callable[[], nn.Module], reason: str
) -> None:
    """A norm that misses a gradient is too small, and lets a row through above the bound."""
    torch.manual_seed(0)
    module = network().train()
    inputs, labels = batch("mlp", 16)
    if isinstance(next(module.modules()), nn.Sequential) and isinstance(next(iter(module.children())), nn.Embedding):
        inputs = inputs.abs().long().clamp(max=8)[:, :1]
    with clipper_for(module, inputs, labels, output="logits") as clipper:
        found = clipper.clipped_sum(inputs, labels, 0.1)
    assert clipper.way == "chunked"
    (passed_over,) = clipper.passed_over
    assert passed_over.startswith("bookkeeping: ")
    assert re.search(reason, passed_over), passed_over
    assert distance(found, exact_sum(module, (inputs, labels), 0.1)) < 2e-6
    assert all("forward" not in vars(layer) for layer in module.modules())


def test_a_use_that_only_some_batches_show_stops_the_training() -> None:
    module = Borrowed(often=False)
    inputs, labels = batch("mlp", 40)
    with clipper_for(module, inputs, labels, output="logits") as clipper:
        assert clipper.way == "bookkeeping"
        with pytest.raises(NotRun, match="used outside the layer"):
            clipper.clipped_sum(inputs, labels, 0.1)


def test_inputs_that_change_behind_a_layer_stop_the_training() -> None:
    with (
        summed_by("bookkeeping", InPlace(), output="logits") as clipped_sum,
        pytest.raises(NotRun, match="the input of layer layer is changed in place"),
    ):
        clipped_sum(*batch("mlp"), 0.1)
    with (
        pytest.raises(NotRun, match=r"^the gradient of a single row cannot be taken: RuntimeError: one of the var"),
        clipper_for(InPlace(), *batch("mlp"), output="logits"),
    ):
        pass


def test_what_is_asked_for_is_used_or_refused_with_the_reason() -> None:
    inputs, labels = batch("mlp")
    ways: dict[Clipping, str] = {"auto": "bookkeeping", "chunked": "chunked", "opacus": "ghost"}
    for asked, way in ways.items():
        with clipper_for(make("mlp"), inputs, labels, output="logits", clipping=asked) as clipper:
            assert (clipper.way, clipper.passed_over) == (way, ())
    with (
        pytest.raises(NotRun, match=r"clipped row by row \(bookkeeping: layer \(root\) is a Positions, which"),
        clipper_for(Positions(), inputs, labels, output="logits", clipping="bookkeeping"),
    ):
        pass
    with pytest.raises(InputError, match=r"^clipping must be auto, .*got 'fast'"):
        fit_private(
            make("mlp"),
            inputs.numpy(),
            labels.numpy(),
            epsilon=3,
            clipping="fast",  # type: ignore[arg-type]
            device=torch.device("cpu"),
        )


def test_a_way_that_is_wrong_is_found_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: norms that forget the biases."""
    honest = clipping.book_kept

    def forgetful(module: nn.Module, *, output: Output) -> Any:
        for name, parameter in module.named_parameters():
            parameter.requires_grad = not name.endswith("bias")
        return honest(module, output=output)

    monkeypatch.setattr(clipping, "book_kept", forgetful)
    inputs, labels = batch("mlp")
    with pytest.raises(NotRun), clipper_for(make("mlp"), inputs, labels, output="logits", clipping="bookkeeping"):
        pass


def test_rows_that_see_each_other_are_refused_where_nothing_else_helps() -> None:
    inputs, labels = batch("mlp")
    with (
        pytest.raises(NotRun, match=r"hooks: .*clipping norms away from a loop"),
        clipper_for(Mixes(), inputs, labels, output="logits", clipping="opacus"),
    ):
        pass


def test_opacus_trains_the_vector_of_padding_and_is_found_out() -> None:
    with (
        pytest.raises(NotRun, match=r"hooks: .*clipping norms away from a loop"),
        clipper_for(make("tokens"), *batch("tokens"), output="logits", clipping="opacus"),
    ):
        pass


def test_ghost_clipping_is_used_only_where_it_is_right() -> None:
    shared = nn.Linear(4, 4)
    assert opacus_mode(make("mlp")) == "ghost"
    assert opacus_mode(make("lstm")) == "ghost"
    assert opacus_mode(nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), nn.Linear(4, 2))) == "ghost"
    assert opacus_mode(nn.Sequential(shared, nn.ReLU(), shared)) == "hooks"
    assert opacus_mode(tied()) == "hooks"
    assert opacus_mode(Twice()) == "hooks"
    assert opacus_mode(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))) == "hooks"
    assert opacus_mode(nn.Sequential(nn.Linear(4, 4), nn.MultiheadAttention(4, 1))) == "hooks"


def test_every_way_trains_to_the_same_weights() -> None:
    inputs = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int64)
    found = {}
    for asked in ("bookkeeping", "chunked", "opacus"):
        module = make("mlp")
        ledger = fit_private(
            module,
            inputs,
            labels,
            epsilon=3,
            epochs=2,
            batch_size=20,
            clipping=asked,
            device=torch.device("cpu"),  # type: ignore[arg-type]
        )
        found[asked] = [parameter.detach().double() for parameter in module.parameters()]
        assert ledger.clipping == {"opacus": "ghost"}.get(asked, asked)
    assert distance(found["bookkeeping"], found["chunked"]) < 1e-5
    assert distance(found["bookkeeping"], found["opacus"]) < 1e-5


@pytest.mark.filterwarnings("ignore")  # torch.export's own
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_an_exported_program_is_clipped_in_chunks_and_opacus_is_not_believed(name: str) -> None:
    """A program has no layers: Opacus hooks nothing in it, and would clip by norms that miss gradients."""
    module, data = make(name), batch(name)
    rows = torch.export.Dim("rows", min=2)
    program = torch.export.export(module, (data[0],), dynamic_shapes=({0: rows},))
    exported = ExportedNetwork(program, None)
    with clipper_for(exported, *data, output="logits") as clipper:
        found = clipper.clipped_sum(*data, 0.05)
    assert clipper.way == "chunked"
    assert distance(found, exact_sum(module, data, 0.05)) < 1e-6
    with pytest.raises(NotRun), clipper_for(exported, *data, output="logits", clipping="opacus"):
        pass


def test_large_networks_are_cut_into_smaller_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "CELLS_AT_ONCE", 200)
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
            assert len(arguments[1]) == chunked.ROWS_AT_ONCE
            return function(*arguments)

        return run

    monkeypatch.setattr(torch, "compile", stand_in)
    module, data = make("mlp"), batch("mlp", 70)
    with summed_by("chunked", module, output="logits", row_passes=chunked.COMPILED_FROM) as clipped_sum:
        found = clipped_sum(*data, 0.05)
        again = clipped_sum(*data, 0.05)
    assert len(compiled) == 1
    assert distance(found, exact_sum(module, data, 0.05)) < 1e-6
    assert distance(found, again) < 1e-6
    monkeypatch.setattr(chunked, "LARGEST_COMPILED", 1)
    with summed_by("chunked", module, output="logits", row_passes=chunked.COMPILED_FROM) as clipped_sum:
        clipped_sum(*data, 0.05)
    assert len(compiled) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer", "twice"])
def test_the_compiled_chunks_agree_with_a_float64_loop(name: str) -> None:
    module, data = make(name), batch(name, 70)
    with summed_by("chunked", module, output="logits", row_passes=chunked.COMPILED_FROM) as clipped_sum:
        found = clipped_sum(*data, 0.05)
    expected = exact_sum(module, data, 0.05)
    assert distance(found, expected) < 2e-6


def test_autocast_is_for_cuda_only() -> None:
    assert not fit.autocast_on(torch.device("cpu"))._enabled
