"""A small causal transformer over tokens (Radford et al. 2019): auditkit's own language model."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from auditkit.errors import ModelFileError
from auditkit.models.architectures.arguments import require_dropout, require_width
from auditkit.models.networks import CausalTokens
from auditkit.schema.text import MAXIMUM_LENGTH

Past = list[tuple[Tensor, Tensor]]
"""The keys and values of each layer, (rows, heads, tokens, width of a head)."""


class Block(nn.Module):
    """Attention, then a feed-forward layer, each behind a layer norm and added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention_in, self.attention_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(dropout)
        )

    def forward(
        self, values: Tensor, reach: Tensor, past: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return values, (rows, tokens, width), and the keys and values of earlier tokens and these.

        `reach` says what each token looks at: bool, (tokens, earlier tokens and these), or the same for each row.
        """
        rows, tokens, width = values.shape
        query, key, value = (
            part.view(rows, tokens, self.heads, -1).transpose(1, 2)
            for part in self.attention_in(self.attention_norm(values)).split(width, dim=2)
        )
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        dropout = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=reach, dropout_p=dropout)
        values = values + self.attention_out(mixed.transpose(1, 2).reshape(rows, tokens, width))
        return values + self.feed(self.feed_norm(values)), (key, value)


class TokenLogits(nn.Module):
    """Values, (..., width), to logits of tokens, by the weights of their embedding, which stay the embedding's."""

    def __init__(self, tokens: nn.Embedding) -> None:
        super().__init__()
        self._tokens = (tokens,)  # in a tuple, so that its weights are not this layer's too

    @property
    def weight(self) -> nn.Parameter:
        """The weights of the embedding, (tokens, width)."""
        found: nn.Parameter = self._tokens[0].weight  # type: ignore[assignment]  # torch declares a tensor
        return found

    def forward(self, values: Tensor) -> Tensor:
        """Return the logits."""
        return functional.linear(values, self.weight)


class Gpt(CausalTokens, nn.Module):
    """Ids, (rows, length), to logits of the token behind each, (rows, length, vocabulary).

    Token 0 begins and ends a text.
    """

    padding = start = end = 0

    def __init__(self, vocabulary_size: int, length: int, width: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.vocabulary_size, self.context = vocabulary_size, length
        self.tokens, self.positions = nn.Embedding(vocabulary_size, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.logits = TokenLogits(self.tokens)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                scale = math.sqrt(2 * layers) if "attention_out" in name else 1.0
                nn.init.normal_(parameter, std=0.02 / scale)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the logits. Padding stands behind the tokens, where none looks, so that `mask` changes none."""
        logits: Tensor = self.logits(self._read(ids, None)[0])
        return logits

    def advance(self, ids: Tensor, past: Past | None) -> tuple[Tensor, Past]:
        """Return the logits behind the last of more tokens, (rows, vocabulary), and the past of later ones."""
        values, known = self._read(ids, past)
        return self.logits(values[:, -1]), known

    def select(self, past: Past, rows: Tensor) -> Past:
        """Return the past of some rows, each as often as it is named."""
        return [(key[rows], value[rows]) for key, value in past]

    def _read(self, ids: Tensor, past: Past | None) -> tuple[Tensor, Past]:
        begin = 0 if past is None else past[0][0].shape[2]
        places = torch.arange(begin, begin + ids.shape[1], device=ids.device).expand_as(ids)  # of each row by itself
        values = self.tokens(ids) + self.positions(places)
        count = ids.shape[1]
        reach = torch.ones(count, begin + count, dtype=torch.bool, device=ids.device).tril(begin)
        known: Past = []
        for place, block in enumerate(self.blocks):
            values, pair = block(values, reach, None if past is None else past[place])
            known.append(pair)
        return self.norm(values), known


def gpt(
    *, vocabulary_size: int, length: int, width: int = 96, layers: int = 3, heads: int = 4, dropout: float = 0.1
) -> Gpt:
    """Return a causal transformer whose output weights are those of its token embedding.

    Raises:
        ModelFileError: an argument is out of range, or `heads` does not divide `width`.
    """
    require_sizes("gpt", vocabulary_size, length, width, layers, heads, dropout)
    return Gpt(vocabulary_size, length, width, layers, heads, dropout)


def require_sizes(
    name: str, vocabulary_size: int, length: int, width: int, layers: int, heads: int, dropout: float
) -> None:
    """Raise ModelFileError for an argument that is out of range, or heads that do not divide the width."""
    require_width(name, vocabulary_size, what="vocabulary_size")
    require_width(name, length, what="length", most=MAXIMUM_LENGTH)
    require_width(name, width, heads)
    require_width(name, layers, what="layers", most=64)
    require_dropout(name, dropout)
    if width % heads:
        raise ModelFileError(f"architecture {name}: heads must divide width {width}, got {heads}.")
