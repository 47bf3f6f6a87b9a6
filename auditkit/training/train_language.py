"""From a corpus to a packed language model: a byte-pair tokenizer is trained on the texts, then a small transformer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from auditkit.config_commands import TrainConfig
from auditkit.data.dataset import Data
from auditkit.errors import DatasetError, InputError, closest
from auditkit.models.architectures import LANGUAGE_MODELS, build
from auditkit.models.formats.native import save_model
from auditkit.models.formats.opening import open_model
from auditkit.models.model import Card, Model
from auditkit.models.networks import MaskedTokens
from auditkit.models.predict import choose_device
from auditkit.progress import Progress, silent
from auditkit.schema.schema import Schema
from auditkit.schema.table import Feature
from auditkit.training.dp.token_losses import HIDDEN_SHARE

LANGUAGE_TASKS = ("language",)
"""The tasks whose models are trained here."""

EPOCHS = 8
VOCABULARY = 1024
LONGEST = 256
SMALLEST_BATCH, LARGEST_BATCH = 512, 4096
"""The tokens of a batch: a fiftieth of the corpus within these bounds, so that a small corpus makes enough steps."""
LEARNING_RATE = 2e-3
ENDING = "<|endoftext|>"
"""Token 0, which begins and ends a text."""
HIDDEN = "[MASK]"
"""Token 1 of a masked language model, which stands for a hidden one."""


def train_language(data: Data, *, config: TrainConfig, progress: Progress = silent) -> tuple[Model, dict[str, Any]]:
    """Train a language model on a column of texts, write it, and return it as opened again, with its training record.

    Of `architecture_args`, `vocabulary_size` (1,024) is that of the tokenizer; the others are those of the
    architecture, `gpt` or `bert`.

    Raises:
        InputError: a setting cannot be used, there is no such column, or no text; nothing was written.
    """
    out, network = config.output.out, config.network
    if out is None or out.suffix != ".pt":
        raise InputError(f"out must end in .pt, got {out}; pass --out model.pt.")
    if config.data.target is not None:
        raise InputError("target is for models that predict a label; a language model has none: leave --target out.")
    if network.epsilon is not None:
        raise InputError("epsilon is not offered for language models yet; leave it out.")
    texts = _texts(data, config.data.text)
    arguments = dict(network.architecture_args or {})
    progress(0.0, "training the tokenizer")
    name = network.architecture or LANGUAGE_MODELS[0]
    special = (ENDING, HIDDEN) if name == "bert" else (ENDING,)
    size = int(arguments.pop("vocabulary_size", VOCABULARY))
    feature, rows = _tokenized(texts, config.data.text or "", size, special)
    schema = Schema(features=(feature,), target=None, task="language", sensitive=config.data.sensitive, output="tokens")
    given = arguments | schema.network_arguments()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(network.seed)
        module = build(name, given)
    epochs = network.epochs or EPOCHS
    loss = fit_texts(
        module, rows, epochs=epochs, seed=network.seed, device=choose_device(network.device), progress=progress
    )
    training = {
        "epochs": epochs,
        "loss": loss,
        "path": data.path,
        "sha256": data.sha256,
        "row_count": len(texts),
        "dropped_row_count": len(data.frame) - len(texts),
        "seed": network.seed,
    }
    card = Card(schema=schema, architecture=name, arguments=given, name=out.stem, training=training)
    save_model(out, module, card)
    return open_model(out), training


def _texts(data: Data, column: str | None) -> list[str]:
    if column is None:
        raise InputError("text must name the column to learn from; pass --text COLUMN.")
    if column not in data.frame.columns:
        names = [str(name) for name in data.frame.columns]
        raise InputError(f"text column {column!r} is not in {data.name}{closest(column, names)}.")
    texts = [str(text) for text in data.frame[column].dropna() if str(text).strip()]
    if len(texts) < 10:
        raise DatasetError(f"{data.name}: column {column!r} has {len(texts)} texts, and at least 10 are needed.")
    return texts


def _tokenized(texts: Sequence[str], column: str, size: int, special: Sequence[str]) -> tuple[Feature, list[list[int]]]:
    """Return the column with a byte-level byte-pair tokenizer of so many tokens, and the ids of each text.

    The first tokens are the `special` ones.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if size <= len(alphabet):
        raise InputError(f"vocabulary_size must be above {len(alphabet)}, got {size}; pass {VOCABULARY}.")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    rows = [one.ids for one in tokenizer.encode_batch(list(texts))]
    names = {code: piece for piece, code in tokenizer.get_vocab(with_added_tokens=True).items()}
    length = int(min(max(np.quantile([len(row) for row in rows], 0.99) + 2, 16), LONGEST))
    feature = Feature(
        name=column,
        kind="text",
        tokenizer="pieces",
        pieces=tokenizer.to_str(),
        vocabulary=tuple(names[code] for code in range(len(names))),
        length=length,
    )
    return feature, rows


def fit_texts(
    module: nn.Module,
    rows: Sequence[Sequence[int]],
    *,
    epochs: int,
    seed: int,
    device: torch.device,
    progress: Progress = silent,
) -> float:
    """Train a network of token ids in place, each text between two tokens 0, and return the last epoch's loss.

    Batches hold texts of similar length, so that little of them is padding. The learning rate rises over the first
    twentieth of the steps and falls to 0 as a cosine.
    """
    context = int(module.context)  # type: ignore[arg-type]  # see Gpt
    longest = context + (not isinstance(module, MaskedTokens))  # what predicts the next token does not read the last
    whole = [[0, *row, 0][:longest] for row in rows]
    generator = np.random.default_rng((seed, 51))
    batches = _batches(whole, generator)
    optimizer = torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE, weight_decay=0.05)
    steps = epochs * len(batches)
    warm = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / warm) * (1 + np.cos(np.pi * min(step / steps, 1.0))) / 2
    )
    module.to(device).train()
    last = 0.0
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for epoch in range(epochs):
            total, tokens = 0.0, 0
            for batch in generator.permutation(len(batches)):
                loss, count = _loss(module, [whole[place] for place in batches[batch]], device)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(module.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                total, tokens = total + float(loss.detach()) * count, tokens + count
            last = total / tokens
            progress((epoch + 1) / epochs, f"epoch {epoch + 1} of {epochs}, loss {last:.2f} nats a token")
            batches = _batches(whole, generator)
    module.to("cpu").eval()
    return last


def _batches(rows: Sequence[Sequence[int]], generator: np.random.Generator) -> list[list[int]]:
    """Return batches of texts of similar length, drawn anew."""
    most = min(max(sum(map(len, rows)) // 50, SMALLEST_BATCH), LARGEST_BATCH)
    order = np.argsort([len(row) + generator.uniform(0, 8) for row in rows])
    found: list[list[int]] = [[]]
    for place in order:
        if found[-1] and (len(found[-1]) + 1) * (len(rows[place]) + 8) > most:
            found.append([])
        found[-1].append(int(place))
    return found


def _loss(module: nn.Module, rows: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, int]:
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)
    if isinstance(module, MaskedTokens):
        return _hidden_loss(module, ids, torch.tensor([len(row) for row in rows], device=device))
    known = (
        torch.arange(longest - 1, device=device)[None]
        < torch.tensor([len(row) - 1 for row in rows], device=device)[:, None]
    )
    logits = module(ids[:, :-1])
    return functional.cross_entropy(logits[known], ids[:, 1:][known]), int(known.sum())


def _hidden_loss(module: Any, ids: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Return the loss of tokens that are hidden for this pass, a share drawn at random, and how many there are."""
    places = torch.arange(ids.shape[1], device=ids.device)[None]
    inner = (places > 0) & (places < lengths[:, None] - 1)
    chosen = inner & (torch.rand(ids.shape, device=ids.device) < HIDDEN_SHARE)
    chosen[0, 1] = True  # a batch hides one token at least
    mask = (places < lengths[:, None]).long()
    logits = module(ids.masked_fill(chosen, module.mask_token), mask)
    return functional.cross_entropy(logits[chosen], ids[chosen]), int(chosen.sum())
