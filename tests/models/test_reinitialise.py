"""Fresh weights of exported programs: each as torch draws those of its layer, whatever the graph was turned into."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from clipped import batch, make
from programs import exported
from scipy.stats import ks_2samp
from torch import nn
from torch.nn import functional

from auditkit.errors import NotRun
from auditkit.models.formats.archive import CARD_MEMBER
from auditkit.models.formats.exported import save_program
from auditkit.models.reinitialise import draw_weights, drawing_rules

pytestmark = pytest.mark.filterwarnings("ignore")  # torch.export's own


class Zoo(nn.Module):
    """One layer of every kind that torch.nn draws by a rule of its own, with thousands of weights each."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(40, 150)
        self.flat = nn.Conv1d(1, 120, 9)
        self.image = nn.Conv2d(4, 60, 3, groups=2)
        self.volume = nn.Conv3d(2, 50, 3)
        self.back = nn.ConvTranspose1d(30, 40, 3, groups=2)
        self.back_image = nn.ConvTranspose2d(8, 40, 3)
        self.words = nn.Embedding(80, 40, padding_idx=3)
        self.bag = nn.EmbeddingBag(90, 40)
        self.layer_norm, self.group_norm = nn.LayerNorm(40), nn.GroupNorm(4, 40)
        self.instance_norm, self.rms_norm = nn.InstanceNorm1d(8, affine=True), nn.RMSNorm(40)
        self.attention = nn.MultiheadAttention(40, 4, batch_first=True)
        self.encoder = nn.TransformerEncoderLayer(40, 4, 64, batch_first=True)
        self.lstm = nn.LSTM(40, 24, bidirectional=True, batch_first=True)
        self.projected = nn.LSTM(40, 24, proj_size=16, batch_first=True)
        self.gru, self.rnn = nn.GRU(40, 24, batch_first=True), nn.RNN(40, 24, batch_first=True)
        self.cell = nn.GRUCell(40, 24)
        self.pairs = nn.Bilinear(10, 40, 30)
        self.slope = nn.PReLU(40)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ids = x[:, :2].long().abs() % 80
        tokens = self.words(ids) + self.bag(ids)[:, None]
        attended, _ = self.attention(tokens, tokens, tokens)
        image = x[:, :36].reshape(-1, 4, 3, 3)
        found = [
            self.linear(x),
            self.flat(x[:, None]),
            self.image(image),
            self.volume(functional.pad(x, (0, 14)).reshape(-1, 2, 3, 3, 3)),
            self.back(x[:, :30, None]),
            self.back_image(x[:, :8, None, None]),
            self.group_norm(self.layer_norm(x)),
            self.rms_norm(self.instance_norm(x.reshape(-1, 8, 5)).reshape(-1, 40)),
            self.encoder(attended),
            *(self.lstm(tokens)[0], self.projected(tokens)[0], self.gru(tokens)[0], self.rnn(tokens)[0]),
            self.cell(x),
            self.pairs(x[:, :10], x),
            self.slope(x),
        ]
        return torch.stack([part.flatten(1).mean(1) for part in found], dim=1)


@pytest.mark.parametrize(
    "decomposed", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["as exported", "decomposed"]
)
def test_weights_have_the_distribution_of_a_fresh_layer(decomposed: bool) -> None:
    module = Zoo()
    with torch.no_grad():
        for parameter in module.parameters():  # weights that no rule would draw
            parameter.copy_(torch.linspace(2, 3, parameter.numel()).view_as(parameter))
    zoo = exported(module, torch.randn(3, 40), decomposed=decomposed)
    torch.manual_seed(7)
    draw_weights(zoo)
    drawn = {name: value.detach().numpy() for name, value in zoo.network.named_parameters()}
    fresh: dict[str, list[np.ndarray]] = {}
    for _ in range(4):
        for name, weight in Zoo().named_parameters():
            fresh.setdefault(name, []).append(weight.detach().numpy().ravel())
    assert drawn.keys() == fresh.keys()
    rules = drawing_rules(zoo)
    assumed = [name for name, rule in rules.rules.items() if rule.assumed]
    # Decomposed, both are but products, which are taken to begin at 1: wrongly for PReLU.
    assert assumed == (["rms_norm.weight", "slope.weight"] if decomposed else [])
    for name, value in drawn.items():
        expected = np.concatenate(fresh[name])
        if decomposed and name == "slope.weight":
            continue
        if expected.min() == expected.max():
            assert (value == expected[0]).all(), name
            continue
        assert ks_2samp(value.ravel(), expected).pvalue > 1e-4, name
        if not name.startswith(("words", "bag")):  # a uniform distribution has an end, which torch's weights reach
            assert np.abs(value).max() <= np.abs(expected).max() * (1 + 10 / expected.size), name
    assert (drawn["words.weight"][3] == 0).all()
    assert not rules.kept


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_a_decomposed_graph_has_the_same_rules(name: str) -> None:
    plain, decomposed = (exported(make(name), batch(name)[0], decomposed=how) for how in (False, True))
    assert drawing_rules(plain) == drawing_rules(decomposed)


class Own(nn.Module):
    """A tied weight, parameters whose operators tell no role, and tensors that are no parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.back = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
        self.back.weight = self.words.weight
        self.places, self.scale = nn.Parameter(torch.randn(1, 3, 4)), nn.Parameter(torch.rand(4))
        self.matrix, self.offset = nn.Parameter(torch.randn(9, 2)), nn.Parameter(torch.randn(2))
        self.unread = nn.Linear(2, 2, bias=False)
        self.register_buffer("means", torch.rand(4))
        self.register_buffer("deviations", torch.rand(4), persistent=False)
        self.count = torch.tensor([2.0])

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = (self.words(ids) - self.means) / self.deviations / self.count
        out: torch.Tensor = self.back(((x + self.places) * self.scale).mean(1)) @ self.matrix + self.offset
        return out


@pytest.mark.parametrize("decomposed", [False, True])
def test_what_no_operator_tells_is_named_and_what_is_kept_is_counted(decomposed: bool) -> None:
    ids = torch.tensor([[1, 2, 0], [3, 4, 5]])
    network = exported(Own(), ids, decomposed=decomposed)
    rules = drawing_rules(network)
    assert rules.statement.endswith(
        "3 of 6 tensors are drawn as torch.nn draws the layer whose operator reads them; assumed normal with a "
        "standard deviation of 0.02: places, unread.weight; assumed to begin at 1, since they scale: scale"
    )
    assert "and 9 numbers in 3 buffers and constants beside the weights (means, deviations, count)" in rules.not_covered
    assert rules.rules["matrix"].size == rules.rules["offset"].size == 1 / 3
    before = network(ids)
    draw_weights(network)
    state = network.network.state_dict()
    assert torch.equal(state["words.weight"], state["back.weight"])
    with torch.no_grad():  # what a training does to one of the two names it does to both
        next(iter(network.network.get_submodule("words").parameters())).add_(1)
    file = io.BytesIO()
    save_program(file, network, {CARD_MEMBER: "{}"})
    read = torch.export.load(file)
    assert read.example_inputs is None
    assert torch.equal(read.module()(ids), network(ids))
    assert torch.equal(read.state_dict["words.weight"], read.state_dict["back.weight"])
    assert not torch.equal(before, network(ids))


class Counting(nn.Module):
    seen: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.register_buffer("seen", torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.add_(x.sum(0))
        out: torch.Tensor = self.layer(x - self.seen)
        return out


class Renamed(nn.Module):
    """BatchNorm's statistics, used by plain arithmetic."""

    running_mean: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.register_buffer("running_mean", torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(x - self.running_mean)
        return out


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)),
            "batch_norm.*BatchNorm with GroupNorm",
        ),
        (lambda: nn.Sequential(nn.Unflatten(1, (2, 2)), nn.InstanceNorm1d(2, track_running_stats=True)), "GroupNorm"),
        (Renamed, r"others \(running_mean\).*GroupNorm"),
    ],
)
def test_statistics_of_rows_are_refused(make: Callable[[], nn.Module], words: str, decomposed: bool) -> None:
    network = exported(make(), torch.randn(3, 4), decomposed=decomposed)
    with pytest.raises(NotRun, match=words):
        draw_weights(network)


def test_a_program_that_writes_into_a_buffer_is_refused() -> None:
    with pytest.raises(NotRun, match="writes into seen when the program runs"):
        draw_weights(exported(Counting(), torch.randn(3, 4)))
