"""A modality is one file: what it offers is all that robustness and explanations ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from auditkit.auditors.robustness.auditor import Robustness
from auditkit.data.dataset import data_from_frame
from auditkit.engine.load import load_subject
from auditkit.errors import NotRun
from auditkit.modalities.base import Corruption, Reach, Segments, every_corruption, modality_for
from auditkit.models.model import model_from_module
from auditkit.schema.infer import numeric_schema
from auditkit.schema.schema import Schema


@dataclass(frozen=True)
class Switches:
    """A modality that is installed nowhere: rows of switches, each on or off."""

    schema: Schema

    name: ClassVar[str] = "switches"
    corruption_names: ClassVar[tuple[str, ...]] = ("thrown_switches",)
    dear: ClassVar[bool] = False

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        return self.schema.encode(frame)

    def segments(self, inputs: np.ndarray, source: np.ndarray) -> Segments:
        count = inputs.shape[1]
        return Segments(np.full(len(inputs), count), count, lambda rows, off: np.where(off, 0, rows))

    def corruptions(
        self, frame: pd.DataFrame, inputs: np.ndarray, source: np.ndarray, *, seed: int
    ) -> list[Corruption]:
        draws = np.random.default_rng(seed).random(inputs.shape)

        def at(strength: float) -> np.ndarray:
            return np.where(draws < strength, 1 - inputs, inputs).astype(np.float32)

        return [Corruption("thrown_switches", "Thrown switches", "Some are thrown.", "share of the switches", at)]

    def out_of_distribution(self, inputs: np.ndarray, source: np.ndarray, *, seed: int) -> dict[str, np.ndarray]:
        return {"all switches between on and off": np.full_like(inputs[:1], 0.5)}

    def reach(self, source: np.ndarray) -> Reach:
        raise NotRun("a switch is on or off")


class First(torch.nn.Module):
    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return 8 * rows[:, :1] - 4


def test_a_new_modality_is_audited_for_robustness() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.integers(0, 2, 300) for name in ("a", "b", "y")})
    frame["y"] = frame["a"]
    schema = numeric_schema(["a", "b"], target="y", classes=("0", "1"))
    subject = load_subject(model_from_module(First(), schema), data_from_frame(frame))
    subject.__dict__["modality"] = Switches(schema)
    measured = {one.id: one for one in Robustness().audit(subject).measurements if not one.by}
    flipped = measured["robustness.thrown_switches_flip_rate"].value
    assert flipped is not None
    assert 0.05 < flipped < 0.2
    assert measured["robustness.adversarial_flip_rate"].reason == "a switch is on or off"


def test_the_installed_modalities_name_their_corruptions_and_delete_segments() -> None:
    assert {"numeric_noise", "pixel_noise", "typing_errors"} <= set(every_corruption())
    schema = numeric_schema(["a", "b"], target="y", classes=("0", "1"))
    rows = np.array([[1.0, 2.0], [3.0, 6.0]], dtype=np.float32)
    segments = modality_for(schema).segments(rows, rows)
    assert segments.names == ("a", "b")
    assert segments.delete(rows, np.array([[True, False], [False, True]])).tolist() == [[2.0, 2.0], [3.0, 4.0]]
