"""Make synthetic census records, and audit them: `python examples/synthetic.py [FOLDER]`.

Each column is drawn from a decision tree of the columns before it (sequential CART, Reiter 2005; the method of the R
package synthpop): a new record falls into a leaf, and takes the value of a random training record of that leaf. Half of
UCI Adult's training split makes the generator; its test split is never seen.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from auditkit.cli import call
from auditkit.demo.census import write_census

LEAF = 50
"""The fewest training records of a leaf: the fewer, the better the records and the more they give away."""


def synthetic(training: pd.DataFrame, *, count: int, seed: int) -> pd.DataFrame:
    """Return `count` records drawn column by column."""
    rng = np.random.default_rng(seed)
    codes = pd.DataFrame({name: _codes(column) for name, column in training.items()})
    names = [str(name) for name in training.columns]
    first = rng.integers(len(training), size=count)
    drawn = {names[0]: codes[names[0]].to_numpy()[first]}
    sources = {names[0]: first}
    for at, name in enumerate(names[1:], start=1):
        numbers = pd.api.types.is_numeric_dtype(training[name])
        tree = (DecisionTreeRegressor if numbers else DecisionTreeClassifier)(min_samples_leaf=LEAF, random_state=seed)
        tree.fit(codes[names[:at]].to_numpy(), codes[name].to_numpy())
        leaf_of_training = tree.apply(codes[names[:at]].to_numpy())
        leaf_of_drawn = tree.apply(np.column_stack([drawn[before] for before in names[:at]]))
        source = np.empty(count, dtype=np.int64)
        for leaf in np.unique(leaf_of_drawn):
            rows = leaf_of_drawn == leaf
            source[rows] = rng.choice(np.flatnonzero(leaf_of_training == leaf), size=int(rows.sum()))
        sources[name], drawn[name] = source, codes[name].to_numpy()[source]
    return pd.DataFrame({name: training[name].to_numpy()[sources[name]] for name in names})


def _codes(column: pd.Series) -> np.ndarray:
    return column.to_numpy() if pd.api.types.is_numeric_dtype(column) else pd.factorize(column, sort=True)[0]


def main(folder: Path = Path("reports/adult-synthetic"), *, row_count: int = 8000) -> int:
    """Write the tables and the report into `folder`; return the audit's exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    train_file, test_file = write_census(folder)
    training = pd.read_csv(train_file).drop(columns="fnlwgt").sample(row_count, random_state=0)
    unseen = pd.read_csv(test_file).drop(columns="fnlwgt").sample(min(row_count, 16_000), random_state=0)
    files = {"train": training, "unseen": unseen, "synthetic": synthetic(training, count=row_count, seed=0)}
    paths = {name: folder / f"{name}.csv" for name in files}
    for name, frame in files.items():
        frame.to_csv(paths[name], index=False)
    command = ["run", "--samples", str(paths["synthetic"]), "--train-dataset", str(paths["train"])]
    command += ["--dataset", str(paths["unseen"]), "--target", "income", "--sensitive", "sex", "--sensitive", "race"]
    return call([*command, "--out", str(folder)])


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
