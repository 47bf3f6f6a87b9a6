"""Why a model cannot be run on the rows: what its first layer reads, and what the columns of the data give it."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from torch import nn

from auditkit.schema.schema import Schema

SHOWN = 12
REMEDY = (
    "say how columns become the input: '--preprocess my_module:function', or edit what 'auditkit schema infer DATA' "
    "prints and pass it with --schema"
)


def mismatch(module: nn.Module, schema: Schema, batch: NDArray[Any], error: BaseException) -> str:
    """Return in one line why a module that raised `error` does not take a batch, (rows, ...), and what to do."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    shape = "x".join(map(str, batch.shape[1:]))
    wanted = first_layer(module)
    if wanted is None:
        return f"model: cannot be run on rows of {shape} {batch.dtype} numbers ({widths(schema)}): {reason}; {REMEDY}."
    name, what, count = wanted
    given = batch.shape[1] if batch.ndim > 1 else 1
    layer = f"its first layer, {name}, reads {count:,} {what} a row"
    if given == count:
        return f"model: cannot be run on rows of {shape} {batch.dtype} numbers, although {layer}: {reason}; {REMEDY}."
    if batch.ndim > 2:
        made = f"the images have {given:,} {what} ({shape})"
        return f"model: {layer}, and {made}; pass a --schema of the images that it was trained on."
    aside = "".join(f", {name}" for name in schema.sensitive)[2:]
    left = f"; the sensitive columns ({aside}) are not among them" if aside else ""
    return f"model: {layer}, and the columns make {given:,} ({widths(schema)}){left}; {REMEDY}."


def first_layer(module: nn.Module) -> tuple[str, str, int] | None:
    """Return the name of the first layer that says how much it reads, of what, and how many; None without one."""
    for name, part in module.named_modules():
        said = f"{name} ({type(part).__name__})" if name else type(part).__name__
        for kind, what, width in (
            (nn.Linear, "numbers", "in_features"),
            (nn.Conv2d, "channels", "in_channels"),
            (nn.modules.batchnorm._BatchNorm, "numbers", "num_features"),
        ):
            if isinstance(part, kind):
                return said, what, int(getattr(part, width))
        if isinstance(part, nn.Embedding | nn.RNNBase):
            return None
    return None


def widths(schema: Schema) -> str:
    """Return how many numbers each column makes, such as `age=1, job=4`."""
    said = [f"{feature.name}={feature.width}" for feature in schema.features]
    more = f" and {len(said) - SHOWN:,} more columns" if len(said) > SHOWN else ""
    return ", ".join(said[:SHOWN]) + more
