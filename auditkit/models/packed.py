"""Inputs of several tensors as rows of numbers, so that whatever audits one array audits them too.

A modality may encode rows as a tuple or a dictionary of arrays. Prediction, gradients, corruption and training then see
one array, (rows, width), in which these lie side by side; the network takes it apart again. Gradients pass through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from auditkit.modalities.base import Batch, Corruption, Modality, Reach, Segments, modality_for
from auditkit.models.batch import Layout, PackedInputs, as_batch, each, layout_of
from auditkit.schema.schema import Schema

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn


@dataclass(frozen=True)
class PackedModality:
    """A modality of several arrays as one of a single array; what it does not name is the `inner` modality's."""

    inner: Modality
    layout: Layout

    def __getattr__(self, name: str) -> Any:
        """Return what the modality itself has of this name."""
        return getattr(self.inner, name)

    def encode(self, frame: pd.DataFrame) -> NDArray[np.float32]:
        """Return the rows of a frame, float32, (rows, width)."""
        return self._pack(self.inner.encode(frame))

    def blank(self, count: int) -> NDArray[np.float32]:
        """Return so many rows of zeros."""
        return self._pack(self.inner.blank(count))

    def segments(self, inputs: NDArray[Any], source: NDArray[Any]) -> Segments:
        """Return the segments, which are deleted from unpacked rows."""
        found = self.inner.segments(self._unpack(inputs), self._unpack(source))
        return replace(found, delete=lambda rows, mask: self._pack(found.delete(self._unpack(rows), mask)))

    def corruptions(
        self, frame: pd.DataFrame, inputs: NDArray[Any], source: NDArray[Any], *, seed: int
    ) -> Sequence[Corruption]:
        """Return the corruptions, whose outcome is packed."""

        def packed(corruption: Corruption) -> Corruption:
            return replace(corruption, at=lambda strength: self._pack(corruption.at(strength)))

        found = self.inner.corruptions(frame, self._unpack(inputs), self._unpack(source), seed=seed)
        return [packed(corruption) for corruption in found]

    def out_of_distribution(
        self, inputs: NDArray[Any], source: NDArray[Any], *, seed: int
    ) -> Mapping[str, NDArray[np.float32]]:
        """Return packed inputs that mean nothing, by what they are."""
        found = self.inner.out_of_distribution(self._unpack(inputs), self._unpack(source), seed=seed)
        return {what: self._pack(rows) for what, rows in found.items()}

    def reach(self, source: NDArray[Any]) -> Reach:
        """Return how far an attack may change a packed row; where codes lie beside numbers, nothing is clipped."""
        found = self.inner.reach(self._unpack(source))
        unit = self._pack(_each_array(found.unit, lambda part: np.asarray(part)[None]))[0]
        numbers_only = all(dtype.is_floating_point for dtype in self.layout.dtypes)
        return replace(found, unit=unit, bounds=found.bounds if numbers_only else None)

    def _pack(self, batch: Batch) -> NDArray[np.float32]:
        first = next(iter(batch.values() if isinstance(batch, dict) else batch))
        return self.layout.pack(as_batch(batch, row_count=len(first), maker=f"modality {self.inner.name}"))

    def _unpack(self, rows: NDArray[Any]) -> Batch:
        import torch

        batch = self.layout.unpack(torch.from_numpy(np.ascontiguousarray(rows)))
        return each(batch, lambda part: part.numpy())  # type: ignore[arg-type, return-value]  # arrays of the same form


def _each_array(batch: Batch, change: Any) -> Batch:
    if isinstance(batch, dict):
        return {name: change(part) for name, part in batch.items()}
    return tuple(change(part) for part in batch)


def packed_modality(schema: Schema) -> Modality:
    """Return the modality that a schema names, with inputs of several arrays packed into one."""
    modality = modality_for(schema)
    blank = modality.blank(1)
    if not isinstance(blank, tuple | dict):
        return modality
    layout = layout_of(as_batch(blank, row_count=1, maker=f"modality {modality.name}"))
    assert layout is not None
    return cast("Modality", PackedModality(modality, layout))


def packed_module(module: nn.Module, modality: Modality) -> nn.Module:
    """Return a network as one that reads what the modality encodes: packed rows where that is several arrays."""
    if not isinstance(modality, PackedModality) or isinstance(module, PackedInputs):
        return module
    return PackedInputs(module, modality.layout).train(module.training)


def like(module: nn.Module, audited: nn.Module) -> nn.Module:
    """Return a fresh network with the wrapping of an audited one, where that takes packed rows."""
    return PackedInputs(module, audited.layout) if isinstance(audited, PackedInputs) else module
