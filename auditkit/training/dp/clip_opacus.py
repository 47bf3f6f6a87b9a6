"""Sums of clipped per-row gradients by Opacus: by the gradients of all rows at once (hooks), or by ghost norms."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping, register_grad_sampler
from opacus.grad_sample.dp_rnn import compute_rnn_linear_grad_sample
from opacus.layers.dp_rnn import RNNLinear
from torch import nn

from auditkit.errors import NotRun
from auditkit.models.architectures.text import RecurrentLinear, TextClassifier
from auditkit.tasks.objectives import Objective
from auditkit.training.dp.per_example import ClippedSum, clip_and_sum, loss_of_rows, trainable

# Opacus sums the per-row gradients of a layer that runs several times; it must know how one run's are taken.
register_grad_sampler(RecurrentLinear)(compute_rnn_linear_grad_sample)


def opacus_mode(module: nn.Module) -> Literal["ghost", "hooks"]:
    """Return Opacus's mode for a network: `ghost` where it is proven to work, `hooks` elsewhere.

    Ghost clipping takes the norms of Linear and Embedding layers without the per-row gradients. It needs each of them
    to see its batch exactly once with weights of its own: a chain of leaf layers shows that, and auditkit's text
    models promise it (their RecurrentLinear, which runs once a token, has its gradients summed before the norm).
    """
    if type(module) is TextClassifier:
        return "ghost"
    chain = list(_chain(module))
    layers = [layer for layer in chain if any(True for _ in layer.parameters())]
    weights = [id(parameter) for layer in layers for parameter in layer.parameters()]
    known = all(type(layer) in (nn.Linear, nn.Conv2d) for layer in layers)
    once = len(weights) == len(set(weights))
    leaves = not any(True for layer in chain for _ in layer.children())
    return "ghost" if known and once and leaves else "hooks"


def _chain(module: nn.Module) -> Iterator[nn.Module]:
    if type(module) is nn.Sequential:
        for layer in module:
            yield from _chain(layer)
    else:
        yield module


@contextmanager
def by_opacus(module: nn.Module, *, objective: Objective, mode: Literal["ghost", "hooks"]) -> Iterator[ClippedSum]:
    """Yield the sum of clipped gradients by Opacus; the module carries its hooks inside the context only."""
    parameters = trainable(module)
    kind = GradSampleModuleFastGradientClipping if mode == "ghost" else GradSampleModule
    wrapped = kind(module, loss_reduction="sum")

    def clipped_sum(inputs: torch.Tensor, targets: torch.Tensor, max_grad_norm: float) -> list[torch.Tensor]:
        wrapped.zero_grad()
        losses = loss_of_rows(wrapped, inputs, targets, objective)
        _require_rows_together(module, len(targets))
        if mode == "ghost":  # norms out of a first backward pass, the sum out of a second
            losses.sum().backward(retain_graph=True)
            wrapped.max_grad_norm = max_grad_norm
            factors = wrapped.get_clipping_coef()
            for parameter in parameters:
                parameter.grad = None
            wrapped.disable_hooks()
            (factors * losses).sum().backward()
            wrapped.enable_hooks()
            sums = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        else:
            losses.sum().backward()
            sums = clip_and_sum([_row_gradients(p, len(targets)) for p in parameters], max_grad_norm)
        for parameter in parameters:
            parameter.grad = None
        return sums

    try:
        with warnings.catch_warnings():
            # The first layer's inputs need no gradient, and Opacus asks for none.
            warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)
            yield clipped_sum
    finally:
        wrapped.to_standard_module()
        _remove(parameters, ("grad_sample", "_norm_sample"))
        _remove(module.modules(), ("activations", "max_batch_len"))


def _require_rows_together(module: nn.Module, row_count: int) -> None:
    """Raise NotRun where a layer was given some of the rows at a time.

    Opacus would add up the gradients of rows of different runs as those of one row, and clip too little.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, RNNLinear | RecurrentLinear):  # runs once a token, of shorter texts fewer times
            continue
        if any(len(run[0]) != row_count for run in getattr(layer, "activations", ())):
            raise NotRun(f"layer {name} does not see its rows in the first dimension")


def _remove(owners: Iterable[object], traces: tuple[str, ...]) -> None:
    for owner in owners:
        for trace in traces:
            if hasattr(owner, trace):
                delattr(owner, trace)


def _row_gradients(parameter: nn.Parameter, row_count: int) -> torch.Tensor:
    found: torch.Tensor | None = parameter.grad_sample  # type: ignore[attr-defined]  # set by the hooks
    return parameter.new_zeros((row_count, *parameter.shape)) if found is None else found
