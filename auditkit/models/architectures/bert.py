"""A small masked transformer over tokens (Devlin et al. 2019): it fills a hidden token from both sides."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from auditkit.models.architectures.gpt import Block, TokenLogits, require_sizes
from auditkit.models.networks import MaskedTokens


class Bert(MaskedTokens, nn.Module):
    """Ids, (rows, length), to logits of the token at each place, (rows, length, vocabulary).

    Token 0 stands before and behind a text, and token 1 for a hidden one.
    """

    padding, mask_token = 0, 1
    prefix = suffix = (0,)

    def __init__(self, vocabulary_size: int, length: int, width: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.vocabulary_size, self.context = vocabulary_size, length
        self.tokens, self.positions = nn.Embedding(vocabulary_size, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.logits = TokenLogits(self.tokens)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the logits; `mask`, (rows, length), is 0 where a row is filled up."""
        values = self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device).expand_as(ids))
        reach = (torch.ones_like(ids) if mask is None else mask).bool()[:, None, None]
        for block in self.blocks:
            values, _ = block(values, reach)
        logits: Tensor = self.logits(self.norm(values))
        return logits


def bert(
    *, vocabulary_size: int, length: int, width: int = 96, layers: int = 3, heads: int = 4, dropout: float = 0.1
) -> Bert:
    """Return a transformer that looks both ways, whose output weights are those of its token embedding.

    Raises:
        ModelFileError: an argument is out of range, or `heads` does not divide `width`.
    """
    require_sizes("bert", vocabulary_size, length, width, layers, heads, dropout)
    return Bert(vocabulary_size, length, width, layers, heads, dropout)
