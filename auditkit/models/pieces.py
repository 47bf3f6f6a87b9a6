"""Classifiers by transformers as modules: of piece ids, as auditkit numbers them, and of pixels."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from auditkit.schema.pieces import PieceTokenizer
from auditkit.schema.text import FIRST_WORD, PADDING, UNKNOWN

LENGTH_STEP = 8
"""Rows whose lengths agree when rounded up to a multiple of this are read together."""


class PieceNetwork(nn.Module):
    """A network of transformers that reads the pieces of a text: (rows, length), 0 behind its end, 1 unknown.

    The special tokens of the tokenizer are put around the pieces of each row. `network` keeps the embedding of pieces
    that explanations begin at. In inference mode rows of similar length are read together, so that a short text does
    not cost what the longest one does.
    """

    def __init__(self, network: Any, tokenizer: PieceTokenizer) -> None:
        super().__init__()
        self.network = network
        self.prefix, self.suffix = special_tokens_around(tokenizer)
        self.padding = int(getattr(network.config, "pad_token_id", None) or 0)
        unknown = tokenizer.token_to_id("[MASK]") or tokenizer.token_to_id("<mask>")
        self.unknown = unknown if unknown is not None else unknown_id(tokenizer)

    @property
    def embedding(self) -> nn.Module:
        """The layer that turns pieces into vectors."""
        found: nn.Module = self.network.get_input_embeddings()
        return found

    @property
    def offset(self) -> int:
        """How many special tokens stand before the first piece."""
        return len(self.prefix)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the logits, (rows, classes)."""
        if not torch.is_inference_mode_enabled():  # gradients by hooks need each layer to run once
            return self._read(ids)
        counts = (ids != PADDING).sum(dim=1)
        lengths = (counts.clamp(min=1) + LENGTH_STEP - 1) // LENGTH_STEP * LENGTH_STEP
        groups = [torch.nonzero(lengths == length)[:, 0] for length in lengths.unique()]
        logits = torch.cat([self._read(ids[group, : int(lengths[group[0]])]) for group in groups])
        return logits[torch.cat(groups).argsort()]

    def _read(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the logits of rows that are read at once, (rows, classes)."""
        rows, length = ids.shape
        counts = (ids != PADDING).sum(dim=1)
        width = length + len(self.prefix) + len(self.suffix)
        tokens = torch.full((rows, width), self.padding, dtype=torch.int64, device=ids.device)
        pieces = torch.where(ids == UNKNOWN, self.unknown, ids - FIRST_WORD)
        tokens[:, self.offset : self.offset + length] = torch.where(ids == PADDING, self.padding, pieces)
        for place, token in enumerate(self.prefix):
            tokens[:, place] = token
        row = torch.arange(rows, device=ids.device)
        for place, token in enumerate(self.suffix):
            tokens[row, self.offset + counts + place] = token
        reach = counts + len(self.prefix) + len(self.suffix)
        mask = torch.arange(width, device=ids.device)[None] < reach[:, None]
        outputs: torch.Tensor = self.network(input_ids=tokens, attention_mask=mask.long()).logits
        return outputs


class PixelNetwork(nn.Module):
    """A classifier of images by transformers as a module of pixels, (rows, channels, height, width)."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits, (rows, classes)."""
        outputs: torch.Tensor = self.network(pixel_values=images).logits
        return outputs


def special_tokens_around(tokenizer: PieceTokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the special tokens that a tokenizer puts before and behind a text."""
    special = tokenizer.encode("").ids
    probe = tokenizer.encode("a").ids
    inner = tokenizer.encode("a", add_special_tokens=False).ids
    start = next((place for place in range(len(probe)) if probe[place : place + len(inner)] == inner), len(special))
    return tuple(probe[:start]), tuple(probe[start + len(inner) :])


def unknown_id(tokenizer: PieceTokenizer) -> int:
    """Return the id of a tokenizer's unknown piece, or of its padding where it has none."""
    for name in ("[UNK]", "<unk>", "[PAD]", "<pad>"):
        found = tokenizer.token_to_id(name)
        if found is not None:
            return int(found)
    return 0
