"""Names of groups: one form for one name, names that look alike, and names that the user counts as one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import InputError

Merges = Mapping[str, Mapping[str, str]]
"""For each sensitive column, the names that are counted as another one."""

RARE = 0.05
"""A name that differs from another in one letter looks like a slip of it if it has at most this part of its rows."""
SHORTEST = 4
"""Names of fewer letters differ in one letter without being slips of each other: M and F, 1 and 2."""


def canonical(name: str) -> str:
    r"""Return the one form of a name: NFC, white space folded, invisible characters gone, a number without its zeros.

    >>> canonical("  Jose\u0301\u00a0 M. "), canonical("1.0"), canonical("007")
    ('José M.', '1', '007')
    """
    text = unicodedata.normalize("NFC", name)
    text = "".join(character for character in text if unicodedata.category(character) != "Cf")
    text = " ".join(text.split())
    if re.fullmatch(r"-?(0|[1-9][0-9]*)\.[0-9]+", text):
        text = text.rstrip("0").rstrip(".")
    return text


def known_as(name: str, known: Iterable[str]) -> str:
    """Return the known name of which `name` is another form, or `name` itself where there is none.

    >>> known_as("1.0", ("0", "1")), known_as("1", ("1.0", "1")), known_as("yes", ("Yes",))
    ('1', '1', 'yes')
    """
    names = list(known)
    return name if name in names else next((one for one in names if canonical(one) == canonical(name)), name)


def recoded(
    codes: NDArray[np.int64], words: Sequence[str], merges: Mapping[str, str], missing: Iterable[str] = ()
) -> tuple[NDArray[np.int64], list[str]]:
    """Return codes into the sorted canonical names, those in `merges` as what they are counted as.

    A name that is empty, or in `missing`, has the code -1.

    >>> codes, names = recoded(np.array([0, 1, 2, -1]), ["F ", "M", "f"], {"f": "F"})
    >>> codes.tolist(), names
    ([0, 1, 0, -1], ['F', 'M'])
    """
    forms = [canonical(word) for word in words]
    forms = [merges.get(form, form) for form in forms]
    if forms == list(words):
        return codes, list(words)
    absent = {"", *missing}
    names = sorted(set(forms) - absent)
    place = {name: position for position, name in enumerate(names)}
    lookup = np.array([*(place.get(form, -1) for form in forms), -1], dtype=np.int64)
    return lookup[codes], names


def look_alikes(sizes: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return pairs of names that may be one, the rarer first: names that differ in case, accents or punctuation only.

    So do names of at least four letters of which one letter differs and one is rare.

    >>> look_alikes({"Female": 90, "female": 8, "Fmale": 2, "Male": 95})
    [('Fmale', 'Female'), ('female', 'Female')]
    """
    found = []
    common = sorted(sizes, key=lambda name: (-sizes[name], name))
    for position, name in enumerate(common):
        for other in common[:position]:
            if _loose(name) == _loose(other) or (
                sizes[name] <= RARE * sizes[other] and min(map(len, (name, other))) >= SHORTEST and _slip(name, other)
            ):
                found.append((name, other))
                break
    return sorted(found)


def parse_merges(rules: Sequence[str], sensitive: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return rules such as `sex:female=Female` by column.

    Raises:
        InputError: a rule is of another form, or of a column that is not sensitive.
    """
    found: dict[str, dict[str, str]] = {}
    for rule in rules:
        column, _, names = rule.partition(":")
        before, _, after = (canonical(part) for part in names.partition("="))
        if not before or not after:
            raise InputError(f"merge must be COLUMN:NAME=GROUP, such as sex:female=Female, got {rule!r}.")
        if column not in sensitive:
            raise InputError(f"merge: {column!r} is no sensitive column; pass --sensitive {column}.")
        found.setdefault(column, {})[before] = after
    return found


def _loose(name: str) -> str:
    """Return a name without case, accents and punctuation; of a name of nothing else, the name itself."""
    text = unicodedata.normalize("NFKD", name).casefold()
    return "".join(character for character in text if character.isalnum()) or name


def _slip(one: str, other: str) -> bool:
    """Whether one letter was typed wrong, left out, added, or swapped with its neighbour."""
    if not any(character.isalpha() for character in one + other) or abs(len(one) - len(other)) > 1:
        return False
    if len(one) == len(other):
        places = [place for place, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1]]
        if len(places) == 2 and places[1] == places[0] + 1:
            first, second = places
            return (one[first], one[second]) == (other[second], other[first])
        return len(places) == 1 and not one[places[0]].isdigit()
    short, long = sorted((one, other), key=len)
    return any(long[:place] + long[place + 1 :] == short for place in range(len(long)))
