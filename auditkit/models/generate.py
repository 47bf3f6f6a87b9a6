"""Rows drawn from a generator: standard normal latent values in, rows out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from auditkit.errors import ModelFileError
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import (
    Capability,
    Differentiable,
    Discriminating,
    Generative,
    LatentCode,
    Layered,
    Refittable,
    SampleTable,
)
from auditkit.models.language import FromCausal, FromMasked, language_abilities
from auditkit.models.networks import (
    CausalTokens,
    Generator,
    MaskedTokens,
    TableGenerator,
    WithDiscriminator,
    WithEncoder,
    WithRowLosses,
    check_declared,
)
from auditkit.models.refit import FromLanguageCard
from auditkit.tasks.generation import NOTHING_PREDICTED

if TYPE_CHECKING:
    import pandas as pd

ROWS_AT_ONCE = 500

NO_PRIVATE_TABLES = Message(
    "a generator of tables cannot be trained with privacy here: the modes and options of its columns are read from the "
    "rows without it"
)


class FromLatent(Generative):
    """A `Generator`, whose forward pass maps standard normal values of it to rows."""

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


class FromDiscriminator(Discriminating):
    """A `WithDiscriminator`, whose `discriminate` leads from rows to the logit that each is real."""

    def realness(self, rows: NDArray[Any], *, device: torch.device) -> NDArray[np.float64]:
        """Return logits, (rows,); see `Discriminating.realness`."""
        module: Any = self.model.module.to(device).eval()
        with torch.inference_mode():
            parts = torch.as_tensor(rows, dtype=torch.float32).split(ROWS_AT_ONCE)
            logits = torch.cat([module.discriminate(part.to(device)).double().cpu() for part in parts])
        found: NDArray[np.float64] = logits.numpy()
        return found

    def saliency(self, rows: NDArray[Any], *, device: torch.device) -> NDArray[np.float32]:
        """Return gradients of the logits, (rows, ...); see `Discriminating.saliency`."""
        module: Any = self.model.module.to(device).eval()
        inputs = torch.as_tensor(rows, dtype=torch.float32, device=device).requires_grad_()
        (gradient,) = torch.autograd.grad(module.discriminate(inputs).sum(), inputs)
        found: NDArray[np.float32] = gradient.cpu().numpy()
        return found


class FromEncoder(LatentCode):
    """A `WithEncoder`, whose `encode` leads from rows to the means and log variances of latent values."""

    def encode(self, rows: NDArray[Any], *, device: torch.device) -> NDArray[np.float32]:
        """Return latent means, (rows, latent values); see `LatentCode.encode`."""
        module: Any = self.model.module.to(device).eval()
        with torch.inference_mode():
            parts = torch.as_tensor(rows, dtype=torch.float32).split(ROWS_AT_ONCE)
            means = torch.cat([module.encode(part.to(device))[0].float().cpu() for part in parts])
        found: NDArray[np.float32] = means.numpy()
        return found

    def decode(self, latent: NDArray[np.float32], *, device: torch.device) -> NDArray[np.float32]:
        """Return rows, (rows, ...); see `LatentCode.decode`."""
        module = self.model.module.to(device).eval()
        with torch.inference_mode():
            rows: NDArray[np.float32] = module(torch.from_numpy(latent).to(device)).float().cpu().numpy()
        return rows


class FromTable(Generative, SampleTable):
    """A `TableGenerator`, whose forward pass maps latent values to values of a table."""

    def table(self, count: int, *, seed: int, device: torch.device) -> pd.DataFrame:
        """Return `count` rows with the columns that the generator was trained on; see `SampleTable.table`.

        Raises:
            ModelFileError: the network returns infinity.
        """
        import pandas as pd

        columns: Any = self.model.module.columns
        values = draw(self.model.module, count, seed=seed, device=device, cast=torch.Tensor.double).numpy()
        if np.isinf(values).any():
            raise ModelFileError(f"model {self.model.name}: draws numbers that are not finite.")
        return pd.DataFrame(
            {column["name"]: _column(column, value) for column, value in zip(columns, values.T, strict=True)}
        )

    def sample(self, count: int, *, seed: int, device: torch.device) -> NDArray[np.float32]:
        """Return `count` rows as the schema encodes rows; see `Generative.sample`."""
        rows: NDArray[np.float32] = self.model.modality.encode(self.table(count, seed=seed, device=device))
        return rows


def _column(column: dict[str, Any], values: NDArray[np.float64]) -> NDArray[Any] | pd.Series[Any]:
    """Return the values of a column of a table as its data had them: numbers, or words."""
    import pandas as pd

    missing = np.isnan(values)
    if not column["modes"]:
        words = np.array([*column["options"], None], dtype=object)
        return words[np.where(missing, len(words) - 1, values).astype(np.int64)]
    rounded = np.round(values, column["decimals"])
    if column["decimals"] or np.abs(rounded[~missing]).max(initial=0) >= 2**53:
        return rounded
    return pd.Series(rounded).astype("Int64") if missing.any() else rounded.astype(np.int64)


def generating(module: nn.Module, *, fresh: type[Refittable] | None = None) -> dict[str, Any]:
    """Return the capabilities of a generator or a language model as arguments of a Model; nothing for others.

    It is one by what its class declares (`auditkit.models.networks`), whatever its attributes are called.
    `fresh` is how a generator with losses of rows, or with a discriminator, is built anew; where a file says it, a
    language model can be built anew too.

    Raises:
        ModelFileError: it lacks what it declares.
    """
    own = () if fresh is None else (FromLanguageCard,)
    check_declared(module)
    if isinstance(module, CausalTokens):
        return language_abilities(FromCausal, *own)
    if isinstance(module, MaskedTokens):
        return language_abilities(FromMasked, *own)
    if not isinstance(module, Generator):
        return {}
    lacks = dict.fromkeys((Differentiable, Layered, Refittable), NOTHING_PREDICTED)
    if isinstance(module, TableGenerator):
        return {"capabilities": (FromTable,), "lacks": lacks | {Refittable: NO_PRIVATE_TABLES}}
    more: tuple[type[Capability], ...] = (FromDiscriminator,) if isinstance(module, WithDiscriminator) else ()
    if isinstance(module, WithEncoder):
        more = (*more, FromEncoder)
    if fresh is not None and (more or isinstance(module, WithRowLosses)):
        more = (*more, fresh)
    return {"capabilities": (FromLatent, *more), "lacks": lacks}


def draw(
    module: nn.Module,
    count: int,
    *,
    seed: int,
    device: torch.device,
    cast: Callable[[Tensor], Tensor] = torch.Tensor.float,
) -> Tensor:
    """Return `count` rows of a generator, as float32 or what `cast` makes of them, from latent values of `seed`."""
    latent_shape: tuple[int, ...] = tuple(module.latent_shape)  # type: ignore[arg-type]  # see FromLatent
    latent = torch.randn(count, *latent_shape, generator=torch.Generator().manual_seed(seed))
    was_training = module.training
    module.to(device).eval()
    with torch.inference_mode():
        parts = [cast(module(part.to(device))).cpu() for part in latent.split(ROWS_AT_ONCE)]
    module.train(was_training)
    return torch.cat(parts)
