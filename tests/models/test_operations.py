"""What a row costs in operations: counted without torch's compiler, and held against torch's own counter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from auditkit.models.operations import _of_recurrent_layer, counted_operations

IDS = torch.arange(15).reshape(3, 5)
SMALL = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


class OverIds(nn.Module):
    """Recurrent layers behind an embedding, of which the last position answers; packed, rows have 5, 3 and 2 ids."""

    def __init__(self, layers: nn.RNNBase, *, packed: bool = False) -> None:
        super().__init__()
        self.embedding, self.layers, self.packed = nn.Embedding(30, 8), layers, packed
        self.head = nn.Linear(16 * (1 + layers.bidirectional), 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        rows = self.embedding(ids)
        if self.packed:
            lengths = torch.tensor([5, 3, 2])
            packed = nn.utils.rnn.pack_padded_sequence(rows, lengths, batch_first=True)
            return self.head(self.layers(packed)[1][0][-1])  # type: ignore[no-any-return]
        return self.head(self.layers(rows)[0][:, -1])  # type: ignore[no-any-return]


class Cells(nn.Module):
    """Recurrent cells that are called position by position."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.LSTMCell(4, 8), nn.GRUCell(4, 8)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        state, hidden = None, None
        for place in range(rows.shape[1]):
            state, hidden = self.one(rows[:, place], state), self.other(rows[:, place], hidden)
        assert state is not None
        return state[0] + hidden  # type: ignore[no-any-return]


class Residual(nn.Module):
    """Strided, grouped and transposed convolutions with a sum between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1, stride=2), nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.back, self.head = nn.ConvTranspose2d(8, 4, 2, stride=2), nn.Linear(4, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.first(images)
        found = functional.relu(found + self.second(found))
        return self.head(self.back(found).mean((2, 3)))  # type: ignore[no-any-return]


class Products(nn.Module):
    """Products of matrices by functions and operators, which no layer tells of."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(6))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        found = torch.einsum("rij,jk->rik", rows @ self.weight, self.weight)
        found = torch.einsum("...ij, ...kj", found, found)
        found = torch.tensordot(torch.bmm(torch.matmul(found, rows), rows), self.weight, dims=1)
        found = torch.baddbmm(found, found, found.transpose(1, 2))
        first = torch.addmm(found[:, 0], mat1=found[:, 0], mat2=self.weight).mm(self.weight)
        return functional.linear(first, weight=self.weight)


class Logits(nn.Module):
    """A network of transformers as a module of one tensor."""

    def __init__(self, kind: str, config: str, **settings: Any) -> None:
        super().__init__()
        import transformers

        self.network = getattr(transformers, kind)(getattr(transformers, config)(**settings))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.network(rows).logits  # type: ignore[no-any-return]


def encoder() -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], torch.Tensor]] = {
    "MLP": (lambda: nn.Sequential(nn.Linear(7, 20), nn.ReLU(), nn.Linear(20, 2)), torch.ones(3, 7)),
    "CNN": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3), nn.Flatten(),
                                  nn.Linear(72, 2)), torch.ones(3, 3, 12, 12)),
    "ResNet": (Residual, torch.ones(3, 3, 16, 16)),
    "LSTM": (lambda: OverIds(nn.LSTM(8, 16, 2, batch_first=True)), IDS),
    "LSTM in both directions": (lambda: OverIds(nn.LSTM(8, 16, 2, batch_first=True, bidirectional=True)), IDS),
    "LSTM of packed rows": (lambda: OverIds(nn.LSTM(8, 16, batch_first=True), packed=True), IDS),
    "GRU": (lambda: OverIds(nn.GRU(8, 16, 2, batch_first=True)), IDS),
    "RNN": (lambda: OverIds(nn.RNN(8, 16, batch_first=True)), IDS),
    "cells": (Cells, torch.ones(3, 5, 4)),
    "transformer encoder": (encoder, torch.ones(3, 5, 16)),
    "BERT": (lambda: Logits("BertForSequenceClassification", "BertConfig", **SMALL), IDS),
    "GPT": (lambda: Logits("GPT2LMHeadModel", "GPT2Config", vocab_size=30, n_embd=16, n_layer=2, n_head=2,
                           bos_token_id=0, eos_token_id=1), IDS),
    "Llama": (lambda: Logits("LlamaForCausalLM", "LlamaConfig", num_key_value_heads=1, **SMALL), IDS),
    "embedding bag": (lambda: nn.Sequential(nn.EmbeddingBag(30, 8), nn.Linear(8, 2)), IDS),
    "audio": (lambda: nn.Sequential(nn.Conv1d(1, 4, 9, stride=3), nn.Conv1d(4, 8, 5, padding="same"),
                                    nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 2)), torch.ones(3, 1, 90)),
    "functions": (Products, torch.ones(3, 6, 6)),
}  # fmt: skip


def by_torch(module: nn.Module, rows: torch.Tensor) -> int:
    """Count by torch, without the kernels that its counter does not know: fast paths, and attention on a CPU."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    recurrent: Any = {torch.ops.aten.mkldnn_rnn_layer: _of_recurrent_layer}
    try:
        counter = FlopCounterMode(display=False, custom_mapping=recurrent)
        with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), counter:
            module(rows)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return int(counter.get_total_flops()) // len(rows)


@pytest.mark.parametrize("name", NETWORKS)
def test_operations_are_those_that_torch_counts(name: str) -> None:
    make, rows = NETWORKS[name]
    module = make().eval()
    assert counted_operations(module, rows) == by_torch(module, rows) > 0


@pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore:The tensor attributes", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", ["MLP", "ResNet", "LSTM", "transformer encoder", "functions"])
def test_programs_cost_what_their_networks_do(name: str) -> None:
    make, rows = NETWORKS[name]
    module = make().eval()
    expected = counted_operations(module, rows)
    exported = torch.export.export(module, (rows,)).module()
    assert counted_operations(exported, rows) == expected
    if name != "transformer encoder":  # traced, it keeps a fast path that torch's counter does not know
        assert counted_operations(torch.jit.trace(module, rows), rows) == expected
