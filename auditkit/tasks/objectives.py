"""What a network learns: the loss of each row, and the labels that this loss takes.

Training, private training and shadow models take the objective of a task (`Task.objective`), and never ask which task
it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import DatasetError, ModelFileError, NotRun
from auditkit.evidence.messages import Message
from auditkit.schema.schema import Labels

if TYPE_CHECKING:
    import torch

Output = Literal["logits", "probabilities", "value"]
"""What a network returns: unnormalised logits, probabilities, or the standardised number of a regression."""


def trainable_output(output: str) -> Output:
    """Return what a network returns, if there is a loss to train it by.

    Raises:
        NotRun: it returns scores that are no probabilities, or mere decisions.
    """
    if output not in get_args(Output):
        raise NotRun(Message("the model gives scores that are no probabilities: there is no loss to train it by"))
    return cast(Output, output)


class Objective(Protocol):
    """What a network is trained by: a loss, and what labels and outputs must be for it.

    `output` is what the network returns. Labels are those that `Task.learnt` returns, (rows,) or (rows, labels).
    """

    @property
    def output(self) -> Output:
        """What the network returns for each row."""
        ...

    def targets(self, labels: Labels) -> NDArray[Any]:
        """Return labels as the loss takes them: in one piece, and of the type of its tensor."""
        ...

    def strata(self, labels: Labels) -> NDArray[Any]:
        """Return the class, (rows,), of whose rows the same share is held out."""
        ...

    def require_labels(self, labels: Labels) -> None:
        """Raise DatasetError for labels, at least one, that cannot be learnt."""
        ...

    def require_outputs(self, outputs: torch.Tensor, labels: Labels) -> None:
        """Raise for outputs, (rows,) or (rows, outputs), that cannot be held against the labels of any rows.

        Raises:
            ModelFileError: the network returns too few or too many numbers a row.
            DatasetError: a label is outside the network's classes.
        """
        ...

    def losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss of each row, (rows,)."""
        ...

    def scores(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return what is said of each row on the scale that is learnt: probabilities, (rows, classes), or (rows, 1)."""
        ...

    def batch(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rows and their targets as one pass of a training takes them: cut to the longest, say."""
        ...


class WholeRows:
    """Rows that a training takes as they are."""

    def batch(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both as they are."""
        return inputs, targets


@dataclass(frozen=True)
class CrossEntropy(WholeRows):
    """The cross-entropy of class codes from 0, (rows,), in nats."""

    output: Output = "logits"

    def targets(self, labels: Labels) -> NDArray[Any]:
        """Return the codes as int64."""
        return np.ascontiguousarray(labels, dtype=np.int64)

    def strata(self, labels: Labels) -> NDArray[Any]:
        """Return the codes themselves."""
        return labels

    def require_labels(self, labels: Labels) -> None:
        """Raise DatasetError unless labels are codes from 0, of two classes at least."""
        negative = np.flatnonzero(labels < 0)
        if len(negative):
            raise DatasetError(
                f"labels must be class codes from 0, got {labels[negative[0]]} in row {negative[0]} (counted from 0; "
                f"{len(negative)} such rows); drop the rows without a label."
            )
        if labels.min() == labels.max():
            raise DatasetError(
                f"training needs at least 2 classes, got class {labels[0]} in all {len(labels)} rows; "
                f"check the target column."
            )

    def require_outputs(self, outputs: torch.Tensor, labels: Labels) -> None:
        """Raise DatasetError for a label outside the network's classes."""
        class_count = 2 if outputs.ndim == 1 or outputs.shape[1] == 1 else outputs.shape[1]
        outside = np.flatnonzero(labels >= class_count)
        if len(outside):
            raise DatasetError(
                f"labels must be below the module's {class_count} classes, got {labels[outside[0]]} in row "
                f"{outside[0]} (counted from 0); build the module with {int(labels.max()) + 1} outputs."
            )

    def losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy of each row, (rows,)."""
        from torch.nn import functional

        return functional.cross_entropy(class_logits(outputs, self.output), targets, reduction="none")

    def scores(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return the probability of every class, (rows, classes)."""
        return class_logits(outputs, self.output).double().softmax(dim=1)


@dataclass(frozen=True)
class BinaryCrossEntropy(WholeRows):
    """The binary cross-entropy of several labels, each 0 or 1, (rows, labels): the mean over the labels, in nats."""

    output: Output = "logits"

    def targets(self, labels: Labels) -> NDArray[Any]:
        """Return the labels as float32."""
        return np.ascontiguousarray(labels, dtype=np.float32)

    def strata(self, labels: Labels) -> NDArray[Any]:
        """Return one class for all rows."""
        return np.zeros(len(labels))

    def require_labels(self, labels: Labels) -> None:
        """Raise DatasetError unless labels are 0 or 1, and not all the same."""
        missing = np.flatnonzero((labels < 0).any(axis=1))
        if len(missing):
            raise DatasetError(
                f"labels must be 0 or 1, got {labels[missing[0]].min()} in row {missing[0]} (counted from 0; "
                f"{len(missing)} such rows); drop the rows without a label."
            )
        if labels.min() == labels.max():
            raise DatasetError(
                f"training needs labels that differ, got {labels.min()} for every label of all {len(labels)} rows; "
                f"check the target columns."
            )

    def require_outputs(self, outputs: torch.Tensor, labels: Labels) -> None:
        """Raise ModelFileError unless the network returns one number for each label."""
        if outputs.shape != (len(outputs), labels.shape[1]):
            raise ModelFileError(
                f"the module must return one number for each of {labels.shape[1]} labels, got {tuple(outputs.shape)} "
                f"for {len(outputs)} rows."
            )

    def losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean binary cross-entropy of each row's labels, (rows,)."""
        from torch.nn import functional

        logits = outputs.float() if self.output == "logits" else outputs.float().logit(eps=1e-7)
        return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)

    def scores(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return the probability of every label by itself, (rows, labels)."""
        return outputs.double().sigmoid() if self.output == "logits" else outputs.double()


@dataclass(frozen=True)
class SquaredError(WholeRows):
    """The squared error of the standardised numbers of a regression, (rows,)."""

    output: Output = "value"

    def targets(self, labels: Labels) -> NDArray[Any]:
        """Return the numbers as float32."""
        return np.ascontiguousarray(labels, dtype=np.float32)

    def strata(self, labels: Labels) -> NDArray[Any]:
        """Return one class for all rows."""
        return np.zeros(len(labels))

    def require_labels(self, labels: Labels) -> None:
        """Raise DatasetError unless the numbers are finite, and not all the same."""
        if not np.isfinite(labels).all() or labels.min() == labels.max():
            raise DatasetError(
                "the numbers to be learnt must be finite, and not all the same; check the target column."
            )

    def require_outputs(self, outputs: torch.Tensor, labels: Labels) -> None:
        """Raise ModelFileError unless the network returns one number a row."""
        if outputs.numel() != len(outputs):
            raise ModelFileError(f"the module must return one number for each row, got {outputs.shape[1]}.")

    def losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the squared error of each row, (rows,)."""
        return (outputs.float().reshape(-1) - targets) ** 2

    def scores(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return the standardised number of each row, (rows, 1)."""
        return outputs.reshape(-1, 1).double()


def class_logits(outputs: torch.Tensor, output: Output) -> torch.Tensor:
    """Return what cross-entropy takes, shape (rows, classes), from a module's outputs of any accepted kind.

    A single column (or none) is the score of the second class, whose opponent scores 0. The cross-entropy of
    log-probabilities is the negative log-likelihood, since they are their own log-softmax.
    """
    import torch

    outputs = outputs.float()
    if outputs.ndim == 1:
        outputs = outputs.unsqueeze(1)
    if output == "logits":
        return outputs if outputs.shape[1] > 1 else torch.cat([torch.zeros_like(outputs), outputs], dim=1)
    probabilities = outputs if outputs.shape[1] > 1 else torch.cat([1 - outputs, outputs], dim=1)
    return probabilities.clamp(min=torch.finfo(torch.float32).tiny).log()


@dataclass(frozen=True)
class OwnLoss(WholeRows):
    """The loss that a network returns for each row itself, (rows,), as a generator does: labels are not read."""

    output: Output = "value"

    def targets(self, labels: Labels) -> NDArray[Any]:
        """Return zeros: nothing is read of them."""
        return np.zeros(len(labels), dtype=np.float32)

    def strata(self, labels: Labels) -> NDArray[Any]:
        """Return one class for all rows."""
        return np.zeros(len(labels))

    def require_labels(self, labels: Labels) -> None:
        """Accept any."""

    def require_outputs(self, outputs: torch.Tensor, labels: Labels) -> None:
        """Raise ModelFileError unless the network returns one number a row."""
        if outputs.shape != (len(outputs),):
            raise ModelFileError(f"the generator must return one loss a row, got shape {tuple(outputs.shape)}.")

    def losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the outputs, (rows,)."""
        return outputs.float()

    def scores(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return the losses, (rows, 1)."""
        return outputs.reshape(-1, 1).double()
