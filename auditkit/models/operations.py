"""How much arithmetic one row takes on its way through a module: counted and never timed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.models.capabilities import CausalLanguageModel, Generative, LanguageModel
from auditkit.models.counted_functions import FunctionCounter
from auditkit.models.networks import PartlyCounted

if TYPE_CHECKING:
    from auditkit.models.model import Model

UNCOUNTED = 1_000_000
"""What a row is taken to cost in a model whose arithmetic torch does not do, such as a forest of trees, or ONNX."""

OF_CELL = 10_000
"""What each pixel of an image costs in such a model, as in a network like MobileNet or ResNet."""

COUNTED_ROWS = 8
"""The operations of so many rows, spread over the data, are counted."""


def rows_to_count(row_count: int) -> list[int]:
    """Return the rows whose operations are counted.

    >>> rows_to_count(80)
    [0, 10, 20, 30, 40, 50, 60, 70]
    """
    return sorted({place * row_count // COUNTED_ROWS for place in range(COUNTED_ROWS)})


def operations_of(model: Model, rows: NDArray[Any]) -> int:
    """Return the operations of one row of a model, the mean of some encoded ones, (rows, ...).

    Those of a model that draws rows are two a parameter.
    """
    if model.capability(Generative) is not None:
        return max(1, 2 * model.parameter_count)
    return operations_per_row(model.module, torch.from_numpy(np.ascontiguousarray(rows)))


def operations_of_text(model: Model, able: LanguageModel, texts: Sequence[str]) -> int:
    """Return the operations of scoring one text by a language model, the mean of some: two a parameter and token read.

    A masked model reads a text once for each of its tokens, a causal one twice where it does not fit at once.
    """
    counts = np.array([len(able.start) + len(able.tokens(text)[0]) for text in texts], dtype=np.float64)
    if model.capability(CausalLanguageModel) is None:
        times = np.minimum(counts, able.context)
    else:
        times = np.where(counts > able.context, 2.0, 1.0)
    return max(1, int(2 * model.parameter_count * (counts * times).mean()))


def operations_per_row(module: nn.Module, rows: torch.Tensor) -> int:
    """Return the additions and multiplications of a forward pass of one row: see `counted_operations`.

    It is the mean of those given, (rows, ...): recordings differ in length. A module that runs nothing that is counted,
    or not on these rows, is taken to cost two operations a parameter; without parameters `UNCOUNTED`, or `OF_CELL` for
    each pixel. What a `PartlyCounted` module says that the counter leaves out is added. The module is left in the mode
    it came in.
    """
    modes = {part: part.training for part in module.modules()}
    parameters = sum(part.numel() for part in module.parameters())
    try:
        module.eval()
        # Some programs take one row at a time.
        counted = counted_operations(module, rows) or counted_operations(module, rows[:1])
    finally:
        for part, training in modes.items():
            part.training = training
    own = module.uncounted_operations(rows) if isinstance(module, PartlyCounted) else 0
    return (counted or 2 * parameters or _guessed(rows)) + own


def _guessed(rows: torch.Tensor) -> int:
    """Return what a row is taken to cost in a model whose arithmetic torch does not do."""
    return max(UNCOUNTED, OF_CELL * rows[:1].numel()) if rows.ndim > 2 else UNCOUNTED


def counted_operations(module: nn.Module, rows: torch.Tensor) -> int:
    """Return the mean operations of rows, (rows, ...), 0 where the module does not run on them.

    Counted are the products of matrices: linear, convolutional, recurrent and attention layers, and the functions that
    multiply (`counted_functions`). A TorchScript program calls none of Python's functions: torch's FlopCounterMode
    counts it, for which torch loads its compiler, most of a second of a run.
    """
    try:
        with torch.inference_mode():
            if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
                counted = _below_python(module, rows)
            else:
                with FunctionCounter() as counter:
                    module(rows)
                counted = counter.operations
    except Exception:  # noqa: BLE001  # the user's module may raise anything: the predictions will tell of it
        return 0
    return counted // len(rows)


def _below_python(module: nn.Module, rows: torch.Tensor) -> int:
    """Return what torch's own counter counts, and recurrent layers, which it leaves out where oneDNN computes them."""
    from torch.utils.flop_counter import FlopCounterMode

    recurrent: Any = {torch.ops.aten.mkldnn_rnn_layer: _of_recurrent_layer}
    with FlopCounterMode(display=False, custom_mapping=recurrent) as counter:
        module(rows)
    return int(counter.get_total_flops())


def _of_recurrent_layer(
    inputs: tuple[int, ...], weight: tuple[int, ...], hidden: tuple[int, ...], *_: Any, **__: Any
) -> int:
    """Return the operations of one direction of one recurrent layer over inputs of (positions, rows, width)."""
    positions, rows = inputs[0], inputs[1]
    return 2 * positions * rows * (weight[0] * weight[1] + hidden[0] * hidden[1])
