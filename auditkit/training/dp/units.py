"""Texts as the units whose contribution a private training bounds: single texts, or all texts of one author."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from auditkit.data.dataset import Data
from auditkit.errors import DatasetError, InputError, closest
from auditkit.models.networks import MaskedTokens
from auditkit.schema.pieces import piece_tokenizer
from auditkit.training.dp.token_losses import NOTHING

RECORD = "record"
"""The unit that is one text; any other is the name of a column."""

LONGEST, MOST_TOKENS = 256, 2048
"""The tokens of a window, and those that a unit contributes, at most."""

FEWEST = 10


class Units(NamedTuple):
    """Units of privacy as a training takes them, those with little text first.

    `rows` is int64, (units, windows, 2, length), see `auditkit.training.dp.token_losses`; `counts` the tokens to
    predict of each unit, (units,). Beyond them: how many texts there were, how many tokens the bound cut off, and how
    many texts name no unit, which are one together.
    """

    rows: NDArray[np.int64]
    counts: NDArray[np.int64]
    text_count: int
    empty_count: int
    cut_tokens: int
    without_unit: int

    @property
    def windows(self) -> int:
        """The most windows of a unit."""
        return int(self.rows.shape[1])

    @property
    def length(self) -> int:
        """The most tokens that are read at once."""
        return int(self.rows.shape[3])


class Windows(NamedTuple):
    """How a network reads texts: `read` ids of at most `length` places, `wanted` what is predicted at each."""

    read: list[int]
    wanted: list[int]


def units_of(data: Data, column: str, pieces: str, network: nn.Module, *, unit: str = RECORD) -> Units:
    """Return the texts of a column as units of privacy, each of which contributes `MOST_TOKENS` tokens at most.

    Args:
        data: the training rows.
        column: that of the texts.
        pieces: the tokenizer, as JSON.
        network: the language model as a module of token ids.
        unit: `record`, or the column of authors whose texts are one unit.

    Raises:
        InputError: no such column.
        DatasetError: fewer than ten units have text.
    """
    _require_column(data, "text", column)
    if unit != RECORD:
        _require_column(data, "unit", unit)
    texts = data.frame[column]
    has_text = texts.notna() & texts.astype(str).str.strip().ne("")
    texts = texts[has_text].astype(str)
    owners = _owners(data.frame.loc[has_text], unit)
    encoded = piece_tokenizer(pieces).encode_batch(texts.tolist())
    cut = _Cut(network)
    windows: list[list[Windows]] = [[] for _ in range(int(owners.max(initial=-1)) + 1)]
    for owner, one in zip(owners, encoded, strict=True):
        windows[owner] += cut.windows(one.ids)
    windows = [own for own in windows if own]
    if len(windows) < FEWEST:
        raise DatasetError(f"{data.name}: {len(windows)} units have text, and at least {FEWEST} are needed.")
    rows, counts, lost = _packed(windows)
    missing = 0 if unit == RECORD else int(data.frame.loc[has_text, unit].isna().sum())
    return Units(rows, counts, len(texts), int((~has_text).sum()), lost, missing)


def owners_of(data: Data, unit: str, chosen: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """Return the number of the unit of each chosen row, by the values of a column, and how many rows have none.

    Raises:
        InputError: no such column.
        DatasetError: fewer than ten units.
    """
    _require_column(data, "unit", unit)
    frame = data.frame.loc[chosen]
    owners = _owners(frame, unit)
    count = len(np.unique(owners))
    if count < FEWEST:
        raise DatasetError(f"{data.name}: {unit} has {count} values, and at least {FEWEST} units are needed.")
    return owners, int(frame[unit].isna().sum())


def _require_column(data: Data, option: str, name: str) -> None:
    names = [str(one) for one in data.frame.columns]
    if name not in names:
        raise InputError(f"{option} column {name!r} is not in {data.name}{closest(name, names)}.")


def _owners(frame: pd.DataFrame, unit: str) -> NDArray[np.int64]:
    """Return the number of the unit of each row; all rows without one belong to one together, lest one be split."""
    if unit == RECORD:
        return np.arange(len(frame))
    codes = pd.factorize(frame[unit].astype(str).where(frame[unit].notna()), use_na_sentinel=False)[0]
    return codes.astype(np.int64)


class _Cut:
    """How texts are cut into windows for one network."""

    def __init__(self, network: nn.Module) -> None:
        self.length = min(int(network.context), LONGEST)  # type: ignore[arg-type]  # of a language model
        self.masked = isinstance(network, MaskedTokens)
        if self.masked:
            self.before, self.behind = (list(getattr(network, name)) for name in ("prefix", "suffix"))
        else:
            edges = (getattr(network, name) for name in ("start", "end"))
            self.before, self.behind = ([] if one is None else [int(one)] for one in edges)

    def windows(self, ids: Sequence[int]) -> list[Windows]:
        """Return a text's windows: each token is predicted once."""
        if self.masked:
            room = self.length - len(self.before) - len(self.behind)
            before, after = ([NOTHING] * len(part) for part in (self.before, self.behind))
            parts = [list(ids[begin : begin + room]) for begin in range(0, len(ids), room)]
            return [Windows([*self.before, *part, *self.behind], [*before, *part, *after]) for part in parts]
        whole = [*self.before, *ids, *self.behind]
        read, wanted = whole[:-1], whole[1:]
        ends = [(begin, begin + self.length) for begin in range(0, len(read), self.length)]
        return [Windows(read[begin:end], wanted[begin:end]) for begin, end in ends]


def _packed(units: list[list[Windows]]) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return units as one array, their numbers of tokens to predict, and how many tokens the bound cut off."""
    length = max(len(window.read) for own in units for window in own)
    most = min(max(map(len, units)), max(1, MOST_TOKENS // length))
    units = sorted(units, key=lambda own: (len(own), max(len(window.read) for window in own)))
    rows = np.full((len(units), most, 2, length), NOTHING, dtype=np.int64)
    for row, own in zip(rows, units, strict=True):
        for place, window in zip(row, own, strict=False):
            place[0, : len(window.read)] = window.read
            place[1, : len(window.wanted)] = window.wanted
    counts = (rows[:, :, 1] != NOTHING).sum(axis=(1, 2))
    lost = sum(sum(one != NOTHING for one in window.wanted) for own in units for window in own[most:])
    return rows, counts.astype(np.int64), lost
