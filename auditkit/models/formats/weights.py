"""Weights in a file and the network that they belong to: where they lie, how their keys are spelled, do they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from auditkit.errors import ModelFileError, closest
from auditkit.models.base import Match, OpenOptions, Source, Trust
from auditkit.models.formats.pickles import StoredTensor

if TYPE_CHECKING:
    from auditkit.models.model import Model

PLACES = ("state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "weights", "params")
"""Under which key of a checkpoint the weights are looked for, in this order."""

PREFIXES = ("module.", "_orig_mod.", "_module.", "model.", "net.", "network.")
"""What DataParallel, torch.compile, Opacus and wrappers put before every key."""


class WeightsFormat:
    """Plain weights that another program saved: a state_dict, alone or inside a checkpoint."""

    def recognise(self, source: Source) -> Match | None:
        """Return a match where the file holds plain values and no card."""
        from auditkit.models.formats.native import card_text, check_stored

        if source.contents is None or source.contents.program is not None or card_text(source) is not None:
            return None
        return Match("weights", check=lambda options: check_stored(source))

    def open(self, source: Source, trust: Trust, config: OpenOptions) -> Model:
        """Return the model of the architecture that the user names; nothing of the file is run."""
        from auditkit.models.formats.native import open_weights_file

        return open_weights_file(source, trust, config)


@dataclass(frozen=True)
class Weights:
    """The named tensors of a file: `place` is the path of keys to them, () where the file holds nothing else."""

    place: tuple[str, ...]
    tensors: Mapping[str, StoredTensor]

    @property
    def count(self) -> int:
        """The number of numbers in all tensors."""
        return sum(tensor.count for tensor in self.tensors.values())


def find_weights(content: Any) -> Weights | None:
    """Return the weights in what a file holds: the content itself, or a dictionary under one of PLACES; or None.

    >>> find_weights({"epoch": 3, "state_dict": {"bias": StoredTensor((2,), "float32")}}).place
    ('state_dict',)
    """
    place: tuple[str, ...] = ()
    for _ in range(4):
        if not isinstance(content, dict):
            return None
        tensors = _tensors(content)
        if tensors is not None:
            return Weights(place, tensors)
        inner = [key for key, part in content.items() if isinstance(key, str) and isinstance(part, dict)]
        named = [key for key in PLACES if key in inner]
        alone = [key for key in inner if _tensors(content[key]) is not None]
        chosen = named[0] if named else alone[0] if len(alone) == 1 else None
        if chosen is None:
            return None
        place, content = (*place, chosen), content[chosen]
    return None


def _tensors(part: dict[Any, Any]) -> dict[str, StoredTensor] | None:
    """Return a dictionary that holds named tensors and nothing else, described; None where it holds anything else."""
    described = {}
    for key, value in part.items():
        if isinstance(value, torch.Tensor):
            value = StoredTensor(tuple(value.shape), str(value.dtype).removeprefix("torch."))
        if not isinstance(key, str) or not isinstance(value, StoredTensor):
            return None
        described[key] = value
    return described or None


def common_prefix(keys: Sequence[str], expected: Sequence[str]) -> str:
    """Return the prefix of PREFIXES, or several in a row, that every key has and the expected ones have not.

    >>> common_prefix(["module.0.weight", "module.0.bias"], ["0.weight", "0.bias"])
    'module.'
    """
    prefix = ""
    while True:
        found = [known for known in PREFIXES if keys and all(key.startswith(prefix + known) for key in keys)]
        if not found or any(key.startswith(found[0]) for key in expected):
            return prefix
        prefix += found[0]


def check_fit(
    name: str, network: str, expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> None:
    """Compare the names and shapes of weights with those that a network has.

    Raises:
        ModelFileError: a weight is missing, of another shape, or does not belong to it; the closest name is given.
    """
    missing = [key for key in expected if key not in found]
    unexpected = [key for key in found if key not in expected]
    if missing:
        more = f"; so are {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelFileError(
            f"{name}: weight {missing[0]!r} of {network} is missing{closest(missing[0], unexpected)}{more}."
        )
    if unexpected:
        key, more = unexpected[0], f"; nor do {len(unexpected) - 1} more" if len(unexpected) > 1 else ""
        raise ModelFileError(f"{name}: weight {key[:80]!r} does not belong to {network}{closest(key, expected)}{more}.")
    for key, shape in expected.items():
        if found[key] != shape:
            raise ModelFileError(f"{name}: weight {key!r} must have shape {shape}, got {found[key]}.")


def shapes_of(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight and buffer that a module's state_dict has."""
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def check_finite(name: str, state: Mapping[str, torch.Tensor]) -> None:
    """Raise ModelFileError where a weight is NaN or infinite."""
    for key, value in state.items():
        finite = torch.isfinite(value.float() if value.dtype.itemsize == 1 else value)  # torch has none of 8-bit floats
        if not bool(finite.all()):
            count = int((~finite).sum())
            raise ModelFileError(
                f"{name}: weight {key!r} has {count:,} values that are NaN or infinite; train it again."
            )
