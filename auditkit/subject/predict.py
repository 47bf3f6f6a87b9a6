"""The forward pass: batched, on the chosen device, made once and shared by every auditor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.errors import InputError, ModelFileError

Progress = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model says about each row.

    `probabilities` is float64, (rows, classes); `labels` is int64, (rows,): the most probable class, in a binary task
    the positive one at a score of at least 0.5. `notes` says what happened on the way (a smaller batch).
    """

    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]
    notes: tuple[str, ...] = ()

    @property
    def scores(self) -> NDArray[np.float64]:
        """The probability of the positive, that is the last, class: (rows,)."""
        scores: NDArray[np.float64] = self.probabilities[:, -1]
        return scores


def choose_device(device: str) -> torch.device:
    """Return the torch device for `auto` (CUDA where there is one), `cpu` or `cuda`.

    Raises:
        InputError: CUDA is asked for and absent, or the word is another.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device must be auto, cpu or cuda, got {device!r}.")
    present = torch.cuda.is_available()
    if device == "cuda" and not present:
        raise InputError("device cuda: this machine, or this build of torch, has no CUDA device; pass --device cpu.")
    return torch.device("cuda" if present and device != "cpu" else "cpu")


def predict(
    module: nn.Module,
    inputs: NDArray[np.float32],
    *,
    output: Literal["logits", "probabilities"],
    class_count: int,
    device: torch.device,
    batch_size: int = 8192,
    progress: Progress | None = None,
) -> Predictions:
    """Return the predictions of a module for encoded rows, (rows, input_width).

    `output` says what the module returns: logits (softmax is taken; sigmoid of a single column) or probabilities.
    A single column is the positive class of a binary task. The module runs in eval mode under inference_mode, and is
    given back in the mode and on the device it came with. Out of memory halves the batch, and a note says so.

    Raises:
        ModelFileError: the module does not take the inputs, gives another number of rows or classes, NaN or
            infinite outputs (their rows are counted), or probabilities that are none.
    """
    modes = {part: part.training for part in module.modules()}
    home = next((tensor.device for tensor in module.state_dict().values()), torch.device("cpu"))
    notes: list[str] = []
    parts: list[NDArray[np.float64]] = []
    start = 0
    try:
        module.to(device).eval()
        while start < len(inputs):
            try:
                outputs = _forward(module, inputs[start : start + batch_size], device)
            except (MemoryError, RuntimeError, TypeError, ValueError, IndexError) as error:
                if not _is_out_of_memory(error):
                    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
                    shape = f"({min(batch_size, len(inputs) - start)}, {inputs.shape[1]})"
                    raise ModelFileError(f"model: cannot be run on a {shape} float32 input: {first}.") from error
                if batch_size == 1:
                    raise ModelFileError(f"model: one row does not fit into the memory of {device}.") from error
                batch_size = max(min(batch_size, len(inputs) - start) // 2, 1)
            else:
                parts.append(outputs)
                start += len(outputs)
                if progress is not None:
                    progress(start / len(inputs), f"{start:,} of {len(inputs):,} rows predicted")
                continue
            # Outside the handler, where the failed pass's tensors are no longer held by the exception.
            notes = [
                f"Out of memory on {device}: the batch was reduced to {batch_size:,} rows; the numbers are the same."
            ]
            if device.type == "cuda":
                torch.cuda.empty_cache()
    finally:
        module.to(home)
        for part, training in modes.items():
            part.training = training
    outputs = np.concatenate(parts) if parts else np.zeros((0, class_count))
    probabilities = _probabilities(outputs, output, class_count)
    labels = (probabilities[:, 1] >= 0.5).astype(np.int64) if class_count == 2 else probabilities.argmax(axis=1)
    return Predictions(probabilities=probabilities, labels=labels.astype(np.int64), notes=tuple(notes))


def _forward(module: nn.Module, batch: NDArray[np.float32], device: torch.device) -> NDArray[np.float64]:
    with torch.inference_mode():
        outputs = module(torch.from_numpy(np.ascontiguousarray(batch)).to(device))
        if not isinstance(outputs, torch.Tensor):
            raise ModelFileError(f"model: must return one tensor, got {type(outputs).__name__}.")
        if outputs.ndim == 1:
            outputs = outputs[:, None]
        if outputs.ndim != 2 or len(outputs) != len(batch):
            raise ModelFileError(
                f"model: must return one row of outputs for each of {len(batch):,} inputs, "
                f"got shape {tuple(outputs.shape)}."
            )
        array: NDArray[np.float64] = outputs.to("cpu", torch.float64).numpy()
        return array


def _probabilities(outputs: NDArray[np.float64], output: str, class_count: int) -> NDArray[np.float64]:
    """Return the probability of every class, (rows, classes), from checked outputs."""
    wrong = ~np.isfinite(outputs).all(axis=1)
    if wrong.any():
        raise ModelFileError(
            f"model: {int(wrong.sum()):,} of {len(outputs):,} rows have NaN or infinite outputs, the first is row "
            f"{int(wrong.argmax()):,} of the audited rows."
        )
    width = outputs.shape[1]
    if width != class_count and not (width == 1 and class_count == 2):
        raise ModelFileError(f"model: returns {width} columns of outputs, but the schema names {class_count} classes.")
    if output == "probabilities":
        sums = outputs.sum(axis=1) if width > 1 else np.ones(len(outputs))
        if ((outputs < -1e-6) | (outputs > 1 + 1e-6)).any() or (np.abs(sums - 1) > 1e-3).any():
            raise ModelFileError(
                f"model: its outputs are declared probabilities, but lie from {outputs.min():.3g} to "
                f"{outputs.max():.3g} and sum to {sums.min():.3g} to {sums.max():.3g} a row; declare them logits."
            )
        outputs = outputs.clip(0, 1)
        return np.column_stack([1 - outputs, outputs]) if width == 1 else outputs
    logits = np.column_stack([np.zeros(len(outputs)), outputs]) if width == 1 else outputs
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    softmax: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return softmax


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error) for words in ("can't allocate memory", "not enough memory", "out of memory"))
