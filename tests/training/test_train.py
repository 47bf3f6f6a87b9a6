from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from planted import images, reviews

from auditkit.data.dataset import data_from_frame
from auditkit.errors import InputError, ModelFileError
from auditkit.models.formats.native import save_model
from auditkit.models.formats.opening import open_model
from auditkit.models.model import Card
from auditkit.models.predict import predict
from auditkit.training.train import train


@pytest.mark.parametrize("epsilon", [None, 8.0])
@pytest.mark.parametrize("architecture", ["mlp", "cnn", "lstm", "gru", "transformer"])
def test_every_architecture_trains_and_opens_again(tmp_path: Path, architecture: str, epsilon: float | None) -> None:
    if architecture == "mlp":
        frame, options = (
            pd.DataFrame(np.random.default_rng(0).normal(size=(200, 3)), columns=list("abc")),
            dict[str, Any](),
        )
        frame["label"] = np.where(frame["a"] > 0, "yes", "no")
    elif architecture == "cnn":
        frame, options = images(200), {}
    else:
        frame, options = reviews(200), {"text": "text"}
    small = {"mlp": {"hidden": [8]}, "cnn": {"channels": [4, 4], "hidden": 8}, "transformer": {"width": 16}}
    model, record = train(
        data_from_frame(frame),
        target="label",
        architecture=architecture,
        architecture_args=small.get(architecture, {"embedding_width": 12, "hidden": 12}),
        out=tmp_path / "model.pt",
        epochs=2,
        epsilon=epsilon,
        device="cpu",
        **options,
    )
    assert model.card is not None
    assert model.card.architecture == architecture
    assert (model.card.ledger is None) == (epsilon is None)
    assert record["row_count"] == 200
    again = open_model(tmp_path / "model.pt")
    inputs = again.schema.encode(frame)
    found = predict(again.module, inputs, again.schema, device=torch.device("cpu"))
    assert found.labels.shape == (200,)
    assert type(again.fresh(3)) is type(again.module)


def test_a_text_network_learns_the_planted_word(tmp_path: Path) -> None:
    frame = reviews(400)
    model, _ = train(data_from_frame(frame), target="label", text="text", out=tmp_path / "model.pt", device="cpu")
    assert model.card is not None
    assert model.card.architecture == "transformer"
    ids = model.schema.encode(pd.DataFrame({"text": ["a splendid film", "a film"]}))
    margin = model.module(torch.from_numpy(ids)).diff(dim=1).squeeze(1)
    assert margin[0] > 0 > margin[1]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"architecture": "gru"}, "architecture gru reads a text, .* as a table; pass --text COLUMN"),
        ({"architecture": "cnn", "text": "text"}, "architecture cnn reads a image, .* pass --image HEIGHTxWIDTH"),
        ({"architecture": "mlp", "text": "text"}, "architecture mlp reads a table"),
        ({"architecture": "grus"}, "architecture 'grus' is unknown.*did you mean 'gru'"),
        ({"text": "txt"}, "has no text column 'txt'.*did you mean 'text'"),
        ({"architecture": "gru", "text": "text", "architecture_args": {"hiden": 3}}, "wrong arguments: .*hiden"),
    ],
)
def test_what_cannot_be_trained(tmp_path: Path, options: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        train(data_from_frame(reviews(40)), target="label", out=tmp_path / "model.pt", device="cpu", **options)
    assert not (tmp_path / "model.pt").exists()


def test_a_card_whose_network_does_not_read_its_schema_is_refused(tmp_path: Path) -> None:
    model, _ = train(
        data_from_frame(reviews(60)), target="label", text="text", out=tmp_path / "model.pt", epochs=1, device="cpu"
    )
    card = model.card
    assert card is not None
    feature = card.schema_.features[0]
    longer = feature.model_copy(update={"length": feature.length + 1})
    schema = card.schema_.model_copy(update={"features": (longer,)})
    with pytest.raises(ModelFileError, match=r"has length .*, but its schema encodes"):
        save_model(tmp_path / "other.pt", model.module, Card(**{**dict(card), "schema_": schema}))
