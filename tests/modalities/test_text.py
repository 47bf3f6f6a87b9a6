"""Corruptions of texts: one small error a word, words left out, capitals that a lower-case tokenizer does not see."""

from __future__ import annotations

import numpy as np
import pandas as pd

from auditkit.modalities.text import TEXT_CORRUPTIONS, text_corruptions, typing_error
from auditkit.schema.text import encode_text, words

TEXTS = ["a splendid film, it was!", "not good", None, "", "x", "没有 意思 film"] * 5
VOCABULARY = ("splendid", "film", "good", "not", "没")


def encode(texts: list[str | None]) -> np.ndarray:
    return encode_text(pd.Series(texts, dtype=object), VOCABULARY, 8)


def test_every_corruption_is_seeded_and_encodes_every_text() -> None:
    found, again = (text_corruptions(TEXTS, encode, seed=2) for _ in range(2))
    assert tuple(corruption.name for corruption in found) == TEXT_CORRUPTIONS
    for corruption, same in zip(found, again, strict=True):
        assert corruption.stated in corruption.strengths
        for strength in corruption.strengths:
            assert corruption.at(strength).shape == (30, 8)
            assert np.array_equal(corruption.at(strength), same.at(strength))


def test_without_corruption_the_texts_read_as_they_did() -> None:
    plain = encode([text or "" for text in TEXTS])
    for corruption in text_corruptions(TEXTS, encode, seed=0):
        assert np.array_equal(corruption.at(0.0), plain), corruption.name


def test_capitals_do_nothing_to_a_tokenizer_of_lower_case() -> None:
    capitals = text_corruptions(TEXTS, encode, seed=0)[2]
    assert np.array_equal(capitals.at(1.0), encode([text or "" for text in TEXTS]))


def test_all_words_left_out_is_an_empty_text() -> None:
    dropped = text_corruptions(TEXTS, encode, seed=0)[1]
    assert not dropped.at(1.0).any()
    counts = [(dropped.at(share) > 0).sum() for share in (0.0, 0.1, 0.35, 0.5)]
    assert counts == sorted(counts, reverse=True)


def test_a_typing_error_is_one_small_change() -> None:
    rng = np.random.default_rng(3)
    seen = set()
    for _ in range(300):
        wrong = typing_error("splendid", rng)
        seen.add(len(wrong))
        assert abs(len(wrong) - 8) <= 1
        assert set(wrong) <= set("splendid")
        assert words(wrong) == [wrong]
    assert seen == {7, 8, 9}
    assert typing_error("a", rng) == "a"
    assert typing_error("", rng) == ""
