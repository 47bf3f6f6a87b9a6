"""From a data set of images to a packed generator, with a sheet of samples after every epoch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from auditkit.data.dataset import Data, naming
from auditkit.errors import InputError
from auditkit.models.architectures import build
from auditkit.models.formats.native import save_model
from auditkit.models.formats.opening import open_model
from auditkit.models.generate import draw
from auditkit.models.model import Card, Model
from auditkit.models.networks import WithDiscriminator
from auditkit.progress import Progress, silent
from auditkit.schema.schema import Schema
from auditkit.training.generators import GeneratorFit, fit_adversarial, fit_row_losses

EPOCHS = {"vae": 30, "dcgan": 25, "ddpm": 40}
"""The passes over the rows, chosen so that 5,000 digits take about two minutes on two cores."""

SHEET_SIDE = 10
"""A sheet shows so many samples in each direction."""


def train_generator(
    data: Data,
    schema: Schema,
    *,
    architecture: str,
    arguments: Mapping[str, Any] | None = None,
    out: Path,
    settings: GeneratorFit,
    progress: Progress = silent,
) -> tuple[Model, dict[str, Any]]:
    """Train a generator on images, write it to `out`, and return it as opened again, with its training record.

    `schema` is that of `generator_schema`. After every epoch `out` with the ending `.png` shows the same 100 latent
    values as images.

    Raises:
        InputError: a setting cannot be used; nothing was written.
    """
    if out.suffix != ".pt":
        raise InputError(f"out must end in .pt, got {out}; pass --out model.pt.")
    with naming(data):
        images = torch.from_numpy(np.ascontiguousarray(schema.encode(data.frame), dtype=np.float32))
    given = schema.network_arguments() | dict(arguments or {})
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(settings.seed)
        module = build(architecture, given)
    sheet = out.with_suffix(".png")

    def done(epoch: int) -> None:
        write_sheet(sheet, draw(module, SHEET_SIDE**2, seed=settings.seed, device=settings.device).numpy())

    fit = fit_adversarial if isinstance(module, WithDiscriminator) else fit_row_losses
    losses = fit(module, images, settings=settings, done=done, progress=progress)
    training = {
        "epochs": settings.epochs,
        "loss": losses[-1],
        "path": data.path,
        "sha256": data.sha256,
        "row_count": len(images),
        "dropped_row_count": 0,
        "seed": settings.seed,
    }
    card = Card(schema=schema, architecture=architecture, arguments=given, name=out.stem, training=training)
    save_model(out, module, card)
    return open_model(out), training


def write_sheet(path: Path, images: NDArray[np.float32]) -> None:
    """Write images, (rows, channels, height, width) in [0, 1], side by side as a PNG: ten in each direction."""
    count, channels, height, width = images.shape
    side = min(SHEET_SIDE, int(count**0.5))
    shown = images[: side * side].reshape(side, side, channels, height, width).transpose(0, 3, 1, 4, 2)
    pixels = (shown.reshape(side * height, side * width, channels) * 255).round().astype(np.uint8)
    picture = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels[:, :, :3])
    picture.save(path, format="PNG")
