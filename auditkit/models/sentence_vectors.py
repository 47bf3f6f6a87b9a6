"""Vectors of texts by an encoder of transformers: what its last layer says of the tokens, pooled into one vector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.data.dataset import Data
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import OwnRows, TextVectors, all_but
from auditkit.models.pieces import special_tokens_around, unknown_id
from auditkit.models.word_vectors import WORD
from auditkit.progress import Progress, silent
from auditkit.schema.pieces import PieceTokenizer

LACKS = all_but(TextVectors, OwnRows, reason=Message("the folder holds an encoder of texts, which predicts nothing"))
POOLINGS = ("mean", "cls", "max", "lasttoken")
TOKENS_AT_ONCE = 4096
BEFORE = "a"
"""What stands before a word when it is looked up, so that it is read as inside a text."""


class SentenceEncoder(nn.Module):
    """An encoder of transformers: token ids and their mask, (rows, length), to vectors of texts, (rows, width).

    `pooling` is one of `POOLINGS`, over all tokens that the mask keeps, the special ones around a text included. `most`
    is how many tokens of a text are read; of a longer one the first. `lower` says whether texts are read in lower case.
    """

    def __init__(self, network: Any, tokenizer: PieceTokenizer, *, pooling: str, most: int, lower: bool) -> None:
        super().__init__()
        self.network = network
        self.tokenizer = tokenizer
        self.prefix, self.suffix = special_tokens_around(tokenizer)
        self.padding = int(getattr(network.config, "pad_token_id", None) or 0)
        self.pooling, self.most, self.lower = pooling, most, lower

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the vector of each text, (rows, width)."""
        tokens: torch.Tensor = self.network(input_ids=ids, attention_mask=mask).last_hidden_state
        if self.pooling == "cls":
            return tokens[:, 0]
        if self.pooling == "lasttoken":
            return tokens[torch.arange(len(ids), device=ids.device), mask.sum(dim=1) - 1]
        kept = mask[..., None].to(tokens.dtype)
        if self.pooling == "max":
            return tokens.masked_fill(kept == 0, -math.inf).amax(dim=1)
        return (tokens * kept).sum(dim=1) / kept.sum(dim=1)

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text's tokens, without the special ones around it."""
        read = [text.lower() for text in texts] if self.lower else texts
        return [one.ids for one in self.tokenizer.encode_batch(read)]


class EncodedTexts(TextVectors):
    """The vectors that a `SentenceEncoder` makes."""

    @property
    def words(self) -> Sequence[str]:
        """The words of the vocabulary that are one token within a text."""
        return vocabulary_words(self._encoder)

    def knows(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return which texts have no token that is unknown: (texts,)."""
        encoder = self._encoder
        unknown = unknown_id(encoder.tokenizer)
        return np.array([bool(ids) and unknown not in ids for ids in encoder.pieces(texts)], dtype=bool)

    def vectors(
        self, texts: Sequence[str], *, device: torch.device, progress: Progress = silent
    ) -> NDArray[np.float32]:
        """Return the vector of each text: (texts, width)."""
        encoder = self._encoder.to(device).eval()
        room = encoder.most - len(encoder.prefix) - len(encoder.suffix)
        rows = [[*encoder.prefix, *ids[:room], *encoder.suffix] for ids in encoder.pieces(texts)]
        order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))
        found: dict[int, NDArray[np.float32]] = {}
        with torch.inference_mode():
            while len(found) < len(order):
                longest = len(rows[order[len(found)]])
                batch = order[len(found) : len(found) + max(1, TOKENS_AT_ONCE // max(1, longest))]
                lengths = torch.tensor([len(rows[row]) for row in batch])
                ids = torch.tensor([rows[row] + [encoder.padding] * (longest - len(rows[row])) for row in batch])
                mask = (torch.arange(longest)[None] < lengths[:, None]).long()
                made = encoder(ids.to(device), mask.to(device)).float().cpu().numpy()
                found.update(zip(batch, made, strict=True))
                progress(len(found) / len(order), "encoding sentences")
        return np.array([found[row] for row in range(len(rows))], dtype=np.float32)

    @property
    def _encoder(self) -> SentenceEncoder:
        encoder = self.model.module
        assert isinstance(encoder, SentenceEncoder)
        return encoder


class VocabularyWords(OwnRows):
    """The words of an encoder's vocabulary as rows."""

    def rows(self) -> Data:
        """Return one row a word, in the column `word`."""
        encoder = self.model.module
        assert isinstance(encoder, SentenceEncoder)
        words = vocabulary_words(encoder)
        frame = pd.DataFrame({WORD: np.array(words, dtype=object)}, index=pd.RangeIndex(len(words), name="row"))
        return Data(frame=frame, path=self.model.path, sha256=self.model.sha256)


def vocabulary_words(encoder: SentenceEncoder) -> tuple[str, ...]:
    """Return the words that are one token behind another word, each once, in the order of their tokens."""
    tokenizer = encoder.tokenizer
    codes = sorted(set(tokenizer.get_vocab().values()))
    words = [tokenizer.decode([code]).strip() for code in codes]
    letters = [(code, word) for code, word in zip(codes, words, strict=True) if word.isalpha()]
    begun = len(encoder.pieces([BEFORE])[0])
    read = encoder.pieces([f"{BEFORE} {word}" for _, word in letters])
    known = [word for (code, word), ids in zip(letters, read, strict=True) if ids[begun:] == [code]]
    return tuple(dict.fromkeys(known))
