"""The networks that a model card may name: each is built from plain arguments, never from code in a file."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from auditkit.errors import ModelFileError, closest

MAXIMUM_WIDTH = 1_000_000
MAXIMUM_DEPTH = 64


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
    if isinstance(hidden, str) or not isinstance(hidden, Sequence) or len(hidden) > MAXIMUM_DEPTH:
        raise ModelFileError(f"architecture mlp: hidden must list at most {MAXIMUM_DEPTH} widths.")
    widths = [input_width, *hidden, output_width]
    for width in widths:
        if isinstance(width, bool) or not isinstance(width, int) or not 1 <= width <= MAXIMUM_WIDTH:
            raise ModelFileError(f"architecture mlp: a width must be from 1 to {MAXIMUM_WIDTH:,}, got {width!r}.")
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ModelFileError(f"architecture mlp: dropout must be at least 0 and below 1, got {dropout!r}.")
    layers: list[nn.Module] = []
    for wide, narrow in itertools.pairwise(widths[:-1]):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {"mlp": mlp}
"""The architectures by the name that a card gives them."""


def build(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Return a network of the named architecture with fresh weights, drawn from torch's global generator.

    Raises:
        ModelFileError: no architecture of that name, or the arguments do not fit it.
    """
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ModelFileError(f"architecture {name!r} is unknown{closest(name, ARCHITECTURES)}; known: {known}.")
    factory = ARCHITECTURES[name]
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as error:
        raise ModelFileError(f"architecture {name}: wrong arguments: {error}.") from error
    return factory(**arguments)
