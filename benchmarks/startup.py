"""What a run costs beyond its audit: processor time until it ends, or until the first auditor starts, beside torch.

Each command runs in a process of its own, in turns with `python -c "import torch"`; the least of `ROUNDS` is taken.
The bytecode of auditkit's modules is kept, as in an installed package, whatever PYTHONDONTWRITEBYTECODE says here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from common import write

ROUNDS = 5
FIRST_AUDITOR = """
import os, sys, time
import auditkit

def progress(part, share, what):
    if part != "subject":
        print(time.process_time(), flush=True)
        os._exit(0)

auditkit.audit(sys.argv[1], sys.argv[2], progress=progress)
"""


def seconds(command: Sequence[str], folder: Path) -> float:
    """Return the processor time, in seconds, of a command in a process of its own; it may exit with any verdict."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = {**kept, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    _, status, used = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        raise SystemExit(f"{' '.join(command[:4])} ... failed: {child.stderr.read() if child.stderr else ''}")
    return used.ru_utime + used.ru_stime


def write_decisions(path: Path, row_count: int) -> None:
    draws = np.random.default_rng(0)
    score = draws.random(row_count)
    columns = {
        "sex": draws.choice(["F", "M"], row_count),
        "race": draws.choice(["A", "B", "C"], row_count),
        "score": score.round(4),
        "decision": (score >= 0.5).astype(int),
        "outcome": (draws.random(row_count) < score).astype(int),
    }
    pd.DataFrame(columns).to_csv(path, index=False)


def main() -> None:
    auditkit = [sys.executable, "-m", "auditkit"]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_decisions(folder / "decisions.csv", 500)
        rows = ["--dataset", "decisions.csv", "--target", "outcome"]
        trained = [*auditkit, "train", *rows, "--sensitive", "sex", "--out", "model.pt", "--quiet"]
        subprocess.run(trained, cwd=folder, check=True)
        people = ["--sensitive", "sex", "--sensitive", "race", "--quiet"]
        recorded = [*auditkit, "run", *rows, *people, "--prediction", "decision"]
        commands = {
            "import torch": lambda turn: [sys.executable, "-c", "import torch"],
            "import pandas, scipy.special, pydantic": lambda turn: [
                sys.executable,
                "-c",
                "import pandas, scipy.special, pydantic",
            ],
            "500 decisions": lambda turn: [*recorded, "--out", f"decisions-{turn}"],
            "500 decisions with scores": lambda turn: [*recorded, "--score", "score", "--out", f"scores-{turn}"],
            "a model, until the first auditor": lambda turn: [
                sys.executable,
                "-c",
                FIRST_AUDITOR,
                "model.pt",
                "decisions.csv",
            ],
        }
        least = dict.fromkeys(commands, float("inf"))
        for turn in range(ROUNDS):
            for name, command in commands.items():
                least[name] = min(least[name], seconds(command(turn), folder))
    torch = least["import torch"]
    write(
        "startup",
        {
            "processor seconds": {name: round(value, 3) for name, value in least.items()},
            "ratio to import torch": {name: round(value / torch, 2) for name, value in least.items()},
            "a model beyond import torch, seconds": round(least["a model, until the first auditor"] - torch, 3),
        },
    )


if __name__ == "__main__":
    main()
