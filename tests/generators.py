"""Planted generators of small digits: what each should be found to be is known beforehand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits

from auditkit.models.networks import Generator
from auditkit.schema.infer import generator_schema
from auditkit.schema.schema import Schema


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the 1,797 digits of scikit-learn, (rows, 8, 8) in [0, 1], and their classes, in a seeded order."""
    images, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    return (images[order] / 16).reshape(-1, 8, 8), classes[order].astype(str)


def frame_of(images: np.ndarray, classes: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"image": pd.Series(list(images), dtype=object), "digit": classes})


def schema_of(frame: pd.DataFrame) -> Schema:
    return generator_schema(frame, target="digit")


class Stored(Generator, torch.nn.Module):
    """Draws rows from a store by chance, with noise of a chosen size: a generator whose truth is known."""

    latent_shape = (3,)
    images: torch.Tensor
    copies: torch.Tensor

    def __init__(self, images: np.ndarray, noise: float = 0.0, copies: np.ndarray | None = None, share: float = 0.0):
        super().__init__()
        self.register_buffer("images", torch.tensor(images, dtype=torch.float32)[:, None])
        self.register_buffer("copies", torch.tensor(images if copies is None else copies, dtype=torch.float32)[:, None])
        self.noise, self.share = noise, share

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        place = torch.special.ndtr(latent)
        rows = self.images[(place[:, 0] * len(self.images)).long().clamp(max=len(self.images) - 1)]
        copied = self.copies[(place[:, 1] * len(self.copies)).long().clamp(max=len(self.copies) - 1)]
        chosen = (place[:, 2] < self.share)[:, None, None, None]
        generator = torch.Generator().manual_seed(int(latent[0, 0].abs() * 1e6))
        noise = torch.randn(rows.shape, generator=generator) * self.noise
        return torch.where(chosen, copied, (rows + noise).clamp(0, 1))
