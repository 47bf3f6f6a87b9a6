"""Tiny language models of transformers over tokenizers that are trained here; their weights are drawn or fitted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from auditkit.data.dataset import data_from_frame
from auditkit.models.formats.opening import open_model
from auditkit.models.from_columns import Columns
from auditkit.models.model import Model

NOUNS = ["film", "plot", "actor", "scene", "book", "song", "story", "ending", "camera", "score", "hero", "dialogue"]
ADJECTIVES = ["good", "bad", "slow", "loud", "bright", "dull", "clever", "empty", "warm", "cold", "odd", "plain"]
VERBS = ["was", "seems", "felt", "became", "looked", "stayed"]


def sentences(count: int, seed: int = 0) -> list[str]:
    """Return sentences of random words: nothing but memory makes one of them likelier than another."""
    rng = np.random.default_rng(seed)
    pick = rng.choice
    return [
        " and ".join(f"the {pick(ADJECTIVES)} {pick(NOUNS)} {pick(VERBS)} {pick(ADJECTIVES)}" for _ in range(3)) + "."
        for _ in range(count)
    ]


def byte_pairs(texts: Sequence[str], size: int = 400) -> Tokenizer:
    """Return a byte-level byte-pair tokenizer, as GPT-2's, whose token 0 ends a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save(network: Any, raw: Tokenizer, folder: Path, **names: str) -> Path:
    network.eval()
    network.save_pretrained(folder)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, **names)  # type: ignore[no-untyped-call]
    tokenizer.save_pretrained(folder)
    return folder


def gpt2(folder: Path, texts: Sequence[str], *, positions: int = 64, width: int = 32, seed: int = 0) -> Path:
    raw = byte_pairs(texts)
    torch.manual_seed(seed)
    config = transformers.GPT2Config(
        vocab_size=raw.get_vocab_size(), n_positions=positions, n_embd=width, n_layer=2, n_head=2,
        bos_token_id=0, eos_token_id=0, pad_token_id=0, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0,
    )  # fmt: skip
    return save(transformers.GPT2LMHeadModel(config), raw, folder, eos_token="<|endoftext|>")


def llama(folder: Path, texts: Sequence[str], *, start: int | None = None) -> Path:
    raw = byte_pairs(texts)
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=raw.get_vocab_size(), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=True,
        bos_token_id=start, eos_token_id=start, pad_token_id=0,
    )  # fmt: skip
    return save(transformers.LlamaForCausalLM(config), raw, folder)


def bert(folder: Path) -> Path:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "the", "and", *NOUNS, *ADJECTIVES, *VERBS]
    raw = Tokenizer(models.WordPiece({piece: code for code, piece in enumerate(pieces)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    torch.manual_seed(2)
    config = transformers.BertConfig(
        vocab_size=len(pieces), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=24,
    )  # fmt: skip
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return save(transformers.BertForMaskedLM(config), raw, folder, mask_token="[MASK]", **names)


def fit(folder: Path, texts: Sequence[str], *, epochs: int, seed: int = 0) -> None:
    """Train the GPT-2 of a folder on texts, each behind the end of another, in place."""
    network: Any = transformers.GPT2LMHeadModel.from_pretrained(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rows = [[0, *tokenizer.encode(text).ids, 0] for text in texts]
    longest = min(max(map(len, rows)), network.config.n_positions)
    ids = torch.tensor([(row + [0] * longest)[:longest] for row in rows])
    known = torch.arange(longest)[None] < torch.tensor([min(len(row), longest) for row in rows])[:, None]
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3)
    generator = torch.Generator().manual_seed(seed)
    network.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(rows), generator=generator).split(32):
            optimizer.zero_grad()
            labels = ids[batch].masked_fill(~known[batch], -100)
            network(input_ids=ids[batch], attention_mask=known[batch].long(), labels=labels).loss.backward()
            optimizer.step()
    network.eval()
    network.save_pretrained(folder)


def causal_network(folder: Path) -> Any:
    """Return the network of a folder as transformers opens it."""
    network: Any = transformers.AutoModelForCausalLM.from_pretrained(folder)
    return network.eval()


def opened(folder: Path, texts: Sequence[str]) -> Model:
    """Return a folder as opened for texts."""
    data = data_from_frame(pd.DataFrame({"text": list(texts)}))
    return open_model(
        folder, columns=Columns(read_rows=lambda: data, read_training=lambda: None, target=None, text="text")
    )
