"""Probabilities of texts under a language model: token by token, in windows, batched by length."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from auditkit.errors import NotRun
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import (
    Capability,
    CausalLanguageModel,
    Differentiable,
    LanguageModel,
    Layered,
    Refittable,
)
from auditkit.models.networks import TokenNetwork
from auditkit.progress import Progress, silent
from auditkit.schema.pieces import piece_tokenizer
from auditkit.tasks.language import NOTHING_PREDICTED

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
Item = TypeVar("Item")

CELLS_AT_ONCE = 2**19
"""The logits of a batch take at most so many numbers: 2 MiB, which a processor's cache holds."""

IMPOSSIBLE = -1e4
"""The log-probability that one of minus infinity counts as in a mean: the probability, 0, times it is 0."""

FEWEST_AT_ONCE = 64
"""The statistics of a large vocabulary are computed for so many tokens at once all the same."""

TOKENS_AT_ONCE = 512
"""A batch of a large vocabulary has so many tokens all the same."""

ROWS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class TokenScores:
    """What a language model says of the tokens of one text: arrays of one number a token, in their order.

    `ids` are the tokens, int64, and `spans` their characters in the text, int64, (tokens, 2). `log_probabilities` are
    natural logarithms. `entropies` (nats) and `deviations` are minus the mean, and the standard deviation, of the
    log-probability of a token drawn from the model at this place. `top_probabilities` belong to the likeliest token,
    and `top_hits` says whether it was the true one. A token without a probability, the first one where no start token
    is known, is left out; `byte_count` counts the bytes (UTF-8) of the text from the first scored token on.
    """

    ids: Ids
    spans: Ids
    log_probabilities: Floats
    entropies: Floats
    deviations: Floats
    top_probabilities: Floats
    top_hits: NDArray[np.bool_]
    byte_count: int


class Window(NamedTuple):
    """A part of a text that the network reads at once, of which the tokens from `scored` on get their score."""

    text: int
    ids: Sequence[int]
    scored: int


def windows_of(count: int, size: int, first: int) -> Iterator[tuple[int, int, int]]:
    """Yield the begin and end of windows over `count` tokens, and the first place of each that is scored.

    Each place from `first` on is scored once. Windows overlap by half, so that a token is scored behind at least half a
    window of others, save at the beginning of the text.

    >>> list(windows_of(9, 4, 1))
    [(0, 4, 1), (2, 6, 4), (4, 8, 6), (6, 9, 8)]
    """
    begin, scored = 0, first
    while scored < count:
        end = min(begin + size, count)
        yield begin, end, scored
        scored, begin = end, end - size // 2


class OfTokens(LanguageModel):
    """What causal and masked language models share: the tokenizer."""

    @property
    def network(self) -> TokenNetwork:
        """The network, which declares its special tokens."""
        module = self.model.module
        assert isinstance(module, TokenNetwork)  # else the model has no such capability
        return module

    @property
    def context(self) -> int:
        """The most tokens that are read at once."""
        return self.network.context

    @property
    def start(self) -> tuple[int, ...]:
        """The token before the first one of a text, if there is one."""
        start = self.network.start
        return () if start is None else (start,)

    def tokens(self, text: str) -> tuple[Ids, Ids]:
        """Return the ids of a text's tokens, (tokens,), and their characters, (tokens, 2)."""
        encoded = piece_tokenizer(self.model.schema.features[0].pieces).encode(text, add_special_tokens=False)
        return np.array(encoded.ids, dtype=np.int64), np.array(encoded.offsets, dtype=np.int64).reshape(-1, 2)

    def text_of(self, ids: Sequence[int] | Ids) -> str:
        """Return the text that tokens stand for."""
        return piece_tokenizer(self.model.schema.features[0].pieces).decode([int(one) for one in ids])

    def _joined(
        self, texts: Sequence[str], encoded: Sequence[tuple[Ids, Ids]], parts: Sequence[list[Floats]], skipped: int
    ) -> list[TokenScores]:
        """Return the statistics of the windows of each text, (tokens, 5), as scores; `skipped` tokens have none."""
        found = []
        for text, (ids, spans), pieces in zip(texts, encoded, parts, strict=True):
            table = np.concatenate(pieces) if pieces else np.zeros((0, 5))
            ids, spans = ids[skipped:], spans[skipped:]
            begin = 0 if not skipped else int(spans[0, 0]) if len(spans) else len(text)
            size = len(text[begin:].encode("utf-8", "replace"))
            own, entropies, deviations, highest, hits = table.T
            found.append(TokenScores(ids, spans, own, entropies, deviations, highest, hits > 0, size))
        return found


class FromCausal(CausalLanguageModel, OfTokens):
    """A causal network of `auditkit.models.token_networks`, or auditkit's own `gpt`."""

    def score(self, texts: Sequence[str], *, device: torch.device, progress: Progress = silent) -> list[TokenScores]:
        """Return the scores of each text's tokens; see `LanguageModel.score`."""
        start = self.start
        encoded = [self.tokens(text) for text in texts]
        windows = []
        for place, (ids, _) in enumerate(encoded):
            whole = [*start, *ids.tolist()]
            windows += [
                Window(place, whole[begin:end], scored - begin)
                for begin, end, scored in windows_of(len(whole), self.context, 1)
            ]
        network = _ready(self.model.module, device)
        parts: list[dict[int, Floats]] = [{} for _ in texts]

        def read(batch: Sequence[int]) -> None:
            own = [windows[place] for place in batch]
            ids, mask = _padded([window.ids for window in own], network.padding)
            # No token looks at the filling behind it: without a mask of it, attention takes its faster way.
            logits = network(ids.to(device), torch.ones_like(mask).to(device)).flatten(0, 1)
            begins = range(0, ids.numel(), ids.shape[1])
            rows = [
                begin + at - 1
                for begin, window in zip(begins, own, strict=True)
                for at in range(window.scored, len(window.ids))
            ]
            targets = [token for window in own for token in window.ids[window.scored :]]
            found = statistics_at(logits, torch.tensor(rows, device=device), torch.tensor(targets, device=device))
            ends = np.cumsum([len(window.ids) - window.scored for window in own])
            for place, window, part in zip(batch, own, np.split(found, ends[:-1]), strict=True):
                parts[window.text][place] = part

        _in_batches([len(window.ids) for window in windows], network.vocabulary_size, read, progress)
        ordered = [[of_text[place] for place in sorted(of_text)] for of_text in parts]
        return self._joined(texts, encoded, ordered, skipped=1 - len(start))

    def endings(self, texts: Sequence[str], *, device: torch.device) -> Floats:
        """Return the log-probabilities of the ends of texts that begin alike; see `CausalLanguageModel.endings`."""
        sequences = [[*self.start, *self.tokens(text)[0].tolist()] for text in texts]
        shared = _shared_length(sequences)
        if shared < 1:
            raise NotRun(Message("the texts share no token, and the model has no start token to begin with"))
        if max(map(len, sequences)) > self.context:
            raise NotRun(
                Message(
                    "a text has more than the {context:,} tokens that the model reads at once", context=self.context
                )
            )
        network = _ready(self.model.module, device)
        totals = np.zeros(len(texts))

        def descend(logits: torch.Tensor, past: Any, nodes: list[list[int]], depth: int) -> None:
            chances = torch.log_softmax(logits.float(), dim=-1).double().cpu().numpy()
            children: dict[tuple[int, int], list[int]] = {}
            for row, members in enumerate(nodes):
                for member in members:
                    sequence = sequences[member]
                    if len(sequence) > depth:
                        totals[member] += chances[row, sequence[depth]]
                    if len(sequence) > depth + 1:
                        children.setdefault((row, sequence[depth]), []).append(member)
            for batch in _chunks(list(children), ROWS_AT_ONCE):
                rows = torch.tensor([row for row, _ in batch], device=device)
                ids = torch.tensor([[token] for _, token in batch], device=device)
                deeper, known = network.advance(ids, network.select(past, rows))
                descend(deeper, known, [children[key] for key in batch], depth + 1)

        with torch.inference_mode():
            logits, past = network.advance(torch.tensor([sequences[0][:shared]], device=device), None)
            descend(logits, past, [list(range(len(texts)))], shared)
        return totals

    def greedy(
        self, prompts: Sequence[Sequence[int]], count: int, *, device: torch.device, progress: Progress = silent
    ) -> Ids:
        """Return the likeliest continuations of prompts; see `CausalLanguageModel.greedy`."""

        def likeliest(logits: torch.Tensor, _: list[int], __: int) -> torch.Tensor:
            return logits.argmax(dim=-1)

        return self._continued(prompts, count, likeliest, device=device, progress=progress)

    def sampled(
        self,
        prompts: Sequence[Sequence[int]],
        count: int,
        *,
        seed: int,
        device: torch.device,
        progress: Progress = silent,
    ) -> list[list[int]]:
        """Return continuations by the model's own probabilities; see `CausalLanguageModel.sampled`."""
        chances = torch.from_numpy(np.random.default_rng((seed, 51)).random((len(prompts), count)))

        def drawn(logits: torch.Tensor, rows: list[int], step: int) -> torch.Tensor:
            summed = torch.softmax(logits.double(), dim=-1).cumsum(dim=-1)
            places = torch.searchsorted(
                summed, chances[rows, step, None].to(summed.device) * summed[:, -1:], right=True
            )
            return places[:, 0].clamp(max=logits.shape[-1] - 1)

        found = self._continued(prompts, count, drawn, device=device, progress=progress)
        return [list(itertools.takewhile(lambda token: token != self.network.end, row)) for row in found.tolist()]

    def _continued(
        self,
        prompts: Sequence[Sequence[int]],
        count: int,
        choose: Callable[[torch.Tensor, list[int], int], torch.Tensor],
        *,
        device: torch.device,
        progress: Progress,
    ) -> Ids:
        """Return tokens that continue prompts, (prompts, count), each chosen by the logits behind those before it.

        `choose` is given the logits, (rows, vocabulary), the places of these prompts, and the number of the step.
        """
        network = _ready(self.model.module, device)
        room = self.context - count - len(self.start)
        if room < 1:
            raise NotRun(
                Message(
                    "{count:,} more tokens do not fit into the {context:,} that the model reads at once",
                    count=count,
                    context=self.context,
                )
            )
        begun = [[*self.start, *list(prompt)[-room:]] for prompt in prompts]
        found = np.zeros((len(prompts), count), dtype=np.int64)
        order = sorted(range(len(begun)), key=lambda place: len(begun[place]))
        done = 0
        for _, alike in itertools.groupby(order, key=lambda place: len(begun[place])):
            for batch in _chunks(list(alike), ROWS_AT_ONCE):
                ids, past = torch.tensor([begun[place] for place in batch], device=device), None
                with torch.inference_mode():
                    for step in range(count):
                        logits, past = network.advance(ids, past)
                        ids = choose(logits, batch, step)[:, None]
                        found[batch, step] = ids[:, 0].cpu().numpy()
                done += len(batch)
                progress(done / len(begun), "continuing texts")
        return found


class FromMasked(OfTokens):
    """A masked network: each token's probability with the token itself hidden (Salazar et al. 2020)."""

    def score(self, texts: Sequence[str], *, device: torch.device, progress: Progress = silent) -> list[TokenScores]:
        """Return the scores of each text's tokens, each hidden in turn; see `LanguageModel.score`."""
        network = _ready(self.model.module, device)
        before, after = network.prefix, network.suffix
        room = self.context - len(before) - len(after)
        encoded = [self.tokens(text) for text in texts]
        hidden: list[Window] = []
        for place, (ids, _) in enumerate(encoded):
            for begin, end, scored in windows_of(len(ids), room, 0):
                whole = [*before, *ids[begin:end].tolist(), *after]
                hidden += [Window(place, whole, len(before) + at - begin) for at in range(scored, end)]
        found = np.zeros((len(hidden), 5))

        def read(batch: Sequence[int]) -> None:
            ids, mask = _padded([hidden[place].ids for place in batch], network.padding)
            rows, places = torch.arange(len(batch)), torch.tensor([hidden[place].scored for place in batch])
            targets = ids[rows, places]
            ids[rows, places] = network.mask_token
            logits = network(ids.to(device), mask.to(device))[rows.to(device), places.to(device)]
            found[list(batch)] = statistics(logits, targets.to(device))

        _in_batches([len(window.ids) for window in hidden], network.vocabulary_size, read, progress)
        ends = np.cumsum([len(ids) for ids, _ in encoded])
        parts = [[found[end - len(ids) : end]] for end, (ids, _) in zip(ends, encoded, strict=True)]
        return self._joined(texts, encoded, parts, skipped=0)


def statistics_at(logits: torch.Tensor, rows: torch.Tensor, targets: torch.Tensor) -> Floats:
    """Return the statistics of some rows of logits, (positions, vocabulary), as many at once as a cache holds."""
    size = max(FEWEST_AT_ONCE, CELLS_AT_ONCE // logits.shape[1])
    pairs = zip(rows.split(size), targets.split(size), strict=True)
    return np.concatenate([statistics(logits[part], own) for part, own in pairs])


def statistics(logits: torch.Tensor, targets: torch.Tensor) -> Floats:
    """Return what logits, (tokens, vocabulary), say of the true tokens, (tokens,), as float64, (tokens, 5).

    The columns are those of `TokenScores`: the log-probability of the true token, the entropy, the standard deviation
    of the log-probability, the highest probability, and whether the true token has it (1) or not (0).
    """
    chances = torch.log_softmax(logits.float(), dim=-1)
    weights = chances.exp()
    highest, own = chances.amax(dim=-1), chances.gather(-1, targets[:, None])[:, 0]
    hits = own == highest
    hits[hits.clone()] = chances[hits].argmax(dim=-1) == targets[hits]  # of equals the first is the likeliest
    finite = chances.clamp_(min=IMPOSSIBLE)
    products = weights.mul_(finite)
    mean = products.sum(dim=-1)
    spread = (torch.linalg.vecdot(products, finite) - mean**2).clamp(min=0).sqrt()
    columns = (own, -mean, spread, highest.exp(), hits.float())
    found: Floats = torch.stack(columns, dim=1).double().cpu().numpy()
    return found


def language_abilities(kind: type[OfTokens], *more: type[Capability]) -> dict[str, Any]:
    """Return the capabilities of a language model as arguments of a Model, with why it has no others."""
    lacks = dict.fromkeys((Differentiable, Layered, Refittable), NOTHING_PREDICTED)
    return {"capabilities": (kind, *more), "lacks": lacks}


def _ready(module: Any, device: torch.device) -> Any:
    return module.to(device).eval()


def _padded(rows: Sequence[Sequence[int]], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows of ids filled up at their end, and the mask of what is no filling: both int64, (rows, longest)."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[padding] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask


def _in_batches(lengths: Sequence[int], width: int, read: Callable[[list[int]], None], progress: Progress) -> None:
    """Read rows in batches of similar length, the longest first, under the limits on a batch."""
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    begin = 0
    with torch.inference_mode():
        while begin < len(order):
            longest = max(lengths[order[begin]], 1)
            count = max(1, CELLS_AT_ONCE // (longest * width), TOKENS_AT_ONCE // longest)
            read(order[begin : begin + count])
            begin += count
            progress(min(begin / len(order), 1.0), "scoring texts")


def _chunks(items: list[Item], size: int) -> Iterator[list[Item]]:
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]


def _shared_length(sequences: Sequence[Sequence[int]]) -> int:
    """Return how many items all sequences begin with alike, of the shortest all but the last."""
    columns = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*sequences, strict=False))
    return min(sum(1 for _ in columns), min(map(len, sequences)) - 1)
