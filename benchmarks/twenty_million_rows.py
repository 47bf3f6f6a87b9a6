"""Audit a Parquet file of 20 million rows for fairness and performance; print rows a second and peak memory.

    python benchmarks/twenty_million_rows.py [--rows 20000000] [--model] [--folder DIR]

Writes the file first, in parts: a label, a decision, its score, two sensitive columns; with --model four features
instead, and a small network. The audit runs in a process of its own, whose peak resident memory is what counts.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

LIMIT_BYTES = 2 * 2**30
PART = 1_000_000


def write(path: Path, rows: int, *, model: bool) -> None:
    rng = np.random.default_rng(0)
    writer = None
    for start in range(0, rows, PART):
        count = min(PART, rows - start)
        sex = rng.integers(0, 2, count)
        region = rng.integers(0, 5, count)
        features = rng.normal(size=(count, 4)).astype(np.float32)
        score = 1 / (1 + np.exp(-(features[:, 0] + features[:, 1] - 0.3 * sex)))
        label = (rng.random(count) < score).astype(np.int8)
        columns = {
            "label": pa.array(np.array(["no", "yes"])[label]),
            "sex": pa.array(np.array(["F", "M"])[sex]),
            "region": pa.array(np.array(list("ABCDE"))[region]),
        }
        if model:
            columns |= {f"x{place}": pa.array(features[:, place]) for place in range(4)}
        else:
            columns |= {
                "score": pa.array(score.astype(np.float32)),
                "decision": pa.array((score > 0.5).astype(np.int8)),
            }
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def write_model(path: Path) -> None:
    from auditkit.models.architectures import build
    from auditkit.models.formats.native import save_model
    from auditkit.models.model import Card
    from auditkit.schema.infer import numeric_schema

    schema = numeric_schema([f"x{place}" for place in range(4)], target="label", classes=["no", "yes"])
    arguments = {"input_width": 4, "output_width": 2, "hidden": [16]}
    save_model(
        path, build("mlp", arguments), Card(schema=schema, architecture="mlp", arguments=arguments, name="small")
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--model", action="store_true")
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        data, out = Path(folder) / "rows.parquet", Path(folder) / "out"
        write(data, chosen.rows, model=chosen.model)
        command = [sys.executable, "-m", "auditkit", "run", "--dataset", str(data), "--target", "label"]
        command += ["--sensitive", "sex", "--sensitive", "region", "--only", "performance", "--only", "fairness"]
        if chosen.model:
            write_model(Path(folder) / "small.pt")
            command.append(str(Path(folder) / "small.pt"))
        else:
            command += ["--prediction", "decision", "--score", "score"]
        started = time.perf_counter()
        done = subprocess.run([*command, "--out", str(out), "--quiet"], check=False)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        parts = {}
        if (out / "results.json").exists():
            outcomes = json.loads((out / "results.json").read_text())["outcomes"]
            parts = {o["auditor"]: o["error"] or o["seconds"] for o in outcomes if o["seconds"] or o["error"]}
    print(
        json.dumps(
            {
                "rows": chosen.rows,
                "model": chosen.model,
                "exit_code": done.returncode,
                "seconds": round(seconds, 1),
                "rows_per_second": round(chosen.rows / seconds),
                "peak_mib": round(peak / 2**20),
                "within_2_gib": peak <= LIMIT_BYTES,
                "auditor_seconds": parts,
                "machine": f"{platform.machine()}, {platform.python_version()}",
            },
            indent=2,
        )
    )
    sys.exit(0 if peak <= LIMIT_BYTES and done.returncode in (0, 1) else 1)


if __name__ == "__main__":
    main()
