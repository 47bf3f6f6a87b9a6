"""From a language model and texts to models fine-tuned with privacy, written with their ledgers and checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from auditkit.config_commands import RetrainConfig
from auditkit.data.dataset import Data
from auditkit.evidence.messages import Message
from auditkit.models.from_columns import Columns
from auditkit.models.model import Model
from auditkit.progress import Progress, silent
from auditkit.training.dp.accounting import NOT_COVERED
from auditkit.training.dp.fine_tune import FineTuning, Learning, base_of
from auditkit.training.dp.frontier import HeldOutTexts, costs_without_privacy, with_costs
from auditkit.training.dp.plan import Disclosure
from auditkit.training.dp.retrained import FRESH, GroupCost, Retrained, public_weights, require_budgets
from auditkit.training.dp.token_losses import MeanTokenLoss, TokenLosses
from auditkit.training.dp.units import RECORD, Units, units_of

CELLS_AT_ONCE = 2**25
"""The logits of the units that go through the network at once take at most so many numbers (128 MiB)."""


def retrain_language(
    model: Model,
    data: Data,
    *,
    config: RetrainConfig,
    public: Model | None = None,
    held_out: Data | None = None,
    progress: Progress = silent,
) -> Retrained:
    """Fine-tune a language model on texts by DP-SGD once per epsilon; write each model, and return their ledgers.

    With `lora_rank` adapters are trained on the model's own weights (or on those of `public`), which whoever runs this
    declares public; without, auditkit's own architecture is trained from fresh weights. What is written, and how it is
    checked, see `auditkit.training.dp.fine_tune`.

    With `held_out` texts the bits per byte of each model are measured there, by group, beside those of the model as it
    was and after a fine-tuning of as many steps without privacy, which is not kept.

    Raises:
        InputError: a request that cannot be met, weights that saw these texts, or a written model that is not what was
            trained.
    """
    require_budgets(config.privacy.epsilon)
    base = base_of(model, data, config, public)
    column = config.data.text or model.schema.features[0].name
    units = units_of(data, column, model.schema.features[0].pieces or "", model.module, unit=config.data.unit)
    tuning = FineTuning(model, base, data, _learning(model, base, data, column, units, config), config)
    sensitive = tuple(config.data.sensitive or model.schema.sensitive)
    measured = None if held_out is None else HeldOutTexts(model, held_out, column, sensitive)

    def costs(network: nn.Module, epsilon: float) -> Sequence[GroupCost]:
        return () if measured is None else measured.costs(network, epsilon, tuning.device)

    without = costs_without_privacy(tuning, measured)
    done = tuning.run(_notes(units, config.data.unit), progress, costs)
    return with_costs(done, tuning, measured, without, None if held_out is None else held_out.sha256)


def _learning(
    model: Model, base: Model | None, data: Data, column: str, units: Units, config: RetrainConfig
) -> Learning:
    """Return the texts as units of privacy, and what the ledgers say of them."""
    network: Any = model.module
    objective, unit = MeanTokenLoss(network.mask_token), config.data.unit
    return Learning(
        rows=units.rows,
        labels=units.counts,
        objective=objective,
        learner=lambda begun: TokenLosses(begun, masks=objective.hidden is not None),
        physical_batch_size=max(1, CELLS_AT_ONCE // (units.windows * units.length * int(network.vocabulary_size))),
        probe=np.maximum(units.rows[-1, :, 0], 0),
        columns=Columns(read_rows=lambda: data, read_training=lambda: None, target=None, text=column),
        training={"row_count": units.text_count, "dropped_row_count": units.empty_count, "unit": unit},
        disclosure=_disclosure(base, units, config),
    )


def _disclosure(base: Model | None, units: Units, config: RetrainConfig) -> Disclosure:
    """Return what the ledgers say of where the training began, what it protects, and what its budget leaves out."""
    unit = config.data.unit
    initial = FRESH if base is None else public_weights(base.path, base.sha256, config.model.lora_rank)
    is_record = unit == RECORD
    protected = Message("one text") if is_record else Message("all texts with one value of {unit}", unit=unit)
    repeated = (
        Message(
            "texts of the same person, or that say the same: one text is protected, and a secret that stands in "
            "several texts is not; pass --unit COLUMN to protect all texts of an author"
        )
        if is_record
        else Message("a secret that stands in texts with several values of {unit}", unit=unit)
    )
    not_covered = (
        NOT_COVERED[0],
        Message("the tokenizer, and every weight of the model before this training"),
        NOT_COVERED[2],
        NOT_COVERED[3],
        repeated,
        *NOT_COVERED[5:],
    )
    return Disclosure(
        initial,
        not_covered,
        unit=protected,
        neighbours=Message("add or remove {unit}", unit=protected),
        contribution=Message(
            "; a row is {unit}, of which at most {windows:,} windows of {length:,} tokens are read",
            unit=protected, windows=units.windows, length=units.length,
        ),
    )  # fmt: skip


def _notes(units: Units, unit: str) -> list[str]:
    notes = []
    if units.empty_count:
        notes.append(Message("{count:,} rows without a text were left out.", count=units.empty_count))
    if units.cut_tokens:
        notes.append(
            Message(
                "{count:,} tokens were left out: a unit contributes {most:,} windows of {length:,} at most.",
                count=units.cut_tokens, most=units.windows, length=units.length,
            )
        )  # fmt: skip
    if units.without_unit:
        notes.append(
            Message(
                "{count:,} texts have no {unit}: all of them together are one unit.",
                count=units.without_unit, unit=unit,
            )
        )  # fmt: skip
    return list(notes)
