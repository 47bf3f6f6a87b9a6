"""Fresh weights for an exported program, each drawn as torch.nn draws those of the layer whose operator reads it.

A program says which operator reads a parameter, but not how it was first drawn; where no operator tells, the rule is
assumed, and `DrawingRules.statement` names the parameter. What a program holds besides parameters is kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import fx

from auditkit.errors import NotRun
from auditkit.models.formats.exported import ExportedNetwork

ASSUMED_DEVIATION = 0.02
NAMED = 6
"""How many names a sentence lists."""

VIEWS = {
    "alias", "chunk", "clone", "contiguous", "detach", "expand", "flatten", "_to_copy", "permute", "repeat", "reshape",
    "select", "slice", "split", "split_with_sizes", "squeeze", "t", "to", "transpose", "unbind", "unflatten",
    "_unsafe_view", "unsqueeze", "view",
}  # fmt: skip
"""Operators behind which a parameter, or the result of a product, is still itself."""

LAYERS = {"linear", "conv1d", "conv2d", "conv3d", "convolution", "bilinear",
          "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}  # fmt: skip
NORMS = {"layer_norm", "native_layer_norm", "group_norm", "native_group_norm", "instance_norm", "rms_norm",
         "_fused_rms_norm", "_native_batch_norm_legit"}  # fmt: skip
PRODUCTS = {"matmul": ("self", "other"), "mm": ("self", "mat2"), "bmm": ("self", "mat2"), "addmm": ("mat1", "mat2"),
            "baddbmm": ("batch1", "batch2")}  # fmt: skip
"""Operators that multiply matrices, by the names of the two."""

RECURRENT = re.compile(r"(.*?)(?:weight|bias)_(?:ih|hh|hr)(_l\d+(?:_reverse)?)?")
"""How torch.nn names the parameters of LSTM, GRU and RNN, and of their cells."""

ATTENTION = re.compile(r"(.*?)(in_proj_weight|[qkv]_proj_weight|in_proj_bias|out_proj\.bias)")
"""How torch.nn.MultiheadAttention names the parameters that it does not draw as a Linear layer's."""


class Rule(NamedTuple):
    """How a parameter is drawn: uniform within `size` of 0, normal of this deviation, or all of this value.

    `zero_row` is the row of an embedding that stands for padding.
    """

    kind: Literal["uniform", "normal", "constant"]
    size: float
    zero_row: int | None = None
    assumed: bool = False


class Use(NamedTuple):
    """An operator that reads a parameter: the node, the operator's name, the argument, and the shape as it is read."""

    node: fx.Node
    operator: str
    argument: Any
    shape: tuple[int, ...]


@dataclass(frozen=True)
class DrawingRules:
    """The rule of each parameter by its name, and what else the program carries: names of floating-point tensors."""

    rules: Mapping[str, Rule]
    kept: Mapping[str, int]

    @property
    def statement(self) -> str:
        """How fresh weights are drawn, for a privacy ledger."""
        told = sum(not rule.assumed for rule in self.rules.values())
        words = (
            "the archive does not say how its weights were first drawn: "
            f"{told} of {len(self.rules)} tensors are drawn as torch.nn draws the layer whose operator reads them"
        )
        normal = [name for name, rule in self.rules.items() if rule.assumed and rule.kind == "normal"]
        ones = [name for name, rule in self.rules.items() if rule.assumed and rule.kind == "constant"]
        if normal:
            words += f"; assumed normal with a standard deviation of {ASSUMED_DEVIATION}: {_listed(normal)}"
        if ones:
            words += f"; assumed to begin at 1, since they scale: {_listed(ones)}"
        return words

    @property
    def not_covered(self) -> str:
        """What a private training leaves as it was in the archive, for a privacy ledger."""
        words = "the exported graph with the constants written into it, kept as they were"
        if self.kept:
            count = sum(self.kept.values())
            words += (
                f", and {count:,} numbers in {len(self.kept)} buffers and constants beside the weights "
                f"({_listed(list(self.kept))}), which may have been computed from these rows"
            )
        return words


def drawing_rules(network: ExportedNetwork) -> DrawingRules:
    """Return how fresh weights of a program are drawn.

    Raises:
        NotRun: the program normalises by statistics of the rows that trained it (BatchNorm), or writes into its
            buffers when it runs, so that fresh weights would not make it forget.
    """
    module = network.network
    nodes = {str(node.target): node for node in module.graph.nodes if node.op == "get_attr"}
    _refuse_memory(module, nodes)
    parameters = dict(module.named_parameters(remove_duplicate=False))
    rules: dict[str, Rule] = {}
    for name in dict(module.named_parameters()):
        # Tied parameters have several names, and the graph reads one of them.
        names = [other for other, parameter in parameters.items() if parameter is parameters[name]]
        found = [_rule_by_name(other, parameters) for other in names]
        found += [_rule_of(use) for other in names if other in nodes for use in _uses(nodes[other])]
        told = [rule for rule in found if rule is not None]
        told.sort(key=lambda rule: rule.assumed)
        rules[name] = told[0] if told else Rule("normal", ASSUMED_DEVIATION, assumed=True)
    held = {**dict(module.named_buffers()), **network.program.constants}
    kept = {
        name: value.numel()
        for name, value in held.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point() and name not in parameters
    }
    return DrawingRules(rules, kept)


def draw_weights(network: ExportedNetwork) -> None:
    """Draw every parameter of a program anew, in place, from torch's generator.

    Raises:
        NotRun: as `drawing_rules`.
    """
    rules = drawing_rules(network).rules
    with torch.no_grad():
        for name, parameter in network.network.named_parameters():
            rule = rules[name]
            if rule.kind == "constant":
                parameter.fill_(rule.size)
            elif rule.kind == "normal":
                parameter.normal_(0, rule.size)
            else:
                parameter.uniform_(-rule.size, rule.size)
            if rule.zero_row is not None:
                parameter[rule.zero_row] = 0


def _uses(node: fx.Node) -> Iterator[Use]:
    """Yield what reads a node, itself or a view of it, in the order of the graph."""
    waiting = [node]
    while waiting:
        seen = waiting.pop(0)
        for user in seen.users:
            operator = _operator(user)
            if operator in VIEWS or operator == "getitem":
                waiting.append(user)
            for argument, value in _arguments(user):
                if value is seen or (isinstance(value, list | tuple) and seen in value):
                    yield Use(user, operator, argument, _shape(seen))


def _refuse_memory(module: fx.GraphModule, nodes: Mapping[str, fx.Node]) -> None:
    """Raise NotRun for a program that remembers rows in something else than its parameters."""
    by_others: str | None = None
    for part in module.modules():
        for node in part.graph.nodes if isinstance(part, fx.GraphModule) else ():
            operator = _operator(node)
            # InstanceNorm becomes a batch_norm of one row, whose channels are those of all rows.
            in_batch = "batch_norm" in operator and _shape(_argument(node, "input"))[:1] != (1,)
            if in_batch or _argument(node, "running_mean") is not None:
                by_others = operator
    for name, node in nodes.items():
        for use in _uses(node):
            if name.endswith(("running_mean", "running_var")):
                by_others = by_others or name
            if use.argument.alias_info is not None and use.argument.alias_info.is_write:
                raise NotRun(
                    f"fresh weights cannot be drawn: {use.operator} writes into {name} when the program runs, which "
                    "could carry rows past the noise; export the model in eval mode"
                )
    if by_others is not None:
        raise NotRun(
            f"fresh weights cannot be drawn: the program normalises rows by statistics of others ({by_others}); "
            "replace BatchNorm with GroupNorm or LayerNorm where the model is made, and export it again"
        )


def _rule_by_name(name: str, parameters: Mapping[str, torch.Tensor]) -> Rule | None:
    """Return the rule of a parameter that torch.nn names so, in a recurrent or an attention layer."""
    recurrent = RECURRENT.fullmatch(name)
    if recurrent:
        before, behind = recurrent[1], recurrent[2] or ""
        state = parameters.get(f"{before}weight_hr{behind}", parameters.get(f"{before}weight_hh{behind}"))
        if state is not None and state.ndim == 2:
            return Rule("uniform", 1 / math.sqrt(state.shape[1]))
    attention = ATTENTION.fullmatch(name)
    if attention and any(f"{attention[1]}{part}_proj_weight" in parameters for part in ("in", "q")):
        if attention[2].endswith("bias"):
            return Rule("constant", 0)
        return Rule("uniform", math.sqrt(6 / sum(parameters[name].shape)))
    return None


def _rule_of(use: Use) -> Rule | None:
    """Return the rule of a parameter that is read so, None if that does not tell its role."""
    operator, argument, shape = use.operator, use.argument.name, use.shape
    if operator in LAYERS and argument in ("weight", "bias"):
        return _uniform(_fan_in(use.node))
    if operator == "_trilinear" and argument == "i2":  # what Bilinear becomes
        return _uniform(_fan_in(use.node))
    if operator in NORMS and argument in ("weight", "bias"):
        return Rule("constant", float(argument == "weight"))
    if operator.lstrip("_").startswith("embedding") and argument == "weight":
        padding = _argument(use.node, "padding_idx")
        return Rule("normal", 1, zero_row=padding if isinstance(padding, int) and padding >= 0 else None)
    if operator in PRODUCTS:
        first, second = PRODUCTS[operator]
        if argument == first:
            return _uniform(shape[-1])
        return _uniform(_contracted(shape) if argument == second else _fan_in(use.node))
    if operator == "prelu" and argument == "weight":
        return Rule("constant", 0.25)
    if operator == "add" and math.prod(shape) == max(shape, default=1):  # one number for each output: a bias
        return _uniform(next(filter(None, (_fan_in(_origin(node)) for node in use.node.all_input_nodes)), None))
    if operator in ("mul", "div"):
        return Rule("constant", 1, assumed=True)
    return None


def _uniform(fan_in: int | None) -> Rule | None:
    return Rule("uniform", 1 / math.sqrt(fan_in)) if fan_in else None


def _fan_in(node: fx.Node) -> int | None:
    """Return how many numbers each output of a layer or a product of matrices is a sum of; None for other nodes."""
    operator = _operator(node)
    if operator in LAYERS:
        shape = _shape(_argument(node, "weight"))
        return shape[1] if operator == "bilinear" else math.prod(shape[1:])
    if operator == "_trilinear":
        return _shape(_argument(node, "i2"))[1]
    if operator in PRODUCTS:
        return _contracted(_shape(_argument(node, PRODUCTS[operator][1])))
    return None


def _contracted(shape: tuple[int, ...]) -> int:
    """Return over how many numbers a product sums, by the shape of the second of its two matrices."""
    return shape[-2] if len(shape) > 1 else shape[-1]


def _origin(node: fx.Node) -> fx.Node:
    """Return what a node is a view of."""
    while _operator(node) in VIEWS and node.all_input_nodes:
        node = node.all_input_nodes[0]
    return node


def _operator(node: fx.Node) -> str:
    """Return the name of the operator that a node calls, without library and overload."""
    schema = getattr(node.target, "_schema", None)
    if schema is not None:
        return str(schema.name).rpartition("::")[2].rstrip("_")
    return str(getattr(node.target, "__name__", ""))


def _arguments(node: fx.Node) -> list[tuple[Any, Any]]:
    """Return the declared arguments of an operator that a node passes, each with its value."""
    declared = getattr(getattr(node.target, "_schema", None), "arguments", [])
    passed = list(zip(declared, node.args, strict=False))
    return passed + [(argument, node.kwargs[argument.name]) for argument in declared if argument.name in node.kwargs]


def _argument(node: fx.Node, name: str) -> Any:
    """Return what a node passes for an argument, None if nothing."""
    return next((value for argument, value in _arguments(node) if argument.name == name), None)


def _shape(node: Any) -> tuple[int, ...]:
    """Return the shape of a node's tensor; sizes that only a run tells are 0."""
    sizes = getattr(node.meta.get("val"), "shape", ()) if isinstance(node, fx.Node) else ()
    return tuple(size if isinstance(size, int) else 0 for size in sizes)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
