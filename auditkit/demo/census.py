"""The embedded census data: UCI Adult with its published split, as two CSV files."""

from __future__ import annotations

import csv
import gzip
import io
from importlib import resources
from pathlib import Path

SOURCE = (
    "UCI Adult (1994 census income): Becker & Kohavi 1996, UCI Machine Learning Repository, doi 10.24432/C5XW20, "
    "licence CC BY 4.0"
)
TARGET = "income"
SENSITIVE = ("sex", "race")
IMMUTABLE = ("age", "marital_status", "relationship", "native_country")


def write_census(folder: Path) -> tuple[Path, Path]:
    """Write `train.csv` (32,561 rows) and `test.csv` (16,281 rows) into `folder`, and return their paths."""
    packed = resources.files("auditkit.demo").joinpath("adult.csv.gz").read_bytes()
    rows = csv.reader(io.StringIO(gzip.decompress(packed).decode("utf-8")))
    header = next(rows)
    split = header.index("split")
    parts: dict[str, list[list[str]]] = {"train": [], "test": []}
    for row in rows:
        parts[row[split]].append(row[:split] + row[split + 1 :])
    paths = []
    for name, content in parts.items():
        path = folder / f"{name}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header[:split] + header[split + 1 :])
            writer.writerows(content)
        paths.append(path)
    return paths[0], paths[1]
