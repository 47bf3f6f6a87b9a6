"""Ordinary training: a network fitted in place, with early stopping on a seeded validation split."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.errors import DatasetError, InputError, ModelFileError
from auditkit.evidence.measurement import Record
from auditkit.evidence.scalars import Number, WholeNumber
from auditkit.progress import Progress, silent
from auditkit.schema.schema import Labels
from auditkit.tasks.objectives import CrossEntropy, Objective

EVALUATION_CELL_COUNT = 2**20
"""The validation rows go through the network in parts of about so many cells."""


class FitRecord(Record):
    """What a training run did: settings, epochs, and the mean loss after each epoch.

    The loss is the cross-entropy (nats), in a regression the squared error of the standardised target.

    `best_epoch` (from 1) has the lowest validation loss; its weights are the ones kept.
    """

    epoch_count: WholeNumber
    best_epoch: WholeNumber
    training_losses: tuple[Number, ...]
    validation_losses: tuple[Number, ...]
    training_row_count: WholeNumber
    validation_row_count: WholeNumber
    seconds: Number
    seed: WholeNumber
    epochs: WholeNumber
    batch_size: WholeNumber
    learning_rate: Number
    weight_decay: Number
    validation_share: Number
    patience: WholeNumber
    precision: Literal["float32", "bfloat16 autocast"]


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How a network is trained; `validation_share` of each class is held out, and says when to stop.

    `patience` is the number of epochs that may leave the validation loss as it is before training stops.
    """

    epochs: int = 30
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    validation_share: float = 0.1
    patience: int = 3
    seed: int = 0

    def require(self) -> None:
        """Raise InputError for a setting that is out of its bounds."""
        require_positive_int("epochs", self.epochs)
        require_positive_int("batch_size", self.batch_size)
        require_positive_int("patience", self.patience)
        require_positive("learning_rate", self.learning_rate)
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise InputError(f"weight_decay must be finite and at least 0, got {self.weight_decay}; pass 0 for none.")
        if not 0 < self.validation_share < 1:
            raise InputError(f"validation_share must lie between 0 and 1, got {self.validation_share}; pass 0.1.")


def fit(
    module: nn.Module,
    inputs: NDArray[Any],
    labels: Labels,
    settings: FitSettings | None = None,
    *,
    device: torch.device,
    objective: Objective | None = None,
    sample_weight: NDArray[np.float64] | None = None,
    progress: Progress = silent,
) -> FitRecord:
    """Train `module` in place on `inputs` (rows, ...) and `labels` (rows, ...) by AdamW.

    `objective` is that of the task, with the labels as the task learns them; by default the cross-entropy of class
    codes, from logits. Inputs are numbers, or integers that are token ids. `sample_weight`, (rows,), says how much each
    row counts.

    A share of each class (of all rows, where rows have no single class) is held out by the seed; training stops when
    `patience` epochs have not lowered its loss, and the best epoch's weights are restored. On CUDA the forward pass
    runs in bfloat16 (autocast). The module is left in eval mode and on the device it came on; torch's global random
    state is restored. On a CPU with a fixed thread count the same seed gives the same weights.

    Raises:
        DatasetError: a NaN or infinite input, a label outside the module's classes, one class only, too few rows.
        InputError: a setting out of its bounds, or a loss that stops being finite.
        ModelFileError: the module does not return one row of class scores for each row.
    """
    settings = settings or FitSettings()
    settings.require()
    objective = objective or CrossEntropy()
    require_rows(inputs, labels, objective)
    held_out = stratified_mask(objective.strata(labels), share=settings.validation_share, seed=settings.seed)
    weights = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight) / np.mean(sample_weight)
    started = time.perf_counter()
    with trained_on(module, device, settings.seed):
        require_outputs(module, inputs, labels, objective, device)
        rows = _Rows(
            tensor_of(inputs, device),
            targets_of(labels, objective, device),
            torch.as_tensor(weights.astype(np.float32), device=device),
            training=torch.as_tensor(np.flatnonzero(~held_out)),
            validation=torch.as_tensor(np.flatnonzero(held_out), device=device),
        )
        training_losses, validation_losses = _fit_epochs(module, rows, settings, objective, progress)
    best_epoch, epoch = int(np.argmin(validation_losses)) + 1, len(validation_losses)
    progress(1.0, f"best epoch {best_epoch} of {epoch}")
    return FitRecord(
        epoch_count=epoch,
        best_epoch=best_epoch,
        training_losses=tuple(training_losses),
        validation_losses=tuple(validation_losses),
        training_row_count=len(rows.training),
        validation_row_count=len(rows.validation),
        seconds=time.perf_counter() - started,
        precision="bfloat16 autocast" if device.type == "cuda" else "float32",
        **asdict(settings),
    )


@dataclass(frozen=True)
class _Rows:
    """All rows on the device that trains, and the numbers of those that train (on the CPU) and those that validate."""

    inputs: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    training: torch.Tensor
    validation: torch.Tensor

    @property
    def device(self) -> torch.device:
        return self.inputs.device


def _fit_epochs(
    module: nn.Module, rows: _Rows, settings: FitSettings, objective: Objective, progress: Progress
) -> tuple[list[float], list[float]]:
    """Train until the validation loss stops falling, keep the best epoch's weights, and return each epoch's losses.

    Raises:
        InputError: a loss that stops being finite.
    """
    epochs, learning_rate = settings.epochs, settings.learning_rate
    optimizer = torch.optim.AdamW(module.parameters(), lr=learning_rate, weight_decay=settings.weight_decay)
    generator = torch.Generator().manual_seed(settings.seed)
    best_weights: dict[str, torch.Tensor] = {}
    training_losses: list[float] = []
    validation_losses: list[float] = []
    for epoch in range(1, epochs + 1):
        order = rows.training[torch.randperm(len(rows.training), generator=generator)].to(rows.device)
        batches = order.tensor_split(math.ceil(len(order) / settings.batch_size))
        training_losses.append(_train_epoch(module, optimizer, rows, batches, objective))
        validation_losses.append(_mean_loss(module, rows, objective))
        if not math.isfinite(training_losses[-1] + validation_losses[-1]):
            raise InputError(
                f"the training loss stopped being finite in epoch {epoch} at learning_rate {learning_rate:g}; "
                f"pass a lower learning_rate."
            )
        best_epoch = int(np.argmin(validation_losses)) + 1
        if best_epoch == epoch:
            best_weights = {name: value.detach().clone() for name, value in module.state_dict().items()}
        progress(epoch / epochs, f"epoch {epoch} of {epochs}, validation loss {validation_losses[-1]:.4f}")
        if epoch - best_epoch >= settings.patience:
            break
    module.load_state_dict(best_weights)
    return training_losses, validation_losses


def _train_epoch(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    rows: _Rows,
    batches: Sequence[torch.Tensor],
    objective: Objective,
) -> float:
    """Take one step for each batch of row numbers; return the mean loss of a row."""
    module.train()
    total = torch.zeros((), device=rows.device)
    for batch in batches:
        with autocast_on(rows.device):
            losses = objective.losses(module(rows.inputs[batch]), rows.labels[batch])
            loss = (losses * rows.weights[batch]).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(batch)
    return total.item() / sum(len(batch) for batch in batches)


def tensor_of(inputs: NDArray[Any], device: torch.device) -> torch.Tensor:
    """Return inputs as a network reads them: token ids as int64, all other numbers as float32."""
    kind = np.int64 if np.issubdtype(inputs.dtype, np.integer) else np.float32
    return torch.as_tensor(np.ascontiguousarray(inputs, dtype=kind), device=device)


def targets_of(labels: Labels, objective: Objective, device: torch.device) -> torch.Tensor:
    """Return labels as the loss takes them, on the device."""
    return torch.as_tensor(objective.targets(labels), device=device)


def stratified_mask(strata: NDArray[Any], *, share: float, seed: int) -> NDArray[np.bool_]:
    """Return a mask (rows,) that holds out `share` of each of the `strata`, (rows,), rounded down, drawn by `seed`.

    Raises:
        DatasetError: no class has enough rows to give one away.
    """
    generator = np.random.default_rng(seed)
    mask = np.zeros(len(strata), dtype=bool)
    for code in np.unique(strata):
        rows = generator.permutation(np.flatnonzero(strata == code))
        mask[rows[: math.floor(share * len(rows))]] = True
    if not mask.any():
        raise DatasetError(
            f"training needs a class with at least {math.ceil(1 / share)} rows to hold out a share of {share:g}, "
            f"got {len(strata)} rows in all; pass more rows."
        )
    return mask


@contextmanager
def trained_on(module: nn.Module, device: torch.device, seed: int) -> Iterator[None]:
    """Hold a module on `device` with torch's generators seeded; afterwards eval mode, its own device, no gradients.

    Raises:
        ModelFileError: the module has no trainable parameter.
    """
    parameters = list(module.parameters())
    if not any(parameter.requires_grad for parameter in parameters):
        raise ModelFileError("the module has no trainable parameters; there is nothing to train.")
    home = parameters[0].device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        try:
            module.to(device)
            yield
        finally:
            for parameter in parameters:
                parameter.grad = None
            module.to(home).eval()


def require_rows(inputs: NDArray[Any], labels: Labels, objective: Objective) -> None:
    """Raise DatasetError unless inputs are finite, and labels as many, and such as the objective can learn."""
    if len(inputs) != len(labels):
        raise DatasetError(f"labels must be as many as the {len(inputs)} input rows, got {len(labels)}.")
    if len(labels) == 0:
        raise DatasetError("training needs rows, got 0; pass a data set with labelled rows.")
    broken = np.flatnonzero(~np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1))
    if len(broken):
        raise DatasetError(
            f"training inputs must be finite, got NaN or infinity in {len(broken)} of {len(inputs)} rows, "
            f"first in row {broken[0]} (counted from 0); drop or fill them."
        )
    objective.require_labels(labels)


def require_outputs(
    module: nn.Module, inputs: NDArray[Any], labels: Labels, objective: Objective, device: torch.device
) -> None:
    """Raise ModelFileError or DatasetError unless the outputs of the module, already on `device`, fit the labels."""
    module.eval()
    with torch.inference_mode():
        try:
            outputs = module(tensor_of(inputs[:2], device))
        except (
            RuntimeError,
            ValueError,
            TypeError,
            IndexError,
        ) as error:  # torch's words for a shape that does not fit
            reason = str(error).partition("\n")[0]
            raise ModelFileError(f"the module does not take inputs of shape {inputs[:2].shape}: {reason}.") from error
    if not isinstance(outputs, torch.Tensor) or outputs.ndim not in (1, 2) or len(outputs) != len(inputs[:2]):
        shape = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise ModelFileError(f"the module must return one row of class scores for each row, got {shape} for 2 rows.")
    objective.require_outputs(outputs, labels)


def require_positive(name: str, value: float) -> None:
    """Raise InputError unless the value is finite and above 0."""
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} must be finite and above 0, got {value}.")


def require_positive_int(name: str, value: int) -> None:
    """Raise InputError unless the value is a whole number of at least 1."""
    if value != int(value) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, got {value}.")


def autocast_on(device: torch.device) -> torch.autocast:
    """Return the context in which a network computes in bfloat16 on a GPU, and as it is on a CPU."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def _mean_loss(module: nn.Module, rows: _Rows, objective: Objective) -> float:
    """Return the mean loss of the validation rows."""
    module.eval()
    total = torch.zeros((), device=rows.device)
    with torch.inference_mode(), autocast_on(rows.device):
        at_once = max(1, EVALUATION_CELL_COUNT // rows.inputs[0].numel())
        for chunk in rows.validation.split(at_once):
            losses = objective.losses(module(rows.inputs[chunk]), rows.labels[chunk])
            total += (losses * rows.weights[chunk]).sum()
    return total.item() / len(rows.validation)
