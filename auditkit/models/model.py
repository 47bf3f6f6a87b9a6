"""A model ready to be audited, and its card: the words that travel with its weights."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn

from auditkit.errors import ModelFileError, NotRun
from auditkit.evidence.measurement import Record
from auditkit.models.factory import build_network, is_code
from auditkit.models.formats.exported import program_in
from auditkit.models.formats.weights import check_finite
from auditkit.models.program_layers import restore_layers
from auditkit.models.reinitialise import DrawingRules, draw_weights, drawing_rules
from auditkit.schema.outputs import FirstOutput
from auditkit.schema.schema import Schema

Kind = Literal["auditkit", "weights", "module", "pickled module", "torch.export", "TorchScript"]
"""A native file, foreign weights, an object from memory, and the three kinds of file that only trust opens."""


class Card(Record):
    """The words of a model file: what its weights are, and how they came about.

    `architecture` and `arguments` are those of `auditkit.models.factory.build_network`; of an exported program, which
    carries its own graph, `architecture` is "torch.export". `training` says what the weights were fitted to (path,
    sha256, row_count, seed, epochs, ...); `ledger` is the privacy ledger, if any.
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

    `kind` is how it came, `trust` what opening it could have run. `card` is the file's, or made of what the user
    said about foreign weights; it is None for a module from memory, and for programs that auditkit did not write.
    `path` and `sha256` are None for a module from memory. `notes` says what a reader of the report must know about
    how the file was read.
    """

    name: str
    module: nn.Module
    schema: Schema
    card: Card | None
    path: str | None
    sha256: str | None
    kind: Kind
    trust: str
    notes: tuple[str, ...] = ()

    @property
    def parameter_count(self) -> int:
        """The number of parameters, trainable or not."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def architecture(self) -> str | None:
        """What the network is called: as its card says, or its class; None for a program."""
        if self.is_program:
            return None
        if self.card is not None:
            return self.card.architecture
        inner = self.module.network if isinstance(self.module, FirstOutput) else self.module
        return type(inner).__qualname__

    @property
    def is_program(self) -> bool:
        """Whether it is a compiled graph, whose layers cannot be hooked: methods that hook them are silently wrong."""
        return self.kind in ("torch.export", "TorchScript")

    @property
    def known_by_hash(self) -> bool:
        """Whether the hash of the file tells what it computes: not where the user's own code is part of the model."""
        return self.kind == "auditkit" and self.card is not None and not is_code(self.card.architecture)

    def was_trained_on(self, sha256: str | None) -> bool | None:
        """Return whether the card says that data of this hash trained the model; None where one is not known."""
        recorded = self.card.training.get("sha256") if self.card else None
        return recorded == sha256 if recorded and sha256 else None

    @property
    def drawing_rules(self) -> DrawingRules | None:
        """How `fresh` draws the weights of an exported program, whose file does not say it; None for other models.

        Raises:
            NotRun: as `fresh`.
        """
        exported = program_in(self.module)
        return None if exported is None else drawing_rules(exported)

    def fresh(self, seed: int) -> nn.Module:
        """Return a network of the same architecture with fresh weights drawn from `seed`, in training mode.

        A model with a card is built anew from it. A module from memory is copied, and every submodule that owns
        parameters is reset by its own `reset_parameters`; plain buffers are kept as they are. So they are in the copy
        of an exported program, whose parameters are drawn by the operators that read them. Torch's global generator
        is left as it was.

        Raises:
            NotRun: it is a TorchScript program, or an exported one that keeps statistics of rows; a submodule owns
                parameters and cannot reset them, or a factory returns the audited weights again, so that the copy
                would keep trained weights.
        """
        if self.kind == "TorchScript":
            raise NotRun(
                "fresh weights cannot be drawn: a TorchScript program has no architecture to build anew; audit its "
                "weights with --architecture package.module:factory, or export it with torch.export"
            )
        with seeded(seed):
            if self.kind == "torch.export":
                module = copy.deepcopy(self.module)
                exported = program_in(module)
                assert exported is not None
                draw_weights(exported)
                if exported.batch is None:  # else a layer sees fewer rows than the training gives it
                    restore_layers(exported.network)
                _check_fresh(module, self)
                return module.requires_grad_(True)
            if self.card is not None:
                module = build_network(self.card.architecture, self.card.arguments).train()
                if isinstance(self.module, FirstOutput):
                    module = FirstOutput(module).train()
                _check_fresh(module, self)
                return module
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


def _check_fresh(module: nn.Module, model: Model) -> None:
    trained = dict(model.module.named_parameters())
    for key, value in module.named_parameters():
        # Biases and scales that start as constants may well have stayed so; drawn numbers never come twice.
        if value.numel() > 1 and value.min() < value.max() and torch.equal(value.detach(), trained[key].detach()):
            raise NotRun(
                f"fresh weights cannot be drawn: {model.card.architecture if model.card else 'the factory'} returns "
                f"weight {key!r} as it was audited, and not a fresh one"
            )


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
        raise ModelFileError(f"model {name}: cannot be copied: {first_line(error)}.") from error
    copied = copied.to("cpu").eval()
    check_finite(f"model {name}", copied.state_dict())
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


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from `seed` on the CPU, and leave every global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def first_line(error: Exception) -> str:
    """Return what an error says on its first line, without its full stop; where it says nothing, its name."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
