"""What a model can do besides predicting: each capability is a class that a model has an instance of, or has not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from auditkit.evidence.messages import Message
from auditkit.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    import torch
    from torch import nn

    from auditkit.data.dataset import Data
    from auditkit.models.language import TokenScores
    from auditkit.models.model import Model
    from auditkit.models.reinitialise import DrawingRules


@dataclass(frozen=True, eq=False)
class Capability:
    """Something that a model can do; made from the model when it is asked for."""

    model: Model


class Runnable(Capability):
    """The model answers for any rows, not only for those whose decisions were recorded."""


class Differentiable(Capability):
    """The outputs have gradients with respect to the encoded rows: gradients explain and attack the model."""

    @property
    def module(self) -> nn.Module:
        """The module to differentiate."""
        return self.model.module


class Layered(Differentiable):
    """The layers can be hooked, so that methods which read activations are right."""


OTHER_WEIGHTS = Message("the privacy ledger is of other weights (sha256), so that it claims nothing of these")


@dataclass(frozen=True)
class StatedTraining:
    """What a model's own file states about its training with differential privacy; nothing of it is checked yet.

    `training` says what the weights were fitted to, `ledger` is the document of a privacy ledger
    (`auditkit.training.dp.accounting.read_ledger`). `of_these_weights` says whether the ledger was written for the
    weights that were opened.
    """

    training: Mapping[str, Any]
    ledger: Mapping[str, Any]
    of_these_weights: bool = True


class PrivatelyTrained(Capability):
    """The model's own file states that its weights were trained with differential privacy."""

    @property
    def stated(self) -> StatedTraining:
        """What the file states."""
        stated = self.model.stated_training
        assert stated is not None
        return stated


class Refittable(Capability):
    """The same architecture can be trained anew, on other rows or with differential privacy."""

    def fresh(self, seed: int) -> nn.Module:
        """Return a network with fresh weights drawn from `seed`, in training mode.

        Torch's global generator is left as it was.

        Raises:
            NotRun: part of the network would keep trained weights.
        """
        raise NotImplementedError

    def encoded(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Return what a fresh network reads, (rows, ...), of encoded rows: by default the rows themselves."""
        return inputs

    @property
    def drawing_rules(self) -> DrawingRules | None:
        """How the weights are drawn where the file does not say it; None where the architecture does."""
        return None


class SelfFitting(Capability):
    """The model trains itself by a method of its own, as a scikit-learn estimator does: shadow models are fitted so."""

    def refit(self, inputs: NDArray[Any], labels: NDArray[Any], seed: int) -> nn.Module:
        """Return a model of the same kind and settings, fitted to encoded rows and their class codes (or numbers).

        Raises:
            NotRun: it cannot be fitted.
        """
        raise NotImplementedError


class Words(Capability):
    """The model knows words: it has vectors of them or of texts, or gives probabilities to texts."""


class WordVectors(Words):
    """The model has one vector for each word of its vocabulary."""

    @property
    def words(self) -> Sequence[str]:
        """The vocabulary, in the order of the vectors."""
        raise NotImplementedError

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The vectors, finite and none of them zero: (words, width)."""
        raise NotImplementedError


class TextVectors(Words):
    """The model has a vector for each text."""

    @property
    def words(self) -> Sequence[str]:
        """The words of its vocabulary that are one token, each once."""
        raise NotImplementedError

    def knows(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return which texts have no token that is unknown to the model: (texts,)."""
        raise NotImplementedError

    def vectors(
        self, texts: Sequence[str], *, device: torch.device, progress: Progress = silent
    ) -> NDArray[np.float32]:
        """Return the vector of each text: (texts, width)."""
        raise NotImplementedError


class OwnRows(Capability):
    """The model brings the rows that it is audited on, and no data set is named: the words of its vocabulary."""

    def rows(self) -> Data:
        """Return these rows."""
        raise NotImplementedError


class Reproducing(Capability):
    """The model can give back what it was trained on: there are rows of it, or it gives probabilities to texts."""


class Samples(Reproducing):
    """There are rows that a generator made, however they come."""

    def sample(self, count: int, *, seed: int, device: torch.device) -> NDArray[np.float32]:
        """Return `count` rows as the schema encodes rows, float32, (count, ...); one seed gives the same rows."""
        raise NotImplementedError


class Generative(Samples):
    """The model draws rows of its own, such as images, and predicts nothing about given ones."""


class Discriminating(Capability):
    """The generator comes with the network that it was trained against, which tells real rows from its own."""

    def realness(self, rows: NDArray[Any], *, device: torch.device) -> NDArray[np.float64]:
        """Return the logit that each encoded row, (rows, ...), is real: (rows,)."""
        raise NotImplementedError

    def saliency(self, rows: NDArray[Any], *, device: torch.device) -> NDArray[np.float32]:
        """Return the gradient of each row's logit with respect to the encoded row: (rows, ...)."""
        raise NotImplementedError


class LatentCode(Capability):
    """The generator has an encoder: rows have latent values, and these have rows, as in a variational autoencoder."""

    def encode(self, rows: NDArray[Any], *, device: torch.device) -> NDArray[np.float32]:
        """Return the means of the latent values of encoded rows, (rows, ...): (rows, latent values)."""
        raise NotImplementedError

    def decode(self, latent: NDArray[np.float32], *, device: torch.device) -> NDArray[np.float32]:
        """Return the rows, (rows, ...), of latent values, (rows, latent values)."""
        raise NotImplementedError


class SampleTable(Samples):
    """Rows of a table that a generator made, with the columns of the data: a file of them, or the generator."""

    def table(self, count: int, *, seed: int, device: torch.device) -> pd.DataFrame:
        """Return `count` rows of a generator, or all rows of a file."""
        raise NotImplementedError


class LanguageModel(Words, Reproducing):
    """The model gives a probability to each token of a text: from the tokens before it, or from those around it."""

    @property
    def context(self) -> int:
        """The most tokens that are read at once."""
        raise NotImplementedError

    @property
    def start(self) -> tuple[int, ...]:
        """The token before the first one of a text, if there is one."""
        raise NotImplementedError

    def tokens(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the ids of a text's tokens, (tokens,), and the begin and end of their characters, (tokens, 2)."""
        raise NotImplementedError

    def text_of(self, ids: Sequence[int] | NDArray[np.int64]) -> str:
        """Return the text that tokens stand for."""
        raise NotImplementedError

    def score(self, texts: Sequence[str], *, device: torch.device, progress: Progress = silent) -> list[TokenScores]:
        """Return what the model says of the tokens of each text.

        A text longer than the model reads at once is read in windows that overlap by half.
        """
        raise NotImplementedError


class RepeatableTraining(Capability):
    """A language model's own file says how it was trained, so that it can be trained in this way on other texts."""

    @property
    def epochs(self) -> int:
        """How often each text was read.

        Raises:
            NotRun: the file does not say it.
        """
        raise NotImplementedError

    def fresh(self, seed: int) -> nn.Module:
        """Return a network of the same architecture with fresh weights drawn from `seed`, in training mode."""
        raise NotImplementedError


class CausalLanguageModel(LanguageModel):
    """The model gives a token its probability from those before it, and so can continue a text."""

    def endings(self, texts: Sequence[str], *, device: torch.device) -> NDArray[np.float64]:
        """Return the log-probability of each text, without that of the tokens which all of them begin with: (texts,).

        Texts that begin alike share their forward passes, so that 10,000 codes of 4 digits take 1,111 rows.

        Raises:
            NotRun: the texts share no token, or one is longer than the model reads at once.
        """
        raise NotImplementedError

    def greedy(
        self, prompts: Sequence[Sequence[int]], count: int, *, device: torch.device, progress: Progress = silent
    ) -> NDArray[np.int64]:
        """Return the `count` tokens that continue each prompt where each is the likeliest: (prompts, count).

        Prompts are token ids; a long one is cut at its beginning.

        Raises:
            NotRun: so many tokens are more than the model reads at once.
        """
        raise NotImplementedError

    def sampled(
        self,
        prompts: Sequence[Sequence[int]],
        count: int,
        *,
        seed: int,
        device: torch.device,
        progress: Progress = silent,
    ) -> list[list[int]]:
        """Return tokens that continue each prompt, each drawn by the model's own probabilities.

        They end before the token that ends a text, and after `count` of them; a prompt that stands there twice has two
        draws. One seed gives a prompt in the same place the same tokens, whatever the other prompts are.

        Raises:
            NotRun: as `greedy`.
        """
        raise NotImplementedError


def all_but(*has: type[Capability], reason: str) -> dict[type[Capability], str]:
    """Return every capability of this file that none of those which a model has is one of, each with the reason."""
    found = [Capability]
    for kind in found:  # which grows by the kinds of each
        found += [one for one in kind.__subclasses__() if one.__module__ == __name__]
    return {kind: reason for kind in found if not any(issubclass(one, kind) for one in has)}
