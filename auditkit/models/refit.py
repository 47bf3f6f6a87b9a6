"""Fresh weights for a network: built anew from its card, reset layer by layer, or drawn as an exported graph says."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn

from auditkit.errors import NotRun
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import Refittable, RepeatableTraining
from auditkit.models.factory import build_network
from auditkit.models.formats.exported import ExportedNetwork, program_in
from auditkit.models.outputs import FirstOutput
from auditkit.models.packed import like
from auditkit.models.program_layers import restore_layers
from auditkit.models.reinitialise import DrawingRules, draw_weights, drawing_rules

if TYPE_CHECKING:
    from auditkit.models.model import Model

MOST_EPOCHS = 1000


class FromCard(Refittable):
    """A network that is built anew by the architecture that its card names."""

    def fresh(self, seed: int) -> nn.Module:
        """Return the architecture with fresh weights; see `Refittable.fresh`.

        Raises:
            NotRun: the factory returns the audited weights again.
        """
        card = self.model.card
        assert card is not None
        with seeded(seed):
            module = build_network(card.architecture, card.arguments).train()
        if isinstance(self.model.module, FirstOutput):
            module = FirstOutput(module, self.model.module.index).train()
        module = like(module, self.model.module)
        _check_fresh(module, self.model, card.architecture)
        return module


class FromLanguageCard(RepeatableTraining):
    """A language model of auditkit's own, whose card says for how many epochs it was trained."""

    @property
    def epochs(self) -> int:
        """How often each text was read; see `RepeatableTraining.epochs`."""
        if self.model.stated_training is not None:
            raise NotRun(
                Message("the model was trained with differential privacy, and such a training is not repeated here")
            )
        found = {} if self.model.card is None else self.model.card.training
        epochs = found.get("epochs")
        if not isinstance(epochs, int) or isinstance(epochs, bool) or not 1 <= epochs <= MOST_EPOCHS:
            raise NotRun(Message("the model's file does not say for how many epochs it was trained"))
        return epochs

    def fresh(self, seed: int) -> nn.Module:
        """Return the architecture with fresh weights; see `RepeatableTraining.fresh`."""
        return FromCard(self.model).fresh(seed)


class FromCopy(Refittable):
    """A module from memory: a copy in which every submodule that owns parameters is reset by its own method."""

    def fresh(self, seed: int) -> nn.Module:
        """Return the copy, with plain buffers as they are; see `Refittable.fresh`.

        Raises:
            NotRun: a submodule owns parameters and has no `reset_parameters`.
        """
        module = copy.deepcopy(self.model.module)
        with seeded(seed):
            reset_weights(module)
        return module.requires_grad_(True).train()


class FromGraph(Refittable):
    """An exported program: its parameters are drawn by the operators that read them, its buffers kept."""

    @property
    def _program(self) -> ExportedNetwork:
        program = program_in(self.model.module)
        assert program is not None
        return program

    @property
    def drawing_rules(self) -> DrawingRules:
        """How the weights are drawn, which the file does not say."""
        return drawing_rules(self._program)

    def fresh(self, seed: int) -> nn.Module:
        """Return a copy of the program with fresh weights; see `Refittable.fresh`.

        Raises:
            NotRun: the program keeps statistics of rows.
        """
        module = copy.deepcopy(self.model.module)
        exported = program_in(module)
        assert exported is not None
        with seeded(seed):
            draw_weights(exported)
        if exported.batch is None:  # else a layer sees fewer rows than the training gives it
            restore_layers(exported.network)
        _check_fresh(module, self.model, "the factory")
        return module.requires_grad_(True)


def reset_weights(module: nn.Module) -> None:
    """Reset every submodule that owns parameters, in place.

    Raises:
        NotRun: one has no `reset_parameters`.
    """
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


def _check_fresh(module: nn.Module, model: Model, maker: str) -> None:
    trained = dict(model.module.named_parameters())
    for key, value in module.named_parameters():
        # Biases and scales that start as constants may well have stayed so; drawn numbers never come twice.
        if value.numel() > 1 and value.min() < value.max() and torch.equal(value.detach(), trained[key].detach()):
            raise NotRun(
                f"fresh weights cannot be drawn: {maker} returns weight {key!r} as it was audited, and not a fresh one"
            )


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from `seed` on the CPU, and leave every global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
