"""Tokenizers by a hostile author: what grows, what is drawn, what panics, each refused in one line."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from auditkit.errors import ModelFileError
from auditkit.schema.pieces import PieceTokenizer, check_tokenizer


def described() -> dict[str, Any]:
    raw = Tokenizer(models.WordLevel({"[UNK]": 0, "aa": 1, "b": 2}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.decoder = decoders.WordPiece()
    found: dict[str, Any] = json.loads(raw.to_str())
    return found


def replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def sequence(*steps: dict[str, Any], kind: str = "normalizers") -> dict[str, Any]:
    return {"type": "Sequence", kind: list(steps)}


TEXT = {"Sequence": {"id": "A", "type_id": 0}}
SPECIAL = {"SpecialToken": {"id": "b", "type_id": 0}}


def template(*pieces: dict[str, Any]) -> dict[str, Any]:
    """Return a post-processor; its special token stands for 200 tokens."""
    special = {"b": {"id": "b", "ids": [2] * 200, "tokens": ["b"] * 200}}
    return {"type": "TemplateProcessing", "single": list(pieces), "pair": [], "special_tokens": special}


DOUBLED = replace({"String": "a"}, "aa")
LONG = base64.b64encode(struct.pack("<I", 4) + bytes(4) + b"x" * 5_000 + b"\0").decode()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"normalizer": sequence(*[DOUBLED] * 40)}, "normalizer: 256 times the length of a text may come of it"),
        ({"decoder": sequence(*[DOUBLED] * 8, kind="decoders")}, "decoder: 256 times"),
        ({"normalizer": sequence(*[replace({"Regex": "x*"}, "ab")] * 6)}, "normalizer: 243 times"),
        ({"normalizer": replace({"Regex": "."}, "a" * 300)}, "normalizer: 300 times"),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": LONG}}, "normalizer: 5,000 times"),
        ({"normalizer": {"type": "Prepend", "prepend": "a" * 300}}, "normalizer: 301 times"),
        ({"post_processor": template(*[TEXT] * 300)}, "post_processor: 300 times"),
        ({"post_processor": sequence(*[template(*[TEXT] * 16)] * 2, kind="processors")}, "post_processor: 256 times"),
        ({"post_processor": template(SPECIAL, TEXT, SPECIAL)}, "post_processor: 401 times"),
        ({"added_tokens": [{"id": 4_000_000_000}]}, "4,000,000,000 as its highest token id"),
        ({"model": {"type": "BPE", "dropout": 0.5, "vocab": {}, "merges": []}}, "draws its pieces at random"),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "YWJj"}}, "cannot be read: Precompiled"),
        ({"model": 5}, "cannot be read"),
    ],
)
def test_a_tokenizer_of_a_hostile_author_is_refused_in_one_line(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ModelFileError, match=problem) as raised:
        PieceTokenizer(json.dumps(described() | changes)).encode("aa b")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["[]", "{", "1", '{"a": ' * 100 + "1" + "}" * 100])
def test_what_is_no_description_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ModelFileError, match="tokenizer: cannot be read"):
        PieceTokenizer(text)


def test_an_expression_that_backtracks_for_ever_ends_in_one_line() -> None:
    endless = sequence(
        {"type": "Split", "pattern": {"Regex": "(a+)+X"}, "behavior": "Isolated", "invert": False}, kind="pretokenizers"
    )
    tokenizer = PieceTokenizer(json.dumps(described() | {"pre_tokenizer": endless}))
    with pytest.raises(ModelFileError, match="fails on a text: Onig: Regex search error"):
        tokenizer.encode("a" * 200)
    with pytest.raises(ModelFileError, match="fails on a text"):
        tokenizer.encode_batch(["a" * 200])


def test_a_decoder_that_panics_is_an_error_of_one_line() -> None:
    strip = {"type": "Strip", "content": "a", "start": 10**9, "stop": 10**9}
    with pytest.raises(ModelFileError, match="fails on its own pieces"):
        PieceTokenizer(json.dumps(described() | {"decoder": strip})).decode([1, 2])


def test_the_normalizers_that_people_use_pass() -> None:
    raw = Tokenizer.from_str(json.dumps(described()))
    raw.normalizer = normalizers.Sequence(  # as XLNet's and ALBERT's
        [
            normalizers.Replace("``", '"'),
            normalizers.Replace("''", '"'),
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            normalizers.Replace(" ", "\u2581"),
        ]
    )
    check_tokenizer(raw.to_str())
    assert PieceTokenizer(raw.to_str()).get_vocab() == {"[UNK]": 0, "aa": 1, "b": 2}
