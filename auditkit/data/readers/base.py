"""What a reader of data is: it recognises a file or a folder, and reads its rows as a data frame."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, runtime_checkable

import pandas as pd

HEAD_BYTES = 4096


@dataclass(frozen=True)
class DataSource:
    """A file or a folder of data; `head` are the first bytes of a file, `name` is how messages call it.

    A reader reads `file`, which is open at its start, and not `path`: by then another file may lie there than the one
    whose hash is recorded.
    """

    path: Path
    head: bytes
    is_folder: bool
    file: BinaryIO = field(default_factory=io.BytesIO, repr=False)

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"dataset {self.path}"


@dataclass(frozen=True)
class ReadOptions:
    """What the user says about a file: the encoding of texts, and the columns that are needed, None for all.

    With `index` a first column without a name is a data frame's index, and is called `INDEX`; else it is refused.
    """

    encoding: str = "utf-8"
    needed: Sequence[str] | None = None
    index: bool = False


class Scores(NamedTuple):
    """What a log of an evaluation says of its rows: the columns of scores, and those of clusters and of groups."""

    columns: tuple[str, ...]
    cluster: str
    group: str


@dataclass(frozen=True, eq=False)
class ReadRows:
    """The rows of a source. `notes` says what was not read; `scores` where the scores of an evaluation stand.

    The index of `frame` says where each row came from: `line` of a text file, `row` of another. `sha256` is given by
    readers of folders, which hash what they read.
    """

    frame: pd.DataFrame
    notes: Sequence[str] = field(default_factory=tuple)
    sha256: str | None = None
    scores: Scores | None = None


@runtime_checkable
class Reader(Protocol):
    """A format of data, installed as an entry point of the group `auditkit.readers`."""

    def recognise(self, source: DataSource) -> bool:
        """Return whether the source is of this format, by its first bytes or its name."""
        ...

    def read(self, source: DataSource, options: ReadOptions) -> ReadRows:
        """Return its rows.

        Raises:
            DatasetError: it is damaged, or holds no table.
        """
        ...
