"""An executor: one shard after the other, the last one first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from auditkit.execution.base import Result, Shard, Work, untold
from auditkit.progress import Progress


@dataclass(frozen=True)
class Backwards:
    """Runs the last shard first, and returns the results in the order of the shards."""

    device: str

    def map(
        self, work: Work[Shard, Result], shards: Iterable[Shard], progress: Callable[[int], Progress] = untold
    ) -> Iterator[Result]:
        last_first = [*enumerate(shards)][::-1]
        found = [work(shard, self.device, progress(place)) for place, shard in last_first]
        yield from found[::-1]
