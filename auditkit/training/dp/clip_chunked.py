"""Sums of clipped per-row gradients from the gradients of a few rows at a time, whatever the network consists of.

`vmap(grad)` differentiates the loss of one row for many rows at once. Long trainings of small graphs compile it, which
takes from seconds to minutes and then makes each chunk about twice as fast.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from auditkit.models.formats.exported import program_in
from auditkit.tasks.objectives import Objective
from auditkit.training.dp.per_example import ClippedSum, clip_and_sum, loss_of_rows

ROWS_AT_ONCE = 64
"""The most rows whose gradients are held at once."""

CELLS_AT_ONCE = 2**24
"""The most numbers in these gradients, 64 MiB of them; it makes the chunks of large networks smaller."""

COMPILED_FROM = 1_000_000
"""How many rows must go through a network in all before compiling it is worth the wait."""

LARGEST_COMPILED = 300
"""The most operations of a forward pass that is compiled; a network unrolled over hundreds would take many minutes."""

ChunkSum = Callable[[dict[str, torch.Tensor], torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], Any]
"""From weights, inputs, targets, the largest norm and what counts, (rows,), to the sum of clipped gradients."""


@contextmanager
def in_chunks(module: nn.Module, *, objective: Objective, row_passes: int = 0) -> Iterator[ClippedSum]:
    """Yield the sum of clipped gradients by vmap; `row_passes` rows are to come in all, which decides on compiling."""
    weights = {name: p for name, p in module.named_parameters() if p.requires_grad}
    program = program_in(module)
    copies = (program and program.batch) or 1  # a program of a fixed batch is given each row that often
    most = max(1, min(ROWS_AT_ONCE // copies, CELLS_AT_ONCE // sum(p.numel() for p in weights.values())))

    def row_loss(values: dict[str, torch.Tensor], x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        losses = loss_of_rows(lambda rows: functional_call(module, values, (rows,)), x[None], target[None], objective)
        return losses.squeeze(0)

    row_gradients = vmap(grad(row_loss), in_dims=(None, 0, 0), randomness="different")

    def chunk_sum(
        values: dict[str, torch.Tensor],
        x: torch.Tensor,
        targets: torch.Tensor,
        max_grad_norm: torch.Tensor,
        counted: torch.Tensor,
    ) -> list[torch.Tensor]:
        return clip_and_sum(list(row_gradients(values, x, targets).values()), max_grad_norm, counted)

    to_compile = row_passes >= COMPILED_FROM
    way: ChunkSum = chunk_sum

    def clipped_sum(inputs: torch.Tensor, targets: torch.Tensor, max_grad_norm: float) -> list[torch.Tensor]:
        nonlocal to_compile, way
        values = {name: p.detach() for name, p in weights.items()}
        bound = torch.tensor(max_grad_norm, device=inputs.device)
        total = [torch.zeros_like(value) for value in values.values()]
        compiled = to_compile or way is not chunk_sum
        at_once = most if compiled else min(most, len(targets))
        for start in range(0, len(targets), at_once):
            # All chunks are of one size, the one that was compiled: the last is filled up with its first row.
            rows = torch.arange(start, start + at_once, device=inputs.device)
            real = rows < len(targets)
            rows = torch.where(real, rows, start)
            arguments = (values, inputs[rows], targets[rows], bound, real.to(total[0].dtype))
            if to_compile:
                to_compile, way = False, _compiled(chunk_sum, arguments) if _is_small(module, inputs[:1]) else chunk_sum
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="There is a performance drop", category=UserWarning)
                parts = way(*arguments)  # an operator that vmap takes row by row is slow, and right
            for into, part in zip(total, parts, strict=True):
                into += part
        return total

    yield clipped_sum


def _compiled(chunk_sum: ChunkSum, arguments: tuple[Any, ...]) -> ChunkSum:
    """Return the function compiled, or as it is where this network or this machine cannot compile it."""
    compiled: ChunkSum = torch.compile(chunk_sum, dynamic=False)
    try:
        compiled(*arguments)
    except Exception as error:  # noqa: BLE001  # the compiler raises anything; the same function uncompiled will do
        logging.getLogger(__name__).info("not compiled: %s", error)
        return chunk_sum
    return compiled


class _Count(TorchDispatchMode):
    """Counts the operations that run inside it."""

    operations: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        return func(*args, **(kwargs or {}))


def _is_small(module: nn.Module, row: torch.Tensor) -> bool:
    count = _Count()  # type: ignore[no-untyped-call]  # the constructor is TorchDispatchMode's
    with count, torch.no_grad():
        module(row)
    return count.operations <= LARGEST_COMPILED
