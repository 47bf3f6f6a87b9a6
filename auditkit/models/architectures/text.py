"""`lstm`, `gru`, `transformer`: networks for token ids, 0 where a text has ended.

What stands behind the end of a text has no part in the output: the states of the real tokens are averaged. Each text
model has one layer called `embedding`, which layer attribution hooks. Every layer with weights runs once a forward
pass, except RecurrentLinear, so that DP-SGD can clip by ghost norms.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import nn

from auditkit.errors import ModelFileError
from auditkit.models.architectures.arguments import require_dropout, require_width

MAXIMUM_LENGTH = 4096


class RecurrentLinear(nn.Linear):
    """A Linear layer that runs once per token; DP-SGD sums a row's gradient over the tokens before it clips."""


class TextClassifier(nn.Module):
    """Embedding, a body that gives each token a state, the mean state of the real tokens, and a Linear layer."""

    def __init__(
        self, embedding: nn.Embedding, body: nn.Module, *, state_width: int, output_width: int, dropout: float
    ):
        """Put the parts together; `body` maps (rows, length, width) and a mask (rows, length) to states."""
        super().__init__()
        self.embedding = embedding
        self.embedding_dropout = nn.Dropout(dropout)
        self.body = body
        self.state_dropout = nn.Dropout(dropout)
        self.output = nn.Linear(state_width, output_width)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return logits (rows, output_width) of token ids (rows, length)."""
        real = ids != 0
        states = self.body(self.embedding_dropout(self.embedding(ids)), real)
        weights = real.to(states.dtype).unsqueeze(2)
        mean = (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)  # a text without tokens gives zeros
        logits: torch.Tensor = self.output(self.state_dropout(mean))
        return logits


class LSTMCells(nn.Module):
    """A long short-term memory, unrolled over plain Linear layers (Hochreiter & Schmidhuber 1997; as nn.LSTM)."""

    def __init__(self, width: int, hidden: int):
        """Make the two layers that all gates share."""
        super().__init__()
        self.from_input = nn.Linear(width, 4 * hidden)
        self.from_state = RecurrentLinear(hidden, 4 * hidden)
        self.hidden = hidden

    def forward(self, tokens: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Return the states (rows, length, hidden)."""
        inputs = self.from_input(tokens)
        state = cell = tokens.new_zeros(tokens.shape[0], self.hidden)
        states = []
        for arriving in inputs.unbind(dim=1):
            gates = arriving + self.from_state(state)
            enter, forget, new, leave = gates.chunk(4, dim=1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
            state = torch.sigmoid(leave) * torch.tanh(cell)
            states.append(state)
        return torch.stack(states, dim=1)


class GRUCells(nn.Module):
    """Gated recurrent units, unrolled over plain Linear layers (Cho et al. 2014; as nn.GRU)."""

    def __init__(self, width: int, hidden: int):
        """Make the two layers that all gates share."""
        super().__init__()
        self.from_input = nn.Linear(width, 3 * hidden)
        self.from_state = RecurrentLinear(hidden, 3 * hidden)
        self.hidden = hidden

    def forward(self, tokens: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Return the states (rows, length, hidden)."""
        inputs = self.from_input(tokens)
        state = tokens.new_zeros(tokens.shape[0], self.hidden)
        states = []
        for arriving in inputs.unbind(dim=1):
            reset_in, update_in, new_in = arriving.chunk(3, dim=1)
            reset_by, update_by, new_by = self.from_state(state).chunk(3, dim=1)
            update = torch.sigmoid(update_in + update_by)
            new = torch.tanh(new_in + torch.sigmoid(reset_in + reset_by) * new_by)
            state = (1 - update) * new + update * state
            states.append(state)
        return torch.stack(states, dim=1)


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017) of Linear layers and a softmax, which Captum can follow."""

    def __init__(self, width: int, heads: int):
        """Make the four projections."""
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.merge = (nn.Linear(width, width) for _ in range(4))
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, tokens: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Return what each token gathers from the real tokens: (rows, length, width)."""
        rows, length, width = tokens.shape

        def split(projected: torch.Tensor) -> torch.Tensor:
            return projected.reshape(rows, length, self.heads, width // self.heads).transpose(1, 2)

        query, key, value = split(self.query(tokens)), split(self.key(tokens)), split(self.value(tokens))
        scores = query @ key.transpose(2, 3) / math.sqrt(width // self.heads)
        # A finite number, and not -inf: a text without tokens would get NaN.
        scores = scores.masked_fill(~real[:, None, None, :], -1e9)
        gathered = (self.softmax(scores) @ value).transpose(1, 2).reshape(rows, length, width)
        merged: torch.Tensor = self.merge(gathered)
        return merged


class Block(nn.Module):
    """One transformer layer, normalised before each part."""

    def __init__(self, width: int, heads: int, dropout: float):
        """Make attention, the feed-forward part and their norms."""
        super().__init__()
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Return the tokens with what attention and feed-forward add: (rows, length, width)."""
        tokens = tokens + self.dropout(self.attention(self.attention_norm(tokens), real))
        added: torch.Tensor = tokens + self.dropout(self.feed(self.feed_norm(tokens)))
        return added


class Blocks(nn.Module):
    """Learned positions, transformer layers, and a last norm."""

    def __init__(self, width: int, heads: int, depth: int, length: int, dropout: float):
        """Make `depth` layers."""
        super().__init__()
        self.positions = nn.Embedding(length, width)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.layers = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Return the states (rows, length, width)."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        # One row of places for each text, not an expanded view: Opacus clips embeddings by row.
        tokens = tokens + self.positions(places.repeat(tokens.shape[0], 1))
        for layer in self.layers:
            tokens = layer(tokens, real)
        normed: torch.Tensor = self.norm(tokens)
        return normed


CELLS: dict[str, Callable[[int, int], nn.Module]] = {"lstm": LSTMCells, "gru": GRUCells}


def recurrent(
    name: str,
    *,
    vocabulary_size: int,
    length: int,
    output_width: int,
    embedding_width: int = 48,
    hidden: int = 64,
    dropout: float = 0.5,
) -> TextClassifier:
    """Return a recurrent network of LSTM or GRU cells: token ids (rows, length) -> (rows, output_width) logits.

    Raises:
        ModelFileError: an argument is out of range.
    """
    _check(name, vocabulary_size, length, output_width, embedding_width, hidden, dropout)
    return TextClassifier(
        _embedding(vocabulary_size, embedding_width),
        CELLS[name](embedding_width, hidden),
        state_width=hidden,
        output_width=output_width,
        dropout=dropout,
    )


lstm = functools.partial(recurrent, "lstm")
gru = functools.partial(recurrent, "gru")


def transformer(
    *,
    vocabulary_size: int,
    length: int,
    output_width: int,
    width: int = 48,
    heads: int = 4,
    depth: int = 1,
    dropout: float = 0.3,
) -> TextClassifier:
    """Return a small transformer encoder: token ids (rows, length) -> (rows, output_width) logits.

    Raises:
        ModelFileError: an argument is out of range, or `heads` does not divide `width`.
    """
    _check("transformer", vocabulary_size, length, output_width, width, heads, dropout)
    require_width("transformer", depth, what="depth", most=64)
    if width % heads:
        raise ModelFileError(f"architecture transformer: heads must divide width {width}, got {heads}.")
    return TextClassifier(
        _embedding(vocabulary_size, width),
        Blocks(width, heads, depth, length, dropout),
        state_width=width,
        output_width=output_width,
        dropout=dropout,
    )


def _embedding(vocabulary_size: int, width: int) -> nn.Embedding:
    embedding = nn.Embedding(vocabulary_size, width, padding_idx=0)
    with torch.no_grad():
        embedding.weight.mul_(0.1)  # torch draws them from N(0, 1), too far apart for a small data set
    return embedding


def _check(
    name: str,
    vocabulary_size: object,
    length: object,
    output_width: object,
    width: object,
    other: object,
    dropout: object,
) -> None:
    require_width(name, vocabulary_size, what="vocabulary_size")
    require_width(name, length, what="length", most=MAXIMUM_LENGTH)
    require_width(name, output_width, width, other)
    require_dropout(name, dropout)
