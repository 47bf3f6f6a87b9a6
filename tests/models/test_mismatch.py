"""Why a model does not take the rows: its first layer, and what each column gives."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from auditkit.models.mismatch import mismatch
from auditkit.schema.schema import Schema
from auditkit.schema.table import Feature

SCHEMA = Schema(
    features=(
        Feature(name="age", kind="numeric"),
        Feature(name="job", kind="categorical", categories=("clerk", "driver", "nurse"), missing=True),
    ),
    target="y",
    task="binary",
    classes=("no", "yes"),
    sensitive=("sex",),
)


def said(module: nn.Module, batch: np.ndarray) -> str:
    try:
        module(torch.from_numpy(batch))
    except RuntimeError as error:
        return mismatch(module, SCHEMA, batch, error)
    raise AssertionError("the module takes the rows")


def test_the_first_layer_and_the_columns_are_named() -> None:
    network = nn.Sequential(nn.ReLU(), nn.Linear(7, 2))
    message = said(network, np.zeros((2, 5), dtype=np.float32))
    assert "its first layer, 1 (Linear), reads 7 numbers a row, and the columns make 5 (age=1, job=4)" in message
    assert "the sensitive columns (sex) are not among them" in message
    assert "--preprocess my_module:function" in message
    assert "\n" not in message


def test_images_of_other_channels_are_named() -> None:
    message = said(nn.Conv2d(3, 4, 3), np.zeros((2, 1, 8, 8), dtype=np.float32))
    assert "reads 3 channels a row, and the images have 1 channels (1x8x8)" in message


def test_a_model_without_layers_says_what_it_raised() -> None:
    class Odd(nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no such row")

    assert "cannot be run on rows of 5 float32 numbers (age=1, job=4): no such row;" in said(
        Odd(), np.zeros((2, 5), dtype=np.float32)
    )
