"""One shard after the other in this process: the default, which costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from auditkit.execution.base import Result, Shard, Work, untold
from auditkit.progress import Progress


@dataclass(frozen=True)
class InProcess:
    """Runs shards one after the other on one device."""

    device: str = "cpu"

    def map(
        self, work: Work[Shard, Result], shards: Iterable[Shard], progress: Callable[[int], Progress] = untold
    ) -> Iterator[Result]:
        """Yield the result of each shard."""
        for place, shard in enumerate(shards):
            yield work(shard, self.device, progress(place))
