"""From a Hugging Face classifier and labelled rows to classifiers fine-tuned with privacy by adapters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.config_commands import RetrainConfig
from auditkit.data.dataset import Data, naming
from auditkit.errors import InputError, NotRun
from auditkit.evidence.messages import Message
from auditkit.models.from_columns import Columns
from auditkit.models.model import Model
from auditkit.progress import Progress, silent
from auditkit.schema.schema import has_label
from auditkit.schema.text import PADDING
from auditkit.tasks.base import task_for
from auditkit.training.dp.accounting import NOT_COVERED
from auditkit.training.dp.fine_tune import FineTuning, Learning, base_of
from auditkit.training.dp.frontier import HeldOutRows, costs_without_privacy, with_costs
from auditkit.training.dp.plan import Disclosure
from auditkit.training.dp.retrained import FRESH, GroupCost, Retrained, public_weights, require_budgets
from auditkit.training.dp.row_units import MeanRowLoss, row_units
from auditkit.training.dp.units import RECORD, owners_of

TOKENS_AT_ONCE, NUMBERS_AT_ONCE = 2**12, 2**20
"""So many pieces of texts, or pixels or samples, go through a network at once: their gradients take the memory."""

COMPARED_ROWS = 8
"""So many rows must get the same outputs of the written model as of the trained one."""


class Steady(nn.Module):
    """A classifier as it is fine-tuned: in eval mode, texts no longer than the longest of a batch.

    Nothing is dropped at random: what is trained are small additions, and some networks of recordings mask more than a
    short one has.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval()

    def train(self, mode: bool = True) -> Steady:
        """Stay in eval mode."""
        return super().train(False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the outputs, (rows, classes)."""
        if not inputs.is_floating_point():
            longest = int((inputs != PADDING).any(dim=0).sum())
            inputs = inputs[:, : max(1, longest)]
        outputs: torch.Tensor = self.network(inputs)
        return outputs


class OfUnits(Steady):
    """A classifier as a function of units of several rows: (units, rows, ...) to (units, rows * outputs)."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the outputs of each unit's rows, one behind the other."""
        return super().forward(inputs.flatten(0, 1)).reshape(len(inputs), -1)


def retrain_classifier(
    model: Model,
    data: Data,
    *,
    config: RetrainConfig,
    public: Model | None = None,
    held_out: Data | None = None,
    progress: Progress = silent,
) -> Retrained:
    """Fine-tune a classifier of a Hugging Face folder on labelled rows by DP-SGD, once per epsilon.

    Adapters of `lora_rank` are trained on its weights (or on those of `public`), which whoever runs this declares
    public; a layer that is no larger than an adapter, such as the head, is trained whole. What is written, and how it
    is checked, see `auditkit.training.dp.fine_tune`. What is protected is a row, or all rows of one value of the column
    that the request names as unit.

    With `held_out` rows the accuracy (of numbers the mean absolute error) of each model is measured there, by group,
    beside that of the model as it was and after a fine-tuning of as many steps without privacy, which is not kept.

    Raises:
        InputError: a request that cannot be met, weights that saw these rows, or a written model that is not what was
            trained.
    """
    require_budgets(config.privacy.epsilon)
    base = base_of(model, data, config, public)
    learning, notes = _learning(model, base, data, config)
    if public is None:
        notes.append(
            Message(
                "The training begins with the weights of {name}, which this command declares public. If they have seen "
                "these rows, the budget does not hold: pass --public-init FOLDER, the model that they came from.",
                name=model.name,
            )
        )
    tuning = FineTuning(model, base, data, learning, config)
    sensitive = tuple(config.data.sensitive or model.schema.sensitive)
    measured = None if held_out is None else HeldOutRows(model.schema, held_out, sensitive)

    def costs(network: nn.Module, epsilon: float) -> Sequence[GroupCost]:
        return () if measured is None else measured.costs(network, epsilon, tuning.device)

    without = costs_without_privacy(tuning, measured)
    done = tuning.run(notes, progress, costs)
    return with_costs(done, tuning, measured, without, None if held_out is None else held_out.sha256)


def _learning(model: Model, base: Model | None, data: Data, config: RetrainConfig) -> tuple[Learning, list[str]]:
    """Return the rows as units of privacy, what the ledgers say of them, and what was left out."""
    inputs, labels, known = _rows(model, data)
    unit, dropped, rows_of_unit = config.data.unit, int((~known).sum()), 1
    shared: dict[str, Any] = {"rows": inputs, "labels": labels, "objective": task_for(model.schema).objective()}
    notes: list[str] = []
    if dropped:
        notes.append(Message("{dropped:,} rows without a label were left out.", dropped=dropped))
    if unit != RECORD:
        owners, without_unit = owners_of(data, unit, known)
        units = row_units(inputs, labels, owners)
        rows_of_unit = units.inputs.shape[1]
        shared = {"rows": units.inputs, "labels": units.labels, "objective": MeanRowLoss(shared["objective"])}
        if units.cut_count:
            notes.append(
                Message(
                    "{count:,} rows were left out: a unit contributes {most:,} rows at most.",
                    count=units.cut_count, most=rows_of_unit,
                )
            )  # fmt: skip
        if without_unit:
            notes.append(
                Message(
                    "{count:,} rows have no {unit}: all of them together are one unit.", count=without_unit, unit=unit
                )
            )
    learning = Learning(
        **shared,
        learner=Steady if unit == RECORD else OfUnits,
        physical_batch_size=_rows_at_once(shared["rows"]),
        probe=inputs[:COMPARED_ROWS],
        columns=_columns(model, data),
        training={"row_count": len(labels), "dropped_row_count": dropped, "unit": unit},
        disclosure=_disclosure(base, config, rows_of_unit),
    )
    return learning, notes


def _rows(model: Model, data: Data) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Return the labelled rows as the network reads them, their labels as it learns them, and which rows have one.

    Raises:
        InputError: there is no loss to train by, or columns are missing.
    """
    task = task_for(model.schema)
    try:
        task.objective()
    except NotRun as why:
        raise InputError(f"model {model.name}: {why}.") from why
    with naming(data):
        model.schema.check_columns(data.frame)
        labels = task.encode_labels(data.frame)
        known = has_label(labels)
        inputs = model.schema.encode(data.frame.loc[known])
    return inputs, task.learnt(labels[known]), known


def _rows_at_once(inputs: NDArray[Any]) -> int:
    cells = max(1, inputs[:1].size)
    return max(1, (TOKENS_AT_ONCE if np.issubdtype(inputs.dtype, np.integer) else NUMBERS_AT_ONCE) // cells)


def _columns(model: Model, data: Data) -> Columns:
    """Return what a written folder is opened with again."""
    schema = model.schema
    return Columns(
        read_rows=lambda: data,
        read_training=lambda: None,
        target=schema.target,
        sensitive=schema.sensitive,
        classes=schema.classes or None,
        text=schema.features[0].name,
    )


def _disclosure(base: Model | None, config: RetrainConfig, rows_of_unit: int) -> Disclosure:
    """Return what the ledgers say of where the training began, what it protects, and what its budget leaves out."""
    initial = FRESH if base is None else public_weights(base.path, base.sha256, config.model.lora_rank)
    of_weights = Message("the tokenizer, and every weight of the model before this training")
    not_covered = (NOT_COVERED[0], of_weights, *NOT_COVERED[2:])
    if config.data.unit == RECORD:
        return Disclosure(initial, not_covered)
    unit = config.data.unit
    protected = Message("all rows with one value of {unit}", unit=unit)
    repeated = Message("what rows with several values of {unit} have in common", unit=unit)
    return Disclosure(
        initial,
        (*not_covered[:4], repeated, *not_covered[5:]),
        unit=protected,
        neighbours=Message("add or remove {unit}", unit=protected),
        contribution=Message(
            "; a row is {unit}, of which at most {rows:,} rows are read", unit=protected, rows=rows_of_unit
        ),
    )
