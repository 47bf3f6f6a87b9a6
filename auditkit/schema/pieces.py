"""Tokenizers of Hugging Face that a file describes: checked before they are built, their failures in one line.

The library that runs them is written in Rust: where it fails it panics, which Python takes for no Exception.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from auditkit.budgets import Budget
from auditkit.documents import parse_json
from auditkit.errors import ModelFileError

PIECES = Budget("as its highest token id", 4_000_000, 400_000_000)
GROWTH = Budget("times the length of a text may come of it", 200, 20_000)
"""The longest that a normal form of Unicode makes of one character has 33 bytes."""

FIRST_TEXTS = 16
"""Of many texts, so many are tried first: the library reads all of a list before it says that one failed."""

Result = TypeVar("Result")


class PieceTokenizer:
    """A tokenizer without truncation, padding and chance."""

    def __init__(self, pieces: str) -> None:
        from tokenizers import Tokenizer

        check_tokenizer(pieces)
        self._tokenizer = _tried("cannot be read", lambda: Tokenizer.from_str(pieces))
        _tried("cannot be read", self._tokenizer.no_truncation)
        _tried("cannot be read", self._tokenizer.no_padding)

    def encode(self, text: str, *, add_special_tokens: bool = True) -> Any:
        """Return the pieces of a text."""
        return _tried("fails on a text", lambda: self._tokenizer.encode(text, add_special_tokens=add_special_tokens))

    def encode_batch(self, texts: Sequence[str]) -> list[Any]:
        """Return the pieces of each text, without special tokens."""
        found: list[Any] = []
        for some in (list(texts[:FIRST_TEXTS]), list(texts[FIRST_TEXTS:])):
            run = functools.partial(self._tokenizer.encode_batch, some, add_special_tokens=False)
            found += _tried("fails on a text", run)
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that pieces stand for."""
        return _tried("fails on its own pieces", lambda: str(self._tokenizer.decode(list(ids))))

    def get_vocab(self) -> dict[str, int]:
        """Return the id of each piece, those that were added included."""
        found: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        return found

    def token_to_id(self, piece: str) -> int | None:
        """Return the id of a piece, None where there is no such piece."""
        found: int | None = self._tokenizer.token_to_id(piece)
        return found

    def to_str(self) -> str:
        """Return the JSON text that describes it."""
        return _tried("cannot be written", lambda: str(self._tokenizer.to_str()))


@functools.lru_cache(maxsize=4)
def piece_tokenizer(pieces: str) -> PieceTokenizer:
    """Return the tokenizer that a JSON text describes; errors are those of `check_tokenizer`."""
    return PieceTokenizer(pieces)


def check_tokenizer(pieces: str) -> None:
    """Refuse a tokenizer that draws its pieces at random, makes texts many times longer, or numbers pieces sparsely.

    Raises:
        ModelFileError: with what it does, or it is no JSON object.
    """
    try:
        document = parse_json(pieces)
    except ValueError as error:
        raise ModelFileError(f"tokenizer: cannot be read: {error}.") from error
    if not isinstance(document, dict):
        raise ModelFileError("tokenizer: cannot be read: it is no JSON object.")
    model = document.get("model")
    if isinstance(model, dict) and model.get("dropout"):
        raise ModelFileError(
            f"tokenizer: draws its pieces at random (dropout {model['dropout']!r}), so that no number could be "
            "repeated; set dropout to null in tokenizer.json."
        )
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    added = document.get("added_tokens")
    ids = [
        *(vocabulary.values() if isinstance(vocabulary, dict) else ()),
        *(one.get("id") for one in (added if isinstance(added, list) else ()) if isinstance(one, dict)),
    ]
    PIECES.check(max((one for one in ids if isinstance(one, int)), default=0), "tokenizer", ModelFileError)
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        growth = 1.0
        for step in _steps(document.get(part)):
            growth *= _growth(step)
            GROWTH.check(growth, f"tokenizer: {part}", ModelFileError)


def _steps(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a part of the document."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _steps(part)


def _growth(step: dict[str, Any]) -> float:
    """Return how many times its length a text may have after a step; one character may stand alone."""
    if step.get("type") == "TemplateProcessing":
        return _growth_by_template(step)
    if step.get("type") == "Prepend":
        return 1.0 + len(str(step.get("prepend")))
    if step.get("type") == "Replace":
        content, pattern = step.get("content"), step.get("pattern")
        written = len(content) if isinstance(content, str) else 0
        literal = pattern.get("String") if isinstance(pattern, dict) else None
        if isinstance(literal, str) and literal:
            return max(1.0, written / len(literal))
        return max(1.0, float(written)) if _takes_a_letter(pattern) else 1.0 + written
    if step.get("type") == "Precompiled":
        try:
            table = base64.b64decode(str(step.get("precompiled_charsmap")), validate=True)
            (size,) = struct.unpack_from("<I", table)
        except (binascii.Error, struct.error):
            return 1.0  # the library refuses it
        return float(max(1, *(len(one) for one in table[4 + size :].split(b"\0"))))
    return 1.0


def _growth_by_template(step: dict[str, Any]) -> float:
    """Return how many tokens a template for one text makes of one: its repetitions, and its special tokens."""
    template, special = step.get("single"), step.get("special_tokens")
    count = 0
    for piece in template if isinstance(template, list) else ():
        named = piece.get("SpecialToken") if isinstance(piece, dict) else None
        token = special.get(str(named.get("id"))) if isinstance(named, dict) and isinstance(special, dict) else None
        ids = token.get("ids") if isinstance(token, dict) else None
        count += len(ids) if isinstance(ids, list) else 1
    return float(max(1, count))


def _takes_a_letter(pattern: Any) -> bool:
    """Return whether a regular expression is known to match no place between two letters."""
    text = pattern.get("Regex") if isinstance(pattern, dict) else None
    try:
        return isinstance(text, str) and len(text) < 200 and re.compile(text).match("") is None
    except (re.error, RecursionError, OverflowError):  # written for another library
        return False


def _tried(what: str, run: Callable[[], Result]) -> Result:
    """Return what a call of the library gives; what it raises, a panic included, becomes an error of one line."""
    try:
        return run()
    except BaseException as error:
        panicked = type(error).__name__ == "PanicException"
        if not panicked and (isinstance(error, MemoryError) or not isinstance(error, Exception)):
            raise
        lines = str(error).strip().splitlines()
        raise ModelFileError(f"tokenizer: {what}: {lines[0][:200] if lines else type(error).__name__}.") from error
