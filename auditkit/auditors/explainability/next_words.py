"""The next word of texts as something that is explained: its log-probability, by the words before it.

Rows are int64, (rows, 3, length): the token ids, the number of the word that each token is a part of (-1 for none, -2
behind the end), and 1 where the token's log-probability is explained. A word that is left out keeps its places: each of
its tokens has the mean embedding of all tokens, which the id behind the vocabulary stands for.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.auditors.explainability.segments import Mask, SegmentedRows
from auditkit.auditors.explainability.target_function import Floats
from auditkit.errors import NotRun
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import CausalLanguageModel
from auditkit.progress import Progress, silent
from auditkit.schema.text import word_spans

IDS, WORDS, EXPLAINED = range(3)
NO_WORD, BEHIND = -1, -2
LONGEST_CONTEXT = 64
"""At most so many tokens before the explained word are read."""

CELLS_AT_ONCE = 2**23
"""The logits of a batch take at most so many numbers (32 MiB)."""

FEWEST_WORDS = 3
"""A text is explained from so many words before the explained one on."""


class NextWords(NamedTuple):
    """Rows as above, (rows, 3, length), with the text of each, the words that can be left out, and the explained."""

    rows: NDArray[np.int64]
    texts: list[int]
    words: list[list[str]]
    explained: list[str]


class NextWordNetwork(nn.Module):
    """A causal language model as a network of the rows above: the log-probability of the explained tokens, (rows, 1).

    It is a copy, whose token embedding has one row more: the mean of all others.

    Raises:
        NotRun: the model has no torch.nn.Embedding of its tokens.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network: Any = copy.deepcopy(network)
        self.size = int(network.vocabulary_size)
        names = [
            name
            for name, part in self.network.named_modules()
            if isinstance(part, nn.Embedding) and part.num_embeddings >= self.size
        ]
        if not names:
            raise NotRun(Message("the model has no torch.nn.Embedding, where the attribution to words would begin"))
        self.name = names[0]
        weight = self.embedding.weight.detach()
        mean = weight[: self.size].mean(dim=0, keepdim=True)
        self.embedding.weight = nn.Parameter(torch.cat([weight[: self.size], mean]))
        self.embedding.num_embeddings = self.size + 1

    @property
    def embedding(self) -> nn.Embedding:
        """The layer that turns token ids into vectors."""
        found: nn.Embedding = self.network.get_submodule(self.name)
        return found

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the sum of the log-probabilities of each row's explained tokens, (rows, 1)."""
        if torch.is_grad_enabled():
            return self._chances(rows)
        return torch.cat([self._chances(part) for part in rows.split(rows_at_once(rows.shape[2], self.size))])

    def _chances(self, rows: torch.Tensor) -> torch.Tensor:
        ids, known = rows[:, IDS], rows[:, WORDS] != BEHIND
        logits = self.network(ids, known.long())[:, :-1, : self.size].float()
        own: torch.Tensor = logits.log_softmax(dim=-1).gather(-1, ids[:, 1:, None].clamp(max=self.size - 1))[..., 0]
        return (own * rows[:, EXPLAINED, 1:]).sum(dim=1, keepdim=True)

    def attention(self, rows: torch.Tensor) -> torch.Tensor:
        """Return how much attention each token gets where the explained tokens are predicted, (rows, length).

        The mean over those places, heads and layers.

        Raises:
            NotRun: the model does not return its attention weights.
        """
        inner: Any = getattr(self.network, "network", None)
        if not hasattr(inner, "set_attn_implementation"):
            raise NotRun(Message("the model does not return its attention weights"))
        inner.set_attn_implementation("eager")
        known = (rows[:, WORDS] != BEHIND).long()
        weights = inner(input_ids=rows[:, IDS], attention_mask=known, output_attentions=True).attentions
        mean = torch.stack([layer.mean(dim=1) for layer in weights]).mean(dim=0)  # (rows, length, length)
        places = torch.cat([rows[:, EXPLAINED, 1:], torch.zeros_like(rows[:, EXPLAINED, :1])], dim=1).to(mean)
        return torch.einsum("rp,rpt->rt", places, mean) / places.sum(dim=1, keepdim=True)


def rows_at_once(length: int, size: int) -> int:
    """Return how many rows of so many tokens go through a network of so large a vocabulary at a time."""
    return max(1, CELLS_AT_ONCE // (length * size))


def next_words(able: CausalLanguageModel, texts: Sequence[str], continuation: str | None, *, seed: int) -> NextWords:
    """Return the rows that explain one word of each text, by at most 64 tokens before it.

    The word is drawn by the seed among those with at least 3 words before them; with a `continuation` it is these words
    behind the whole text. Texts of fewer words are left out.
    """
    rng = np.random.default_rng((seed, 46))
    found: list[tuple[int, list[int], list[int], list[int], list[str], str]] = []
    for place, text in enumerate(texts):
        spans = word_spans(text)
        if len(spans) < FEWEST_WORDS + (continuation is None):
            continue
        if continuation is None:
            number = int(rng.integers(FEWEST_WORDS, len(spans)))
            begin, end = spans[number]
            whole, spans, told = text[:end], spans[:number], text[begin:end]
        else:
            begin, whole, told = len(text), f"{text} {continuation}", continuation
        row = _row(able, whole, begin, spans)
        if row is not None:
            found.append((place, *row, told))
    length = max((len(ids) for _, ids, *_ in found), default=0)
    rows = np.zeros((len(found), 3, length), dtype=np.int64)
    rows[:, WORDS] = BEHIND
    for at, (_, *columns, _, _) in enumerate(found):
        for kind, values in enumerate(columns):
            rows[at, kind, : len(values)] = values
    return NextWords(rows, [one[0] for one in found], [one[4] for one in found], [one[5] for one in found])


def _row(
    able: CausalLanguageModel, whole: str, begin: int, spans: Sequence[tuple[int, int]]
) -> tuple[list[int], list[int], list[int], list[str]] | None:
    """Return the ids, words and explained marks of a text's tokens, and its words; None where it is of no use."""
    tokens, places = able.tokens(whole)
    ids, ends = tokens.tolist(), places[:, 1]
    explained = ends > begin
    first = max(int((~explained).sum()) - LONGEST_CONTEXT, 0)
    numbered = np.searchsorted([end for _, end in spans], ends)  # the first word that does not end before the token
    inside = [
        int(number) if number < len(spans) and end > spans[number][0] and not mark else NO_WORD
        for number, end, mark in zip(numbered, ends, explained, strict=True)
    ][first:]
    held = sorted({number for number in inside if number >= 0})
    if len(held) < FEWEST_WORDS or not explained.any():
        return None
    renumbered = {number: at for at, number in enumerate(held)}
    start = list(able.start)
    numbers = [NO_WORD] * len(start) + [renumbered.get(number, NO_WORD) for number in inside]
    marks = [0] * len(start) + explained[first:].astype(int).tolist()
    return [*start, *ids[first:]], numbers, marks, [whole[slice(*spans[number])].lower() for number in held]


def left_out(size: int) -> Any:
    """Return the function that leaves words out of rows of a model of `size` tokens: a mask, (rows, words)."""

    def delete(rows: NDArray[np.int64], mask: Mask) -> NDArray[np.int64]:
        numbers = rows[:, WORDS]
        gone = np.take_along_axis(mask, np.maximum(numbers, 0), axis=1) & (numbers >= 0)
        found = rows.copy()
        found[:, IDS] = np.where(gone, size, rows[:, IDS])
        return found

    return delete


def by_word(rows: NDArray[np.int64], tokens: Floats, width: int) -> Floats:
    """Return what tokens, (rows, length), add up to by word: (rows, words)."""
    found = np.zeros((len(rows), width + 1))
    places = np.where(rows[:, WORDS] >= 0, rows[:, WORDS], width)
    np.add.at(found, (np.arange(len(rows))[:, None], places), tokens)
    return found[:, :width]


def integrated_gradients(parts: SegmentedRows, *, steps: int, progress: Progress = silent) -> Floats:
    """Return layer integrated gradients of each word, (rows, words), from the row without any word.

    Sundararajan et al. 2017 (arXiv:1703.01365) on the token embedding, by Gauss-Legendre nodes.
    """
    network = parts.decision.network
    assert isinstance(network, NextWordNetwork)
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    empty = parts.delete(parts.inputs, parts.exists)
    at_once = max(1, rows_at_once(parts.inputs.shape[2], network.size) // 4)
    found = [np.zeros((0, parts.inputs.shape[2]))]
    for start in range(0, len(empty), at_once):
        rows, bare = (
            torch.from_numpy(some[start : start + at_once]).to(parts.device) for some in (parts.inputs, empty)
        )
        with torch.no_grad():
            end, base = (network.embedding(some[:, IDS]) for some in (rows, bare))
        slope = torch.zeros_like(end)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            slope += weight * _slope(network, rows, base + float(node) * (end - base))
        found.append((slope * (end - base)).sum(dim=-1).double().cpu().numpy())
        progress(min(start + at_once, len(empty)) / len(empty), "explaining texts")
    return by_word(parts.inputs, np.concatenate(found), parts.width)


def integrated_gradients_of_captum(parts: SegmentedRows, *, steps: int) -> Floats:
    """Return the same integrated gradients of each word, (rows, words), computed by Captum."""
    from captum.attr import LayerIntegratedGradients

    network = parts.decision.network
    assert isinstance(network, NextWordNetwork)

    def of_ids(ids: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        return network(torch.stack([ids, others[:, 0], others[:, 1]], dim=1))[:, 0]  # type: ignore[no-any-return]

    rows, bare = (
        torch.from_numpy(some).to(parts.device) for some in (parts.inputs, parts.delete(parts.inputs, parts.exists))
    )
    found = LayerIntegratedGradients(of_ids, network.embedding).attribute(
        rows[:, IDS],
        bare[:, IDS],
        additional_forward_args=(rows[:, WORDS:],),
        n_steps=steps,
        method="gausslegendre",
        internal_batch_size=max(len(rows), rows_at_once(rows.shape[2], network.size) // 4),
    )
    return by_word(parts.inputs, found.detach().sum(dim=-1).double().cpu().numpy(), parts.width)


def _slope(network: NextWordNetwork, rows: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
    """Return the gradient of the explained log-probabilities by what the embedding returns, at a point of it."""
    point = point.detach().requires_grad_()
    hook = network.embedding.register_forward_hook(lambda *_: point)
    try:
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(network(rows).sum(), point)
    finally:
        hook.remove()
    found: torch.Tensor = slope
    return found
