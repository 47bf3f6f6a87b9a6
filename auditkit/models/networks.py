"""What a network says that it is beside a predictor: a language model, a generator, or one that is partly counted.

A network declares it by inheriting one of these classes beside `nn.Module`. Nothing is read from the names of its
attributes: a classifier may have a layer called `advance` or a setting called `mask_token`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from auditkit.errors import ModelFileError


class TokenNetwork(ABC):
    """A network of token ids: (rows, length), and a mask of the same shape that is 0 where a row is filled up.

    `forward(ids, mask=None)` returns logits, (rows, length, vocabulary). `context` is the most tokens that are read at
    once, `padding` the token that rows are filled up with, `start` the one put before each text and `end` the one that
    ends it; None where there is none. `mask_token` stands for a hidden token in a `MaskedTokens`; elsewhere it is None.
    """

    vocabulary_size: int
    context: int
    padding: int
    start: int | None = None
    end: int | None = None
    mask_token: int | None = None

    NEEDED: tuple[str, ...] = ("vocabulary_size", "context", "padding")


class CausalTokens(TokenNetwork):
    """A causal language model: logits of the token behind each place, from the tokens up to it."""

    @abstractmethod
    def advance(self, ids: Tensor, past: Any) -> tuple[Tensor, Any]:
        """Return the logits behind the last of more tokens, (rows, vocabulary), and what later tokens need of them.

        `past` is what an earlier call returned, None at the beginning.
        """

    @abstractmethod
    def select(self, past: Any, rows: Tensor) -> Any:
        """Return the past of some rows, each as often as it is named."""


class MaskedTokens(TokenNetwork):
    """A masked language model: logits of the token at each place, from the tokens on both sides.

    `prefix` and `suffix` are the tokens before and behind a text, `mask_token` the one that stands for a hidden token.
    """

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]

    NEEDED = (*TokenNetwork.NEEDED, "prefix", "suffix", "mask_token")


class PartlyCounted(ABC):
    """A network of which torch's counter of operations leaves some out."""

    @abstractmethod
    def uncounted_operations(self, rows: Tensor) -> int:
        """Return the mean operations of some rows, (rows, ...), that are left out."""


class OutsideTorch:
    """A network whose arithmetic, or some of it, torch does not do: what a row costs is measured, not counted."""


class Generator(ABC):
    """A generator: `forward(latent)` maps standard normal values, (rows, *latent_shape), to rows.

    Those of images are (rows, channels, height, width), in [0, 1].
    """

    latent_shape: tuple[int, ...]

    NEEDED: tuple[str, ...] = ("latent_shape",)


class TableGenerator(Generator):
    """A generator of tables: `forward(latent)` returns values, (rows, columns).

    `columns` describe them as the card of a file of `auditkit train --task generation` does.
    """

    columns: tuple[dict[str, Any], ...]

    NEEDED = ("latent_shape", "columns")


class WithDiscriminator(Generator):
    """A generator that comes with the network that it was trained against."""

    @abstractmethod
    def discriminate(self, images: Tensor) -> Tensor:
        """Return the logit that each row, (rows, ...), is real: (rows,)."""


class WithEncoder(Generator):
    """A generator whose rows have latent values, as those of a variational autoencoder."""

    @abstractmethod
    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means and the log variances of the latent values of rows, (rows, ...)."""


class WithRowLosses(Generator):
    """A generator that is trained by a loss of each row, and so can be trained with differential privacy."""

    @abstractmethod
    def row_losses(self, images: Tensor, noise: Tensor) -> Tensor:
        """Return the loss of each row, (rows,), given standard normal values."""


def check_declared(module: nn.Module) -> None:
    """Refuse a network that lacks what it declares.

    Raises:
        ModelFileError: an attribute that its kind of network needs is missing, or None.
    """
    needed = getattr(type(module), "NEEDED", ()) if isinstance(module, TokenNetwork | Generator) else ()
    missing = [name for name in needed if getattr(module, name, None) is None]
    if missing:
        kind = next(one.__name__ for one in type(module).__mro__ if one.__module__ == __name__)
        raise ModelFileError(
            f"model {type(module).__name__}: declares that it is a {kind} (auditkit.models.networks), and has no "
            f"{' and no '.join(missing)}; set what is missing in its __init__."
        )
