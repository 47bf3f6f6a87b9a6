"""The user's sentences and questions: files whose columns say what each row is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auditkit.data.dataset import Data, factorize, read_data
from auditkit.data.values import numbers
from auditkit.errors import InputError

NEUTRAL = "neutral"
"""The swap of pairs that name no group: what a swap of any word does."""


@dataclass(frozen=True, eq=False)
class Table:
    """Texts of a file by their column, each (rows,), their groups and clusters; None where no column names them.

    `kinds` are the kind of each row, such as its bias type; `clusters` its template.
    """

    path: str
    sha256: str
    texts: Mapping[str, list[str]]
    kinds: list[str] | None
    clusters: NDArray[np.int64] | None
    codes: Mapping[str, NDArray[np.int64]]

    @property
    def row_count(self) -> int:
        """The number of rows."""
        return len(next(iter(self.texts.values())))

    def take(self, rows: NDArray[np.int64]) -> Table:
        """Return some of the rows."""
        return Table(
            self.path,
            self.sha256,
            {name: [texts[row] for row in rows] for name, texts in self.texts.items()},
            None if self.kinds is None else [self.kinds[row] for row in rows],
            None if self.clusters is None else self.clusters[rows],
            {name: codes[rows] for name, codes in self.codes.items()},
        )


def read_pairs(path: str) -> Table:
    """Read pairs of sentences: `more` and `less` stereotyped, `bias_type` and `template` if there are such columns.

    CrowS-Pairs' own names of the first two, `sent_more` and `sent_less`, are known.

    Raises:
        InputError: a column is missing, or a sentence is.
    """
    return _read(path, "pairs", {"more": ("sent_more",), "less": ("sent_less",)}, kind="bias_type")


def read_counterfactuals(path: str) -> Table:
    """Read pairs of texts that differ in one swap: `first`, `second`, `swap`, and `template` if there is one.

    Raises:
        InputError: a column or a text is missing.
    """
    table = _read(path, "counterfactuals", {"first": (), "second": ()}, kind="swap")
    if table.kinds is None:
        raise InputError(f"counterfactuals {path}: has no column 'swap', which names what was swapped.")
    return table


def read_questions(path: str) -> Table:
    """Read questions of three answers: `prompt`, `answer0` to `answer2`, and which is `unknown` and `stereotyped`.

    Both are 0, 1 or 2. `condition`, such as ambiguous, and `template` may be there.

    Raises:
        InputError: a column or a text is missing, or a place is none of 0, 1 and 2.
    """
    answers = {f"answer{place}": () for place in range(3)}
    return _read(path, "questions", {"prompt": (), **answers}, kind="condition", places=("unknown", "stereotyped"))


def read_continuations(path: str) -> Table:
    """Read prompts: `prompt`, `group`, and `template` and `response` if there are such columns.

    Raises:
        InputError: a column is missing, or a prompt or a group is.
    """
    table = _read(path, "continuations", {"prompt": ()}, kind="group", may_have="response")
    if table.kinds is None:
        raise InputError(f"continuations {path}: has no column 'group', which names whom a prompt is about.")
    return table


def read_labelled(path: str) -> Table:
    """Read texts whose class is known: `text` and `label`.

    Raises:
        InputError: a column, a text or a label is missing.
    """
    return _read(path, "classifier_rows", {"text": ()}, kind="group", labels="label")


def _read(
    path: str,
    what: str,
    columns: Mapping[str, Sequence[str]],
    *,
    kind: str,
    places: Sequence[str] = (),
    may_have: str | None = None,
    labels: str | None = None,
) -> Table:
    try:
        data = read_data(Path(path), index=True)  # only named columns are read
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    known = [str(name) for name in data.frame.columns]
    texts = {}
    for name, others in columns.items():
        found = next((one for one in (name, *others) if one in known), None)
        if found is None:
            raise InputError(f"{what} {path}: has no column {name!r}; it has {', '.join(known[:12])}.")
        texts[name] = _texts(data, found, what, path)
    if labels is not None:
        texts[labels] = _labels(data, labels, what, path)
    if may_have in known:  # a saved text may be empty
        texts[may_have] = [value if isinstance(value, str) else "" for value in data.frame[may_have]]
    codes = {name: _places(data, name, what, path) for name in places}
    kinds = None if kind not in known else _texts(data, kind, what, path)
    clusters = None
    if "template" in known:
        found_codes, words = factorize(data.frame["template"])
        clusters = found_codes.astype(np.int64)
        alone = clusters < 0
        clusters[alone] = len(words) + np.arange(int(alone.sum()))
    return Table(path, data.sha256 or "", texts, kinds, clusters, codes)


def _texts(data: Data, name: str, what: str, path: str) -> list[str]:
    values = list(data.frame[name])
    missing = next(
        (place for place, value in enumerate(values) if not isinstance(value, str) or not value.strip()), None
    )
    if missing is not None:
        raise InputError(
            f"{what} {path}: row {missing + 1:,} has no text in {name!r}; fill it in, or leave the row out."
        )
    return values


def _labels(data: Data, name: str, what: str, path: str) -> list[str]:
    """Return the label of each row as the name of a class; a number is one too."""
    if name not in data.frame.columns:
        raise InputError(f"{what} {path}: has no column {name!r}, which says the true class of a text.")
    codes, words = factorize(data.frame[name])
    if (codes < 0).any():
        raise InputError(f"{what} {path}: row {int((codes < 0).argmax()) + 1:,} has no {name}; leave the row out.")
    return [words[code] for code in codes]


def _places(data: Data, name: str, what: str, path: str) -> NDArray[np.int64]:
    if name not in data.frame.columns:
        raise InputError(f"{what} {path}: has no column {name!r}, which says which answer it is: 0, 1 or 2.")
    try:
        values = numbers(data.frame, name)
    except InputError as error:
        raise InputError(f"{what} {path}: {error}") from error
    wrong = ~np.isin(values, [0, 1, 2])
    if wrong.any():
        raise InputError(
            f"{what} {path}: row {int(wrong.argmax()) + 1:,} has {name} {values[wrong][0]:g}, not 0, 1 or 2."
        )
    return values.astype(np.int64)
