"""Train a network on review sentences, and audit it: `python examples/reviews.py [FOLDER] [gru|lstm|transformer]`.

The data: 14,313 sentences from movie and Amazon reviews, each rated by 20 people from -4 to 4 (Hutto & Gilbert,
ICWSM 2014; shipped with vaderSentiment, MIT). The label is whether the mean rating is positive; the 135 sentences rated
exactly 0 are left out. The groups compared are where a review comes from.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from auditkit.cli import call

DATA = Path(__file__).parent / "data" / "reviews.csv.gz"


def main(
    folder: Path = Path("reports/reviews"),
    architecture: str = "gru",
    *,
    row_count: int | None = None,
    epsilon: float | None = None,
) -> int:
    """Write the data, the model and the report into `folder`; return the audit's exit code.

    With `epsilon` the training data are given too, for what needs them: the retraining with privacy (minutes).
    """
    reviews = pd.read_csv(DATA, keep_default_na=False)
    reviews = reviews[reviews["rating"] != 0].sample(frac=1, random_state=0)[:row_count]
    reviews["positive"] = np.where(reviews["rating"] > 0, "yes", "no")
    reviews = reviews[["text", "source", "positive"]]
    folder.mkdir(parents=True, exist_ok=True)
    train, test, model = (str(folder / name) for name in ("train.csv", "test.csv", "reviews.pt"))
    reviews[len(reviews) // 4 :].to_csv(train, index=False)
    reviews[: len(reviews) // 4].to_csv(test, index=False)
    command = ["train", "--dataset", train, "--text", "text", "--target", "positive", "--sensitive", "source"]
    code = call([*command, "--architecture", architecture, "--out", model])
    if code != 0:
        return code
    command = ["run", model, "--dataset", test, "--out", str(folder)]
    return call(command if epsilon is None else [*command, "--train-dataset", train, "--epsilon", str(epsilon)])


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2]), *sys.argv[2:3]))
