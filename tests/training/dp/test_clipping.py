"""How a way to clip is chosen: tried against a loop over rows, and passed over where it would be wrong."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from clipped import Twice, batch, distance, exact_sum, make
from torch import nn

from auditkit.errors import InputError, NotRun
from auditkit.models.formats.exported import ExportedNetwork
from auditkit.tasks.objectives import CrossEntropy
from auditkit.training.dp import clip_layers
from auditkit.training.dp.clip_opacus import opacus_mode
from auditkit.training.dp.clipping import clipper_for, summed_by
from auditkit.training.dp.dp_sgd import fit_private
from auditkit.training.dp.plan import PrivateSettings
from auditkit.training.dp.settings import Clipping


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


class InParts(nn.Module):
    """Reads its rows in two parts, as a network that reads recordings of one length together."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.head(x[: len(x) // 2]), self.head(x[len(x) // 2 :])])


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
    """Runs a layer over places and rows as one dimension, the places first."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = x.view(len(x), 2, 2).transpose(0, 1).reshape(-1, 2)
        out: torch.Tensor = self.layer(places).view(2, len(x), 2).sum(0)
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
        (Flat, "clipping norms away from a loop"),
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
    with clipper_for(module, inputs, labels, objective=CrossEntropy()) as clipper:
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
    with clipper_for(module, inputs, labels, objective=CrossEntropy()) as clipper:
        assert clipper.way == "bookkeeping"
        with pytest.raises(NotRun, match="used outside the layer"):
            clipper.clipped_sum(inputs, labels, 0.1)


def test_inputs_that_change_behind_a_layer_stop_the_training() -> None:
    with (
        summed_by("bookkeeping", InPlace(), objective=CrossEntropy()) as clipped_sum,
        pytest.raises(NotRun, match="the input of layer layer is changed in place"),
    ):
        clipped_sum(*batch("mlp"), 0.1)
    with (
        pytest.raises(NotRun, match=r"^the gradient of a single row cannot be taken: RuntimeError: one of the var"),
        clipper_for(InPlace(), *batch("mlp"), objective=CrossEntropy()),
    ):
        pass


def test_what_is_asked_for_is_used_or_refused_with_the_reason() -> None:
    inputs, labels = batch("mlp")
    ways: dict[Clipping, str] = {"auto": "bookkeeping", "chunked": "chunked", "opacus": "ghost"}
    for asked, way in ways.items():
        with clipper_for(make("mlp"), inputs, labels, objective=CrossEntropy(), clipping=asked) as clipper:
            assert (clipper.way, clipper.passed_over) == (way, ())
    with (
        pytest.raises(NotRun, match=r"clipped row by row \(bookkeeping: layer \(root\) is a Positions, which"),
        clipper_for(Positions(), inputs, labels, objective=CrossEntropy(), clipping="bookkeeping"),
    ):
        pass
    with pytest.raises(InputError, match=r"^clipping must be auto, .*got 'fast'"):
        fit_private(
            make("mlp"),
            inputs.numpy(),
            labels.numpy(),
            PrivateSettings(epsilon=3, clipping="fast", seed=0),  # type: ignore[arg-type]  # what is refused
            device=torch.device("cpu"),
        )


def test_a_way_that_is_wrong_is_found_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: norms that forget the biases."""

    def forgetful(layer: nn.Linear, runs: clip_layers.Runs) -> dict[str, clip_layers.Part]:
        parts = honest(layer, runs)
        return {**parts, "bias": (0 * parts["bias"][0], parts["bias"][1])}

    honest = clip_layers.KNOWN[nn.Linear]
    monkeypatch.setitem(clip_layers.KNOWN, nn.Linear, forgetful)
    inputs, labels = batch("mlp")
    with (
        pytest.raises(NotRun, match="clipping norms away from a loop"),
        clipper_for(make("mlp"), inputs, labels, objective=CrossEntropy(), clipping="bookkeeping"),
    ):
        pass


def test_rows_that_see_each_other_are_refused_where_nothing_else_helps() -> None:
    inputs, labels = batch("mlp")
    with (
        pytest.raises(NotRun, match=r"hooks: .*clipping norms away from a loop"),
        clipper_for(Mixes(), inputs, labels, objective=CrossEntropy(), clipping="opacus"),
    ):
        pass


def test_opacus_adds_up_rows_that_are_read_in_parts_and_is_not_asked() -> None:
    inputs, labels = batch("mlp")
    with (
        pytest.raises(NotRun, match=r"^layer head does not see its rows in the first dimension$"),
        summed_by("hooks", InParts(), objective=CrossEntropy()) as clipped_sum,
    ):
        clipped_sum(inputs, labels, 1e9)


def test_opacus_trains_the_vector_of_padding_and_is_found_out() -> None:
    with (
        pytest.raises(NotRun, match=r"hooks: .*clipping norms away from a loop"),
        clipper_for(make("tokens"), *batch("tokens"), objective=CrossEntropy(), clipping="opacus"),
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
            PrivateSettings(epsilon=3, epochs=2, batch_size=20, clipping=asked, seed=0),
            device=torch.device("cpu"),
        )
        found[asked] = [parameter.detach().double() for parameter in module.parameters()]
        assert ledger.clipping == {"opacus": "ghost"}.get(asked, asked)
    assert distance(found["bookkeeping"], found["chunked"]) < 1e-5
    assert distance(found["bookkeeping"], found["opacus"]) < 1e-5


@pytest.mark.filterwarnings("ignore")  # torch.export's own
@pytest.mark.parametrize("name", ["mlp", "cnn", "lstm", "gru", "transformer"])
def test_an_exported_program_is_clipped_in_chunks_and_opacus_is_not_believed(name: str) -> None:
    """A program has no layers: Opacus hooks nothing in it, and would clip by norms that miss gradients."""
    module, data = make(name), batch(name)
    rows = torch.export.Dim("rows", min=2)
    program = torch.export.export(module, (data[0],), dynamic_shapes=({0: rows},))
    exported = ExportedNetwork(program, None)
    with clipper_for(exported, *data, objective=CrossEntropy()) as clipper:
        found = clipper.clipped_sum(*data, 0.05)
    assert clipper.way == "chunked"
    assert distance(found, exact_sum(module, data, 0.05)) < 1e-6
    with pytest.raises(NotRun), clipper_for(exported, *data, objective=CrossEntropy(), clipping="opacus"):
        pass
