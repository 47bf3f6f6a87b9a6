"""What a piece of work costs, in numbers that do not depend on the machine or on what else it does."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Effort:
    """How many functions were called, Python's and C's, and the most bytes that Python and NumPy held at once."""

    calls: int = 0
    peak_bytes: int = 0


@contextmanager
def effort() -> Iterator[Effort]:
    """Count what is done in the block; the numbers are there after it."""
    spent = Effort()

    def count(frame: object, event: str, argument: object) -> None:
        if event in ("call", "c_call"):
            spent.calls += 1

    before = sys.getprofile()
    tracemalloc.start()
    sys.setprofile(count)
    try:
        yield spent
    finally:
        sys.setprofile(before)
        spent.peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
