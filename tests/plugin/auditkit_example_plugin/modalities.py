"""The modality of CONTRIBUTING.md, installed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from auditkit.modalities.base import Corruption
from auditkit.modalities.table import Table


@dataclass(frozen=True)
class Sensors(Table):
    """Readings of sensors, one a column: a table in which a sensor may also get stuck."""

    name: ClassVar = "sensors"
    corruption_names: ClassVar = (*Table.corruption_names, "stuck_sensor")

    def corruptions(self, frame: pd.DataFrame, inputs: Any, source: Any, *, seed: int) -> Sequence[Corruption]:
        order = np.random.default_rng(seed).permutation(inputs.size)

        def stuck(share: float) -> np.ndarray:
            chosen = np.zeros(inputs.size, dtype=bool)
            chosen[order[: int(share * inputs.size)]] = True
            return np.where(chosen.reshape(inputs.shape), inputs[:1], inputs)

        means = "A share of all readings repeats the first reading of its sensor."
        more = Corruption("stuck_sensor", "Stuck sensor", means, "share of readings", stuck)
        return [*super().corruptions(frame, inputs, source, seed=seed), more]
