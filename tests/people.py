"""People: rows with every kind of column, and fixtures of their schema, card and model file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from auditkit.data.dataset import Data, data_from_frame
from auditkit.models.architectures import build
from auditkit.models.formats.native import save_model
from auditkit.models.model import Card
from auditkit.schema.infer import infer_schema
from auditkit.schema.schema import Schema


def people(count: int = 60, seed: int = 0) -> pd.DataFrame:
    """Rows with every kind of column, all text, as a CSV file gives them."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 90, count).astype(str),
            "job": rng.choice(["clerk", "cook", "pilot"], count),
            "member": rng.choice(["yes", "no"], count),
            "sex": rng.choice(["f", "m"], count),
            "income": rng.choice(["high", "low"], count),
        },
        dtype=object,
    )


@pytest.fixture(scope="session")
def data() -> Data:
    return data_from_frame(people())


@pytest.fixture(scope="session")
def schema(data: Data) -> Schema:
    return infer_schema(data.frame, target="income", sensitive=["sex"])


@pytest.fixture(scope="session")
def card(schema: Schema) -> Card:
    arguments = {"input_width": schema.input_width, "output_width": 2, "hidden": [4]}
    return Card(schema=schema, architecture="mlp", arguments=arguments, name="people", training={"seed": 3})


@pytest.fixture(scope="session")
def module(card: Card) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        return build(card.architecture, card.arguments)


@pytest.fixture
def model_file(tmp_path: Path, module: torch.nn.Module, card: Card) -> Path:
    path = tmp_path / "model.pt"
    save_model(path, module, card)
    return path


@pytest.fixture
def model_like(tmp_path: Path, module: torch.nn.Module, card: Card) -> Callable[..., Path]:
    """Write a file as save_model does, with parts of it replaced, by torch.save alone."""

    def write(*, state: object = None, card_text: object = None, **more: object) -> Path:
        content = {
            "auditkit_card": card.model_dump_json() if card_text is None else card_text,
            "state_dict": dict(module.state_dict()) if state is None else state,
            **more,
        }
        path = tmp_path / "model.pt"
        torch.save(content, path)
        return path

    return write
