"""What is audited: a model, or a record of decisions, which is a model that can do nothing but answer.

Nothing here imports torch: recorded decisions need none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from auditkit.data.dataset import Data
from auditkit.errors import NotRun
from auditkit.execution.base import Executor
from auditkit.models.capabilities import Capability
from auditkit.progress import Progress, silent
from auditkit.schema.schema import Schema
from auditkit.tasks.base import Predictions

if TYPE_CHECKING:
    import pandas as pd

    from auditkit.modalities.base import Modality
    from auditkit.models.base import ModelInfo
    from auditkit.models.model import Card

C = TypeVar("C", bound=Capability)


def not_encoded(rows: slice) -> NoReturn:
    """Raise NotRun: nobody said how the rows are encoded, which recorded decisions do not ask."""
    raise NotRun("the rows are not encoded")


@dataclass(frozen=True, eq=False)
class AskedRows:
    """Rows that a model is asked about: their columns, and `encode`, which encodes those of a slice.

    `executor` may run parts of many rows; None is this process.
    """

    data: Data
    encode: Callable[[slice], NDArray[Any]] = not_encoded
    device_name: str = "cpu"
    progress: Progress = silent
    executor: Executor | None = None


class Audited(Protocol):
    """A model, or a record of decisions. What it can do besides answering are its capabilities.

    `info` says what is known of the file, None where there is none; `notes` what a reader must know about how it was
    read. `sha256` names it, and where `known_by_hash`, all that its answers depend on.
    """

    @property
    def schema(self) -> Schema:
        """The schema of its inputs and outputs."""
        ...

    @property
    def modality(self) -> Modality:
        """How rows become inputs of one array, what can be deleted of them, and how they get worse."""
        ...

    @property
    def info(self) -> ModelInfo | None:
        """What is known of it apart from what it predicts; None for a record of decisions."""
        ...

    @property
    def card(self) -> Card | None:
        """The words of the model's file, if it has any."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the report must know about how it was read."""
        ...

    @property
    def guesses(self) -> tuple[str, ...]:
        """What was guessed of how to read it, and the option that states it."""
        ...

    @property
    def asks(self) -> bool:
        """Whether something of how to read it was guessed that labels can contradict."""
        ...

    @property
    def sha256(self) -> str | None:
        """The hash of its file, if it has one."""
        ...

    @property
    def known_by_hash(self) -> bool:
        """Whether the hash of the file tells what it computes."""
        ...

    @property
    def decision_columns(self) -> tuple[str, ...]:
        """The columns of the data that hold recorded decisions; none where a model predicts."""
        ...

    def capability(self, kind: type[C]) -> C | None:
        """Return the capability of this kind, None where it has not got it."""
        ...

    def lack(self, kind: type[Capability]) -> str:
        """Return why it has not got a capability, as a clause."""
        ...

    def answered(self, frame: pd.DataFrame) -> NDArray[np.bool_]:
        """Return which rows of a frame it answers for: bool, (rows,); all, or those with a recorded decision."""
        ...

    def answers(self, rows: AskedRows) -> Predictions:
        """Return the predictions for rows that it answers for."""
        ...

    def choose_device(self, asked: str) -> str:
        """Return the device that computes the answers, `cpu` or `cuda`, of the device that is asked for."""
        ...

    def computed_on(self, device_name: str) -> tuple[str, int]:
        """Return the name of the device that computes on `device_name`, and the number of threads."""
        ...

    def was_trained_on(self, sha256: str | None) -> bool | None:
        """Return whether data of this hash trained it; None where that is not known."""
        ...
