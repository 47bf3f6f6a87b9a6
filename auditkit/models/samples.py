"""A file of synthetic records as what is audited: nobody has the generator, and nothing is predicted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from auditkit.data.dataset import Data, naming, read_data
from auditkit.errors import InputError
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import SampleTable, all_but
from auditkit.models.model import Model
from auditkit.schema.infer import record_schema
from auditkit.schema.schema import Target

if TYPE_CHECKING:
    import torch

FEWEST_ROWS = 100
NO_MODEL = Message("the file holds synthetic records, and neither a model nor the generator")
LACKS = all_but(SampleTable, reason=NO_MODEL)


class RecordTable(nn.Module):
    """The rows of a file, kept as they are."""

    def __init__(self, frame: pd.DataFrame) -> None:
        super().__init__()
        self.frame = frame


class TableOfRecords(SampleTable):
    """The rows of a `RecordTable`."""

    def table(self, count: int, *, seed: int, device: torch.device) -> pd.DataFrame:
        """Return all rows of the file."""
        table = self.model.module
        assert isinstance(table, RecordTable)
        return table.frame

    def sample(self, count: int, *, seed: int, device: torch.device) -> NDArray[np.float32]:
        """Return `count` different rows as the schema encodes them, or all of them where there are fewer."""
        frame = self.table(count, seed=seed, device=device)
        order = np.random.default_rng(seed).permutation(len(frame))[:count]
        rows: NDArray[np.float32] = self.model.modality.encode(frame.iloc[np.sort(order)])
        return rows


def model_of_samples(path: Path, real: Data, *, target: Target | None, sensitive: tuple[str, ...]) -> Model:
    """Read synthetic records, which have the columns of `real`, and return what is audited.

    Columns are encoded as the real rows ask for. Of a target with classes the classes are known; a target of numbers
    is a column like the others.

    Raises:
        InputError: the file cannot be read, has under 100 rows, or lacks a column of the real rows.
    """
    samples = read_data(path)
    if len(samples.frame) < FEWEST_ROWS:
        raise InputError(f"samples {path}: must be at least {FEWEST_ROWS} rows, got {len(samples.frame)}.")
    columns = [str(column) for column in real.frame.columns]
    missing = [name for name in columns if name not in samples.frame.columns]
    if missing:
        raise InputError(f"samples {path}: lack the columns {', '.join(missing)} of {real.name}; drop or rename them.")
    with naming(real):
        schema = record_schema(real.frame, target=target, sensitive=sensitive)
    with naming(samples):
        schema.check_columns(samples.frame)
    return Model(
        name=path.stem,
        module=RecordTable(samples.frame).eval(),
        schema=schema,
        card=None,
        path=str(path),
        sha256=samples.sha256,
        kind="synthetic records",
        trust=Message("numbers and words: nothing of the file was run"),
        notes=samples.notes,
        capabilities=(TableOfRecords,),
        lacks=LACKS,
    )
