from __future__ import annotations

from typing import Any

import pytest
import torch

from auditkit.errors import ModelFileError
from auditkit.models.architectures import ARCHITECTURES, build
from auditkit.models.architectures.tables import mlp


def test_mlp_maps_rows_to_logits_through_modules_of_their_own() -> None:
    network = mlp(input_width=5, output_width=3, hidden=(8, 4), dropout=0.5)
    assert [type(layer).__name__ for layer in network] == ["Linear", "ReLU", "Dropout"] * 2 + ["Linear"]
    rectifiers = [layer for layer in network.children() if isinstance(layer, torch.nn.ReLU)]
    assert len({id(layer) for layer in rectifiers}) == 2
    assert not any(layer.inplace for layer in rectifiers)
    assert network(torch.zeros(7, 5)).shape == (7, 3)
    assert len(mlp(input_width=5, output_width=1, hidden=[])) == 1


def test_build_by_name() -> None:
    network = build("mlp", {"input_width": 2, "output_width": 2})
    assert [layer.out_features for layer in network.children() if isinstance(layer, torch.nn.Linear)] == [128, 64, 2]
    assert "mlp" in ARCHITECTURES


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("mpl", {}, "architecture 'mpl' is unknown.*did you mean 'mlp'"),
        ("os.system", {}, "architecture 'os.system' is unknown"),
        ("mlp", {"width": 3}, "architecture mlp: wrong arguments: got an unexpected keyword argument 'width'"),
        ("mlp", {"hidden": [10**12]}, "a width must be from 1 to 1,000,000, got 1000000000000"),
        ("mlp", {"hidden": [1] * 65}, "hidden must list at most 64 widths"),
        ("mlp", {"hidden": 5}, "hidden must list"),
        ("mlp", {"hidden": "55"}, "hidden must list"),
        ("mlp", {"hidden": [0]}, "a width must be"),
        ("mlp", {"hidden": [2.0]}, "a width must be"),
        ("mlp", {"output_width": True}, "a width must be"),
        ("mlp", {"input_width": None}, "a width must be"),
        ("mlp", {"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ("mlp", {"dropout": "a lot"}, "dropout must be"),
    ],
)
def test_what_cannot_be_built(name: str, change: dict[str, Any], match: str) -> None:
    with pytest.raises(ModelFileError, match=match) as caught:
        build(name, {"input_width": 2, "output_width": 2, **change})
    assert "\n" not in str(caught.value)


def test_an_argument_that_is_missing() -> None:
    with pytest.raises(ModelFileError, match="wrong arguments: missing a required"):
        build("mlp", {})


TEXT = {"vocabulary_size": 20, "length": 7, "output_width": 3}


def seeded(name: Any, arguments: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return build(name, arguments).eval()


def test_cnn_maps_images_to_logits_through_modules_of_their_own() -> None:
    network = build("cnn", {"input_shape": [3, 12, 9], "output_width": 4, "channels": [2, 3], "hidden": 5})
    assert network(torch.zeros(6, 3, 12, 9)).shape == (6, 4)
    rectifiers = [layer for layer in network.children() if isinstance(layer, torch.nn.ReLU)]
    assert len({id(layer) for layer in rectifiers}) == 3
    assert not any(layer.inplace for layer in rectifiers)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.modules())


@pytest.mark.parametrize("name", ["lstm", "gru", "transformer"])
def test_what_stands_behind_the_end_of_a_text_has_no_part_in_the_output(name: str) -> None:
    network = seeded(name, TEXT)
    ids = torch.tensor([[5, 9, 3, 0, 0, 0, 0], [4, 4, 0, 0, 0, 0, 0], [0] * 7])
    together = network(ids)
    assert together.shape == (3, 3)
    assert together.isfinite().all()
    torch.testing.assert_close(network(ids[:1, :3]), together[:1])
    with torch.no_grad():
        network.embedding.weight[0] = 100.0  # what padding is embedded as
    torch.testing.assert_close(network(ids), together)
    assert not torch.equal(network(torch.tensor([[9, 5, 3, 0, 0, 0, 0]])), together[:1])  # order matters


@pytest.mark.parametrize(("name", "peer"), [("lstm", torch.nn.LSTM), ("gru", torch.nn.GRU)])
def test_recurrent_cells_agree_with_torch(name: str, peer: Any) -> None:
    body = seeded(name, TEXT).body
    other = peer(48, 64, batch_first=True)
    with torch.no_grad():
        other.weight_ih_l0.copy_(body.from_input.weight)
        other.bias_ih_l0.copy_(body.from_input.bias)
        other.weight_hh_l0.copy_(body.from_state.weight)
        other.bias_hh_l0.copy_(body.from_state.bias)
    tokens = torch.randn(4, 7, 48, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(body(tokens, torch.ones(4, 7, dtype=torch.bool)), other(tokens)[0])


def test_attention_agrees_with_torch() -> None:
    attention = seeded("transformer", TEXT).body.layers[0].attention
    other = torch.nn.MultiheadAttention(48, 4, batch_first=True)
    with torch.no_grad():
        parts = (attention.query, attention.key, attention.value)
        other.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        other.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        other.out_proj.weight.copy_(attention.merge.weight)
        other.out_proj.bias.copy_(attention.merge.bias)
    tokens = torch.randn(2, 7, 48, generator=torch.Generator().manual_seed(2))
    real = torch.arange(7)[None] < torch.tensor([[7], [4]])
    expected, _ = other(tokens, tokens, tokens, key_padding_mask=~real)
    torch.testing.assert_close(attention(tokens, real), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("cnn", {"input_shape": [28, 28]}, "input_shape must be channels, height and width"),
        ("cnn", {"input_shape": [1, 3, 28]}, "halve an image of 3x28 to nothing"),
        ("cnn", {"input_shape": [1, 10**6, 28]}, "a side of input_shape must be from 1 to 4,096, got 1000000"),
        ("cnn", {"channels": []}, "channels at least one"),
        ("gru", {"vocabulary_size": 0}, "vocabulary_size must be from 1 to 1,000,000, got 0"),
        ("lstm", {"length": 10**6}, "length must be from 1 to 4,096, got 1000000"),
        ("transformer", {"heads": 5}, "heads must divide width 48, got 5"),
        ("transformer", {"heads": 0}, "a width must be from 1 to .* got 0"),
        ("transformer", {"dropout": 1}, "dropout must be at least 0 and below 1, got 1"),
    ],
)
def test_what_cannot_be_built_for_images_and_texts(name: str, change: dict[str, Any], match: str) -> None:
    arguments = {"input_shape": [1, 28, 28], "output_width": 2} if name == "cnn" else TEXT
    with pytest.raises(ModelFileError, match=match) as caught:
        build(name, {**arguments, **change})
    assert "\n" not in str(caught.value)
