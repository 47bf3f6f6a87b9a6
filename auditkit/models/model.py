"""A model ready to be audited, and its card: the words that travel with its weights."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from auditkit.errors import ModelFileError, NotRun
from auditkit.evidence.measurement import Record
from auditkit.evidence.messages import Message
from auditkit.modalities.base import Modality
from auditkit.models.audited import AskedRows
from auditkit.models.base import ModelInfo
from auditkit.models.batch import PackedInputs
from auditkit.models.capabilities import (
    Capability,
    Differentiable,
    Discriminating,
    Generative,
    LanguageModel,
    LatentCode,
    Layered,
    OwnRows,
    PrivatelyTrained,
    Refittable,
    RepeatableTraining,
    Reproducing,
    Runnable,
    Samples,
    SampleTable,
    StatedTraining,
    Words,
)
from auditkit.models.factory import is_code
from auditkit.models.formats.weights import check_finite
from auditkit.models.generate import generating
from auditkit.models.outputs import FirstOutput
from auditkit.models.packed import packed_modality, packed_module
from auditkit.models.predict import choose_device, predict, predict_rows
from auditkit.models.refit import FromCard, FromCopy
from auditkit.models.reinitialise import DrawingRules
from auditkit.schema.schema import Schema
from auditkit.tasks.base import Predictions

if TYPE_CHECKING:
    import pandas as pd

C = TypeVar("C", bound=Capability)

NATIVE = "auditkit"
"""The kind of a file that auditkit wrote: weights and a card, and nothing that could be run."""

OF_WEIGHTS: tuple[type[Capability], ...] = (Layered, FromCard)
"""What a network can do whose architecture is named; a module from memory is copied instead."""

OF_MODULE: tuple[type[Capability], ...] = (Layered, FromCopy)


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

    Every model is run through `module`, whatever it was made by; what else can be done with it are its `capabilities`,
    classes of which `capability` makes an instance. `lacks` says why it has not one of the others; it runs on any
    rows unless `lacks` names that. `kind` is how it
    came, `trust` what opening it could have run. `card` is the file's, or made of what the user said about foreign
    weights; it is None for a module from memory, and for programs that auditkit did not write. `path` and `sha256` are
    None for a module from memory. `notes` says what a reader of the report must know about how the file was
    read, and `guesses` what was guessed, with `asks` where labels can contradict it. With `guessed` nothing says how
    columns become the input: they are passed as they are, in their order. `beside_weights` is what a file beside the
    weights states about a training with privacy.
    """

    name: str
    module: nn.Module
    schema: Schema
    card: Card | None
    path: str | None
    sha256: str | None
    kind: str
    trust: str
    notes: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()
    asks: bool = False
    guessed: bool = False
    capabilities: tuple[type[Capability], ...] = OF_MODULE
    lacks: Mapping[type[Capability], str] = field(default_factory=dict)
    beside_weights: StatedTraining | None = None

    def __post_init__(self) -> None:
        """Let the network read packed rows where the modality encodes them as several tensors."""
        object.__setattr__(self, "module", packed_module(self.module, self.modality))

    @property
    def info(self) -> ModelInfo:
        """What is known of it apart from what it predicts."""
        return ModelInfo(
            name=self.name,
            kind=self.kind,
            trust=self.trust,
            path=self.path,
            sha256=self.sha256,
            architecture=self.architecture,
            parameter_count=self.parameter_count,
            provenance=self._training,
        )

    def capability(self, kind: type[C]) -> C | None:
        """Return the capability of this kind, None where the model has not got it."""
        runnable = () if Runnable in self.lacks else (Runnable,)
        stated = () if self.stated_training is None else (PrivatelyTrained,)
        found = next((one for one in (*self.capabilities, *runnable, *stated) if issubclass(one, kind)), None)
        return None if found is None else found(self)

    def require(self, kind: type[C]) -> C:
        """Return the capability of this kind.

        Raises:
            NotRun: the model has not got it, with the reason.
        """
        found = self.capability(kind)
        if found is None:
            raise NotRun(self.lack(kind))
        return found

    def lack(self, kind: type[Capability]) -> str:
        """Return why the model has not got a capability, as a clause."""
        return lack_of(kind, self.lacks)

    def predict(self, inputs: NDArray[Any], *, device: str = "cpu") -> Predictions:
        """Return the predictions for encoded rows, (rows, ...)."""
        return predict(self.module, inputs, self.schema, device=choose_device(device))

    @functools.cached_property
    def modality(self) -> Modality:
        """How rows become inputs: of several tensors the rows in which these are packed."""
        return packed_modality(self.schema)

    @property
    def decision_columns(self) -> tuple[str, ...]:
        """None: a model predicts, and no column holds its decisions."""
        return ()

    def answered(self, frame: pd.DataFrame) -> NDArray[np.bool_]:
        """Return that the model answers for every row: bool, (rows,)."""
        return np.ones(len(frame), dtype=bool)

    def answers(self, rows: AskedRows) -> Predictions:
        """Return the predictions for rows, which are encoded a part at a time."""
        return predict_rows(
            self.module,
            rows.encode,
            len(rows.data.frame),
            self.schema,
            device=choose_device(rows.device_name),
            executor=rows.executor,
            progress=rows.progress,
        )

    def choose_device(self, asked: str) -> str:
        """Return `cpu` or `cuda`; see `auditkit.models.predict.choose_device`."""
        return choose_device(asked).type

    def computed_on(self, device_name: str) -> tuple[str, int]:
        """Return the name of the GPU, or cpu, and the threads that torch uses."""
        name = torch.cuda.get_device_name(device_name) if device_name == "cuda" else "cpu"
        return name, torch.get_num_threads()

    @property
    def parameter_count(self) -> int:
        """The number of parameters, trainable or not."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def architecture(self) -> str | None:
        """What the network is called: as its card says, or its class; None for a program, which has no layers."""
        if self.card is not None and (self.kind == NATIVE or self.capability(Layered) is not None):
            return self.card.architecture
        if self.capability(Layered) is None:
            return None
        inner = self.module
        while isinstance(inner, FirstOutput | PackedInputs):
            inner = inner.network
        return type(inner).__qualname__

    @property
    def known_by_hash(self) -> bool:
        """Whether the hash of the file tells what it computes: not where the user's own code is part of the model."""
        return self.kind == NATIVE and self.card is not None and not is_code(self.card.architecture)

    @property
    def states_encoding(self) -> bool:
        """Whether the file itself says how columns become its input: one that auditkit wrote."""
        return self.kind == NATIVE

    def was_trained_on(self, sha256: str | None) -> bool | None:
        """Return whether the model's file says that data of this hash trained it; None where one is not known."""
        recorded = self._training.get("sha256")
        return recorded == sha256 if recorded and sha256 else None

    @property
    def stated_training(self) -> StatedTraining | None:
        """What the model's own file states about a training with differential privacy, None where it states nothing."""
        if self.card is None or self.card.ledger is None:
            return self.beside_weights
        return StatedTraining(self.card.training, self.card.ledger)

    @property
    def _training(self) -> Mapping[str, Any]:
        """What the model's file says of the training of its weights; nothing where it does not say it."""
        if self.card is not None:
            return self.card.training
        stated = self.beside_weights
        return stated.training if stated is not None and stated.of_these_weights else {}

    @property
    def drawing_rules(self) -> DrawingRules | None:
        """How `fresh` draws the weights of an exported program, whose file does not say it; None for other models.

        Raises:
            NotRun: as `fresh`.
        """
        refit = self.capability(Refittable)
        return None if refit is None else refit.drawing_rules

    def network_inputs(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Return what a network of `fresh` reads, of encoded rows: they themselves, if no preprocessing is between."""
        refit = self.capability(Refittable)
        return inputs if refit is None else refit.encoded(inputs)

    def fresh(self, seed: int) -> nn.Module:
        """Return a network of the same architecture with fresh weights drawn from `seed`, in training mode.

        Raises:
            NotRun: it cannot be trained anew, or the copy would keep trained weights.
        """
        return self.require(Refittable).fresh(seed)


def lack_of(kind: type[Capability], lacks: Mapping[type[Capability], str]) -> str:
    """Return why a model has not got a capability: the reason among its own `lacks`, else the general one."""
    said = next((reason for other, reason in lacks.items() if issubclass(kind, other)), None)
    return said or next(reason for other, reason in LACKS.items() if issubclass(kind, other))


LACKS: dict[type[Capability], str] = {
    Differentiable: Message("the model's outputs have no gradient with respect to its inputs"),
    Layered: Message("the model has no layers that can be hooked"),
    Refittable: Message("fresh weights cannot be drawn: the model has no architecture to build anew"),
    Samples: Message("the model predicts, and generates no rows"),
    LanguageModel: Message("the model is no language model, and gives no probabilities to the tokens of a text"),
    RepeatableTraining: Message("the model's file does not say how it was trained; only those of auditkit train do"),
    Words: Message("the model has neither word vectors nor probabilities of texts"),
    Reproducing: Message("the model predicts, and generates neither rows nor texts"),
    PrivatelyTrained: Message("the model's file states no training with differential privacy"),
    OwnRows: Message("the model brings no rows of its own"),
    Discriminating: Message("the model has no discriminator"),
    LatentCode: Message("the model has no encoder"),
}
"""Why a model has not got a capability, where its format does not say more."""

ONLY_PREDICTS: dict[type[Capability], str] = {
    kind: lack_of(kind, {}) for kind in (Generative, Samples, SampleTable, LanguageModel, Reproducing, Words)
}
"""What a file lacks that holds nothing but a predictor."""


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
        trust=Message("object in memory"),
        **generating(copied),
    )


def first_line(error: Exception) -> str:
    """Return what an error says on its first line, without its full stop; where it says nothing, its name."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
