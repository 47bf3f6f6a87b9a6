"""Model files: weights and words, no program. Saving, and opening so that nothing of the file is run."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
import stat
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import torch
from pydantic import Field, ValidationError
from torch import nn

from auditkit.errors import ModelFileError, NotRun, closest
from auditkit.evidence.measurement import Record
from auditkit.subject.architectures import build
from auditkit.subject.archive import Program, Refused, StoredTensor, inspect_archive
from auditkit.subject.schema import Schema

IN_MEMORY = "auditkit.audit(module, frame, ...)"


class Card(Record):
    """The words of a model file: what its weights are, and how they came about.

    `architecture` and `arguments` are those of `auditkit.subject.architectures.build`. `training` says what the
    weights were fitted to (path, sha256, row_count, seed, epochs, ...); `ledger` is the privacy ledger, if any.
    """

    card_version: Literal[1] = 1
    schema_: Schema = Field(alias="schema", serialization_alias="schema")
    architecture: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    name: str = ""
    training: dict[str, Any] = Field(default_factory=dict)
    ledger: dict[str, Any] | None = None

    model_config = Record.model_config | {"populate_by_name": True, "serialize_by_alias": True}


@dataclass(frozen=True, eq=False)
class Model:
    """A network ready to be audited: in eval mode, on the CPU, with the schema of its inputs and outputs.

    `kind` is how it came (`auditkit` file, or `module` from memory), `trust` what opening it could have run. `card`,
    `path` and `sha256` are None for a module from memory.
    """

    name: str
    module: nn.Module
    schema: Schema
    card: Card | None
    path: str | None
    sha256: str | None
    kind: str
    trust: str

    @property
    def parameter_count(self) -> int:
        """The number of parameters, trainable or not."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    def fresh(self, seed: int) -> nn.Module:
        """Return a network of the same architecture with fresh weights drawn from `seed`, in training mode.

        A model of a file is built anew from its card. A module from memory is copied, and every submodule that owns
        parameters is reset by its own `reset_parameters`; plain buffers are kept as they are. Torch's global
        generator is left as it was.

        Raises:
            NotRun: a submodule owns parameters and cannot reset them, so that the copy would keep trained weights.
        """
        with _seeded(seed):
            if self.card is not None:
                return build(self.card.architecture, self.card.arguments).train()
            module = copy.deepcopy(self.module)
            for name, part in module.named_modules():
                owned = next(part.parameters(recurse=False), None) is not None
                reset = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
                if callable(reset):
                    reset()
                elif owned:
                    raise NotRun(
                        f"fresh weights cannot be drawn: layer {name or 'the module itself'!r} "
                        f"({type(part).__name__}) owns parameters and has no reset_parameters(); define it."
                    )
        return module.requires_grad_(True).train()


def model_from_module(module: nn.Module, schema: Schema, *, name: str | None = None) -> Model:
    """Return a model of a module from memory: a copy on the CPU in eval mode; the module itself is not touched.

    Raises:
        ModelFileError: it is no nn.Module, cannot be copied, or has weights that are not finite.
    """
    if not isinstance(module, nn.Module):
        raise ModelFileError(f"model: must be a torch.nn.Module, got {type(module).__name__}.")
    name = name or type(module).__name__
    try:
        copied = copy.deepcopy(module)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(f"model {name}: cannot be copied: {_first_line(error)}.") from error
    copied = copied.to("cpu").eval()
    _check_finite(f"model {name}", copied.state_dict())
    return Model(
        name=name,
        module=copied,
        schema=schema,
        card=None,
        path=None,
        sha256=None,
        kind="module",
        trust="object in memory",
    )


def save_model(path: str | Path, module: nn.Module, card: Card) -> None:
    """Write the weights of a module and its card as a native model file, whole or not at all.

    Raises:
        ModelFileError: the weights do not fit the card's architecture or are not finite, or the file cannot be
            written.
    """
    name = f"model {path}"
    state = {key: value.detach().to("cpu").contiguous().clone() for key, value in module.state_dict().items()}
    _check_keys(name, card, {key: tuple(value.shape) for key, value in state.items()})
    _check_finite(name, state)
    target = Path(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with open(beside, "xb") as file:
            torch.save({"auditkit_card": card.model_dump_json(), "state_dict": state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except OSError as error:
        raise ModelFileError(f"{name}: cannot be written: {error.strerror or error}.") from error
    except RuntimeError as error:
        # On a full disk torch.save says "unexpected pos", and closing the file raises nothing.
        raise ModelFileError(f"{name}: cannot be written (is the disk full?): {_first_line(error)}.") from error
    finally:
        beside.unlink(missing_ok=True)


def open_model(path: str | Path) -> Model:
    """Open a native model file. Nothing in it is run, and it cannot claim more memory than its bytes on the disk.

    Raises:
        ModelFileError: no such file, not a model, a program or a pickled module (the remedy is spelled out),
            damaged, weights that do not fit the card's architecture, or weights that are not finite.
    """
    name = f"model {path}"
    try:
        with open(path, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ModelFileError(f"{name}: is no regular file.")
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            card, shapes = _inspect(name, file)
            _check_keys(name, card, shapes)
            file.seek(0)
            state = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
    except OSError as error:
        raise ModelFileError(f"{name}: {error.strerror or error}.") from error
    except (RuntimeError, ValueError, LookupError, TypeError, EOFError) as error:
        raise ModelFileError(f"{name}: torch cannot read it: {_first_line(error)}.") from error
    _check_finite(name, state)
    with _seeded(0):
        module = build(card.architecture, card.arguments)
    module.load_state_dict(state)
    return Model(
        name=card.name or Path(path).stem,
        module=module.eval(),
        schema=card.schema_,
        card=card,
        path=str(path),
        sha256=sha256,
        kind="auditkit",
        trust="weights only",
    )


def _inspect(name: str, file: BinaryIO) -> tuple[Card, dict[str, tuple[int, ...]]]:
    """Return the card and the shapes of the weights, once the file is known to hold these and no more."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(16)
    if not start.startswith(b"PK\x03\x04"):
        raise ModelFileError(f"{name}: {_other_kind(start, size)}")
    try:
        content = inspect_archive(file, size)
    except Program as error:
        raise ModelFileError(
            f"{name}: refused: {error}. Save weights instead of the object: rebuild the module in Python, call "
            f"load_state_dict, and audit it with {IN_MEMORY}; or, only if you trust the file's author, audit "
            f"torch.load({str(name.removeprefix('model '))!r}, weights_only=False) in the same way."
        ) from error
    except Refused as error:
        raise ModelFileError(f"{name}: {error}.") from error
    card = content.get("auditkit_card") if isinstance(content, dict) else None
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(card, str):
        raise ModelFileError(
            f"{name}: holds weights without auditkit's card, so their architecture is unknown; "
            f"load them into your module in Python and call {IN_MEMORY}."
        )
    if set(content) != {"auditkit_card", "state_dict"} or not isinstance(state, dict):
        raise ModelFileError(f"{name}: damaged: must hold a card and a state_dict, and nothing else.")
    if not all(isinstance(key, str) and isinstance(tensor, StoredTensor) for key, tensor in state.items()):
        raise ModelFileError(f"{name}: damaged: its state_dict holds something other than named tensors.")
    return _read_card(name, card), {key: tensor.shape for key, tensor in state.items()}


def _read_card(name: str, text: str) -> Card:
    try:
        return Card.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "its text"
        raise ModelFileError(
            f"{name}: its card is not valid: {where}: {first['msg'].removeprefix('Value error, ')}."
        ) from error


def _other_kind(start: bytes, size: int) -> str:
    """Say what a file is that is no zip archive, by its first bytes."""
    if size == 0:
        return "the file is empty."
    if start.startswith(b"\x80"):
        return (
            "refused: a pickle, which runs its author's code when it is opened; save it again with today's "
            f"torch.save(module.state_dict(), path), or audit the module from Python with {IN_MEMORY}."
        )
    if len(start) > 8 and struct.unpack("<Q", start[:8])[0] < size and start[8:9] == b"{":
        return f"a safetensors file, which has no auditkit card; load it in Python and call {IN_MEMORY}."
    return "not a model file; auditkit train writes one."


def _check_keys(name: str, card: Card, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare names and shapes with those of the card's architecture, which is built without memory for weights."""
    try:
        with torch.device("meta"):
            expected = {
                key: tuple(value.shape) for key, value in build(card.architecture, card.arguments).state_dict().items()
            }
    except ModelFileError as error:
        raise ModelFileError(f"{name}: {error}") from error
    missing = [key for key in expected if key not in shapes]
    unexpected = [key for key in shapes if key not in expected]
    if missing:
        raise ModelFileError(
            f"{name}: weight {missing[0]!r} of {card.architecture} is missing{closest(missing[0], unexpected)}."
        )
    if unexpected:
        key = unexpected[0]
        raise ModelFileError(
            f"{name}: weight {key[:80]!r} does not belong to {card.architecture}{closest(key, expected)}."
        )
    for key, shape in expected.items():
        if shapes[key] != shape:
            raise ModelFileError(f"{name}: weight {key!r} must have shape {shape}, got {shapes[key]}.")
    inputs, outputs = card.arguments.get("input_width"), card.arguments.get("output_width")
    if isinstance(inputs, int) and inputs != card.schema_.input_width:
        raise ModelFileError(f"{name}: reads {inputs} cells a row, but its schema encodes {card.schema_.input_width}.")
    allowed = {len(card.schema_.classes)} | ({1} if card.schema_.task == "binary" else set())
    if isinstance(outputs, int) and outputs not in allowed:
        raise ModelFileError(
            f"{name}: has {outputs} outputs, but its schema names {len(card.schema_.classes)} classes."
        )


def _check_finite(name: str, state: Mapping[str, torch.Tensor]) -> None:
    for key, value in state.items():
        if not bool(torch.isfinite(value).all()):
            count = int((~torch.isfinite(value)).sum())
            raise ModelFileError(
                f"{name}: weight {key!r} has {count:,} values that are NaN or infinite; train it again."
            )


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from `seed` on the CPU, and leave every global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
