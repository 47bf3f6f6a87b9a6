"""100 million rows from a Parquet file, counted in chunks in constant memory: rows a second and peak memory.

The rows are those of the 48,842 people of UCI Adult, drawn with replacement. The file is written to a temporary
folder (some 200 MB) and counted by another process, whose peak memory is that of reading alone; the counts are
compared with those made while the file was written.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import SENSITIVE, people, write

from auditkit.stats.counts import Counts, tally

CHUNK = 2**20
READ = """
import json, sys, time
from pathlib import Path
from auditkit.data.stream import tally_parquet
def peak():  # of this process alone: ru_maxrss starts from the parent's
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmHWM"))
before = peak()
started, cpu = time.perf_counter(), time.process_time()
counts = tally_parquet(sys.argv[1], sys.argv[2].split(","), label="label", prediction="prediction")
print(json.dumps({"seconds": time.perf_counter() - started, "processor_seconds": time.process_time() - cpu,
    "before": before, "peak": peak(),
    "groups": counts.groups, "table": counts.table.tolist()}))
"""


def write_rows(path: Path, row_count: int) -> Counts:
    rows = people()
    columns = {name: rows[name].astype("category").cat for name in SENSITIVE}
    generator = np.random.default_rng(0)
    drawn = np.zeros(len(rows), dtype=np.int64)
    writer = None
    for start in range(0, row_count, CHUNK):
        chosen = generator.integers(0, len(rows), min(CHUNK, row_count - start))
        drawn += np.bincount(chosen, minlength=len(rows))
        table = pa.table(
            {
                **{
                    name: pa.DictionaryArray.from_arrays(
                        column.codes.to_numpy()[chosen].astype(np.int8), pa.array(column.categories.to_list())
                    )
                    for name, column in columns.items()
                },
                **{name: rows[name].to_numpy(np.uint8)[chosen] for name in ("label", "prediction")},
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema, compression="snappy")
        writer.write_table(table)
    assert writer is not None
    writer.close()
    # Every person counts as often as drawn: an oracle that never looks at the file.
    keys = list(zip(*(rows[name] for name in SENSITIVE), strict=True))
    names = tuple(sorted(set(keys)))
    position = {key: place for place, key in enumerate(names)}
    cells = np.zeros((len(names), 2, 2), dtype=np.int64)
    np.add.at(cells, ([position[key] for key in keys], rows["label"], rows["prediction"]), drawn)
    empty = tally(SENSITIVE, names, np.zeros(0, int), np.zeros(0, int), np.zeros(0, int), ("0", "1"))
    return empty + Counts(SENSITIVE, names, ("0", "1"), cells)


def measure(path: Path, row_count: int) -> dict[str, float]:
    started = time.perf_counter()
    expected = write_rows(path, row_count)
    print(f"{row_count:,} rows written in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    read = subprocess.run(
        [sys.executable, "-c", READ, str(path), ",".join(SENSITIVE)], capture_output=True, text=True, check=True
    )
    found = json.loads(read.stdout)
    assert tuple(map(tuple, found["groups"])) == expected.groups
    assert np.array_equal(found["table"], expected.table)
    return {
        "rows": row_count,
        "groups": len(expected.groups),
        "file_megabytes": round(path.stat().st_size / 1e6),
        "seconds": round(found["seconds"], 2),
        "processor_seconds": round(found["processor_seconds"], 2),
        "rows_per_second": round(row_count / found["seconds"]),
        "rows_per_processor_second": round(row_count / found["processor_seconds"]),
        "memory_before_megabytes": round(found["before"] / 1024),
        "peak_memory_megabytes": round(found["peak"] / 1024),
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        runs = [measure(Path(folder) / f"{count}.parquet", count) for count in (10_000_000, 100_000_000)]
    assert runs[1]["peak_memory_megabytes"] < 1.3 * runs[0]["peak_memory_megabytes"], "the memory grew with the rows"
    source = "48,842 people of UCI Adult, drawn with replacement"
    write("stream", {"columns": SENSITIVE, "source": source, "runs": runs})


if __name__ == "__main__":
    main()
