"""The numbers that generated and real rows are compared by: features of a small classifier, or the columns of a table.

Distances between pixels say little about what an image shows. Where real rows have classes, a small convolutional
network learns them, and its last hidden layer gives the features; its own weights are hashed into the report.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.models.architectures.images import cnn
from auditkit.training.fit import FitSettings, fit

FEATURE_WIDTH = 64
EPOCHS, FEWEST_STEPS, BATCH_SIZE = 12, 500, 64
"""The passes over the rows; of few rows more, so that the classifier takes at least so many steps."""

ROWS_AT_ONCE = 500


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """How rows become features, and which class a row shows.

    `shift` and `scale`, (width,), standardise the features by the rows that the space was made from. `network` is the
    classifier, None where rows are compared as they are.
    """

    network: nn.Sequential | None
    shift: NDArray[np.float32]
    scale: NDArray[np.float32]
    sha256: str | None

    def features(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return standardised features, (rows, width), of rows: images, (rows, channels, height, width), or a table."""
        raw = rows.reshape(len(rows), -1) if self.network is None else _through(self.network[:-1], rows)
        result: NDArray[np.float32] = (raw - self.shift) / self.scale
        return result

    def classes(self, rows: NDArray[np.float32]) -> NDArray[np.int64] | None:
        """Return the class that the classifier sees in each row, (rows,); None without a classifier."""
        return None if self.network is None else _through(self.network, rows).argmax(axis=1)


def learnt_space(
    rows: NDArray[np.float32], labels: NDArray[np.int64], *, seed: int, device: torch.device
) -> FeatureSpace:
    """Train a small classifier of images, (rows, channels, height, width), and return the space of its last layer.

    `labels` are class codes, (rows,). The same rows and seed give the same weights on a CPU.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = cnn(input_shape=rows.shape[1:], output_width=int(labels.max()) + 1, hidden=FEATURE_WIDTH, dropout=0.0)
    epochs = max(EPOCHS, -(-FEWEST_STEPS * BATCH_SIZE // len(rows)))
    fit(network, rows, labels, FitSettings(epochs=epochs, batch_size=BATCH_SIZE, seed=seed), device=device)
    digest = hashlib.sha256()
    for value in network.state_dict().values():
        digest.update(value.cpu().numpy().tobytes())
    return _standardised(network, rows, digest.hexdigest())


def plain_space(rows: NDArray[np.float32]) -> FeatureSpace:
    """Return the space of the rows as they are, each column standardised."""
    return _standardised(None, rows, None)


def _standardised(network: nn.Sequential | None, rows: NDArray[np.float32], sha256: str | None) -> FeatureSpace:
    raw = rows.reshape(len(rows), -1) if network is None else _through(network[:-1], rows)
    scale = raw.std(axis=0)
    return FeatureSpace(network, raw.mean(axis=0), np.where(scale > 0, scale, 1).astype(np.float32), sha256)


def _through(network: nn.Module, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        parts = [network(torch.from_numpy(np.ascontiguousarray(part))) for part in _parts(rows)]
    return torch.cat(parts).numpy()


def _parts(rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE)]
