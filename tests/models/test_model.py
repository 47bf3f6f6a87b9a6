"""Cards, modules from memory, and fresh weights."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from auditkit.errors import ModelFileError, NotRun
from auditkit.models.formats.opening import open_model
from auditkit.models.model import Card, model_from_module
from auditkit.models.predict import predict


def test_the_card_uses_the_word_schema(card: Any) -> None:
    assert set(json.loads(card.model_dump_json())) == {
        "card_version", "schema", "architecture", "arguments", "name", "training", "ledger",
    }  # fmt: skip


def test_fresh_weights_depend_on_the_seed_alone(model_file: Any, schema: Any) -> None:
    opened = open_model(model_file)
    in_memory = model_from_module(opened.module, schema)
    for model in (opened, in_memory):
        before = torch.get_rng_state()
        first, same, other = model.fresh(5), model.fresh(5), model.fresh(6)
        assert torch.equal(torch.get_rng_state(), before)
        for key, value in model.module.state_dict().items():
            assert torch.equal(first.state_dict()[key], same.state_dict()[key])
            assert not torch.equal(first.state_dict()[key], other.state_dict()[key])
            assert not torch.equal(first.state_dict()[key], value)
        assert first.training
        assert not model.module.training


def test_every_trained_weight_of_a_module_from_memory_is_drawn_anew(schema: Any) -> None:
    width = schema.input_width
    module = nn.Sequential(
        nn.Linear(width, 8), nn.BatchNorm1d(8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 2)
    )  # fmt: skip
    with torch.no_grad():
        for value in module.state_dict().values():
            value.fill_(7)
    module[0].requires_grad_(False)
    fresh = model_from_module(module, schema).fresh(0)
    for value in fresh.state_dict().values():
        assert not (value == 7).any()
    assert all(parameter.requires_grad for parameter in fresh.parameters())
    attention = nn.MultiheadAttention(4, 2)
    assert model_from_module(attention, schema).fresh(0) is not attention


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * self.scale


def test_a_layer_that_cannot_be_reset_is_named(schema: Any) -> None:
    model = model_from_module(nn.Sequential(nn.Linear(2, 2), Scaled()), schema)
    with pytest.raises(NotRun, match=r"layer '1' \(Scaled\) owns parameters and has no reset_parameters"):
        model.fresh(0)
    with pytest.raises(NotRun, match="layer 'the module itself'"):
        model_from_module(Scaled(), schema).fresh(0)


def test_a_module_from_memory_is_copied_and_left_alone(schema: Any) -> None:
    module = nn.Linear(schema.input_width, 2).train()
    model = model_from_module(module, schema, name="mine")
    assert (model.name, model.kind, model.trust) == ("mine", "module", "object in memory")
    assert (model.card, model.path, model.sha256) == (None, None, None)
    assert module.training
    assert not model.module.training
    assert model.module is not module
    rows = np.zeros((3, schema.input_width), dtype=np.float32)
    found = predict(model.module, rows, schema, device=torch.device("cpu"))
    assert found.probabilities.shape == (3, 2)
    assert model_from_module(module, schema).name == "Linear"
    with torch.no_grad():
        module.bias[0] = torch.nan
    with pytest.raises(ModelFileError, match="model Linear: weight 'bias' has 1 values that are NaN"):
        model_from_module(module, schema)
    with pytest.raises(ModelFileError, match=r"must be a torch.nn.Module, got dict"):
        model_from_module({}, schema)  # type: ignore[arg-type]  # no module, on purpose
    module.bias.data.zero_()
    module.lock = threading.Lock()  # type: ignore[assignment]  # what cannot be copied
    with pytest.raises(ModelFileError, match="model Linear: cannot be copied"):
        model_from_module(module, schema)


def test_a_card_names_its_schema_either_way(schema: Any) -> None:
    by_alias = Card(schema=schema, architecture="mlp")
    assert by_alias == Card.model_validate({"schema_": schema, "architecture": "mlp"})


class Named(nn.Module):
    """A classifier whose layers are called as those of language models and generators are."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.out = nn.Linear(2, 2)
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.out(rows)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "attributes",
    [
        {"hidden": nn.Linear(2, 2)}, {"hidden": 64, "vocabulary_size": 1000}, {"columns": ["a", "b"]},
        {"encode": nn.Linear(2, 2)}, {"discriminate": nn.Linear(2, 1)}, {"row_losses": nn.Linear(2, 1)},
        {"advance": nn.Linear(2, 2), "context": 8}, {"mask_token": 3, "context": 8}, {"latent_shape": (2,)},
    ],
    ids=lambda given: "_".join(given),
)  # fmt: skip
def test_a_layer_s_name_makes_no_language_model_or_generator_of_a_classifier(
    attributes: dict[str, Any], schema: Any
) -> None:
    plain, named = model_from_module(nn.Linear(2, 2), schema), model_from_module(Named(**attributes), schema)
    assert named.capabilities == plain.capabilities
    assert named.lacks == plain.lacks
