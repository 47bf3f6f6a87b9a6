"""Lists of words that name groups, and of words that these may be associated with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from auditkit.documents import parse_toml
from auditkit.evidence.measurement import Record
from auditkit.evidence.scalars import Words
from auditkit.evidence.toml_tables import named_records, read_named_tables

WordsOf = Annotated[dict[Words, tuple[Words, ...]], Field(min_length=2, max_length=2)]
"""Two lists of words by their names."""


class WordLists(Record):
    """One test: two lists of target words, and two of attribute words, each list by its name.

    `source` says where the words are from.
    """

    source: Words
    targets: WordsOf
    attributes: WordsOf

    @model_validator(mode="after")
    def _apart(self) -> WordLists:
        lists = {**self.targets, **self.attributes}
        if len(lists) < 4:
            raise ValueError("a target and an attribute have the same name")
        word, count = Counter(word for words in lists.values() for word in words).most_common(1)[0]
        if count > 1:
            raise ValueError(f"the word {word!r} is listed {count} times, and may be listed once")
        return self

    @property
    def lists(self) -> dict[str, tuple[str, ...]]:
        """The four lists by name: the targets, then the attributes."""
        return {**self.targets, **self.attributes}


def shipped_word_lists() -> dict[str, Any]:
    """Return the word lists that auditkit ships, by test, as its TOML file holds them."""
    text = files("auditkit.auditors.bias").joinpath("word_lists.toml").read_text(encoding="utf-8")
    return parse_toml(text)


def read_word_lists(path: str | Path) -> dict[str, Any]:
    """Read word lists of the user's own, by test: TOML in the form of the file that auditkit ships.

    Raises:
        InputError: the file is missing, is not TOML, or holds something else.
    """
    return read_named_tables(path, WordLists, "word lists")


def check_word_lists(document: Mapping[str, Any]) -> dict[str, WordLists]:
    """Return checked word lists by test.

    Raises:
        InputError: a test lacks targets, attributes or a source, or a word stands in two lists.
    """
    return named_records(document, WordLists, "word lists")
