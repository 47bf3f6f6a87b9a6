"""The task of language models: probabilities of the tokens of texts, and no label that a text has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NoReturn

from auditkit.errors import NotRun
from auditkit.evidence.messages import Message
from auditkit.tasks.base import Floats
from auditkit.tasks.generation import Generation

if TYPE_CHECKING:
    import torch

NOTHING_PREDICTED = Message("this model gives probabilities to the tokens of texts, and predicts no label of a text")


@dataclass(frozen=True)
class Language(Generation):
    """Texts whose tokens get probabilities. As of a generator, nothing is predicted about a row as a whole."""

    unpredicted: ClassVar[Message | None] = NOTHING_PREDICTED
    profile: ClassVar[str] = "language"

    def target_name(self) -> str:
        """Return the words for what is explained."""
        return Message("the log-probability of the next word")

    def target(self, outputs: torch.Tensor, explained: torch.Tensor) -> torch.Tensor:
        """Return the log-probability that a network of next words returns, (rows,), as the only output."""
        return outputs[:, 0]

    def transform(self, outputs: Floats) -> NoReturn:
        """Raise NotRun: outputs are probabilities of tokens, and no predictions."""
        raise NotRun(NOTHING_PREDICTED)
