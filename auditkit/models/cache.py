"""Predictions kept for one user, so that a second audit of the same model, data and code takes almost no forward pass.

Kept predictions decide verdicts. So they lie in the user's private folder alone, under names and with codes that only
the user's key can make (auditkit.private), and some rows are always predicted again and compared.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.budgets import Budget
from auditkit.errors import InputError
from auditkit.files import read_bytes
from auditkit.private import is_private, is_sealed, private_folder, seal_of, user_key
from auditkit.run_folder import PARTIAL
from auditkit.tasks.base import Predictions, Task, code_type

KEPT_BYTES = Budget("bytes", 2**30, 2**30)
"""Predictions of one audit that take more are not kept, and the folder holds as much: the oldest give way."""

CHECKED_ROWS = 64
"""So many rows are predicted again, and compared, before kept predictions are used."""

SEAL_BYTES = 32
PURPOSE = "predictions"


@dataclass(frozen=True)
class Cache:
    """Where predictions are kept: a folder that is private to the user, and the user's key; None for nowhere."""

    folder: Path | None
    key: bytes | None = None

    def load(self, key: str, *, row_count: int, task: Task) -> Predictions | None:
        """Return the predictions kept under a key, or None; a file that this user did not keep is passed over."""
        if self.folder is None or self.key is None:
            return None
        try:
            content = read_bytes(self._path(key), "predictions", budget=KEPT_BYTES)
        except InputError:
            return None
        seal, packed = content[:SEAL_BYTES], content[SEAL_BYTES:]
        if not is_sealed(self.key, PURPOSE, key.encode() + packed, seal):
            return None
        try:
            with np.load(io.BytesIO(packed), allow_pickle=False) as archive:
                probabilities, notes = archive["probabilities"], archive["notes"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, MemoryError, RuntimeError):
            return None
        whole = probabilities.shape == (row_count, task.width) and probabilities.dtype.kind == "f"
        if whole and task.is_possible(probabilities):
            return task.predictions(probabilities, [str(note) for note in notes])
        return None

    def save(self, key: str, predictions: Predictions) -> None:
        """Keep predictions under a key, whole or not at all; where that fails, the next audit predicts again.

        Scores, which are no probabilities, are not kept.
        """
        if self.folder is None or self.key is None or predictions.ranking is not None:
            return
        kept = predictions.class_probabilities
        kept = predictions.labels[:, None] if kept is None else kept
        if kept.nbytes > KEPT_BYTES.most // 2:
            return
        packed = io.BytesIO()
        np.savez(packed, probabilities=kept, notes=np.array(predictions.notes, dtype=str))
        path = self._path(key)
        beside = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            _make_room(self.folder, len(packed.getvalue()))
            with open(beside, "xb") as file:
                file.write(seal_of(self.key, PURPOSE, key.encode() + packed.getvalue()) + packed.getvalue())
            os.replace(beside, path)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        """Return the file of a key, under a name that nobody without the user's key can foretell."""
        assert self.folder is not None
        assert self.key is not None
        return self.folder / f"{seal_of(self.key, 'name', key.encode()).hex()[:40]}.npz"


NO_CACHE = Cache(folder=None)


def user_cache() -> Cache:
    """Return the cache of this user, or none where no private folder can be had."""
    folder, key = private_folder("cache"), user_key()
    if folder is None or key is None:
        return NO_CACHE
    inner = folder / PURPOSE
    try:
        inner.mkdir(mode=0o700, exist_ok=True)
        return Cache(folder=inner, key=key) if is_private(inner) else NO_CACHE
    except OSError:
        return NO_CACHE


def checked_rows(key: str, row_count: int) -> NDArray[np.int64]:
    """Return the positions of the rows that are predicted again before kept predictions are used, by the key's seed."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()))
    return np.sort(rng.choice(row_count, size=min(row_count, CHECKED_ROWS), replace=False))


def agree(kept: Predictions, again: Predictions, rows: NDArray[np.int64]) -> bool:
    """Return whether kept predictions are, at some rows, what the model predicts: to 1e-4, for batches differ."""
    if kept.class_probabilities is None or again.class_probabilities is None:
        scale = np.maximum(1, np.abs(again.labels))
        return bool((np.abs(kept.labels[rows] - again.labels) <= 1e-4 * scale).all())
    return bool((np.abs(kept.class_probabilities[rows] - again.class_probabilities) <= 1e-4).all())


def _make_room(folder: Path, byte_count: int) -> None:
    files = [(path.stat().st_mtime, path.stat().st_size, path) for path in folder.iterdir() if path.is_file()]
    held = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if held + byte_count <= KEPT_BYTES.most:
            return
        path.unlink(missing_ok=True)
        held -= size


def prediction_key(*, model_sha256: str, data_sha256: str, selection: dict[str, Any], device: str) -> str:
    """Return the name of predictions: a hash of the model, the data, the choice of rows, the code and the device."""
    import torch

    parts = {
        "model": model_sha256,
        "data": data_sha256,
        "selection": selection,
        "code": _code_hash(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": device,
        "dtype": str(np.dtype(code_type(int(selection["row_count"])))),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@functools.cache
def _code_hash() -> str:
    """Return a hash of the source that reads data, opens models and predicts."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for folder in ("data", "schema", "tasks", "models"):
        for path in sorted((package / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
