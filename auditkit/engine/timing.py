"""How long a row takes on its way through a model here: the shortest of a few passes of a batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

UNTIMED_ROWS, TRIALS, TRIAL_SECONDS = 4, 5, 0.5
"""So many rows go through the model before it is timed; then so many trials begin at most, in so many seconds."""

FIRST_ROWS, MOST_ROWS, LONG_ENOUGH = 64, 4096, 0.05
"""The batch that is timed has so many rows, or four times as many until a pass of it takes so many seconds."""

Compute = Callable[[], object]


def seconds_of_a_row(batch: Callable[[int], Compute], row_count: int, device: torch.device) -> float:
    """Return how long a row takes; `batch` returns the computation on so many of `row_count` rows."""
    most = min(row_count, MOST_ROWS)
    batch(min(row_count, UNTIMED_ROWS))()  # loads libraries, and takes memory
    count = min(most, FIRST_ROWS)
    compute = batch(count)
    while count < most and _seconds(compute, device) < LONG_ENOUGH:
        count = min(most, 4 * count)
        compute = batch(count)
    return least_seconds(compute, device) / count


def least_seconds(compute: Compute, device: torch.device) -> float:
    """Return the shortest of a few times that a computation takes."""
    found: list[float] = []
    begun = time.perf_counter()
    while len(found) < TRIALS and (not found or time.perf_counter() - begun < TRIAL_SECONDS):
        found.append(_seconds(compute, device))
    return min(found)


def _seconds(compute: Compute, device: torch.device) -> float:
    """Return how long a computation takes.

    On a CPU the time of the processor counts where it is the shorter one, since other programs on the machine make the
    time on the clock longer.
    """
    started, used = time.perf_counter(), time.process_time()
    compute()
    seconds = time.perf_counter() - started
    return min(seconds, time.process_time() - used) if device.type == "cpu" else seconds
