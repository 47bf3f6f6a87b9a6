"""How much of a file auditkit reads: stated limits, each of which `--allow-large` raises.

A small file can describe a large thing: a gzip of zeros, a table of one repeated value, a network of 20,000 classes.
Every reader compares what a file describes with a limit here before it takes the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from auditkit.errors import DatasetError, InputError

ALLOW_LARGE = "--allow-large"
LONGEST = 10**15
"""A larger number is not written out: files state some of hundreds of digits."""

_large: ContextVar[bool] = ContextVar("large", default=False)


@dataclass(frozen=True)
class Budget:
    """One limit: what it counts, how much is read as a rule, and how much under `--allow-large`."""

    counts: str
    usual: int
    large: int

    @property
    def most(self) -> int:
        """The limit that holds now."""
        return self.large if large_allowed() else self.usual

    def check(self, found: float, name: str, error: type[InputError] = InputError) -> None:
        """Raise `error` where more was found than may be read; `name` says of what, as messages begin."""
        if not found <= self.most:  # NaN is no number that may be read
            said = f"{found:,.0f}" if not found >= LONGEST else f"more than {LONGEST:,}"  # of any number of digits
            remedy = "" if large_allowed() else f"; {ALLOW_LARGE} allows {self.large:,}"
            raise error(f"{name}: {said} {self.counts}, and auditkit reads at most {self.most:,}{remedy}.")


DATA_BYTES = Budget("bytes", 64 * 2**30, 2**42)
MODEL_BYTES = Budget("bytes", 16 * 2**30, 2**40)
RESULTS_BYTES = Budget("bytes", 256 * 2**20, 8 * 2**30)
WORDS_BYTES = Budget("bytes", 4 * 2**20, 2**30)
"""Of a policy, waivers, a schema, facts, a key: files that people write."""

ROWS = Budget("rows", 50_000_000, 10_000_000_000)
COLUMNS = Budget("columns", 20_000, 2_000_000)
CELLS = Budget("cells (rows x columns)", 500_000_000, 200_000_000_000)
TEXT_BYTES = Budget("bytes of text", 2**30, 256 * 2**30)
"""Of fixed-width texts in an .npz file, as they lie in memory: four bytes a character, each as long as the longest."""

IMAGE_BYTES = Budget("bytes of pixels", 8 * 2**30, 256 * 2**30)
CLASSES = Budget("classes", 2_000, 20_000)
"""A confusion table has as many cells as the square of it, for each group."""

COMPARED_CLASSES = Budget("classes against the rest", 100, 20_000)
"""So many classes, the most frequent ones, are compared between groups each against the rest; the report says so."""

INFLATED = Budget("times its size when decompressed", 200, 2_000)
"""How far a compressed file may inflate, beyond the first INFLATED_FREE bytes."""

INFLATED_FREE = 64 * 2**20


TABLES = Budget("tables", 5_000, 100_000)
"""Limits of a policy, or waivers, each of which is held against each finding."""

NESTING = Budget("levels of nesting", 64, 512)
"""Of JSON and TOML documents, in each of which a list or a table is a level."""

SPARSE_CELLS = Budget("cells for each character of the file", 64, 6_400)
"""How far a file that names its keys in every line may be from a table, beyond the first SPARSE_FREE cells."""

SPARSE_FREE = 1_000_000


def check_inflation(name: str, inflated: int, size: int) -> None:
    """Raise DatasetError where `size` bytes of a compressed file become too many."""
    if inflated > INFLATED_FREE:
        INFLATED.check(inflated / max(1, size), name, DatasetError)


def check_sparseness(name: str, cells: int, size: int) -> None:
    """Raise DatasetError where a file of `size` characters names so many columns that most of the table is holes."""
    if cells > SPARSE_FREE:
        SPARSE_CELLS.check(cells / max(1, size), name, DatasetError)


def large_allowed() -> bool:
    """Return whether `--allow-large` raises the limits."""
    return _large.get()


@contextmanager
def allow_large(allowed: bool = True) -> Iterator[None]:
    """Raise every limit inside the block, if `allowed`."""
    token = _large.set(_large.get() or allowed)
    try:
        yield
    finally:
        _large.reset(token)
