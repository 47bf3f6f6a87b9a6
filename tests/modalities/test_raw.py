"""A modality of graphs, whose column no feature of auditkit's encodes: one class, inputs by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import auditkit
from auditkit.errors import NotRun
from auditkit.evidence.messages import Message
from auditkit.modalities import base
from auditkit.modalities.base import Corruption, Reach, Segments
from auditkit.models.model import model_from_module
from auditkit.schema.schema import Schema
from auditkit.schema.table import Feature

NODES = 6
Graph = dict[str, np.ndarray]


@dataclass(frozen=True)
class Graphs:
    """Edges as a text, "1-0 2-1": an adjacency matrix, and which nodes have an edge."""

    schema: Schema

    name: ClassVar[str] = "graphs"
    corruption_names: ClassVar[tuple[str, ...]] = ("noise",)  # one that the robustness auditor has declared
    dear: ClassVar[bool] = False
    columnar: ClassVar[bool] = False
    explained_as: ClassVar[str] = "segments"
    compared_by: ClassVar[Message] = Message("on their edges")
    texts: ClassVar[None] = None

    def encode(self, frame: pd.DataFrame) -> Graph:
        edges = np.zeros((len(frame), NODES, NODES), dtype=np.float32)
        for row, text in enumerate(frame["edges"]):
            for edge in text.split():
                one, other = map(int, edge.split("-"))
                edges[row, one, other] = edges[row, other, one] = 1
        return {"edges": edges, "nodes": edges.max(axis=2)}

    def blank(self, count: int) -> Graph:
        return {"edges": np.zeros((count, NODES, NODES), np.float32), "nodes": np.zeros((count, NODES), np.float32)}

    def comparable(self, frame: pd.DataFrame) -> np.ndarray:
        return self.encode(frame)["edges"].reshape(len(frame), -1).astype(np.float64)

    def segments(self, inputs: Graph, source: Graph) -> Segments:
        def delete(rows: Graph, gone: np.ndarray) -> Graph:
            kept = (~gone).astype(np.float32)
            return {"edges": rows["edges"] * kept[:, :, None] * kept[:, None, :], "nodes": rows["nodes"] * kept}

        count = len(inputs["edges"])
        return Segments(np.full(count, NODES), NODES, delete, tuple(f"node {node}" for node in range(NODES)))

    def corruptions(self, frame: pd.DataFrame, inputs: Graph, source: Graph, *, seed: int) -> list[Corruption]:
        draws = np.random.default_rng(seed).random(inputs["edges"].shape)

        def lost(share: float) -> Graph:
            return {**inputs, "edges": np.where(draws < share, 0, inputs["edges"]).astype(np.float32)}

        words = Message("Lost edges"), Message("A share of the edges is lost."), Message("share of the edges")
        return [Corruption("noise", *words, lost)]

    def out_of_distribution(self, inputs: Graph, source: Graph, *, seed: int) -> Mapping[str, Graph]:
        return {"no edges": self.blank(1)}

    def reach(self, source: Graph) -> Reach:
        raise NotRun(Message("an edge is there or not"))


class Dense(nn.Module):
    """More than seven edges are dense; the mask of nodes is read and not needed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, edges: torch.Tensor, nodes: torch.Tensor) -> torch.Tensor:
        assert nodes.shape == edges.shape[:2]
        logits: torch.Tensor = (edges.sum((1, 2)) / 2 - 7.5)[:, None] * self.weight
        return logits


def graphs(count: int) -> pd.DataFrame:
    draws = np.random.default_rng(0)
    pairs = [(one, other) for one in range(NODES) for other in range(one)]
    drawn = [
        [pair for pair in pairs if draws.random() < share] or pairs[:1] for share in draws.uniform(0.2, 0.8, count)
    ]
    edges = [" ".join(f"{one}-{other}" for one, other in each) for each in drawn]
    dense = [len(each) + draws.normal() > 7.5 for each in drawn]
    return pd.DataFrame({"edges": edges, "team": draws.choice(["a", "b"], count), "y": np.where(dense, "yes", "no")})


def schema(modality: str | None = "graphs") -> Schema:
    feature = Feature(name="edges", kind="raw")
    classes = ("no", "yes")
    named: dict[str, Any] = {"target": "y", "task": "binary", "classes": classes, "sensitive": ("team",)}
    return Schema(features=(feature,), modality=modality, **named)


def test_graphs_are_audited_by_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_modality_class", lambda name: Graphs)
    frame = graphs(400)
    report = auditkit.audit(model_from_module(Dense(), schema()), dataset=frame, device="cpu")
    assert [outcome.error for outcome in report.outcomes if outcome.error] == []
    accuracy = report.measurement("performance.accuracy")
    assert accuracy is not None
    predicted = frame["edges"].str.count("-") > 7.5
    assert accuracy.value == pytest.approx((predicted == (frame["y"] == "yes")).mean())
    assert report.measurement("fairness.demographic_parity_difference", ("team",)) is not None
    loss = report.measurement("robustness.noise_accuracy_loss")
    assert loss is not None
    assert loss.value is not None
    assert loss.value > 0
    shares = report.measurement("explainability.attribution_share", ("segment",))
    assert shares is not None
    assert {part.group.key for part in shares.slices} == {(f"node {node}",) for node in range(NODES)}


def test_a_raw_column_needs_a_modality() -> None:
    with pytest.raises(ValueError, match="a raw column is read by a modality of its own; name it as modality"):
        schema(None)
    with pytest.raises(ValueError, match="raw has no cell for a missing value"):
        Feature(name="edges", kind="raw", missing=True)
