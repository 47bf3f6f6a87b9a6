"""`cnn`: a convolutional network for images of one shape."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn

from auditkit.errors import ModelFileError
from auditkit.models.architectures.arguments import require_dropout, require_list, require_width

MAXIMUM_SIDE = 4096


def cnn(
    *,
    input_shape: Sequence[int],
    output_width: int,
    channels: Sequence[int] = (16, 32),
    hidden: int = 64,
    dropout: float = 0.3,
) -> nn.Sequential:
    """Return a convolutional network: (rows, channels, height, width) -> (rows, output_width) logits.

    Each of `channels` is a 3x3 convolution, a ReLU and a pooling that halves height and width; a hidden Linear layer
    follows. There is no BatchNorm, which mixes rows: DP-SGD could not train it.

    Args:
        input_shape: channels, height and width of an image.
        output_width: the number of logits.
        channels: the width of each convolution.
        hidden: the width of the hidden layer.
        dropout: before the last layer.

    Raises:
        ModelFileError: an argument is out of range, or the images are too small for so many halvings.
    """
    require_list("cnn", "input_shape", input_shape, most=3)
    require_list("cnn", "channels", channels, most=16)
    if len(input_shape) != 3 or not channels:
        raise ModelFileError("architecture cnn: input_shape must be channels, height and width, channels at least one.")
    require_width("cnn", *input_shape, what="a side of input_shape", most=MAXIMUM_SIDE)
    require_width("cnn", *channels, hidden, output_width)
    require_dropout("cnn", dropout)
    depth, height, width = input_shape
    smaller = 2 ** len(channels)
    if min(height, width) < smaller:
        raise ModelFileError(
            f"architecture cnn: {len(channels)} convolutions halve an image of {height}x{width} to nothing; "
            f"list fewer channels, or pass images of at least {smaller}x{smaller}."
        )
    layers: list[nn.Module] = []
    for narrow, wide in itertools.pairwise([depth, *channels]):
        layers += [nn.Conv2d(narrow, wide, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    cells = channels[-1] * (height // smaller) * (width // smaller)
    layers += [nn.Flatten(), nn.Linear(cells, hidden), nn.ReLU()]
    if dropout > 0:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(hidden, output_width))
