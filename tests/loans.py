"""A small synthetic data set with a known gap, for the tests that run whole audits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Loans:
    """A synthetic data set with a known gap: approval depends on income, and income on group."""

    model: Path
    train: Path
    test: Path


def write_loans(path: Path, *, row_count: int, seed: int) -> Path:
    """Write rows of income, years, job, member, group, region and the label `approved`."""
    rng = np.random.default_rng(seed)
    group = rng.choice(["north", "south"], size=row_count, p=[0.6, 0.4])
    region = rng.choice(["a", "b", "c"], size=row_count, p=[0.5, 0.3, 0.2])
    income = rng.normal(50, 12, row_count) - 12 * (group == "south")
    years = rng.integers(0, 30, row_count)
    job = rng.choice(["clerk", "driver", "nurse", ""], size=row_count)
    member = rng.choice(["yes", "no"], size=row_count)
    chance = 1 / (1 + np.exp(-(income - 45) / 5 - (years - 15) / 10))
    label = np.where(rng.random(row_count) < chance, "yes", "no")
    lines = ["income,years,job,member,group,region,approved"]
    for index in range(row_count):
        lines.append(
            f"{income[index]:.2f},{years[index]},{job[index]},{member[index]},{group[index]},{region[index]},{label[index]}"
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
