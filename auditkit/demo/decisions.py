"""A small made-up data set of recorded decisions, on which `auditkit run` works without a model."""

from __future__ import annotations

import random

ROW_COUNT = 800
OPTIONS = {
    "dataset": "decisions.csv",
    "prediction": "approved",
    "target": "repaid",
    "sensitive": ["sex", "age"],
    "bins": {"age": "30,50"},
}
"""How these rows are audited, by option."""


def decisions_csv(seed: int = 0) -> str:
    """Return the rows as CSV text: applicants, who was approved, and who repaid. All of it is made up.

    Women have the same chance to repay as men and are approved less often, so that an audit has something to find.
    """
    rng = random.Random(seed)  # noqa: S311  # no secret
    lines = ["sex,age,region,income,approved,repaid"]
    for _ in range(ROW_COUNT):
        sex, age = rng.choice(["female", "male"]), rng.randint(20, 75)
        region, income = rng.choice(["north", "south", "west"]), round(rng.gauss(42, 11), 1)
        chance = min(max(0.55 + (income - 42) / 60, 0.02), 0.98)
        repaid = "yes" if rng.random() < chance else "no"
        approved = "yes" if chance + rng.gauss(0, 0.12) - 0.09 * (sex == "female") > 0.5 else "no"
        lines.append(f"{sex},{age},{region},{income},{approved},{repaid}")
    return "\n".join(lines) + "\n"
