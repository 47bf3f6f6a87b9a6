"""The forward pass: batched, on the chosen device, made once and shared by every auditor.

torch is imported by the functions that need it: recorded decisions are Predictions too, and need no torch.
"""

from __future__ import annotations

import dataclasses
import functools
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import InputError, ModelFileError
from auditkit.evidence.messages import Message
from auditkit.execution.base import Executor
from auditkit.execution.in_process import InProcess
from auditkit.progress import Progress, silent
from auditkit.schema.schema import Schema
from auditkit.tasks.base import LARGE_ROW_COUNT, Predictions, task_for

if TYPE_CHECKING:
    import torch
    from torch import nn

ROWS_AT_ONCE = 2**16
"""How many rows are encoded at a time."""


CELLS_AT_ONCE = 2**18
"""How many pixels or tokens go through a network at a time: their activations take some hundred times the memory."""


OUTPUTS_AT_ONCE = 2**21
"""How many numbers a network returns at a time: with thousands of classes, more would only wait for the memory."""


def choose_device(device: str) -> torch.device:
    """Return the torch device for `auto` (CUDA where there is one), `cpu` or `cuda`.

    Raises:
        InputError: CUDA is asked for and absent, or the word is another.
    """
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device must be auto, cpu or cuda, got {device!r}.")
    present = torch.cuda.is_available()
    if device == "cuda" and not present:
        raise InputError("device cuda: this machine, or this build of torch, has no CUDA device; pass --device cpu.")
    return torch.device("cuda" if present and device != "cpu" else "cpu")


class NotFiniteError(ModelFileError):
    """Outputs of a model are NaN or infinite. `rows` are the positions of their rows, ascending."""

    def __init__(self, message: str, rows: NDArray[np.int64]) -> None:
        super().__init__(message)
        self.rows = rows


def predict(
    module: nn.Module,
    inputs: NDArray[Any],
    schema: Schema,
    *,
    device: torch.device,
    batch_size: int = 8192,
    progress: Progress = silent,
) -> Predictions:
    """Return the predictions of a module for encoded rows, (rows, ...): see `predict_rows`."""
    return predict_rows(
        module,
        lambda rows: inputs[rows],
        len(inputs),
        schema,
        device=device,
        batch_size=batch_size,
        progress=progress,
    )


def predict_rows(
    module: nn.Module,
    encode: Callable[[slice], NDArray[Any]],
    row_count: int,
    schema: Schema,
    *,
    device: torch.device,
    executor: Executor | None = None,
    batch_size: int = 8192,
    progress: Progress = silent,
) -> Predictions:
    """Return the predictions of a module for rows that are encoded a part at a time by `encode`.

    `schema.output` says what the module returns: logits (softmax is taken; sigmoid of a single column or of labels),
    probabilities, a score in a single column, positive from `schema.threshold` on, or a regression's standardised
    value. Else a single column is the positive class of a binary task.
    The module runs in eval mode under inference_mode, and is given back in the mode and on the device it came with.
    Out of memory halves the batch, and a note says so. Where there are several parts, `executor` runs them, if the
    module can be sent to it.

    Raises:
        NotFiniteError: outputs are NaN or infinite; it names their rows.
        ModelFileError: the module does not take the inputs, gives another number of rows or classes, or probabilities
            that are none.
    """
    task = task_for(schema)
    if executor is None or row_count <= ROWS_AT_ONCE or not _can_be_sent(module):
        executor = InProcess(str(device))
    transformed = np.zeros((row_count, task.width), dtype=np.float32 if row_count > LARGE_ROW_COUNT else np.float64)
    wrong: list[NDArray[np.int64]] = []
    reduced: list[tuple[int, str]] = []
    starts = range(0, row_count, ROWS_AT_ONCE)

    def told(place: int) -> Progress:
        count = min(ROWS_AT_ONCE, row_count - starts[place])

        def part_told(share: float, what: str) -> None:
            done = starts[place] + round(share * count)
            progress(done / row_count, f"{done:,} of {row_count:,} rows predicted")

        return part_told

    work = functools.partial(_predict_part, module, schema, batch_size)
    parts = (encode(slice(start, min(start + ROWS_AT_ONCE, row_count))) for start in starts)
    for start, part in zip(starts, executor.map(work, parts, told), strict=True):
        transformed[start : start + len(part.transformed)] = part.transformed
        wrong.append(start + part.wrong)
        reduced += part.reduced
    _refuse_not_finite(wrong, row_count, module)
    return task.predictions(transformed, [_reduced_note(*min(reduced))] if reduced else [])


class _Part(NamedTuple):
    """What a network says of some rows, which are not finite, and what a batch was reduced to, on what device."""

    transformed: NDArray[np.float64]
    wrong: NDArray[np.int64]
    reduced: tuple[tuple[int, str], ...]


def _predict_part(
    module: nn.Module, schema: Schema, batch_size: int, part: NDArray[Any], device: str, progress: Progress
) -> _Part:
    """Return what a module says of encoded rows, (rows, ...), on a device."""
    import torch

    task, place = task_for(schema), torch.device(device)
    transformed = np.zeros((len(part), task.width))
    wrong = np.zeros(0, dtype=np.int64)
    reduced: tuple[tuple[int, str], ...] = ()
    if part.ndim > 2 or np.issubdtype(part.dtype, np.integer):  # what images and texts become on their way is larger
        batch_size = max(1, min(batch_size, CELLS_AT_ONCE // max(1, part[:1].size)))
    start = 0
    with _evaluating(module, place):
        while start < len(part):
            batch = part[start : start + batch_size]
            try:
                outputs = _forward(module, batch, place)
            except (MemoryError, RuntimeError, TypeError, ValueError, IndexError) as error:
                batch_size = _smaller_batch(error, batch, batch_size, module, schema, place)
            else:
                finite = np.isfinite(outputs).all(axis=1)
                wrong = np.concatenate([wrong, start + np.flatnonzero(~finite)])
                if finite.any():  # the others are refused by their true cause
                    transformed[start + np.flatnonzero(finite)] = task.transform(outputs[finite])
                start += len(outputs)
                progress(start / len(part), "")
                continue
            # Outside the handler, where the failed pass's tensors are no longer held by the exception.
            _free_memory(place)
            reduced = ((batch_size, device),)
    return _Part(transformed, wrong, reduced)


def _can_be_sent(module: nn.Module) -> bool:
    """Return whether a module can go to another process: a session of onnxruntime, or a lambda, cannot."""
    try:
        pickle.dumps(module)
    except Exception:  # noqa: BLE001  # whatever the user's own code raises
        return False
    return True


@contextmanager
def _evaluating(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Hold a module on a device in eval mode; afterwards it is where and as it was."""
    import torch

    modes = {part: part.training for part in module.modules()}
    home = next((tensor.device for tensor in module.state_dict().values()), torch.device("cpu"))
    try:
        module.to(device).eval()
        yield
    finally:
        module.to(home)
        for submodule, training in modes.items():
            submodule.training = training


def _smaller_batch(
    error: Exception, batch: NDArray[Any], batch_size: int, module: nn.Module, schema: Schema, device: torch.device
) -> int:
    """Return half the rows of a batch that did not fit into the memory.

    Raises:
        ModelFileError: the error is another one, or the batch was a single row.
    """
    if not _is_out_of_memory(error):
        from auditkit.models.mismatch import mismatch

        raise ModelFileError(mismatch(module, schema, batch, error)) from error
    if batch_size == 1:
        raise ModelFileError(f"model: one row does not fit into the memory of {device}.") from error
    return max(len(batch) // 2, 1)


def _free_memory(device: torch.device) -> None:
    """Free the memory that a device holds in reserve."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()


def _reduced_note(batch_size: int, device: str) -> str:
    """Return the note that says how large batches are now."""
    return Message(
        "Out of memory on {device}: the batch was reduced to {batch_size:,} rows; the numbers are the same.",
        device=device,
        batch_size=batch_size,
    )


def _refuse_not_finite(wrong: list[NDArray[np.int64]], row_count: int, module: nn.Module) -> None:
    rows = np.concatenate(wrong) if wrong else np.zeros(0, dtype=np.int64)
    if rows.size:
        causes = (getattr(part, "unanswered", None) for part in module.modules())
        cause = next((f"; {cause}" for cause in causes if cause), "")
        raise NotFiniteError(
            f"model: {rows.size:,} of {row_count:,} rows have NaN or infinite outputs, the first is row "
            f"{int(rows[0]):,} of the audited rows{cause}.",
            rows,
        )


def highest(predictions: Predictions, count: int, seed: int) -> Predictions:
    """Return the same predictions with the `count` rows of the highest scores as the positive ones.

    Where rows of equal scores stand at the cut, `seed` draws among them; a note says between how many.

    Raises:
        NotRun: the data hold decisions and no scores.
    """
    scores = predictions.scores
    cut = np.partition(scores, len(scores) - count)[len(scores) - count]
    above, equal = np.flatnonzero(scores > cut), np.flatnonzero(scores == cut)
    drawn = np.random.default_rng(seed).choice(equal, size=count - len(above), replace=False)
    labels = np.zeros(len(scores), dtype=predictions.labels.dtype)
    labels[above], labels[drawn] = 1, 1
    note = Message("Selected are the {count:,} rows of the highest scores, from {cut:.4g} on.", count=count, cut=cut)
    if len(equal) > len(drawn):
        note += Message(
            " Of {equal_count:,} rows at {cut:.4g}, {drawn_count:,} were drawn with seed {seed}.",
            equal_count=len(equal),
            cut=cut,
            drawn_count=len(drawn),
            seed=seed,
        )
    return dataclasses.replace(predictions, labels=labels, notes=(*predictions.notes, note))


def _forward(module: nn.Module, batch: NDArray[Any], device: torch.device) -> NDArray[np.float64]:
    import torch

    with torch.inference_mode():
        outputs = module(torch.from_numpy(np.ascontiguousarray(batch)).to(device))
        if not isinstance(outputs, torch.Tensor):
            raise ModelFileError(f"model: must return one tensor, got {type(outputs).__name__}.")
        if outputs.ndim == 1:
            outputs = outputs[:, None]
        if outputs.ndim != 2 or len(outputs) != len(batch):
            raise ModelFileError(
                f"model: must return one row of outputs for each of {len(batch):,} inputs, "
                f"got shape {tuple(outputs.shape)}; where it returns several things, name the one with a column for "
                "each class by --output-index, or return that in code of your own: --predictor my_module:function."
            )
        array: NDArray[np.float64] = outputs.to("cpu", torch.float64, copy=True).numpy()
        return array


def _is_out_of_memory(error: BaseException) -> bool:
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error) for words in ("can't allocate memory", "not enough memory", "out of memory"))
