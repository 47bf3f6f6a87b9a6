"""The arithmetic of torch's functions, counted by the shapes that they are called with.

torch's own FlopCounterMode counts below Python, for which torch loads its compiler: that takes most of a second, more
than anything else that a run does before its first auditor. `tests/models/test_operations.py` compares the two.
A multiplication and an addition are two operations. What multiplies no matrices, such as an activation, counts nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode


class FunctionCounter(TorchFunctionMode):
    """Counts the operations of torch's functions that are called inside it, by an exported program's graph too."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, and add what it computes."""
        found = func(*args, **(kwargs or {}))
        count = COUNTED.get(getattr(func, "__name__", "").partition(".")[0])  # an operator of a graph: "addmm.default"
        if count is not None:
            self.operations += count(next(_tensors([found])), [*args, *(kwargs or {}).values()])
        return found


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    """Yield the tensors among arguments, in their order, those of lists too."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(value)


def _product(found: Tensor, given: Sequence[Any]) -> int:
    """Count a product of two matrices, which may be added to a third."""
    return 2 * found.numel() * list(_tensors(given))[-2].shape[-1]


def _linear(found: Tensor, given: Sequence[Any]) -> int:
    return 2 * found.numel() * int(given[0].shape[-1])


def _bilinear(found: Tensor, given: Sequence[Any]) -> int:
    return 2 * found.numel() * int(given[1].shape[-1]) * (int(given[0].shape[-1]) + 1)


def _tensordot(found: Tensor, given: Sequence[Any]) -> int:
    one, other = given[:2]
    return 2 * found.numel() * round(math.sqrt(one.numel() * other.numel() / max(1, found.numel())))


def _einsum(found: Tensor, given: Sequence[Any]) -> int:
    """Count a sum over all letters that the result lacks, as it is written: of three tensors it may be computed in two.

    An equation in the other notation, lists of numbers, is not read, and counts as if nothing were summed.
    """
    if not isinstance(given[0], str):
        return 2 * found.numel()
    terms, arrow, result = given[0].replace(" ", "").partition("->")
    sizes: dict[str, int] = {}
    for term, operand in zip(terms.split(","), _tensors(given[1:]), strict=True):
        front, _, back = term.partition("...")
        sizes.update(zip(front, operand.shape[: len(front)], strict=True))
        sizes.update(zip(back, operand.shape[operand.ndim - len(back) :], strict=True))
    kept = result if arrow else {letter for letter in sizes if terms.count(letter) == 1}
    return 2 * found.numel() * math.prod(size for letter, size in sizes.items() if letter not in kept)


def _convolution(found: Tensor, given: Sequence[Any]) -> int:
    return 2 * found.numel() * int(given[1][0].numel())


def _transposed(found: Tensor, given: Sequence[Any]) -> int:
    return 2 * int(given[0].numel()) * int(given[1][0].numel())


def _any_convolution(found: Tensor, given: Sequence[Any]) -> int:
    """Count a convolution of a graph, whose seventh argument says whether it is transposed."""
    return (_transposed if given[6] else _convolution)(found, given)


def _attention(found: Tensor, given: Sequence[Any]) -> int:
    """Count queries by keys, and weights by values, each (..., positions, width)."""
    query, key, value = given[:3]
    return 2 * int(query.numel() // query.shape[-1] * key.shape[-2] * (query.shape[-1] + value.shape[-1]))


def _attention_layer(found: Tensor, given: Sequence[Any]) -> int:
    """Count an attention layer of (positions, rows, width), its four projections included."""
    query, key, value = given[:3]
    projected = 2 * query.numel() + key.numel() + value.numel()
    return 2 * int(query.shape[-1] * projected + 2 * query.numel() * key.shape[0])


def _recurrent(found: Tensor, given: Sequence[Any]) -> int:
    """Count recurrent layers: each weight at each position of each row, of packed rows those that there are."""
    lists = [value for value in given if isinstance(value, tuple | list)]
    weights = sum(one.numel() for one in _tensors(lists) if one.ndim == 2)
    return 2 * int(given[0].numel() // given[0].shape[-1]) * weights


def _recurrent_cell(found: Tensor, given: Sequence[Any]) -> int:
    weights = [one for one in _tensors(given) if one.ndim == 2][-2:]
    return 2 * int(given[0].shape[0]) * sum(one.numel() for one in weights)


Count = Callable[[Tensor, Sequence[Any]], int]

COUNTED: dict[str, Count] = {
    "linear": _linear,
    "bilinear": _bilinear,
    "tensordot": _tensordot,
    "einsum": _einsum,
    "convolution": _any_convolution,
    "scaled_dot_product_attention": _attention,
    "multi_head_attention_forward": _attention_layer,
    **dict.fromkeys(("matmul", "__matmul__", "mm", "bmm", "mv", "dot", "inner", "cdist"), _product),
    **dict.fromkeys(("addmm", "addmv", "baddbmm"), _product),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrent),
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), _recurrent_cell),
}
"""The functions of torch that multiply matrices, by name, and how each is counted from its result and its arguments."""
