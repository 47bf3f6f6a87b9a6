"""A LoRA adapter by a hostile author is refused in one line, before its factors are multiplied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from auditkit.errors import ModelFileError
from auditkit.models.formats.adapters import ADAPTER_WEIGHTS, merge, read_adapter

KEY, OTHER = "0.lora_A.weight", "0.lora_B.weight"
SETTINGS: dict[str, Any] = {"r": 2, "lora_alpha": 4}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5))


def test_a_product_is_added_to_the_weight() -> None:
    found, before = network(), network().state_dict()["0.weight"]
    first, second = torch.ones(2, 3), torch.full((5, 2), 0.5)
    merge("m", found, {KEY: first, OTHER: second}, SETTINGS)
    assert torch.allclose(found.state_dict()["0.weight"], before + 2.0, atol=1e-6)  # 4 / 2 x (0.5 + 0.5)


@pytest.mark.parametrize(
    ("tensors", "settings", "said"),
    [
        ({}, {"r": 0}, "r must be a number above 0, got '0'"),
        ({}, {"r": None}, "r must be a number above 0, got 'None'"),
        ({}, {"r": -4, "use_rslora": True}, "r must be a number above 0"),
        ({}, {"lora_alpha": float("inf")}, "lora_alpha must be a number above 0"),
        ({}, {"lora_alpha": 10**400}, "lora_alpha must be a number above 0"),
        ({KEY: torch.ones(2, 3)}, {}, r"have shapes \(2, 3\) and None: no product"),
        ({OTHER: torch.ones(5, 2)}, {}, "without its other factor"),
        ({KEY: torch.ones(3), OTHER: torch.ones(5)}, {}, "no product"),
        ({KEY: torch.ones(2, 3), OTHER: torch.ones(5, 4)}, {}, "no product"),
        ({KEY: torch.ones(1, 200_000), OTHER: torch.ones(200_000, 1)}, {}, r"\(200000, 200000\) with its other factor"),
        (
            {KEY: torch.ones(2, 5), OTHER: torch.ones(3, 2)},
            {},
            r"has shape \(3, 5\) with its other factor, and the base model \(5, 3\)",
        ),
    ],
)
def test_factors_that_make_no_weight_are_refused(
    tensors: dict[str, torch.Tensor], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ModelFileError, match=said) as refused:
        merge("m", network(), tensors, SETTINGS | settings)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"\xff" * 100, b"\0" * 7, (2**60).to_bytes(8, "little") + b"{}"])
def test_a_damaged_file_of_weights_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / ADAPTER_WEIGHTS).write_bytes(content)
    with pytest.raises(ModelFileError, match="is damaged"):
        read_adapter("m", tmp_path, {"peft_type": "LORA"})
