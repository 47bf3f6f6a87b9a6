"""The protocol of an executor, and how one is found by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from auditkit.plugins import load
from auditkit.progress import Progress, silent

Shard = TypeVar("Shard")
Result = TypeVar("Result")

Work = Callable[[Shard, str, Progress], Result]
"""Takes a shard, the name of the device that it runs on, and what it tells its progress to."""


def untold(place: int) -> Progress:
    """Return the progress of a shard that nobody asks about."""
    return silent


class Executor(Protocol):
    """Runs parts of the work that do not depend on each other.

    An executor of another package registers a function from a device's name to an executor under
    `auditkit.executors`. The result must not depend on which executor it is.
    """

    def map(
        self, work: Work[Shard, Result], shards: Iterable[Shard], progress: Callable[[int], Progress] = untold
    ) -> Iterator[Result]:
        """Return `work(shard, device, progress(place))` for each shard, in the order of the shards.

        `work` is a function of a module, or a `functools.partial` of one; like the shards and the results it can be
        pickled. Shards are taken as they are needed. What `work` raises is raised here.
        """
        ...


def executor_of(name: str, device: str) -> Executor:
    """Return the installed executor of this name for a device, such as "cpu" or "cuda".

    Raises:
        InputError: there is none, or it cannot run here.
    """
    made: Executor = load("executors", name)(device)
    return made
