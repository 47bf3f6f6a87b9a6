"""Log-probabilities of texts under a causal language model: batched by length against a loop of one text at a time.

A GPT-2 of 4 layers, drawn at random, over sentences of 5 to 80 words; the log-probabilities are compared first.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import transformers
from common import best_of, write
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from auditkit.data.dataset import data_from_frame
from auditkit.models.capabilities import LanguageModel
from auditkit.models.formats.opening import open_model
from auditkit.models.from_columns import Columns

TEXTS = 400


def texts() -> list[str]:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghij"), 5)) for _ in range(300)]
    return [" ".join(rng.choice(words, rng.integers(5, 80))) for _ in range(TEXTS)]


def saved(folder: Path, given: list[str]) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1000, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(given, trainer)
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=1000, n_positions=512, n_embd=128, n_layer=4, n_head=4, bos_token_id=0, eos_token_id=0
    )
    network: Any = transformers.GPT2LMHeadModel(config)
    network.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))


def main() -> None:
    given = texts()
    with tempfile.TemporaryDirectory() as place:
        saved(Path(place), given)
        data = data_from_frame(pd.DataFrame({"text": given}))
        columns = Columns(read_rows=lambda: data, read_training=lambda: None, target=None, text="text")
        able = open_model(Path(place), columns=columns).require(LanguageModel)
        network: Any = transformers.AutoModelForCausalLM.from_pretrained(place)
        tokenizer = Tokenizer.from_file(f"{place}/tokenizer.json")
    network.eval()

    def plain() -> list[float]:
        found = []
        with torch.inference_mode():
            for text in given:
                ids = torch.tensor([[0, *tokenizer.encode(text).ids]])
                chances = network(ids).logits[0, :-1].log_softmax(dim=-1)
                found.append(float(chances.gather(1, ids[0, 1:, None]).sum()))
        return found

    def batched() -> list[float]:
        return [float(one.log_probabilities.sum()) for one in able.score(given, device=torch.device("cpu"))]

    np.testing.assert_allclose(batched(), plain(), rtol=1e-4)
    (own, _), (other, _) = best_of(3, batched), best_of(3, plain)
    numbers = {"texts": TEXTS, "texts_a_second": TEXTS / own, "plain_texts_a_second": TEXTS / other}
    write("language", {**numbers, "ratio": other / own})


if __name__ == "__main__":
    main()
