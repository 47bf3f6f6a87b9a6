"""What a model can do besides predicting: each capability is a class that a model has an instance of, or has not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from auditkit.models.model import Model
    from auditkit.models.reinitialise import DrawingRules


@dataclass(frozen=True, eq=False)
class Capability:
    """Something that a model can do; made from the model when it is asked for."""

    model: Model


class Runnable(Capability):
    """The model answers for any rows, not only for those whose decisions were recorded."""


class Differentiable(Capability):
    """The outputs have gradients with respect to the encoded rows: gradients explain and attack the model."""

    @property
    def module(self) -> nn.Module:
        """The module to differentiate."""
        return self.model.module


class Layered(Differentiable):
    """The layers can be hooked, so that methods which read activations are right."""


class Refittable(Capability):
    """The same architecture can be trained anew, on other rows or with differential privacy."""

    def fresh(self, seed: int) -> nn.Module:
        """Return a network with fresh weights drawn from `seed`, in training mode.

        Torch's global generator is left as it was.

        Raises:
            NotRun: part of the network would keep trained weights.
        """
        raise NotImplementedError

    def encoded(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Return what a fresh network reads, (rows, ...), of encoded rows: by default the rows themselves."""
        return inputs

    @property
    def drawing_rules(self) -> DrawingRules | None:
        """How the weights are drawn where the file does not say it; None where the architecture does."""
        return None


class SelfFitting(Capability):
    """The model trains itself by a method of its own, as a scikit-learn estimator does: shadow models are fitted so."""

    def refit(self, inputs: NDArray[Any], labels: NDArray[Any], seed: int) -> nn.Module:
        """Return a model of the same kind and settings, fitted to encoded rows and their class codes (or numbers).

        Raises:
            NotRun: it cannot be fitted.
        """
        raise NotImplementedError


class Generative(Capability):
    """The model draws rows of its own, such as images, and predicts nothing about given ones."""

    def sample(self, count: int, *, seed: int, device: torch.device) -> NDArray[np.float32]:
        """Return `count` rows as the schema encodes rows, float32, (count, ...); one seed gives the same rows."""
        raise NotImplementedError
