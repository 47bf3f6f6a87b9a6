"""Encoders of texts in Hugging Face folders give the vectors that transformers gives, pooled as the folder says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from encoders import MEAN, encoder, sentence_transformer, token_vectors
from languages import gpt2, sentences
from numpy.typing import NDArray

from auditkit import InputError, audit
from auditkit.models.capabilities import LanguageModel, OwnRows, TextVectors, WordVectors
from auditkit.models.formats.opening import brings_rows, open_model
from auditkit.models.from_columns import Columns
from auditkit.models.model import Model

WORDS = ["a", "this", "is", "the", "film", "plot", "good", "bad", "slow", "warm", "."]
TEXTS = ["This is the good film.", "film", "the plot is slow the plot is slow the plot is warm"]
Vectors = NDArray[np.float64]


def opened(folder: Path) -> Model:
    def no_rows() -> Any:
        raise AssertionError("an encoder brings its own rows")

    return open_model(folder, columns=Columns(read_rows=no_rows, read_training=lambda: None, target=None))


def vectors_of(model: Model, texts: list[str]) -> NDArray[np.float32]:
    able = model.capability(TextVectors)
    assert able is not None
    return able.vectors(texts, device=torch.device("cpu"))


def test_a_plain_encoder_gives_the_mean_over_tokens_and_brings_the_words_of_its_vocabulary(tmp_path: Path) -> None:
    folder = encoder(tmp_path / "plain", WORDS)
    assert brings_rows(folder)
    model = opened(folder)
    expected = np.array([token_vectors(folder, text).mean(axis=0) for text in TEXTS])
    np.testing.assert_allclose(vectors_of(model, TEXTS), expected, atol=1e-6)
    assert any("pooling: mean, since no modules.json says how" in note for note in model.notes)
    own = model.capability(OwnRows)
    assert own is not None
    assert list(own.rows().frame["word"]) == WORDS[:-1]
    assert model.capability(LanguageModel) is None
    assert model.capability(WordVectors) is None


def test_alone_and_beside_longer_texts_a_text_has_one_vector(tmp_path: Path) -> None:
    model = opened(encoder(tmp_path / "plain", WORDS))
    together = vectors_of(model, TEXTS)
    alone = np.concatenate([vectors_of(model, [text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize(
    ("pooling", "by_hand"),
    [
        (MEAN, lambda tokens: tokens.mean(axis=0)),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, lambda tokens: tokens[0]),
        ({"pooling_mode_max_tokens": True}, lambda tokens: tokens.max(axis=0)),
        ({"pooling_mode_lasttoken": True}, lambda tokens: tokens[-1]),
        ({"pooling_mode": "max", "embedding_dimension": 16}, lambda tokens: tokens.max(axis=0)),
    ],
)
def test_texts_are_pooled_as_the_folder_says(
    pooling: dict[str, Any], by_hand: Callable[[Vectors], Vectors], tmp_path: Path
) -> None:
    folder = sentence_transformer(encoder(tmp_path / "st", WORDS), pooling)
    expected = np.array([by_hand(token_vectors(folder, text)) for text in TEXTS])
    np.testing.assert_allclose(vectors_of(opened(folder), TEXTS), expected, atol=1e-6)


def test_a_masked_model_that_sentence_transformers_saved_is_an_encoder(tmp_path: Path) -> None:
    folder = sentence_transformer(encoder(tmp_path / "masked", WORDS, kind="BertForMaskedLM"))
    expected = np.array([token_vectors(folder, text).mean(axis=0) for text in TEXTS])
    np.testing.assert_allclose(vectors_of(opened(folder), TEXTS), expected, atol=1e-6)


def test_a_long_text_is_cut_where_the_folder_says(tmp_path: Path) -> None:
    folder = sentence_transformer(encoder(tmp_path / "short", WORDS), max_seq_length=5)
    found = vectors_of(opened(folder), ["the film is good", "the film is bad", "the film is"])
    np.testing.assert_array_equal(found[0], found[1])  # both end behind three words and two special tokens
    np.testing.assert_allclose(found[0], found[2], atol=1e-6)


def test_words_that_are_unknown_are_told(tmp_path: Path) -> None:
    able = opened(encoder(tmp_path / "plain", WORDS)).capability(TextVectors)
    assert able is not None
    assert able.knows(["film", "Film", "zebra", "good zebra", ""]).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"steps": ("Transformer", "Pooling", "Dense")}, "has the steps Transformer, Pooling, Dense; auditkit knows"),
        ({"steps": ("Pooling", "Transformer")}, "auditkit knows Transformer, Pooling and Normalize, in this order"),
        ({"pooling": {"pooling_mode_weightedmean_tokens": True}}, "pools by weightedmean; auditkit knows one of mean"),
        ({"pooling": {**MEAN, "pooling_mode_cls_token": True}}, "pools by mean and cls"),
        ({"pooling": {}}, "pools by nothing"),
    ],
)
def test_steps_that_are_not_known_are_refused(change: dict[str, Any], problem: str, tmp_path: Path) -> None:
    folder = sentence_transformer(encoder(tmp_path / "st", WORDS), **change)
    with pytest.raises(InputError, match=problem):
        opened(folder)


def test_hostile_descriptions_are_refused(tmp_path: Path) -> None:
    folder = sentence_transformer(encoder(tmp_path / "st", WORDS))
    (folder / "config_sentence_transformers.json").write_text('{"default_prompt_name": "query"}')
    with pytest.raises(InputError, match="puts the prompt 'query' before each text"):
        opened(folder)
    (folder / "config_sentence_transformers.json").unlink()
    steps = json.loads((folder / "modules.json").read_text())
    for path in ("../1_Pooling", "/etc", "", "missing"):
        steps[1]["path"] = path
        (folder / "modules.json").write_text(json.dumps(steps))
        with pytest.raises(InputError, match="which says how the vectors of tokens become one"):
            opened(folder)
    for text in ("{}", "[1]", "[", '[{"type": {}}]'):
        (folder / "modules.json").write_text(text)
        with pytest.raises(InputError, match=r"modules\.json"):
            opened(folder)


def test_networks_of_next_words_without_a_head_are_refused(tmp_path: Path) -> None:
    folder = gpt2(tmp_path / "gpt2", sentences(20))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["GPT2Model"]}))
    with pytest.raises(InputError, match="GPT2Model without a head, and of these auditkit opens encoders of texts"):
        opened(folder)


def test_a_data_set_beside_an_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="audited on words of their own; leave the data set out"):
        audit(encoder(tmp_path / "plain", WORDS), pd.DataFrame({"text": TEXTS}))
