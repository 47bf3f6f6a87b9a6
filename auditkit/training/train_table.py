"""From a table to a packed generator of tables with the same columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from auditkit.data.dataset import Data, naming
from auditkit.errors import DatasetError, InputError
from auditkit.models.architectures import build
from auditkit.models.formats.native import save_model
from auditkit.models.formats.opening import open_model
from auditkit.models.model import Card, Model
from auditkit.models.networks import WithDiscriminator
from auditkit.progress import Progress, silent
from auditkit.schema.infer import record_schema
from auditkit.schema.schema import Target
from auditkit.training.generators import GeneratorFit, fit_adversarial, fit_row_losses
from auditkit.training.table_columns import cells_of, describe_columns

FEWEST_ROWS = 100
BATCH_SIZE = 200
EPOCHS, FEWEST_STEPS = 100, 3000
"""The passes over the rows; of few rows more, so that the generator takes at least so many steps."""


def table_epochs(row_count: int) -> int:
    """Return how often a table of so many rows is gone through where nothing else is asked for."""
    return max(EPOCHS, -(-FEWEST_STEPS * BATCH_SIZE // max(row_count, 1)))


def train_table_generator(
    data: Data,
    target: Target | None,
    *,
    architecture: str,
    arguments: Mapping[str, Any] | None = None,
    out: Path,
    settings: GeneratorFit,
    progress: Progress = silent,
) -> tuple[Model, dict[str, Any]]:
    """Train a generator on all columns of a table, write it to `out`, and return it opened, with its training record.

    `target` names the label that models of the rows will predict; the generator learns it as any other column.

    Raises:
        InputError: a setting cannot be used, a column cannot be generated, or there are under 100 rows; nothing was
            written.
    """
    if out.suffix != ".pt":
        raise InputError(f"out must end in .pt, got {out}; pass --out model.pt.")
    with naming(data):
        if len(data.frame) < FEWEST_ROWS:
            raise DatasetError(f"a generator of a table needs at least {FEWEST_ROWS} rows, got {len(data.frame)}.")
        schema = record_schema(data.frame, target=target)
        columns = describe_columns(data.frame, schema, seed=settings.seed)
    cells = torch.from_numpy(cells_of(data.frame, columns, seed=settings.seed))
    given = {"columns": columns} | dict(arguments or {})
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(settings.seed)
        module = build(architecture, given)
    fit = fit_adversarial if isinstance(module, WithDiscriminator) else fit_row_losses
    losses = fit(module, cells, settings=settings, progress=progress)
    training = {
        "epochs": settings.epochs,
        "loss": losses[-1],
        "path": data.path,
        "sha256": data.sha256,
        "row_count": len(cells),
        "dropped_row_count": 0,
        "seed": settings.seed,
    }
    save_model(
        out, module, Card(schema=schema, architecture=architecture, arguments=given, name=out.stem, training=training)
    )
    return open_model(out), training
