"""Sums of clipped per-row gradients out of one backward pass, without a gradient for each row where it can be avoided.

Book-keeping (Bu et al. 2023, "Differentially private optimization on large model at small cost", arXiv:2210.00038):
what a layer took in and the gradient of what it gave out determine each row's gradient of its parameters. First they
give the norms, then, weighted by each row's clipping factor, the sum. A layer that runs several times in a pass has
its gradients summed over the runs before the norm is taken.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn import grad as gradients_of

from auditkit.errors import NotRun
from auditkit.models.architectures.text import RecurrentLinear
from auditkit.tasks.objectives import Objective
from auditkit.training.dp.per_example import ClippedSum, clipping_factors, loss_of_rows

CONVOLVED_AT_ONCE = 32
"""Rows whose convolution gradients are taken together: enough to be fast, few enough to need little memory."""

Weighted = Callable[[torch.Tensor], torch.Tensor]
"""From a factor for each row, (rows,), to the sum of so many times each row's gradient of one parameter."""

Part = tuple[torch.Tensor, Weighted]
"""Of one parameter: the squared norm of each row's gradient, (rows,), and the weighted sum of these gradients."""

Runs = list[tuple[torch.Tensor, torch.Tensor]]
"""Of each run of a layer in one pass: its input and the gradient of its output, in float32."""


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    """What several runs saw, (rows, places, ...), as if it were one run of more places."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _total(parts: Iterable[torch.Tensor]) -> torch.Tensor:
    return functools.reduce(torch.add, parts)


def _kept(gradients: torch.Tensor) -> Part:
    """Gradients for each row, (rows, ...), where they need no more room than what they are made of."""
    flat = gradients.flatten(1)
    return torch.linalg.vector_norm(flat, dim=1).square(), lambda factors: (factors @ flat).view(gradients.shape[1:])


def _linear(layer: nn.Linear, runs: Runs) -> dict[str, Part]:
    if len(runs) == 1 and runs[0][0].ndim == 2:
        ((row, back),) = runs
        square = torch.linalg.vector_norm(back, dim=1).square()
        both = square * torch.linalg.vector_norm(row, dim=1).square()
        # The smaller of the two is weighted, as what is copied.
        narrow = back.shape[1] <= row.shape[1]
        return {
            "weight": (both, lambda f: (back.T * f) @ row if narrow else back.T @ (row * f[:, None])),
            "bias": (square, lambda factors: factors @ back),
        }
    taken = _joined([x.reshape(len(x), -1, layer.in_features) for x, _ in runs])
    given = _joined([g.reshape(len(g), -1, layer.out_features) for _, g in runs])
    places = taken.shape[1]
    if places * (layer.in_features + layer.out_features) >= layer.weight.numel():
        return {"weight": _kept(given.mT @ taken), "bias": _kept(given.sum(1))}
    # The norm of a sum over places without the sum: all pairs of places (Li et al. 2022, arXiv:2110.05679).
    square = ((taken @ taken.mT) * (given @ given.mT)).sum((1, 2)).clamp(min=0)

    def weighted(factors: torch.Tensor) -> torch.Tensor:
        return (given * factors[:, None, None]).flatten(0, 1).T @ taken.flatten(0, 1)

    return {"weight": (square, weighted), "bias": _kept(given.sum(1))}


def _embedding(layer: nn.Embedding, runs: Runs) -> dict[str, Part]:
    ids = _joined([x.flatten(1) for x, _ in runs])
    given = _joined([g.reshape(len(g), -1, layer.embedding_dim) for _, g in runs])
    if layer.padding_idx is not None:
        given = given.masked_fill((ids == layer.padding_idx)[:, :, None], 0)
    rows = torch.arange(len(ids), device=ids.device)[:, None]
    # One gradient for each different token of each row.
    pairs, place = torch.unique(rows * layer.num_embeddings + ids, return_inverse=True)
    sums = given.new_zeros(len(pairs), layer.embedding_dim).index_add_(0, place.flatten(), given.flatten(0, 1))
    row, token = pairs // layer.num_embeddings, pairs % layer.num_embeddings
    square = given.new_zeros(len(ids)).index_add_(0, row, sums.square().sum(1))

    def weighted(factors: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(layer.weight).index_add_(0, token, sums * factors[row, None])

    return {"weight": (square, weighted)}


def _layer_norm(layer: nn.LayerNorm, runs: Runs) -> dict[str, Part]:
    def over_places(values: torch.Tensor) -> torch.Tensor:
        return values.reshape(len(values), -1, *layer.normalized_shape).sum(1)

    normed = ((functional.layer_norm(x, layer.normalized_shape, eps=layer.eps) * g, g) for x, g in runs)
    weight, bias = (_total(map(over_places, part)) for part in zip(*normed, strict=True))
    return {"weight": _kept(weight), "bias": _kept(bias)}


def _group_norm(layer: nn.GroupNorm, runs: Runs) -> dict[str, Part]:
    normed = ((functional.group_norm(x, layer.num_groups, eps=layer.eps) * g, g) for x, g in runs)
    weight, bias = (_total(values.flatten(2).sum(2) for values in part) for part in zip(*normed, strict=True))
    return {"weight": _kept(weight), "bias": _kept(bias)}


CONVOLUTION_WEIGHTS: dict[type[nn.Module], Callable[..., torch.Tensor]] = {
    nn.Conv1d: gradients_of.conv1d_weight,
    nn.Conv2d: gradients_of.conv2d_weight,
    nn.Conv3d: gradients_of.conv3d_weight,
}


def _convolution(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, runs: Runs) -> dict[str, Part]:
    found = []
    for x, g in runs:
        parts = zip(torch.split(x, CONVOLVED_AT_ONCE), torch.split(g, CONVOLVED_AT_ONCE), strict=True)
        found.append(torch.cat([_row_convolutions(layer, *part) for part in parts]))
    weight = _total(found)
    return {"weight": _kept(weight), "bias": _kept(_total(g.flatten(2).sum(2) for _, g in runs))}


def _row_convolutions(layer: Any, x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """Rows side by side as groups of channels: one convolution whose weights are each row's own."""
    rows, shape = len(x), layer.weight.shape
    found = CONVOLUTION_WEIGHTS[type(layer)](
        x.reshape(1, -1, *x.shape[2:]),
        (rows * shape[0], *shape[1:]),
        g.reshape(1, -1, *g.shape[2:]),
        layer.stride,
        layer.padding,
        layer.dilation,
        rows * layer.groups,
    )
    return found.view(rows, *shape)


KNOWN: dict[type[nn.Module], Callable[[Any, Runs], dict[str, Part]]] = {
    nn.Linear: _linear,
    RecurrentLinear: _linear,
    nn.Embedding: _embedding,
    nn.LayerNorm: _layer_norm,
    nn.GroupNorm: _group_norm,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Conv3d: _convolution,
}
"""What gives the gradients of a layer of exactly this class; an heir of it may compute anything."""


def require_known_layers(module: nn.Module) -> None:
    """Raise NotRun, with the reason, if a trainable parameter is not a known layer's own."""
    seen: set[int] = set()
    for name, layer in module.named_modules():
        own = {key: p for key, p in layer.named_parameters(recurse=False) if p.requires_grad}
        if not own:
            continue
        what = f"layer {name or '(root)'} is a {type(layer).__name__}"
        if type(layer) not in KNOWN or not own.keys() <= {"weight", "bias"} or "forward" in vars(layer):
            raise NotRun(f"{what}, which book-keeping does not know")
        if isinstance(layer, nn.Embedding) and (layer.max_norm is not None or layer.scale_grad_by_freq or layer.sparse):
            raise NotRun(f"{what} with max_norm, scale_grad_by_freq or sparse gradients")
        if type(layer) in CONVOLUTION_WEIGHTS and (layer.padding_mode != "zeros" or isinstance(layer.padding, str)):
            raise NotRun(f"{what} with padding by {layer.padding_mode} {layer.padding}")
        if seen & {id(p) for p in own.values()}:
            raise NotRun(f"{what}, whose weights another layer shares")
        seen |= {id(p) for p in own.values()}


class _Tap:
    """Stands in a layer's `forward` for one training, and takes down its runs during each pass."""

    def __init__(self, name: str, layer: nn.Module) -> None:
        self.name, self.layer, self.forward = name, layer, layer.forward
        self.own = {key: p for key, p in layer.named_parameters(recurse=False) if p.requires_grad}
        self.start(0)

    def start(self, row_count: int) -> None:
        self.row_count = row_count
        self.inputs: list[torch.Tensor] = []
        self.versions: list[int] = []
        self.given: list[torch.Tensor | None] = []
        self.leaves: list[torch.Tensor] = []
        self.waiting = 0
        self.parts: dict[str, Part] = {}

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
        runs = [(_wide(x), _wide(g)) for x, g in zip(self.inputs, self.given, strict=True) if g is not None]
        self.inputs, self.given, self.versions = [], [], []
        if any(tensor.shape[0] != self.row_count for run in runs for tensor in run):
            raise NotRun(f"layer {self.name} does not see its rows in the first dimension")
        if runs:
            self.parts = KNOWN[type(self.layer)](self.layer, runs)


def _wide(values: torch.Tensor) -> torch.Tensor:
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def _collected(taps: list[_Tap]) -> tuple[list[torch.Tensor], dict[nn.Parameter, Weighted]]:
    """Return the squared norms of the rows' gradients, and by parameter how their weighted sum is made; start anew."""
    for tap in taps:
        if tap.waiting:  # a run of it has no part in the loss
            tap.finish()
    squares: list[torch.Tensor] = []
    weighted: dict[nn.Parameter, Weighted] = {}
    for tap in taps:
        for key, parameter in tap.own.items():
            if key in tap.parts:
                square, weighted[parameter] = tap.parts[key]
                squares.append(square)
        tap.start(0)
    return squares, weighted


@contextmanager
def bookkeeping_clipper(module: nn.Module, *, objective: Objective) -> Iterator[ClippedSum]:
    """Yield the sum of clipped gradients by book-keeping; the module is as it was after the context.

    Raises:
        NotRun: a layer or a use of its parameters that this does not know, when entered or at a batch.
    """
    require_known_layers(module)
    parameters = {p: name for name, p in module.named_parameters() if p.requires_grad}
    taps = [
        _Tap(name or "(root)", layer)
        for name, layer in module.named_modules()
        if any(p.requires_grad for p in layer.parameters(recurse=False))
    ]

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
            factors = clipping_factors(_total(squares).sqrt(), max_grad_norm)
            return [weighted[p](factors) if p in weighted else torch.zeros_like(p) for p in parameters]

    for tap in taps:
        tap.layer.forward = tap
    try:
        yield clipped_sum
    finally:
        for tap in taps:
            del tap.layer.forward
