"""The gradients of each row of a layer's parameters, from what the layer took in and the gradient of what it gave.

Of each parameter the squared norm of every row's gradient, and the sum of these gradients weighted by row; a gradient
for each row is made only where it needs no more room than what it is made of.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn import grad as gradients_of

from auditkit.models.architectures.gpt import TokenLogits
from auditkit.models.architectures.text import RecurrentLinear
from auditkit.training.adapters import is_transposed, widths

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


def _linear(layer: nn.Module, runs: Runs) -> dict[str, Part]:
    inputs, outputs = widths(layer)
    return _affine(inputs, outputs, runs)


def _conv1d_of_transformers(layer: nn.Module, runs: Runs) -> dict[str, Part]:
    inputs, outputs = widths(layer)
    parts = _affine(inputs, outputs, runs)
    square, weighted = parts["weight"]
    return {**parts, "weight": (square, lambda factors: weighted(factors).T)}


def _affine(inputs: int, outputs: int, runs: Runs) -> dict[str, Part]:
    """Return the parts of a weight, (outputs, inputs), and of a bias, which the layer may lack."""
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
    taken = _joined([x.reshape(len(x), -1, inputs) for x, _ in runs])
    given = _joined([g.reshape(len(g), -1, outputs) for _, g in runs])
    places = taken.shape[1]
    if places * (inputs + outputs) >= inputs * outputs:
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


def _rms_norm(layer: nn.Module, runs: Runs) -> dict[str, Part]:
    weight: Any = layer.weight

    def over_places(values: torch.Tensor) -> torch.Tensor:
        return values.reshape(len(values), -1, *weight.shape).sum(1)

    return {"weight": _kept(_total(over_places(rms_normed(x, layer) * g) for x, g in runs))}


def rms_normed(x: torch.Tensor, layer: nn.Module) -> torch.Tensor:
    """Return what an RMSNorm gives before it multiplies by its weight."""
    weight: Any = layer.weight
    epsilon: Any = getattr(layer, "variance_epsilon", None) or getattr(layer, "eps", None)
    return functional.rms_norm(x, weight.shape, eps=epsilon)


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
    nn.RMSNorm: _rms_norm,
    TokenLogits: _linear,
    nn.GroupNorm: _group_norm,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Conv3d: _convolution,
}
"""What gives the gradients of a layer of exactly this class; an heir of it may compute anything."""


def formula_of(layer: nn.Module) -> Callable[[Any, Runs], dict[str, Part]] | None:
    """Return what gives the gradients of a layer, None where none is known.

    Of transformers its `Conv1D` is known, and each class of its own that computes what RMSNorm does.
    """
    if is_transposed(layer):
        return _conv1d_of_transformers
    return _rms_norm if _is_rms_norm(layer) else KNOWN.get(type(layer))


def _is_rms_norm(layer: nn.Module) -> bool:
    """Return whether a layer of transformers multiplies by its weight what RMSNorm gives, as it shows on numbers."""
    weight: Any = getattr(layer, "weight", None)
    if not hasattr(layer, "variance_epsilon") or set(dict(layer.named_parameters())) != {"weight"} or weight.ndim != 1:
        return False
    generator = torch.Generator(weight.device).manual_seed(0)
    x = torch.randn(2, 3, len(weight), generator=generator, device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        return torch.allclose(layer(x), rms_normed(x, layer) * weight, rtol=1e-4, atol=1e-6)


def places_alone(layer: nn.Module) -> bool:
    """Return whether a layer treats each place of its input alone, so that it is all one which row a place is of."""
    return formula_of(layer) in (_linear, _conv1d_of_transformers, _embedding, _layer_norm, _rms_norm)


def tied_square(embedding: Runs, output: Runs, width: int) -> torch.Tensor:
    """Return what is missing in the sum of the squared norms of two uses of one weight: twice their inner product.

    `embedding` has the runs of an Embedding, and `output` those of the linear layer with the same weight, of so many
    inputs. Each token's row of the weight gets a gradient from both, (rows,).
    """
    ids = _joined([x.flatten(1) for x, _ in embedding])
    back = _joined([g.reshape(len(g), -1, width) for _, g in embedding])
    taken = _joined([x.reshape(len(x), -1, width) for x, _ in output])
    given = _joined([g.reshape(len(g), taken.shape[1], -1) for _, g in output])
    of_tokens = given.gather(2, ids[:, None].expand(-1, given.shape[1], -1))
    return 2 * (of_tokens * (taken @ back.mT)).sum((1, 2))
