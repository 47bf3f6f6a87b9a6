"""auditkit's own masked language model: trained by the command, opened again, audited, and fine-tuned with privacy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from languages import sentences

from auditkit.cli import call
from auditkit.data.dataset import read_data
from auditkit.models.architectures import build
from auditkit.models.capabilities import CausalLanguageModel, LanguageModel
from auditkit.models.formats.opening import open_model
from auditkit.models.networks import MaskedTokens
from auditkit.training.dp.retrain import retrain
from auditkit.training.train_language import fit_texts

CPU = torch.device("cpu")
SMALL = '{"width": 32, "layers": 1, "heads": 2, "vocabulary_size": 300}'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bert")
    pd.DataFrame({"text": sentences(200, seed=1)}).to_csv(place / "train.csv", index=False)
    command = ["train", "--task", "language", "--architecture", "bert", "--dataset", str(place / "train.csv")]
    command += ["--text", "text", "--out", str(place / "bert.pt"), "--architecture-args", SMALL, "--quiet"]
    assert call([*command, "--epochs", "12"]) == 0
    return place


def test_it_opens_as_a_masked_model_and_has_learnt(place: Path) -> None:
    model = open_model(place / "bert.pt")
    assert model.card is not None
    assert model.card.architecture == "bert"
    assert model.capability(CausalLanguageModel) is None
    able = model.require(LanguageModel)
    fresh = build("bert", model.card.arguments)
    usual, strange = sentences(8, seed=2), ["qzx vwk jjp " * 4] * 8
    scores = [
        np.mean([one.log_probabilities.mean() for one in able.score(texts, device=CPU)]) for texts in (usual, strange)
    ]
    assert scores[0] > 0.7 * scores[1]
    assert all(
        len(one.ids) == len(able.tokens(text)[0])
        for one, text in zip(able.score(usual, device=CPU), usual, strict=True)
    )
    assert isinstance(fresh, torch.nn.Module)


def test_filling_changes_no_logit_and_both_sides_do(place: Path) -> None:
    network = open_model(place / "bert.pt").module
    ids = torch.randint(2, 300, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        alone = network(ids)
        mask = torch.tensor([[1] * 9 + [0] * 3] * 2)
        torch.testing.assert_close(
            network(torch.cat([ids, torch.zeros(2, 3, dtype=torch.int64)], 1), mask)[:, :9], alone
        )
        for place_of in (0, 8):
            other = ids.clone()
            other[:, place_of] = (other[:, place_of] + 1) % 300
            assert (network(other)[:, 4] - alone[:, 4]).abs().max() > 1e-4


def test_only_hidden_tokens_are_learnt(place: Path) -> None:
    """A network that copies what it sees gains nothing: what is predicted is never shown."""
    seen: list[torch.Tensor] = []

    class Watched(MaskedTokens, torch.nn.Module):
        context, mask_token = 16, 1

        def __init__(self) -> None:
            super().__init__()
            self.bias = torch.nn.Parameter(torch.zeros(50))

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            seen.append(ids)
            return self.bias.expand(*ids.shape, -1)

    fit_texts(Watched(), [[5, 6, 7, 8]] * 40, epochs=20, seed=0, device=CPU)
    share = torch.cat([ids[:, 1:-1].flatten() for ids in seen]).eq(1).float().mean()
    assert 0.1 < float(share) < 0.25
    assert all(bool((ids[:, 0] == 0).all()) and bool((ids[:, -1] == 0).all()) for ids in seen), "no edge is hidden"


def test_it_is_fine_tuned_with_privacy(place: Path, tmp_path: Path) -> None:
    model = open_model(place / "bert.pt")
    frame = pd.DataFrame({"text": sentences(40, seed=3)})
    frame.to_csv(tmp_path / "private.csv", index=False)
    done = retrain(model, read_data(tmp_path / "private.csv"), epsilon=8.0, lora_rank=2, epochs=1, out=tmp_path / "o")
    path, ledger = done.files[0]
    assert ledger.clipping == "bookkeeping"
    again = open_model(path)
    assert torch.equal(again.module.state_dict()["tokens.weight"], model.module.state_dict()["tokens.weight"])
