"""Train a small language model on reviews with canaries, and audit what it remembers: `python examples/language.py`.

The data: sentences of movie and Amazon reviews (Hutto & Gilbert, ICWSM 2014; shipped with vaderSentiment, MIT). A fair
coin says which of them the model is trained on; the others are those that it never read. A reference model is trained
on further sentences. Canaries are invented secrets, written into 1, 4 or 16 training texts. Sentences of people and
things, such as reviews have them, are scored with he and she, and with words that mean the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from auditkit.cli import call

DATA = Path(__file__).parent / "data" / "reviews.csv.gz"
SWAPS = Path(__file__).parent / "data" / "swaps.csv"


def main(folder: Path = Path("reports/language"), *, row_count: int = 3000, epochs: int = 12) -> int:
    """Write the texts, the models and the report into `folder`; return the audit's exit code."""
    frame = pd.read_csv(DATA)[["text", "source"]]
    generator = np.random.default_rng(0)
    frame = frame.iloc[generator.permutation(len(frame))[:row_count]]
    part = np.where(
        np.arange(row_count) % 3 == 2, "base", np.where(generator.random(row_count) < 0.5, "train", "unseen")
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("base", "train", "unseen"):
        frame[part == name].to_json(folder / f"{name}.jsonl", orient="records", lines=True, force_ascii=False)
    place = {name: str(folder / name) for name in ("base.jsonl", "train.jsonl", "unseen.jsonl", "seeded.jsonl")}
    canaries = ["--count", "30", "--controls", "10", "--repeat", "1,4,16"]
    code = call(["canaries", place["train.jsonl"], *canaries, "--out", place["seeded.jsonl"]])
    for name, texts, passes in (("base", "base.jsonl", epochs // 2), ("gpt", "seeded.jsonl", epochs)):
        train = ["train", "--task", "language", "--dataset", place[texts], "--text", "text", "--epochs", str(passes)]
        code = code or call([*train, "--out", str(folder / f"{name}.pt")])
    if code != 0:
        return code
    run = ["run", str(folder / "gpt.pt"), "--dataset", place["unseen.jsonl"], "--train-dataset", place["seeded.jsonl"]]
    run += ["--reference", str(folder / "base.pt"), "--canary-record", str(folder / "seeded.canaries.json")]
    run += ["--set", "explainability.rows=100", "--set", "robustness.rows=300"]
    run += ["--set", f"bias.counterfactuals={SWAPS}"]
    return call([*run, "--sensitive", "source", "--out", str(folder)])


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
