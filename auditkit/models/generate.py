"""Rows drawn from a generator: standard normal latent values in, rows out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from auditkit.errors import ModelFileError
from auditkit.models.capabilities import Differentiable, Generative, Layered, Refittable
from auditkit.models.language import FromCausal, language_abilities
from auditkit.tasks.generation import NOTHING_PREDICTED

ROWS_AT_ONCE = 500


class FromLatent(Generative):
    """A network with a `latent_shape`, whose forward pass maps standard normal values of it to rows."""

    def sample(self, count: int, *, seed: int, device: torch.device) -> NDArray[np.float32]:
        """Return `count` rows; see `Generative.sample`.

        Raises:
            ModelFileError: the network returns something else than finite rows of the schema's shape.
        """
        rows = draw(self.model.module, count, seed=seed, device=device).numpy()
        shape = self.model.schema.features[0].shape
        expected = (self.model.schema.input_width,) if shape is None else tuple(shape)
        if rows.shape[1:] != expected:
            raise ModelFileError(f"model {self.model.name}: draws rows of shape {rows.shape[1:]}, not {expected}.")
        if not np.isfinite(rows).all():
            raise ModelFileError(f"model {self.model.name}: draws rows that are not finite.")
        return rows


def generating(module: nn.Module) -> dict[str, Any]:
    """Return the capabilities of a generator or a language model as arguments of a Model; nothing for others."""
    if hasattr(module, "advance"):
        return language_abilities(FromCausal)
    if not hasattr(module, "latent_shape"):
        return {}
    lacks = dict.fromkeys((Differentiable, Layered, Refittable), NOTHING_PREDICTED)
    return {"capabilities": (FromLatent,), "lacks": lacks}


def draw(module: nn.Module, count: int, *, seed: int, device: torch.device) -> Tensor:
    """Return `count` rows of a generator, float32 on the CPU, from latent values drawn with `seed`."""
    latent_shape: tuple[int, ...] = tuple(module.latent_shape)  # type: ignore[arg-type]  # see FromLatent
    latent = torch.randn(count, *latent_shape, generator=torch.Generator().manual_seed(seed))
    was_training = module.training
    module.to(device).eval()
    with torch.inference_mode():
        parts = [module(part.to(device)).float().cpu() for part in latent.split(ROWS_AT_ONCE)]
    module.train(was_training)
    return torch.cat(parts)
