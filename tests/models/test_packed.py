"""A modality that encodes rows as two tensors is audited as one array is: same numbers, in every auditor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from auditkit.auditors.explainability.auditor import Explainability
from auditkit.auditors.privacy.leakage import Leakage
from auditkit.auditors.robustness.auditor import Robustness
from auditkit.data.dataset import data_from_frame
from auditkit.engine.load import load_subject
from auditkit.engine.subject import Subject
from auditkit.evidence.messages import Message
from auditkit.modalities import base
from auditkit.modalities.base import Corruption, Reach, Segments
from auditkit.models.model import model_from_module
from auditkit.schema.infer import numeric_schema
from auditkit.schema.schema import Schema
from auditkit.training.dp.dp_sgd import fit_private
from auditkit.training.dp.plan import PrivateSettings

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class CodesAndNumbers:
    """An integer code (rows, 1), int64, and a number (rows, 1), float32: two inputs of the network."""

    schema: Schema

    name: ClassVar[str] = "codes and numbers"
    corruption_names: ClassVar[tuple[str, ...]] = ("noise",)
    dear: ClassVar[bool] = False
    columnar: ClassVar[bool] = True
    explained_as: ClassVar[str] = "segments"
    compared_by: ClassVar[Message] = Message("on the columns that the model reads and by its scales")
    texts: ClassVar[None] = None

    def encode(self, frame: pd.DataFrame) -> Pair:
        return frame[["code"]].to_numpy(np.int64), frame[["number"]].to_numpy(np.float32)

    def blank(self, count: int) -> Pair:
        return np.zeros((count, 1), dtype=np.int64), np.zeros((count, 1), dtype=np.float32)

    def comparable(self, frame: pd.DataFrame) -> np.ndarray:
        return frame[["code", "number"]].to_numpy(np.float64)

    def segments(self, inputs: Pair, source: Pair) -> Segments:
        def delete(rows: Pair, gone: np.ndarray) -> Pair:
            assert rows[0].dtype == np.int64
            return np.where(gone[:, :1], 0, rows[0]), np.where(gone[:, 1:], np.float32(source[1].mean()), rows[1])

        return Segments(np.full(len(inputs[0]), 2), 2, delete, ("code", "number"))

    def corruptions(self, frame: pd.DataFrame, inputs: Pair, source: Pair, *, seed: int) -> list[Corruption]:
        noise = np.random.default_rng(seed).standard_normal(inputs[1].shape).astype(np.float32)
        words = Message("Noise on numbers"), Message("Noise on numbers"), Message("share")
        return [Corruption("noise", *words, lambda strength: (inputs[0], inputs[1] + np.float32(strength) * noise))]

    def out_of_distribution(self, inputs: Pair, source: Pair, *, seed: int) -> dict[str, Pair]:
        return {"numbers far off": (inputs[0], inputs[1] + 100)}

    def reach(self, source: Pair) -> Reach:
        unit: Any = (np.zeros(1, dtype=np.float32), np.ones(1, dtype=np.float32))
        return Reach(unit, None, (0.1, 0.5), 0.1, Message("largest change"), "number")


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.codes, self.numbers = nn.Embedding(3, 1), nn.Linear(1, 1)

    def forward(self, code: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
        assert code.dtype == torch.int64
        scores: torch.Tensor = self.codes(code[:, 0]) + self.numbers(number)
        return scores


@pytest.fixture(scope="module")
def subject() -> Iterator[Subject]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"code": rng.integers(0, 3, 420), "number": rng.normal(size=420).round(3)})
    network = Two()
    with torch.no_grad():
        network.codes.weight[:] = torch.tensor([[-2.0], [0.0], [2.0]])
        network.numbers.weight[:], network.numbers.bias[:] = 1.0, 0.0
        scores = network(torch.tensor(frame[["code"]].to_numpy()), torch.tensor(frame[["number"]].to_numpy()).float())
    frame["y"] = (scores[:, 0].numpy() + rng.normal(size=420) > 0).astype(int)
    schema = numeric_schema(["code", "number"], target="y", classes=("0", "1"))
    schema = schema.model_copy(update={"modality": "codes and numbers"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "_modality_class", lambda name: CodesAndNumbers)
        model = model_from_module(network, schema)
        training, audited = (data_from_frame(frame.iloc[rows]) for rows in (slice(210), slice(210, None)))
        yield load_subject(model, audited, training=training, device="cpu")


def test_predictions_are_those_of_the_network(subject: Subject) -> None:
    assert subject.inputs.shape == (210, 2)
    codes, numbers = (subject.data.frame[name].to_numpy(np.float64) for name in ("code", "number"))
    expected = 1 / (1 + np.exp(-(2 * (codes - 1) + numbers)))
    assert subject.predictions.scores == pytest.approx(expected, abs=1e-6)


def test_it_is_corrupted_attacked_and_explained(subject: Subject) -> None:
    found = {one.id: one for one in Robustness(rows=100).audit(subject).measurements if not one.by}
    flipped = found["robustness.adversarial_flip_rate"].value
    near = np.abs(subject.inputs[:, 1] + 2 * (subject.inputs[:, 0] - 1)) < 0.1
    assert flipped is not None
    assert abs(flipped - near.mean()) < 0.05  # a change of 0.1 turns those nearer than 0.1
    assert found["robustness.noise_flip_rate"].value is not None
    explained = {one.id: one for one in Explainability(rows=100).audit(subject).measurements}
    shares = {part.group.key[0]: part.value for part in explained["explainability.attribution_share"].slices}
    assert set(shares) == {"code", "number"}
    assert (shares["code"] or 0) > (shares["number"] or 0)
    assert explained["explainability.failed_trust_checks"].count > 0


def test_it_is_attacked_by_shadows_and_trained_privately(subject: Subject) -> None:
    leakage = {one.id: one for one in Leakage(shadows=2).audit(subject).measurements if not one.by}
    assert leakage["leakage.membership_auc"].value is not None
    assert subject.training_inputs is not None
    assert subject.training_labels is not None
    network, few = subject.model.fresh(1), PrivateSettings(epsilon=8.0, epochs=2, seed=1)
    before = [value.detach().clone() for value in network.parameters()]
    ledger = fit_private(network, subject.training_inputs, subject.training_labels, few, device=subject.device)
    assert ledger.epsilon <= 8
    assert all(bool((value != old).any()) for value, old in zip(network.parameters(), before, strict=True))
