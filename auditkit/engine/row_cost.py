"""What one row costs a model: counted where torch computes it, as stated, or measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from auditkit.config import AuditConfig
from auditkit.data.dataset import Data, naming
from auditkit.engine.texts import texts_of
from auditkit.engine.timing import seconds_of_a_row
from auditkit.engine.work import Work
from auditkit.errors import AuditkitError
from auditkit.models.audited import Audited
from auditkit.models.capabilities import LanguageModel, Runnable
from auditkit.models.predict import choose_device, predict

if TYPE_CHECKING:
    from auditkit.models.model import Model


def work_of(audited: Audited, data: Data, config: AuditConfig) -> Work:
    """Return what a row costs, the mean of some; nothing where decisions were recorded.

    What the request states is taken as it is, so that a replay spends what the run did.
    """
    runnable = audited.capability(Runnable)
    if runnable is None or not len(data.frame):
        return Work()
    import torch

    from auditkit.models.networks import OutsideTorch
    from auditkit.models.operations import counted_operations, operations_of, operations_of_text, rows_to_count

    if config.run.operations_per_row is not None:
        return Work(config.run.effort, config.run.operations_per_row)
    some = data.frame.iloc[rows_to_count(len(data.frame))]
    language = audited.capability(LanguageModel)
    if language is not None:
        texts = texts_of(some, runnable.model.schema)
        return Work(config.run.effort, operations_of_text(runnable.model, language, texts))
    with naming(data):
        rows = audited.modality.encode(some)
    module = runnable.model.module
    if config.run.effort == "thorough" or not any(isinstance(part, OutsideTorch) for part in module.modules()):
        return Work(config.run.effort, operations_of(runnable.model, rows))
    counted = counted_operations(module, torch.from_numpy(np.ascontiguousarray(rows)))
    return Work.of_time(config.run.effort, _seconds_of_a_row(audited, runnable.model, data), counted)


def _seconds_of_a_row(audited: Audited, model: Model, data: Data) -> float:
    """Return how long a row takes on the CPU, 0 where the model refuses the rows: the predictions will tell of it."""
    place = choose_device("cpu")

    def batch(count: int) -> Callable[[], object]:
        with naming(data):
            rows = audited.modality.encode(data.frame.iloc[:count])
        return lambda: predict(model.module, rows, model.schema, device=place)

    try:
        return seconds_of_a_row(batch, len(data.frame), place)
    except AuditkitError:
        return 0.0
