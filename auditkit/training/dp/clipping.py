"""Which way to sum clipped gradients is the fastest that is right for a network: tried on a few rows, before training.

All ways give the same sums. A network outside of what a way knows could make its norms too small, which would break
the guarantee in silence, so each way must first agree with a loop over rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from auditkit.errors import NotRun
from auditkit.models.formats.exported import program_in
from auditkit.tasks.objectives import Objective
from auditkit.training.dp.clip_bookkeeping import bookkeeping_clipper
from auditkit.training.dp.clip_chunked import in_chunks
from auditkit.training.dp.clip_opacus import by_opacus, opacus_mode
from auditkit.training.dp.per_example import ClippedSum, clip_and_sum, looped_gradients
from auditkit.training.dp.settings import Clipping, Way

CHECKED_ROW_COUNT = 8

TOLERANCE = {"cpu": 1e-4, "cuda": 5e-2}
"""How far a sum may lie from the loop's, in clipping norms: rounding in float32, and on CUDA in bfloat16."""


@dataclass(frozen=True)
class Clipper:
    """A way to sum clipped gradients that agreed with the loop, and why none of the ways before it is used."""

    way: Way
    clipped_sum: ClippedSum
    passed_over: tuple[str, ...]


@contextmanager
def clipper_for(
    module: nn.Module,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    *,
    objective: Objective,
    clipping: Clipping = "auto",
    row_passes: int = 0,
    most: int | None = None,
) -> Iterator[Clipper]:
    """Yield the first way of those asked for that gives what a loop over a few of the training rows gives.

    Inside the context the module may carry hooks; it has none after it. `row_passes` is how many rows are to go
    through the network in all, and `most` how many at once, None where it may be any number.

    Raises:
        NotRun: no way does, with each one's reason.
    """
    opacus: tuple[Way, ...] = ("ghost", "hooks") if opacus_mode(module) == "ghost" else ("hooks",)
    asked: dict[Clipping, tuple[Way, ...]] = {
        "auto": ("bookkeeping", "chunked", *opacus),
        "bookkeeping": ("bookkeeping",),
        "chunked": ("chunked",),
        "opacus": opacus,
    }
    count = min(CHECKED_ROW_COUNT, len(targets), max(2, most or CHECKED_ROW_COUNT))
    rows = torch.linspace(0, len(targets) - 1, count, device=targets.device).long()
    inputs, targets = inputs[rows], targets[rows]
    try:
        with _without_chance(module):
            gradients = looped_gradients(module, inputs, targets, objective)
    except Exception as why:  # a user's network may raise anything
        raise NotRun(f"the gradient of a single row cannot be taken: {_line(why)}") from why
    passed_over: list[str] = []
    for way in asked[clipping]:
        with ExitStack() as stack:
            try:
                clipped_sum = stack.enter_context(summed_by(way, module, objective=objective, row_passes=row_passes))
                with _without_chance(module):
                    require_agreement(clipped_sum, inputs, targets, gradients)
            except Exception as why:  # noqa: BLE001  # a user's network may raise anything under vmap or hooks
                passed_over.append(f"{way}: {_line(why)}")
                continue
            yield Clipper(way, clipped_sum, tuple(passed_over))
            return
    # Fused GRU and RNN layers write in place, which vmap cannot follow; decomposed they are plain operators.
    remedy = "" if program_in(module) is None else "; export it anew with program.run_decompositions()"
    raise NotRun(f"gradients cannot be clipped row by row ({'; '.join(passed_over)}){remedy}")


def summed_by(
    way: Way, module: nn.Module, *, objective: Objective, row_passes: int = 0
) -> AbstractContextManager[ClippedSum]:
    """Return the context of one way, as it is.

    Raises:
        NotRun: the way is Opacus's, which overlooks what an exported program reads outside of layers.
    """
    if way in ("ghost", "hooks") and program_in(module) is not None:
        raise NotRun("an exported program has too few layers to hook")
    if way == "bookkeeping":
        return bookkeeping_clipper(module, objective=objective)
    if way == "chunked":
        return in_chunks(module, objective=objective, row_passes=row_passes)
    return by_opacus(module, objective=objective, mode=way)


def _line(error: Exception) -> str:
    text = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    return text if isinstance(error, NotRun) else f"{type(error).__name__}: {text}"


def require_agreement(
    clipped_sum: ClippedSum, inputs: torch.Tensor, targets: torch.Tensor, gradients: list[torch.Tensor]
) -> None:
    """Raise NotRun unless a way sums these rows as their gradients, from a loop, say; about half are clipped."""
    norms = torch.stack([part.flatten(1).norm(dim=1) for part in gradients]).norm(dim=0)
    largest = float(norms.median()) or 1.0
    expected = clip_and_sum(gradients, largest)
    found = clipped_sum(inputs, targets, largest)
    difference = torch.cat([(one - other).flatten() for one, other in zip(found, expected, strict=True)]).norm()
    share = float(difference.detach()) / largest
    if not share <= TOLERANCE[inputs.device.type]:
        raise NotRun(f"the sum over {len(targets)} rows is {share:.2g} clipping norms away from a loop over them")


@contextmanager
def _without_chance(module: nn.Module) -> Iterator[None]:
    """Hold all layers in eval mode, so that none drops anything; not those with weights, which Opacus must see."""
    modes = {layer: layer.training for layer in module.modules()}
    try:
        for layer in modes:
            layer.training = any(p.requires_grad for p in layer.parameters(recurse=False))
        yield
    finally:
        for layer, mode in modes.items():
            layer.training = mode
