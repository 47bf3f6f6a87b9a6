"""Language models: what must hold on a GPU as on a CPU; see `test_device.py`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import auditkit
from auditkit.cli import call
from auditkit.models.capabilities import CausalLanguageModel, LanguageModel
from auditkit.models.formats.opening import open_model
from auditkit.models.language import FromMasked
from auditkit.models.model import Model

pytestmark = pytest.mark.gpu

DEVICE = torch.device(os.environ.get("AUDITKIT_DEVICE", "cpu"))
CPU = torch.device("cpu")

SMALL = '{"width": 32, "layers": 1, "heads": 2, "vocabulary_size": 300}'


def texts(count: int, seed: int) -> list[str]:
    draws = np.random.default_rng(seed)
    words = ["the", "film", "was", "good", "slow", "and", "she", "he", "liked", "it"]
    return [" ".join(draws.choice(words, 9)) + "." for _ in range(count)]


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("language") / "train.csv"
    pd.DataFrame({"text": texts(120, 1)}).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module", params=["gpt", "bert"])
def path(request: pytest.FixtureRequest, train: Path) -> Path:
    path = train.parent / f"{request.param}.pt"
    command = ["train", "--task", "language", "--dataset", str(train), "--text", "text", "--out", str(path)]
    command += ["--architecture", request.param, "--architecture-args", SMALL, "--epochs", "2", "--quiet"]
    assert call([*command, "--device", DEVICE.type]) == 0
    return path


@pytest.fixture
def model(path: Path) -> Model:
    return open_model(path)


def test_scores_of_tokens_are_those_of_the_cpu(model: Model) -> None:
    able = model.require(LanguageModel)
    there, here = (able.score(texts(20, 2), device=device) for device in (DEVICE, CPU))
    for one, other in zip(there, here, strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_allclose(one.log_probabilities, other.log_probabilities, atol=1e-3)


def test_continuations_and_endings_are_those_of_the_cpu(model: Model) -> None:
    able = model.capability(CausalLanguageModel)
    if able is None:
        assert isinstance(model.require(LanguageModel), FromMasked), "only a masked model continues nothing"
        return
    prompts = [able.tokens(text)[0].tolist()[:4] for text in texts(6, 3)]
    codes = [f"the film was {code}." for code in range(10)]

    def said(device: torch.device) -> tuple[Any, ...]:
        return (
            able.greedy(prompts, 8, device=device).tolist(),
            able.sampled(prompts, 8, seed=4, device=device),
            able.endings(codes, device=device),
        )

    (greedy, sampled, endings), (their_greedy, their_sampled, their_endings) = said(DEVICE), said(CPU)
    assert greedy == their_greedy
    assert sampled == their_sampled
    np.testing.assert_allclose(endings - endings[0], their_endings - their_endings[0], atol=1e-3)


def test_an_audit_gives_the_numbers_of_the_cpu(path: Path, train: Path) -> None:
    unseen = pd.DataFrame({"text": texts(60, 5), "group": ["a", "b"] * 30})

    def report(device: torch.device) -> Any:
        return auditkit.audit(
            path, unseen, text="text", sensitive="group", train_dataset=train, only=["language"], device=device.type
        )

    there, here = report(DEVICE), report(CPU)
    assert [outcome.error for outcome in there.outcomes] == [None] * len(there.outcomes)
    bits = [one.measurement("language.bits_per_byte") for one in (there, here)]
    assert bits[0].value == pytest.approx(bits[1].value, rel=1e-3)
