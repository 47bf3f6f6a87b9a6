"""Ways in which the beginning of a text gets worse while its end stays as it is: words corrupted in their places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from auditkit import files
from auditkit.documents import parse_toml
from auditkit.errors import InputError
from auditkit.evidence.messages import Message
from auditkit.modalities.text import typing_error
from auditkit.schema.text import word_spans

FEWEST_WORDS = 6
"""Shorter texts are left out: there is no beginning that tells anything of an end."""

SHARES = (0.1, 0.3)
WHOLE = (1.0,)
CONTEXT_CHANGES = ("typing_errors", "dropped_words", "capitals", "lower_case", "synonyms", "prefix")
"""The names of what `context_changes` returns, in its order."""


class Divided(NamedTuple):
    """A text in two: what is corrupted, and what stands behind it and stays, with the space between."""

    beginning: str
    ending: str


class ContextChange(NamedTuple):
    """One way in which beginnings change.

    `at(strength)` returns the changed beginnings, of which the first strength is the stated one.
    """

    name: str
    title: str
    means: str
    strengths: tuple[float, ...]
    at: Callable[[float], list[str]]


def divided(text: str, *, whole: bool = False) -> Divided | None:
    """Return a text divided at the middle one of its words, or `whole` with nothing behind; None if it is too short.

    >>> divided("The plot was slow, and the end was good.")
    Divided(beginning='The plot was slow,', ending=' and the end was good.')
    """
    spans = word_spans(text)
    if len(spans) < FEWEST_WORDS:
        return None
    begin = len(text) if whole else len(text[: spans[len(spans) // 2][0]].rstrip())
    return Divided(text[:begin], text[begin:])


def context_changes(
    beginnings: Sequence[str], synonyms: Mapping[str, str], prefixes: Sequence[str], *, seed: int
) -> list[ContextChange]:
    """Return the changes of beginnings; without synonyms, or prefixes, none by these.

    The draws are the same for every strength, so that a stronger change goes further the same way.
    """
    rng = np.random.default_rng((seed, 47))
    draws = [rng.random(len(word_spans(text))) for text in beginnings]
    misspelt = [[typing_error(text[slice(*span)], rng) for span in word_spans(text)] for text in beginnings]
    chosen = rng.integers(0, max(len(prefixes), 1), len(beginnings))

    def replaced(others: Sequence[Sequence[str]]) -> Callable[[float], list[str]]:
        return lambda strength: [
            _replaced(text, words, chances < strength)
            for text, words, chances in zip(beginnings, others, draws, strict=True)
        ]

    def mapped(change: Callable[[str], str]) -> Callable[[float], list[str]]:
        return replaced([[change(text[slice(*span)]) for span in word_spans(text)] for text in beginnings])

    found = [
        ContextChange(
            "typing_errors",
            Message("Typing errors"),
            Message("A share of the words has two letters exchanged, one left out, or one doubled."),
            SHARES,
            replaced(misspelt),
        ),
        ContextChange(
            "dropped_words",
            Message("Words left out"),
            Message("A share of the words is left out at random."),
            SHARES,
            mapped(lambda _: ""),
        ),
        ContextChange("capitals", Message("Words in capitals"), Message("All words."), WHOLE, mapped(str.upper)),
        ContextChange("lower_case", Message("Words in lower case"), Message("All words."), WHOLE, mapped(str.lower)),
    ]
    if synonyms:
        means = Message("Every word that the user gave a synonym of.")
        found.append(
            ContextChange("synonyms", Message("Synonyms"), means, WHOLE, mapped(lambda word: _synonym(word, synonyms)))
        )
    if prefixes:
        before = [f"{prefixes[place]} {text}" for place, text in zip(chosen, beginnings, strict=True)]
        means = Message("One of {n} prefixes stands before the text.", n=len(prefixes))
        found.append(ContextChange("prefix", Message("Prefixes"), means, WHOLE, lambda _: before))
    return found


def _replaced(text: str, words: Sequence[str], chosen: np.ndarray) -> str:
    """Return a text with other words in the places of those chosen; a word left out takes its space with it."""
    parts, at = [], 0
    for (begin, end), word, taken in zip(word_spans(text), words, chosen, strict=True):
        parts.append(text[at:begin])
        parts.append(word if taken else text[begin:end])
        if taken and not word and parts[-2].endswith(" "):
            parts[-2] = parts[-2][:-1]
        at = end
    return "".join([*parts, text[at:]])


def _synonym(word: str, synonyms: Mapping[str, str]) -> str:
    """Return the synonym of a word, with a capital where it has one; a word without one stays.

    >>> _synonym("Film", {"film": "movie"})
    'Movie'
    """
    other = synonyms.get(word, synonyms.get(word.lower(), word))
    return other[:1].upper() + other[1:] if word[:1].isupper() else other


def read_synonyms(path: str | Path) -> dict[str, str]:
    """Read words and their synonyms from TOML: film = "movie".

    Raises:
        InputError: the file is missing, is not TOML, or holds something else than words.
    """
    text = files.read_text(path, f"synonyms {path}", remedy='a TOML file with lines like film = "movie"')
    try:
        document = parse_toml(text)
    except ValueError as error:
        raise InputError(f"synonyms {path}: not valid TOML: {error}.") from error
    check_synonyms(document)
    return document


def check_synonyms(synonyms: Mapping[str, object]) -> None:
    """Raise InputError unless each word has a synonym that is a word."""
    for word, other in synonyms.items():
        if not isinstance(other, str) or not other.strip():
            raise InputError(
                f'synonyms: {word!r} must have a word as its synonym, got {other!r}; write film = "movie".'
            )
