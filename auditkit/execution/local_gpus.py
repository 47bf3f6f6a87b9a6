"""Several devices of this machine at once: one process for each, which takes every n-th shard."""

from __future__ import annotations

import collections
import contextlib
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass

from auditkit.errors import InputError
from auditkit.execution.base import Result, Shard, Work, untold
from auditkit.progress import Progress, silent

AHEAD = 2
"""So many shards for each device are handed out before the first of their results is taken."""


@dataclass(frozen=True)
class LocalDevices:
    """Runs shards on several devices, each in a process of its own with `threads` threads."""

    devices: tuple[str, ...]
    threads: int | None = None

    def map(
        self, work: Work[Shard, Result], shards: Iterable[Shard], progress: Callable[[int], Progress] = untold
    ) -> Iterator[Result]:
        """Yield the result of each shard, in their order; progress is told when a shard is done."""
        context = multiprocessing.get_context("spawn")  # a forked process cannot use the GPU of its parent
        with contextlib.ExitStack() as stack:
            pools = [
                stack.enter_context(ProcessPoolExecutor(1, context, initializer=_set_threads, initargs=(self.threads,)))
                for _ in self.devices
            ]
            waiting: collections.deque[tuple[int, Future[Result]]] = collections.deque()
            for place, shard in enumerate(shards):
                which = place % len(pools)
                waiting.append((place, pools[which].submit(work, shard, self.devices[which], silent)))
                if len(waiting) >= AHEAD * len(pools):
                    yield _finished(*waiting.popleft(), progress)
            while waiting:
                yield _finished(*waiting.popleft(), progress)


def local_gpus(device: str) -> LocalDevices:
    """Return an executor on all GPUs of this machine.

    Raises:
        InputError: the run is not on a GPU, or there is only one.
    """
    import torch

    count = torch.cuda.device_count() if device.startswith("cuda") else 0
    if count < 2:
        raise InputError(
            f"executor local_gpus needs at least 2 GPUs, got {count} for device {device}; leave --executor out."
        )
    return LocalDevices(tuple(f"cuda:{index}" for index in range(count)), torch.get_num_threads())


def _finished(place: int, future: Future[Result], progress: Callable[[int], Progress]) -> Result:
    result = future.result()
    progress(place)(1.0, "done")
    return result


def _set_threads(threads: int | None) -> None:
    """Give a process as many threads as its parent has: sums differ in the last digits with their number."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
