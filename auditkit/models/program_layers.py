"""The layers of an exported program put back, so that a private training can keep books of them.

An exported graph calls operators with weights. Where all that reads a module's weights are calls of one operator with
the same settings, these calls become calls of the layer of torch.nn that they came from, with the same weights under
the same names. What fits no layer stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

aten = torch.ops.aten

Settings = dict[str, Any]


def _convolution(kind: type[nn.Module]) -> Callable[[torch.Tensor, Settings], nn.Module]:
    def make(weight: torch.Tensor, settings: Settings) -> nn.Module:
        groups = settings["groups"]
        shape = {"in_channels": weight.shape[1] * groups, "out_channels": weight.shape[0]}
        return kind(**shape, kernel_size=tuple(weight.shape[2:]), bias=False, **settings)

    return make


def _embedding(weight: torch.Tensor, settings: Settings) -> nn.Module:
    padding = settings["padding_idx"]
    return nn.Embedding(weight.shape[0], weight.shape[1], padding_idx=padding if padding >= 0 else None)


LAYERS: dict[Any, Callable[[torch.Tensor, Settings], nn.Module]] = {
    aten.linear.default: lambda weight, settings: nn.Linear(weight.shape[1], weight.shape[0], bias=False),
    aten.conv1d.default: _convolution(nn.Conv1d),
    aten.conv2d.default: _convolution(nn.Conv2d),
    aten.conv3d.default: _convolution(nn.Conv3d),
    aten.embedding.default: _embedding,
    aten.layer_norm.default: lambda weight, settings: nn.LayerNorm(settings["normalized_shape"], settings["eps"]),
    aten.group_norm.default: lambda weight, settings: nn.GroupNorm(
        settings["num_groups"], len(weight), settings["eps"]
    ),
}
"""The layers by the operator that each calls."""

TENSORS = ("weight", "bias", "input", "indices")
UNSAID = ("scale_grad_by_freq", "sparse", "cudnn_enable")
"""Arguments that change nothing of what is computed."""


def restore_layers(module: fx.GraphModule) -> None:
    """Put layers in the place of the operators that read weights, in place; the module computes what it did."""
    read = {str(node.target): node for node in module.graph.nodes if node.op == "get_attr"}
    for path, part in list(module.named_modules()):
        owned = dict(part.named_parameters())
        nodes = {name: read[f"{path}.{name}"] for name in owned if f"{path}.{name}" in read}
        if not path or "weight" not in nodes or nodes.keys() != owned.keys() or list(part.buffers()):
            continue
        calls = list(nodes["weight"].users)
        if not calls or any(set(node.users) != set(calls) for node in nodes.values()):
            continue
        target = calls[0].target
        described = [_settings(call, nodes) for call in calls if call.target == target]
        if (
            target not in LAYERS
            or len(described) < len(calls)
            or any(d is None or d != described[0] for d in described)
        ):
            continue
        with torch.device("meta"):
            layer = LAYERS[target](owned["weight"], described[0] or {})
        for name in ("weight", "bias"):
            layer.register_parameter(name, owned.get(name))
        module.set_submodule(path, layer)
        for call in calls:
            given = _given(call)
            with module.graph.inserting_before(call):
                made = module.graph.call_module(path, (given.get("input", given.get("indices")),))
            call.replace_all_uses_with(made)
            module.graph.erase_node(call)
        for node in nodes.values():
            module.graph.erase_node(node)
    module.recompile()


def _given(call: fx.Node) -> Settings:
    """Return every argument of an operator's call by its name, defaults included."""
    declared = getattr(getattr(call.target, "_schema", None), "arguments", [])
    given = {argument.name: argument.default_value for argument in declared}
    given |= dict(zip(given, call.args, strict=False))
    return given | call.kwargs


def _settings(call: fx.Node, nodes: dict[str, fx.Node]) -> Settings | None:
    """Return the settings of a call that reads these weights as a layer does, None for another call."""
    given = _given(call)
    if given.get("weight") is not nodes["weight"] or given.get("bias") is not nodes.get("bias"):
        return None
    return {name: value for name, value in given.items() if name not in (*TENSORS, *UNSAID)}
