"""Language models of transformers as modules of token ids, with what they can do."""

from __future__ import annotations

from typing import Any

import torch

from auditkit.errors import ModelFileError
from auditkit.models.formats.huggingface_settings import first_outputs
from auditkit.models.language import FromCausal, FromMasked, language_abilities
from auditkit.models.pieces import special_tokens_around
from auditkit.models.token_networks import LONGEST_WINDOW, CausalNetwork, MaskedNetwork, looks_ahead
from auditkit.schema.pieces import PieceTokenizer

SHORTEST_WINDOW = 8
"""A model that reads fewer tokens of a text at once is refused: windows of a text overlap by half."""


def causal(name: str, network: Any, tokenizer: PieceTokenizer, offset: int) -> tuple[CausalNetwork, dict[str, Any]]:
    """Return a causal language model, and its capabilities as arguments of a Model.

    The start token is the one that config.json names as the beginning of a text, else its end, as in evaluation
    harnesses.

    Raises:
        ModelFileError: it has fewer tokens than its tokenizer, it reads the tokens behind the one that it predicts, or
            it fails on a first text.
    """
    _check_vocabulary(name, network, tokenizer)
    named = (getattr(network.config, key, None) for key in ("bos_token_id", "eos_token_id"))
    start = next((int(one) for one in named if isinstance(one, int) and 0 <= one < network.config.vocab_size), None)
    module = CausalNetwork(network, context=_context(name, network, offset), start=start).eval()
    if first_outputs(name, lambda: looks_ahead(module)):
        raise ModelFileError(
            f"{name}: its predictions of a token change with the tokens behind it, so that it is no causal language "
            "model; save it as one (is_decoder), or as a masked one (ForMaskedLM)."
        )
    return module, language_abilities(FromCausal)


def masked(name: str, network: Any, tokenizer: PieceTokenizer, offset: int) -> tuple[MaskedNetwork, dict[str, Any]]:
    """Return a masked language model, and its capabilities as arguments of a Model.

    Raises:
        ModelFileError: it has fewer tokens than its tokenizer, the tokenizer has no token for a hidden one, or the
            network fails on a first text.
    """
    _check_vocabulary(name, network, tokenizer)
    hidden = next((code for code in map(tokenizer.token_to_id, ("[MASK]", "<mask>")) if code is not None), None)
    if hidden is None:
        raise ModelFileError(f"{name}: its tokenizer has no token [MASK] or <mask>, which stands for a hidden one.")
    around = special_tokens_around(tokenizer)
    context = _context(name, network, offset, sum(map(len, around)))
    module = MaskedNetwork(network, context=context, around=around, mask_token=hidden).eval()
    first_outputs(name, lambda: module(torch.tensor([[*around[0], hidden, *around[1]]])))
    return module, language_abilities(FromMasked)


def _context(name: str, network: Any, offset: int, special: int = 0) -> int:
    """Return how many tokens are read at once: what the positions allow, at most `LONGEST_WINDOW`.

    Raises:
        ModelFileError: beside `special` ones these are too few.
    """
    positions = getattr(network.config, "max_position_embeddings", None)
    found = LONGEST_WINDOW if positions is None else min(int(positions) - offset, LONGEST_WINDOW)
    if found - special < SHORTEST_WINDOW:
        raise ModelFileError(
            f"{name}: reads {found:,} tokens at once (max_position_embeddings), of which {special:,} are special ones; "
            f"auditkit needs room for {SHORTEST_WINDOW} of a text."
        )
    return found


def _check_vocabulary(name: str, network: Any, tokenizer: PieceTokenizer) -> None:
    most = max(tokenizer.get_vocab().values()) + 1
    if most > network.config.vocab_size:
        raise ModelFileError(
            f"{name}: its tokenizer has {most:,} tokens, and the model {network.config.vocab_size:,}; save both of one "
            "training with save_pretrained."
        )
