"""What all benchmarks share: people to audit, the machine's description, and where results go."""

from __future__ import annotations

import json
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

from auditkit.demo.census import write_census

RESULTS = Path(__file__).parent / "results"
SENSITIVE = ("sex", "race", "marital_status")
METRICS = ("selection_rate", "true_positive_rate", "false_positive_rate", "accuracy")


def people() -> pd.DataFrame:
    """Return the 48,842 people of UCI Adult: three sensitive columns, label, and the score of a quick model."""
    with tempfile.TemporaryDirectory() as folder:
        frame = pd.concat([pd.read_csv(path) for path in write_census(Path(folder))], ignore_index=True)
    label = (frame["income"] == frame["income"].max()).to_numpy().astype(np.uint8)
    inputs = frame[["age", "education_num", "hours_per_week", "capital_gain", "capital_loss"]].to_numpy(float)
    model = HistGradientBoostingClassifier(max_iter=40, random_state=0).fit(inputs, label)
    people = frame[list(SENSITIVE)].astype(str)
    people["label"], people["score"] = label, model.predict_proba(inputs)[:, 1]
    people["prediction"] = (people["score"] >= 0.5).astype(np.uint8)
    return people


def resampled(row_count: int, seed: int = 0) -> pd.DataFrame:
    """Return that many rows drawn with replacement from `people`, the sensitive columns as categories."""
    rows = people()
    for column in SENSITIVE:
        rows[column] = rows[column].astype("category")
    return rows.iloc[np.random.default_rng(seed).integers(0, len(rows), row_count)].reset_index(drop=True)


def best_of(times: int, call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the shortest processor time of several calls, in seconds, and what the last one returned.

    Processor time of one thread (OMP_NUM_THREADS=1), so that what else the machine does hardly matters.
    """
    shortest, result = float("inf"), None
    for _ in range(times):
        started = time.process_time()
        result = call()
        shortest = min(shortest, time.process_time() - started)
    return shortest, result


def write(name: str, numbers: dict[str, Any], folder: Path = RESULTS) -> None:
    """Write the numbers with the machine and the versions to `NAME.json` in a folder, and print them."""
    folder.mkdir(exist_ok=True)
    machine = {
        "processor": processor(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **{name: version(name) for name in ("auditkit", "numpy", "pandas", "fairlearn", "scikit-learn", "pyarrow")},
    }
    content = {"date": date.today().isoformat(), "machine": machine, **numbers}
    (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(numbers, indent=2))


def processor() -> str:
    """Return the processor's name and its number of cores."""
    import os

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"
