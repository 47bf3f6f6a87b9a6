"""Columns of text gathered part by part: each distinct text is held once, however many rows there are."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.errors import DatasetError

MISSING_WORDS = frozenset({"", "?"})
"""The texts that stand for a missing value in every column. "NA" and "None" do not: they may name a group."""


class TextColumn:
    """The texts of one column, stripped; None where a text is one of `MISSING_WORDS`, or was None already."""

    def __init__(self) -> None:
        self.row_count = 0
        self._words: dict[str | None, int] = {None: 0}
        self._codes: list[NDArray[np.int32]] = []

    def add(self, texts: Sequence[str | None]) -> None:
        """Append rows."""
        codes, distinct = pd.factorize(np.array([*texts, None], dtype=object)[:-1])
        known = [self._code(text) for text in distinct]
        # A missing value has the code -1, which picks the last entry.
        self._codes.append(np.array([*known, 0], dtype=np.int32)[codes])
        self.row_count += len(texts)

    def add_missing(self, count: int) -> None:
        """Append `count` rows without a value."""
        self._codes.append(np.zeros(count, dtype=np.int32))
        self.row_count += count

    def values(self) -> NDArray[np.object_]:
        """Return the column: object, (rows,)."""
        codes = np.concatenate(self._codes) if self._codes else np.zeros(0, dtype=np.int32)
        values: NDArray[np.object_] = np.array(list(self._words), dtype=object)[codes]
        return values

    def _code(self, text: str) -> int:
        stripped = text.strip()
        return self._words.setdefault(None if stripped in MISSING_WORDS else stripped, len(self._words))


def is_broken(text: str) -> bool:
    r"""Whether a text holds half of a character, a surrogate without its other half: no file can hold it.

    >>> is_broken("\ud800"), is_broken("\U0001f389")
    (True, False)
    """
    return any("\ud800" <= character <= "\udfff" for character in text)


def check_header(name: str, header: Sequence[str]) -> None:
    """Raise DatasetError where columns have no names, or two have the same; `name` is how messages call the data."""
    if not header:
        raise DatasetError(f"{name}: has no columns.")
    separator = next((one for one in ";\t|" if one in header[0]), None)
    if len(header) == 1 and separator is not None:
        decimal = ", decimal=','" if separator == ";" else ""  # where commas are decimal, semicolons separate
        raise DatasetError(
            f"{name}: the header {shown(header[0])} has no comma; auditkit reads comma-separated text, with points in "
            f"numbers: in pandas, read_csv(path, sep={separator!r}{decimal}).to_csv(new_path, index=False)."
        )
    for position, column in enumerate(header, start=1):
        if not column:
            raise DatasetError(
                f"{name}: column {position} has no name; name it, or write the file without its index "
                "(in pandas: to_csv(path, index=False))."
            )
        if is_broken(column):
            raise DatasetError(f"{name}: the name of column {position}, {shown(column)}, holds half of a character.")
    twice = [column for column, count in collections.Counter(header).items() if count > 1]
    if twice:
        raise DatasetError(f"{name}: two columns are called {shown(twice[0])}; rename or remove one.")


def shown(value: object) -> str:
    """Return a value quoted for a message: on one line, at most 60 characters."""
    text = repr(str(value))
    return text if len(text) <= 60 else text[:56] + "...'"
