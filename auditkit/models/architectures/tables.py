"""`mlp`: a multilayer perceptron for encoded rows of a table."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn

from auditkit.models.architectures.arguments import require_dropout, require_list, require_width


def mlp(
    *, input_width: int, output_width: int, hidden: Sequence[int] = (128, 64), dropout: float = 0.0
) -> nn.Sequential:
    """Return a multilayer perceptron: (rows, input_width) -> (rows, output_width) logits.

    Every hidden layer is a Linear and a ReLU of its own, not in place (Captum and Opacus hook each one), with a
    Dropout behind it where `dropout` is above 0.

    Raises:
        ModelFileError: a width, the number of hidden layers or `dropout` is out of range.

    >>> mlp(input_width=3, output_width=2, hidden=[4])
    Sequential(
      (0): Linear(in_features=3, out_features=4, bias=True)
      (1): ReLU()
      (2): Linear(in_features=4, out_features=2, bias=True)
    )
    """
    require_list("mlp", "hidden", hidden)
    widths = [input_width, *hidden, output_width]
    require_width("mlp", *widths)
    require_dropout("mlp", dropout)
    layers: list[nn.Module] = []
    for wide, narrow in itertools.pairwise(widths[:-1]):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))
