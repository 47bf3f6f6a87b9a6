"""A batch of rows as a network takes it: a tensor, or a tuple or a dictionary of tensors with one row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.errors import InputError

Batch: TypeAlias = "torch.Tensor | tuple[torch.Tensor, ...] | dict[str, torch.Tensor]"

MOST_EXACT = 2**24
"""Whole numbers up to here are exact in float32, in which rows are packed for training."""


def as_batch(value: Any, *, row_count: int, maker: str) -> Batch:
    """Return what a function made of rows as a batch: floats as float32, whole numbers as int64.

    Tensors, arrays, data frames and sparse matrices are taken, and tuples, lists and dictionaries of them; `maker` is
    the function's name, for messages.

    Raises:
        InputError: it is something else, or has another number of rows.
    """
    if isinstance(value, Mapping):
        return {str(name): _tensor(part, row_count, f"{maker} [{name!r}]") for name, part in value.items()}
    if isinstance(value, list) and value and all(isinstance(part, int | float) for part in value):
        value = np.array(value)
    if isinstance(value, tuple | list):
        return tuple(_tensor(part, row_count, f"{maker} [{place}]") for place, part in enumerate(value))
    return _tensor(value, row_count, maker)


def _tensor(value: Any, row_count: int, what: str) -> torch.Tensor:
    value = value.toarray() if hasattr(value, "toarray") else value
    value = value.to_numpy() if hasattr(value, "to_numpy") else value
    if isinstance(value, np.ndarray) and value.dtype == object:
        try:
            value = value.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"{what}: must return numbers, got {str(error).splitlines()[0]}.") from error
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        value = torch.from_numpy(np.array(value))  # a copy: pandas gives arrays that may not be written
    if not isinstance(value, torch.Tensor):
        raise InputError(
            f"{what}: must return a tensor, an array, or a tuple or dictionary of them, got {type(value).__name__}."
        )
    if value.ndim == 0 or len(value) != row_count:
        raise InputError(f"{what}: must return one row for each of {row_count:,}, got shape {tuple(value.shape)}.")
    return value.detach().to(torch.float32 if value.is_floating_point() else torch.int64)


def parts_of(batch: Batch) -> list[torch.Tensor]:
    """Return the tensors of a batch, in order."""
    if isinstance(batch, torch.Tensor):
        return [batch]
    return list(batch.values()) if isinstance(batch, dict) else list(batch)


def each(batch: Batch, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
    """Return a batch with each of its tensors changed."""
    if isinstance(batch, torch.Tensor):
        return change(batch)
    if isinstance(batch, dict):
        return {name: change(part) for name, part in batch.items()}
    return tuple(change(part) for part in batch)


def row_count(batch: Batch) -> int:
    """Return the number of rows.

    >>> row_count((torch.zeros(3, 1), torch.zeros(3, 4)))
    3
    """
    return len(parts_of(batch)[0])


def take(batch: Batch, rows: slice | torch.Tensor) -> Batch:
    """Return some rows of a batch.

    >>> take({"a": torch.arange(3)}, torch.tensor([2, 0]))
    {'a': tensor([2, 0])}
    """
    return each(batch, lambda part: part[rows])


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Return the batch on a device."""
    return each(batch, lambda part: part.to(device))


def concatenate(batches: Sequence[Batch]) -> Batch:
    """Return the rows of several batches of one form, one after the other."""
    first = batches[0]
    if isinstance(first, torch.Tensor):
        return torch.cat([parts_of(batch)[0] for batch in batches])
    joined = [torch.cat(parts) for parts in zip(*map(parts_of, batches), strict=True)]
    return dict(zip(first, joined, strict=True)) if isinstance(first, dict) else tuple(joined)


def call(network: Callable[..., Any], batch: Batch) -> Any:
    """Return what a network says of a batch: a tuple is its arguments, a dictionary its arguments by name."""
    if isinstance(batch, torch.Tensor):
        return network(batch)
    return network(**batch) if isinstance(batch, dict) else network(*batch)


@dataclass(frozen=True)
class Layout:
    """How a tuple or a dictionary of tensors lies in one row of numbers, in which rows are trained on.

    `names` are the keys of a dictionary, None for a tuple. `shapes` and `dtypes` are those of each tensor, without the
    rows.
    """

    names: tuple[str, ...] | None
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[torch.dtype, ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """The number of numbers that each tensor has a row."""
        return tuple(int(np.prod(shape)) for shape in self.shapes)

    def pack(self, batch: Batch) -> NDArray[np.float32]:
        """Return a batch as rows of numbers, (rows, width).

        Raises:
            InputError: a whole number is too large to be exact.
        """
        parts = parts_of(batch)
        for part in parts:
            if not part.is_floating_point() and part.numel() and int(part.abs().max()) > MOST_EXACT:
                raise InputError(f"a code of the model's input is over {MOST_EXACT:,}, which training cannot hold.")
        rows: NDArray[np.float32] = torch.cat([part.reshape(len(part), -1).float() for part in parts], dim=1).numpy()
        return rows

    def unpack(self, rows: torch.Tensor) -> Batch:
        """Return the batch that `rows`, (rows, width), were packed from."""
        parts = [
            part.reshape(len(rows), *shape).to(dtype)
            for part, shape, dtype in zip(rows.split(self.widths, dim=1), self.shapes, self.dtypes, strict=True)
        ]
        return tuple(parts) if self.names is None else dict(zip(self.names, parts, strict=True))


def layout_of(batch: Batch) -> Layout | None:
    """Return how a batch of several tensors is packed; None for one tensor, which needs no packing."""
    if isinstance(batch, torch.Tensor):
        return None
    parts = parts_of(batch)
    names = tuple(batch) if isinstance(batch, dict) else None
    return Layout(names, tuple(tuple(part.shape[1:]) for part in parts), tuple(part.dtype for part in parts))


class PackedInputs(nn.Module):
    """A network of several inputs as a module of one tensor: the rows of a layout."""

    def __init__(self, network: nn.Module, layout: Layout) -> None:
        super().__init__()
        self.network = network
        self.layout = layout

    def forward(self, rows: torch.Tensor) -> Any:
        """Return the network's outputs for packed rows, (rows, width)."""
        return call(self.network, self.layout.unpack(rows))
