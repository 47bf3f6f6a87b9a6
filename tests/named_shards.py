"""Work on shards that processes of their own import: a module that imports little."""

from __future__ import annotations

from auditkit.progress import Progress


def named(shift: int, shard: int, device: str, progress: Progress) -> tuple[int, str]:
    if shard < 0:
        raise ValueError(f"shard {shard}")
    progress(0.5, "half")
    return shard + shift, device
