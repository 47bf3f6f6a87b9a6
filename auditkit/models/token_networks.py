"""Language models by transformers as modules of token ids."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import nn

from auditkit.models.networks import CausalTokens, MaskedTokens, TokenNetwork

LONGEST_WINDOW = 1024
"""A text is read in windows of at most so many tokens, whatever the network could read at once."""


class LanguageNetwork(TokenNetwork, nn.Module):
    """A language model of transformers: ids, (rows, length), to logits, (rows, length, vocabulary).

    Its attributes are those of `auditkit.models.networks.TokenNetwork`.
    """

    def __init__(self, network: Any, *, context: int, start: int | None = None) -> None:
        super().__init__()
        self.network = network
        self.vocabulary_size = int(network.config.vocab_size)
        self.context = context
        self.start = start
        self.padding = int(getattr(network.config, "pad_token_id", None) or 0)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return the logits of the token at each position (masked), or of the one behind it (causal)."""
        known = torch.ones_like(ids) if mask is None else mask  # else transformers warns of padding on standard error
        outputs: torch.Tensor = self.network(input_ids=ids, attention_mask=known).logits
        return outputs


class CausalNetwork(LanguageNetwork, CausalTokens):
    """A causal language model, which gives each token a probability from the tokens before it.

    `end` is the token that ends a text, None where there is none.
    """

    def __init__(self, network: Any, *, context: int, start: int | None = None) -> None:
        super().__init__(network, context=context, start=start)
        known = inspect.signature(network.forward).parameters
        end = getattr(network.config, "eos_token_id", None)
        self.end = end if isinstance(end, int) and 0 <= end < self.vocabulary_size else None
        self.last_only = "logits_to_keep" in known
        self.past_name = "cache" if "cache" in known else "past_key_values"

    def advance(self, ids: torch.Tensor, past: Any) -> tuple[torch.Tensor, Any]:
        """Return the logits behind the last of more tokens, (rows, vocabulary), and what later tokens need of them.

        `past` is what an earlier call returned, None at the beginning.
        """
        only = {"logits_to_keep": 1} if self.last_only else {}
        outputs = self.network(input_ids=ids, use_cache=True, **{self.past_name: past}, **only)
        return outputs.logits[:, -1], outputs[self.past_name]

    def select(self, past: Any, rows: torch.Tensor) -> Any:
        """Return the past of some rows, each as often as it is named."""
        chosen = copy.deepcopy(past)
        chosen.batch_select_indices(rows)
        return chosen


class MaskedNetwork(LanguageNetwork, MaskedTokens):
    """A masked language model, which fills the place of a hidden token from the tokens on both sides.

    `prefix` and `suffix` are the special tokens around a text, `mask_token` the one that stands for a hidden token.
    """

    def __init__(self, network: Any, *, context: int, around: tuple[tuple[int, ...], tuple[int, ...]], mask_token: int):
        super().__init__(network, context=context)
        self.prefix, self.suffix = around
        self.mask_token = mask_token


def looks_ahead(network: LanguageNetwork) -> bool:
    """Return whether the logits at a position depend on tokens behind it, as in a network that fills gaps."""
    ids = torch.arange(8)[None] % network.vocabulary_size
    other = ids.clone()
    other[0, -1] = (other[0, -1] + 1) % network.vocabulary_size
    with torch.inference_mode():
        change = (network(ids) - network(other)).abs()[0]
    return bool(change[:-1].max() > 1e-5 * change[-1].max())
