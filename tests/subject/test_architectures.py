from __future__ import annotations

import pytest
import torch

from auditkit.errors import ModelFileError
from auditkit.subject.architectures import ARCHITECTURES, build, mlp


def test_mlp_maps_rows_to_logits_through_modules_of_their_own():
    network = mlp(input_width=5, output_width=3, hidden=(8, 4), dropout=0.5)
    assert [type(layer).__name__ for layer in network] == ["Linear", "ReLU", "Dropout"] * 2 + ["Linear"]
    rectifiers = [layer for layer in network if isinstance(layer, torch.nn.ReLU)]
    assert len({id(layer) for layer in rectifiers}) == 2
    assert not any(layer.inplace for layer in rectifiers)
    assert network(torch.zeros(7, 5)).shape == (7, 3)
    assert len(mlp(input_width=5, output_width=1, hidden=[])) == 1


def test_build_by_name():
    network = build("mlp", {"input_width": 2, "output_width": 2})
    assert [layer.out_features for layer in network if isinstance(layer, torch.nn.Linear)] == [128, 64, 2]
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
def test_what_cannot_be_built(name, change, match):
    with pytest.raises(ModelFileError, match=match) as caught:
        build(name, {"input_width": 2, "output_width": 2, **change})
    assert "\n" not in str(caught.value)


def test_an_argument_that_is_missing():
    with pytest.raises(ModelFileError, match="wrong arguments: missing a required"):
        build("mlp", {})
