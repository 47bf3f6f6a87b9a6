"""The networks that a model card may name: each is built from plain arguments, never from code in a file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from auditkit.errors import ModelFileError, closest
from auditkit.models.architectures.bert import bert
from auditkit.models.architectures.generators import dcgan, ddpm, vae
from auditkit.models.architectures.gpt import gpt
from auditkit.models.architectures.images import cnn
from auditkit.models.architectures.table_generators import ctgan_like, tvae
from auditkit.models.architectures.tables import mlp
from auditkit.models.architectures.text import gru, lstm, transformer

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "cnn": cnn,
    "lstm": lstm,
    "gru": gru,
    "transformer": transformer,
    "vae": vae,
    "dcgan": dcgan,
    "ddpm": ddpm,
    "tvae": tvae,
    "ctgan-like": ctgan_like,
    "gpt": gpt,
    "bert": bert,
}
"""The architectures by the name that a card gives them."""

READS: dict[str, str] = {
    "mlp": "table",
    "cnn": "image",
    "lstm": "text",
    "gru": "text",
    "transformer": "text",
    "vae": "image",
    "dcgan": "image",
    "ddpm": "image",
    "tvae": "table",
    "ctgan-like": "table",
    "gpt": "text",
    "bert": "text",
}
"""What each architecture reads, or generates: the `kind` of its schema."""

IMAGE_GENERATORS = ("vae", "dcgan", "ddpm")
"""The architectures that generate images."""

TABLE_GENERATORS = ("tvae", "ctgan-like")
"""The architectures that generate rows of a table with numbers and categories."""

GENERATORS = IMAGE_GENERATORS + TABLE_GENERATORS
"""The architectures that generate rows."""

LANGUAGE_MODELS = ("gpt", "bert")
"""The architectures that give probabilities to tokens."""


def build(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Return a network of the named architecture with fresh weights, drawn from torch's global generator.

    Raises:
        ModelFileError: no architecture of that name, or the arguments do not fit it.
    """
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ModelFileError(
            f"architecture {name!r} is unknown{closest(name, ARCHITECTURES)}; known: {known}; name code of your own "
            "as module:factory, with a colon."
        )
    factory = ARCHITECTURES[name]
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as error:
        raise ModelFileError(f"architecture {name}: wrong arguments: {error}.") from error
    return factory(**arguments)
