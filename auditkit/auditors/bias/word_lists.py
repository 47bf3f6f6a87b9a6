"""Lists of words that name groups, and of words that these may be associated with; sentences around them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from auditkit.documents import parse_toml
from auditkit.errors import InputError, closest
from auditkit.evidence.measurement import Record
from auditkit.evidence.scalars import Words
from auditkit.evidence.toml_tables import named_records, read_named_tables

PLACE = "{word}"

WordsOf = Annotated[dict[Words, tuple[Words, ...]], Field(min_length=2, max_length=2)]
"""Two lists of words by their names."""


class WordLists(Record):
    """One test: two lists of target words, and two of attribute words, each list by its name.

    `source` says where the words are from, `templates` in which sentences an encoder of sentences reads them.
    """

    source: Words
    templates: Words = "en"
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


class Templates(Record):
    """Sentences in which words are read: each holds `{word}` once. `source` says where they are from."""

    source: Words
    sentences: Annotated[tuple[Words, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _with_a_word(self) -> Templates:
        for sentence in self.sentences:
            if sentence.count(PLACE) != 1:
                raise ValueError(f"the sentence {sentence!r} must hold {PLACE} once")
        return self

    def around(self, words: Sequence[str]) -> list[str]:
        """Return the sentences of each word, which lie together: (words x sentences,)."""
        return [sentence.replace(PLACE, word) for word in words for sentence in self.sentences]


def shipped_word_lists() -> dict[str, Any]:
    """Return the word lists that auditkit ships, by test, as its TOML file holds them."""
    return _shipped("word_lists.toml")


def shipped_templates() -> dict[str, Any]:
    """Return the sentences that auditkit ships, by the name of their set, as its TOML file holds them."""
    return _shipped("templates.toml")


def _shipped(name: str) -> dict[str, Any]:
    return parse_toml(files("auditkit.auditors.bias").joinpath(name).read_text(encoding="utf-8"))


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


def read_templates(path: str | Path) -> dict[str, Any]:
    """Read sentences of the user's own, by the name of their set: TOML in the form of the file that auditkit ships.

    Raises:
        InputError: the file is missing, is not TOML, or holds something else.
    """
    return read_named_tables(path, Templates, "templates")


def check_templates(document: Mapping[str, Any], word_lists: Mapping[str, WordLists]) -> dict[str, Templates]:
    """Return checked sets of sentences by name, those that are shipped included.

    Raises:
        InputError: a sentence does not hold `{word}` once, or a word list names a set that there is none of.
    """
    known = named_records({**shipped_templates(), **document}, Templates, "templates")
    for name, lists in word_lists.items():
        if lists.templates not in known:
            raise InputError(
                f"word lists [{name}]: templates {lists.templates!r} is no set of sentences"
                f"{closest(lists.templates, list(known))}; there are {', '.join(known)}."
            )
    return known
