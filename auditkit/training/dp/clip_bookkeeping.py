"""Sums of clipped per-row gradients out of one backward pass, without a gradient for each row where it can be avoided.

Book-keeping (Bu et al. 2023, "Differentially private optimization on large model at small cost", arXiv:2210.00038):
what a layer took in and the gradient of what it gave out determine each row's gradient of its parameters. First they
give the norms, then, weighted by each row's clipping factor, the sum. A layer that runs several times in a pass has
its gradients summed over the runs before the norm is taken.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from auditkit.errors import NotRun
from auditkit.models.architectures.gpt import TokenLogits
from auditkit.tasks.objectives import Objective
from auditkit.training.dp.clip_layers import (
    CONVOLUTION_WEIGHTS,
    Part,
    Runs,
    Weighted,
    formula_of,
    places_alone,
    tied_square,
)
from auditkit.training.dp.per_example import ClippedSum, clipping_factors, loss_of_rows


def own_parameters(layer: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trainable parameters that a layer multiplies by or adds, by their names in it."""
    held: dict[str, nn.Parameter] = dict(layer.named_parameters(recurse=False))
    if type(layer) is TokenLogits:
        held = {"weight": layer.weight}
    return {key: parameter for key, parameter in held.items() if parameter.requires_grad}


def require_known_layers(module: nn.Module) -> None:
    """Raise NotRun, with the reason, if a trainable parameter is not a known layer's own.

    A weight may be that of an Embedding and of one linear layer, which gives the logits of the tokens by it.
    """
    seen: dict[nn.Parameter, nn.Module] = {}
    for name, layer in module.named_modules():
        own = own_parameters(layer)
        if not own:
            continue
        what = f"layer {name or '(root)'} is a {type(layer).__name__}"
        if formula_of(layer) is None or not own.keys() <= {"weight", "bias"} or "forward" in vars(layer):
            raise NotRun(f"{what}, which book-keeping does not know")
        if isinstance(layer, nn.Embedding) and (layer.max_norm is not None or layer.scale_grad_by_freq or layer.sparse):
            raise NotRun(f"{what} with max_norm, scale_grad_by_freq or sparse gradients")
        if type(layer) in CONVOLUTION_WEIGHTS and (layer.padding_mode != "zeros" or isinstance(layer.padding, str)):
            raise NotRun(f"{what} with padding by {layer.padding_mode} {layer.padding}")
        for parameter in own.values():
            if parameter in seen and not _ties(seen[parameter], layer):
                raise NotRun(f"{what}, whose weights another layer shares")
            seen[parameter] = TIED if parameter in seen else layer


TIED = nn.Identity()
"""Stands for the two layers of a weight that is shared already."""


def _ties(one: nn.Module, other: nn.Module) -> bool:
    """Return whether one of two layers is an Embedding, and the other gives logits by its weight."""
    kinds = {type(one), type(other)}
    return nn.Embedding in kinds and len(kinds & {nn.Linear, TokenLogits}) == 1


class _Tap:
    """Stands in a layer's `forward` for one training, and takes down its runs during each pass."""

    def __init__(self, name: str, layer: nn.Module) -> None:
        self.name, self.layer, self.forward = name, layer, layer.forward
        self.own, self.formula, self.places_alone = own_parameters(layer), formula_of(layer), places_alone(layer)
        self.tied: _Tap | None = None
        """Of an Embedding, the tap of the layer that gives logits by the same weight; of that, this one."""
        self.start(0)

    def start(self, row_count: int) -> None:
        self.row_count = row_count
        self.inputs: list[torch.Tensor] = []
        self.versions: list[int] = []
        self.given: list[torch.Tensor | None] = []
        self.leaves: list[torch.Tensor] = []
        self.waiting = 0
        self.parts: dict[str, Part] = {}
        self.kept: Runs = []

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        # The layer's own gradients are not computed. A gradient that reaches its parameters has come another way.
        for parameter in self.own.values():
            parameter.requires_grad = False
        try:
            out: torch.Tensor = self.forward(x)
        finally:
            for parameter in self.own.values():
                parameter.requires_grad = True
        if not torch.is_grad_enabled():
            return out
        if not out.requires_grad:  # nothing before this layer is trained: the backward pass is to come so far
            leaf = out.requires_grad_()
            # The same memory, and neither leaf nor view: what follows may change it in place, and may free it.
            out = torch.ops.aten._unsafe_view.default(leaf, leaf.shape)
            leaf.data = leaf.new_empty(()).expand_as(leaf)
            self.leaves.append(leaf)
        assert out.grad_fn is not None
        out.grad_fn.register_prehook(functools.partial(self.receive, len(self.inputs)))
        self.inputs.append(x)
        self.versions.append(x._version)
        self.given.append(None)
        self.waiting += 1
        return out

    def receive(self, run: int, gradients: tuple[torch.Tensor | None, ...]) -> None:
        self.given[run] = gradients[0]
        self.waiting -= 1
        if self.waiting == 0:  # nothing more can come: what was taken down goes as soon as it can
            self.finish()

    def finish(self) -> None:
        if any(x._version != version for x, version in zip(self.inputs, self.versions, strict=True)):
            raise NotRun(f"the input of layer {self.name} is changed in place")
        runs = [
            (self.by_row(_wide(x)), self.by_row(_wide(g)))
            for x, g in zip(self.inputs, self.given, strict=True)
            if g is not None
        ]
        self.inputs, self.given, self.versions = [], [], []
        if any(tensor.shape[0] != self.row_count for run in runs for tensor in run):
            raise NotRun(f"layer {self.name} does not see its rows in the first dimension")
        if runs:
            assert self.formula is not None
            self.parts = self.formula(self.layer, runs)
            self.kept = [] if self.tied is None else runs

    def by_row(self, values: torch.Tensor) -> torch.Tensor:
        """Return what a layer saw, with the rows first where each row is several of its own: texts of one author."""
        count = len(values)
        if not self.places_alone or count == self.row_count or count % self.row_count:
            return values
        return values.view(self.row_count, -1, *values.shape[1:])


def _wide(values: torch.Tensor) -> torch.Tensor:
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def _collected(taps: list[_Tap]) -> tuple[list[torch.Tensor], dict[nn.Parameter, list[Weighted]]]:
    """Return the squared norms of the rows' gradients, and by parameter how their weighted sum is made; start anew."""
    for tap in taps:
        if tap.waiting:  # a run of it has no part in the loss
            tap.finish()
    squares: list[torch.Tensor] = []
    weighted: dict[nn.Parameter, list[Weighted]] = {}
    for tap in taps:
        for key, parameter in tap.own.items():
            if key in tap.parts:
                square, sums = tap.parts[key]
                squares.append(square)
                weighted.setdefault(parameter, []).append(sums)
        if tap.tied is not None and isinstance(tap.layer, nn.Embedding) and tap.kept and tap.tied.kept:
            squares.append(tied_square(tap.kept, tap.tied.kept, tap.layer.embedding_dim))
    for tap in taps:
        tap.start(0)
    return squares, weighted


def _tap_all(module: nn.Module) -> list[_Tap]:
    """Return a tap for each layer with trainable parameters; those of one weight know each other."""
    taps = [_Tap(name or "(root)", layer) for name, layer in module.named_modules() if own_parameters(layer)]
    of_weight: dict[nn.Parameter, _Tap] = {}
    for tap in taps:
        for parameter in tap.own.values():
            other = of_weight.setdefault(parameter, tap)
            if other is not tap:
                tap.tied, other.tied = other, tap
    return taps


def _sum_of(parts: list[Weighted], factors: torch.Tensor, parameter: nn.Parameter) -> torch.Tensor:
    """Return the weighted sum of the rows' gradients of a parameter, by each layer that has it."""
    if not parts:
        return torch.zeros_like(parameter)
    total = parts[0](factors)
    for part in parts[1:]:
        total += part(factors)
    return total


@contextmanager
def bookkeeping_clipper(module: nn.Module, *, objective: Objective) -> Iterator[ClippedSum]:
    """Yield the sum of clipped gradients by book-keeping; the module is as it was after the context.

    Raises:
        NotRun: a layer or a use of its parameters that this does not know, when entered or at a batch.
    """
    require_known_layers(module)
    parameters = {p: name for name, p in module.named_parameters() if p.requires_grad}
    taps = _tap_all(module)

    def clipped_sum(inputs: torch.Tensor, targets: torch.Tensor, max_grad_norm: float) -> list[torch.Tensor]:
        for tap in taps:
            tap.start(len(targets))
        loss = loss_of_rows(module, inputs, targets, objective).sum()
        leaves = [leaf for tap in taps for leaf in tap.leaves]
        found = torch.autograd.grad(loss, [*leaves, *parameters], allow_unused=True)[len(leaves) :]
        for name, gradient in zip(parameters.values(), found, strict=True):
            if gradient is not None:
                raise NotRun(f"{name} is used outside the layer that owns it")
        with torch.no_grad():
            squares, weighted = _collected(taps)
            factors = clipping_factors(torch.stack(squares).sum(0).clamp(min=0).sqrt(), max_grad_norm)
            return [_sum_of(weighted.get(p, []), factors, p) for p in parameters]

    for tap in taps:
        tap.layer.forward = tap
    try:
        yield clipped_sum
    finally:
        for tap in taps:
            del tap.layer.forward
