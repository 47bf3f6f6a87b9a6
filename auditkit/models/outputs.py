"""What the outputs of a network are: recognised from a first pass over a few rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.errors import ModelFileError
from auditkit.evidence.messages import Message

PROBED_ROWS = 1024


class FirstOutput(nn.Module):
    """A network that returns several things, such as outputs and a hidden state, seen through one tensor of them.

    That is the one at `index`, or by default the first.
    """

    def __init__(self, network: nn.Module, index: int | None = None) -> None:
        super().__init__()
        self.network = network
        self.index = index

    def forward(self, *inputs: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        """Return the outputs, (rows, ...)."""
        returned = self.network(*inputs, **named)
        outputs: torch.Tensor = first_tensor(returned) if self.index is None else output_at(returned, self.index)
        return outputs


def first_tensor(outputs: Any) -> Any:
    """Return the tensor that a network's several outputs begin with: `logits` where one is so called, else the first.

    >>> first_tensor((torch.tensor([1.0]), None))
    tensor([1.])
    """
    if isinstance(outputs, Mapping):
        outputs = [outputs["logits"]] if "logits" in outputs else list(outputs.values())
    while isinstance(outputs, tuple | list) and outputs:
        outputs = outputs[0]
    return outputs


def output_at(outputs: Any, index: int) -> torch.Tensor:
    """Return one of several outputs.

    Raises:
        ModelFileError: there is no tensor at this place; all outputs are named.
    """
    parts = list(outputs.values()) if isinstance(outputs, Mapping) else outputs
    if isinstance(parts, tuple | list) and 0 <= index < len(parts) and isinstance(parts[index], torch.Tensor):
        found: torch.Tensor = parts[index]
        return found
    raise ModelFileError(f"output_index must name one of the model's outputs, got {index}; {described(outputs)}.")


def described(outputs: Any) -> str:
    """Return what a network returns, each output with its shape.

    >>> described((torch.zeros(4, 2), None))
    'it returns 0: a tensor of 4x2, 1: NoneType'
    """
    if isinstance(outputs, Mapping):
        named = {f"{place} ({name})": part for place, (name, part) in enumerate(outputs.items())}
    else:
        parts = outputs if isinstance(outputs, tuple | list) else [outputs]
        named = {str(place): part for place, part in enumerate(parts)}
    said = [
        f"{name}: a tensor of {'x'.join(map(str, part.shape)) or 'one number'}"
        if isinstance(part, torch.Tensor)
        else f"{name}: {type(part).__name__}"
        for name, part in named.items()
    ]
    return f"it returns {', '.join(said)}"


def recognise(
    module: nn.Module, inputs: NDArray[Any], *, declared: str | None, multilabel: bool = False
) -> tuple[nn.Module, str, list[str]]:
    """Return the module as one that returns one tensor, what its outputs are, and what a reader must know of that.

    The rows are passed through it twice, in eval mode. Outputs that are not declared are probabilities if
    all lie from 0 to 1 and, of several classes, sum to 1 in each row; else logits. A module that cannot be run is
    returned as it is: predicting will say why.
    """
    rows = torch.from_numpy(np.ascontiguousarray(inputs))
    try:
        module, outputs, again, notes = _two_passes(module, rows)
    except Exception:  # noqa: BLE001  # whatever a model raises, the prediction of the rows raises and explains it again
        return module, declared or "logits", []
    if not isinstance(outputs, torch.Tensor) or outputs.ndim > 2 or not outputs.numel():
        return module, declared or "logits", notes
    values = outputs.reshape(len(outputs), -1).double()
    difference = float((again.reshape(values.shape).double() - values).abs().max())
    if difference > 1e-4 * max(1.0, float(values.abs().max())):
        notes.append(
            Message(
                "Two passes over the same {rows_count:,} rows gave outputs that differ by up to "
                "{difference:.3g}: the model keeps state or draws at random, so that every number here holds "
                "for one pass only.",
                rows_count=len(rows),
                difference=difference,
            )
        )
    if declared == "value":
        return module, declared, notes
    sums = values.shape[1] > 1 and not multilabel
    alike = bool(((values >= 0) & (values <= 1)).all())
    alike = alike and not (sums and bool(((values.sum(dim=1) - 1).abs() >= 1e-3).any()))
    if declared is None:
        notes.append(_recognised_note(len(rows), alike=alike, sums=sums))
        return module, "probabilities" if alike else "logits", notes
    if declared == "logits" and alike and len(rows) > 1:
        notes.append(
            Message("The outputs are declared logits, but look like probabilities: check --output, or the schema.")
        )
    return module, declared, notes


def _two_passes(module: nn.Module, rows: torch.Tensor) -> tuple[nn.Module, Any, Any, list[str]]:
    """Pass rows through a module twice, in eval mode; return it as one that returns one tensor, and both outputs."""
    notes: list[str] = []
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.inference_mode():
            outputs = module(rows)
            if not isinstance(outputs, torch.Tensor) and isinstance(first_tensor(outputs), torch.Tensor):
                notes.append(
                    Message(
                        "The model returns a {name}; its first tensor is taken for the outputs. Choose another by "
                        "--output-index: {described}.",
                        name=type(outputs).__name__,
                        described=described(outputs),
                    )
                )
                module, outputs = FirstOutput(module).eval(), first_tensor(outputs)
            return module, outputs, module(rows), notes
    finally:
        for part, training in modes.items():
            part.training = training


def _recognised_note(row_count: int, *, alike: bool, sums: bool) -> str:
    """Return the note on outputs that nobody declared: `alike` if they look like probabilities, by `sums` too."""
    what = Message("from 0 to 1 and sum to 1 in each row") if sums else Message("from 0 to 1")
    if alike:
        return Message(
            "The outputs were recognised as {kind}: over {rows:,} rows spread over the data they lie {range}. "
            "Declare them with --output.",
            kind="probabilities",
            rows=row_count,
            range=what,
        )
    return Message(
        "The outputs were recognised as {kind}: over {rows:,} rows spread over the data they do not all lie "
        "{range}. Declare them with --output.",
        kind="logits",
        rows=row_count,
        range=what,
    )
