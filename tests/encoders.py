"""A tiny encoder of texts by transformers, plain or as sentence-transformers saves one; its weights are drawn."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from languages import save
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MEAN = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}


def encoder(folder: Path, words: Sequence[str], *, kind: str = "BertModel", seed: int = 0) -> Path:
    """Write an encoder whose tokens are these words, each one token, with a point and a few others."""
    raw = Tokenizer(models.WordPiece({piece: code for code, piece in enumerate([*SPECIAL, *words])}, unk_token="[UNK]"))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=len(SPECIAL) + len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=24, pad_token_id=0, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return save(getattr(transformers, kind)(config), raw, folder, mask_token="[MASK]", **names)


def sentence_transformer(
    folder: Path,
    pooling: Mapping[str, Any] = MEAN,
    steps: Sequence[str] = ("Transformer", "Pooling", "Normalize"),
    **settings: Any,
) -> Path:
    """Write beside an encoder what sentence-transformers says of it."""
    paths = {"Transformer": ""}
    listed = [
        {"idx": place, "path": paths.get(kind, f"{place}_{kind}"), "type": f"sentence_transformers.models.{kind}"}
        for place, kind in enumerate(steps)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings))
    return folder


@functools.lru_cache(maxsize=4)
def _network(folder: Path) -> Any:
    network: Any = transformers.AutoModel.from_pretrained(folder)
    return network.eval()


def token_vectors(folder: Path, text: str) -> NDArray[np.float64]:
    """Return what transformers' own network says of each token of one text, the special ones included."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    with torch.no_grad():
        found = _network(folder)(input_ids=torch.tensor([tokenizer.encode(text).ids])).last_hidden_state
    vectors: NDArray[np.float64] = found[0].double().numpy()
    return vectors


def sequence_classifier(folder: Path, words: Sequence[str], word: str, names: tuple[str, str]) -> Path:
    """Write a classifier of texts that was trained until it says whether a text holds a word: the second name."""
    encoder(folder, words, kind="BertForSequenceClassification")
    network: Any = transformers.BertForSequenceClassification.from_pretrained(folder)
    network.config.id2label = dict(enumerate(names))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    generator, optimizer = np.random.default_rng(1), torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(250):
        length = int(generator.integers(1, 7))
        texts = [list(generator.choice([word, "strange", *words], size=length)) for _ in range(64)]
        optimizer.zero_grad()
        ids = torch.tensor([tokenizer.encode(" ".join(text)).ids for text in texts])
        network(input_ids=ids, labels=torch.tensor([int(word in text) for text in texts])).loss.backward()
        optimizer.step()
    network.eval().save_pretrained(folder)
    return folder
