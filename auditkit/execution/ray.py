"""Shards on Ray (auditkit[ray]): on this machine, or on the cluster that `RAY_ADDRESS` names."""

from __future__ import annotations

import collections
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from auditkit.errors import InputError
from auditkit.execution.base import Result, Shard, Work, untold
from auditkit.extras import install_extra
from auditkit.progress import Progress, silent

AHEAD = 2
"""So many shards for each worker are handed out before the first of their results is taken."""


@dataclass(frozen=True)
class OnRay:
    """Runs shards as tasks of Ray, each on one device with `threads` threads: a GPU of its own, or CPUs."""

    device: str
    threads: int

    def map(
        self, work: Work[Shard, Result], shards: Iterable[Shard], progress: Callable[[int], Progress] = untold
    ) -> Iterator[Result]:
        """Yield the result of each shard, in their order; progress is told when a shard is done."""
        import ray

        _start()
        needs = {"num_gpus": 1} if self.device.startswith("cuda") else {"num_cpus": 1}
        task = ray.remote(max_retries=0, **needs)(_run)  # a shard that ends its worker would end the next one too
        kept = ray.put(work)  # once for all shards: it holds the rows
        wanted = AHEAD * max(1, int(ray.cluster_resources().get("GPU" if "num_gpus" in needs else "CPU", 1)))
        waiting: collections.deque[tuple[int, Any]] = collections.deque()
        for place, shard in enumerate(shards):
            waiting.append((place, task.remote(kept, shard, self.device, self.threads)))
            if len(waiting) >= wanted:
                yield _finished(*waiting.popleft(), progress)
        while waiting:
            yield _finished(*waiting.popleft(), progress)


def on_ray(device: str) -> OnRay:
    """Return an executor on Ray for a device, with as many threads for each shard as this process has.

    Raises:
        InputError: Ray is not installed.
    """
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise InputError(f"executor ray needs Ray; {install_extra('ray')}.") from error
    import torch

    return OnRay("cuda" if device.startswith("cuda") else "cpu", torch.get_num_threads())


def _start() -> None:
    """Connect to Ray, or start it here until this process ends, unless the user has."""
    import ray

    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves the machine
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    except Exception as error:  # Ray has no class for it
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"executor ray: Ray does not start: {first}; leave --executor out, or start Ray.") from error


def _run(work: Work[Shard, Result], shard: Shard, device: str, threads: int) -> tuple[Any, Exception | None]:
    """Return what `work` returns of a shard, or what it raises: Ray would wrap an error in one of its own."""
    import torch

    torch.set_num_threads(threads)  # Ray sets one; sums differ in the last digits with their number
    try:
        return work(shard, device, silent), None
    except Exception as error:  # noqa: BLE001  # raised again where the results are taken
        return None, error


def _finished(place: int, task: Any, progress: Callable[[int], Progress]) -> Any:
    import ray

    result, error = ray.get(task)
    if error is not None:
        raise error
    progress(place)(1.0, "done")
    return result
