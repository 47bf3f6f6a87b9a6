"""Predictions kept beside a report, so that a second audit of the same model, data and code takes no forward pass."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from auditkit.models.predict import Predictions, code_type, decided

FOLDER = ".predictions"


@dataclass(frozen=True)
class Cache:
    """Where predictions are written (`folder`, None for nowhere), and the other folders where they may lie."""

    folder: Path | None
    others: Sequence[Path] = ()

    def load(
        self, key: str, *, row_count: int, class_count: int, threshold: float = 0.5, several_labels: bool = False
    ) -> tuple[Predictions, Path] | None:
        """Return the predictions kept under a key and their file, or None; a file that does not fit is passed over.

        Without classes they are the numbers of a regression. `threshold` decides between two classes, or on each of
        `several_labels`.
        """
        for folder in (*([self.folder] if self.folder else []), *self.others):
            path = folder / f"{key}.npz"
            try:
                with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                    probabilities, notes = archive["probabilities"], archive["notes"]
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, MemoryError, RuntimeError):
                continue
            whole = probabilities.shape == (row_count, class_count or 1) and probabilities.dtype.kind == "f"
            said = tuple(str(note) for note in notes)
            if whole and not class_count and bool(np.isfinite(probabilities).all()):
                return Predictions(labels=probabilities[:, 0], class_probabilities=None, notes=said), path
            if whole and class_count and bool(((probabilities >= 0) & (probabilities <= 1)).all()):
                labels = decided(probabilities, threshold, several_labels=several_labels)
                return Predictions(labels=labels, class_probabilities=probabilities, notes=said), path
        return None

    def save(self, key: str, predictions: Predictions) -> None:
        """Keep predictions under a key, whole or not at all; where that fails, the next audit predicts again."""
        if self.folder is None:
            return
        beside = self.folder / f".{key}.{os.getpid()}.partial"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            kept = predictions.class_probabilities
            kept = predictions.labels[:, None] if kept is None else kept
            with open(beside, "xb") as file:
                np.savez(file, probabilities=kept, notes=np.array(predictions.notes, dtype=str))
            os.replace(beside, self.folder / f"{key}.npz")
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)


NO_CACHE = Cache(folder=None)


def cache_of(folder: Path) -> Cache:
    """Return the cache of a run's folder; predictions of the runs beside it are found as well."""
    beside = sorted(path for path in folder.parent.glob(f"*/{FOLDER}") if path.parent != folder)
    return Cache(folder=folder / FOLDER, others=tuple(beside))


def prediction_key(*, model_sha256: str, data_sha256: str, selection: dict[str, Any], device: str) -> str:
    """Return the name of predictions: a hash of the model, the data, the choice of rows, the code and the device."""
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
    for folder in ("data", "schema", "models"):
        for path in sorted((package / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
