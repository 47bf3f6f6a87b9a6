"""What it costs a network to be wrong about each row: one loss a row, of whatever the network returns.

Training, private training, shadow models and attacks all take the loss from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeGuard, get_args

from auditkit.errors import NotRun
from auditkit.evidence.messages import Message

if TYPE_CHECKING:
    import torch

Output = Literal["logits", "probabilities", "value"]
"""What a module returns: unnormalised logits, probabilities, or the standardised number of a regression."""


def has_loss(output: str) -> TypeGuard[Output]:
    """Whether a network that returns this can be trained: not scores that are no probabilities, nor mere decisions."""
    return output in get_args(Output)


def row_losses(outputs: torch.Tensor, targets: torch.Tensor, output: Output) -> torch.Tensor:
    """Return each row's loss, (rows,): the cross-entropy (mean over labels), of a `value` the squared error."""
    from torch.nn import functional

    if output == "value":
        return (outputs.float().reshape(-1) - targets) ** 2
    if targets.ndim > 1:
        logits = outputs.float() if output == "logits" else outputs.float().logit(eps=1e-7)
        return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)
    return functional.cross_entropy(class_logits(outputs, output), targets, reduction="none")


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


def scores_of(outputs: torch.Tensor, output: Output) -> torch.Tensor:
    """Return what is said of each row on the scale that is learnt: probabilities, (rows, classes), or (rows, 1)."""
    if output == "value":
        return outputs.reshape(-1, 1).double()
    return class_logits(outputs, output).double().softmax(dim=1)


def loss_by_output(outputs: torch.Tensor, targets: torch.Tensor, output: str) -> torch.Tensor:
    """Return each row's loss; see `row_losses`.

    Raises:
        NotRun: the outputs are scores that are no probabilities, or decisions.
    """
    if not has_loss(output):
        raise NotRun(Message("the model gives scores that are no probabilities: there is no loss to train it by"))
    return row_losses(outputs, targets, output)
