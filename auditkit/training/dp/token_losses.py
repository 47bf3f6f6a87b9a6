"""What a language model learns of one unit of privacy, a text or all texts of an author: the mean loss of its tokens.

A unit is one row of a private training, (windows, 2, length): of each window the ids that are read, and the token that
is to be predicted at each place. `NOTHING` stands where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from auditkit.errors import DatasetError
from auditkit.schema.schema import Labels
from auditkit.tasks.objectives import Output

NOTHING = -1
HIDDEN_SHARE = 0.15
"""The share of tokens that a masked language model learns to fill in (Devlin et al. 2019)."""


class TokenLosses(nn.Module):
    """A language model as a function of units: (units, windows, 2, length) to (units, windows * length), in nats.

    Places without a token to predict have the loss 0. With `masks` the network is told which tokens are there, which
    one that looks both ways needs to know; a causal one never looks at what stands behind the text.
    """

    def __init__(self, network: nn.Module, *, masks: bool) -> None:
        super().__init__()
        self.network, self.masks = network, masks

    def forward(self, units: torch.Tensor) -> torch.Tensor:
        """Return the loss of each place of each unit."""
        ids, targets = units.flatten(0, 1).unbind(1)
        known = ids != NOTHING
        ids = torch.where(known, ids, int(self.network.padding))  # type: ignore[arg-type]  # of a language model
        mask = torch.ones(ids.shape, dtype=torch.int64, device=ids.device)
        if self.masks:
            first = torch.arange(ids.shape[1], device=ids.device) == 0  # of a window without tokens, which needs one
            mask = (known | first).long()
        logits = self.network(ids, mask)
        losses = functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=NOTHING, reduction="none"
        )
        return losses.view(len(units), -1)


@dataclass(frozen=True)
class MeanTokenLoss:
    """The mean loss, in nats, of the tokens of a unit, whose number is its label, (units,).

    `hidden` is the token that stands for a hidden one in a masked language model: in each pass `HIDDEN_SHARE` of the
    tokens, drawn anew, are hidden, and these alone are learnt. A causal model, which learns all, has None.
    """

    hidden: int | None = None
    output: Output = "value"

    def targets(self, labels: Labels) -> NDArray[Any]:
        """Return the numbers of tokens as float32."""
        return np.ascontiguousarray(labels, dtype=np.float32)

    def strata(self, labels: Labels) -> NDArray[Any]:
        """Return one class for all units."""
        return np.zeros(len(labels))

    def require_labels(self, labels: Labels) -> None:
        """Raise DatasetError for a unit without a token to predict."""
        if labels.min() < 1:
            raise DatasetError("every unit must have a token to predict; drop the texts that have none.")

    def require_outputs(self, outputs: torch.Tensor, labels: Labels) -> None:
        """Accept any: `TokenLosses` returns them."""

    def losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of each unit's tokens, (units,)."""
        return outputs.sum(dim=1) / targets

    def scores(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return the sum of each unit's losses, (units, 1)."""
        return outputs.sum(dim=1, keepdim=True).double()

    def batch(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return units cut to the longest, and of a masked model with tokens hidden, and the numbers of tokens."""
        used = (inputs[:, :, 0] != NOTHING).any(dim=0)
        windows, length = int(used.any(dim=1).sum()), int(used.any(dim=0).sum())
        inputs = inputs[:, :windows, :, :length]
        if self.hidden is None:
            return inputs, targets
        ids, wanted = inputs.unbind(2)
        chosen = (torch.rand(wanted.shape, device=inputs.device) < HIDDEN_SHARE) & (wanted != NOTHING)
        shown = torch.stack([ids.masked_fill(chosen, self.hidden), wanted.masked_fill(~chosen, NOTHING)], dim=2)
        return shown, chosen.flatten(1).sum(dim=1).clamp(min=1).to(targets.dtype)
