"""FACTS 13.8 and 12: small files that describe large things are refused in one line, before they take the memory."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from loans import Loans

import auditkit
from auditkit.budgets import CLASSES, ROWS, allow_large
from auditkit.cli import call
from auditkit.data.dataset import read_data
from auditkit.errors import DatasetError, InputError, out_of_memory
from auditkit.render.html.report import render_html


def keys(path: Path) -> None:
    """A new key a line: 95 kB took 1.5 GB, and quadratic time."""
    path.write_text("".join(json.dumps({f"k{number}": 1}) + "\n" for number in range(8000)))


def wide_keys(path: Path) -> None:
    path.write_text(json.dumps({f"k{number}": 1 for number in range(30_000)}) + "\n")


def constant_rows(path: Path) -> None:
    """200 million rows of one value: of numbers, 9.8 GB."""
    column = pa.nulls(5_000_000, pa.int8())
    with pq.ParquetWriter(path, pa.schema([("x", pa.int8())])) as writer:
        for _ in range(40):
            writer.write_table(pa.table({"x": column}))


def constant_cells(path: Path) -> None:
    column = pa.nulls(2_000_000, pa.int8())  # which take a third of the time of numbers to write
    pq.write_table(pa.table({f"c{number}": column for number in range(260)}), path)


def texts(path: Path) -> None:
    """Texts of which one is long: a file of 3.9 MB took 10.9 GB."""
    values = np.zeros(20_000, dtype="U5000")
    np.savez_compressed(path, x=values)


def rows_of_zeros(path: Path) -> None:
    np.savez_compressed(path, x=np.zeros(60_000_000, dtype=np.int8))


def gzip_of_columns(path: Path) -> None:
    path.write_bytes(gzip.compress((",".join(f"c{number}" for number in range(1_000_000)) + "\n").encode()))


def gzip_of_rows(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(60):
            file.write(b"x\n" * 1_000_000)


def gzip_of_zeros(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"a,b\n" + b"0" * 100_000_000)


SMALL_FILES = {
    "keys.jsonl": (keys, "cells for each character"),
    "wide.jsonl": (wide_keys, "columns, and auditkit reads"),
    "rows.parquet": (constant_rows, "200,000,000 rows"),
    "cells.parquet": (constant_cells, "cells"),
    "texts.npz": (texts, "times its size|bytes of text"),
    "zeros.npz": (rows_of_zeros, "times its size|rows"),
    "columns.csv.gz": (gzip_of_columns, "1,000,000 columns"),
    "rows.csv.gz": (gzip_of_rows, "rows|times its size"),
    "zeros.csv.gz": (gzip_of_zeros, "times its size"),
}


READ_EACH = """
import os, resource, sys
from auditkit.data.dataset import read_data
for path in sys.argv[1:]:
    if os.fork():
        os.wait()
        continue
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try: read_data(path)
    except Exception as error: print(type(error).__name__, error)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, flush=True)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, int]]:
    """Return each file's size, what reading it said, and the kilobytes that it took: each in a process of its own.

    They are forks of one process, which imports what all of them need.
    """
    folder = tmp_path_factory.mktemp("small")
    for name, (make, _) in SMALL_FILES.items():
        make(folder / name)
    paths = [folder / name for name in SMALL_FILES]
    command = [sys.executable, "-c", READ_EACH, *map(str, paths)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == 2 * len(paths), lines
    said, taken = lines[::2], map(int, lines[1::2])
    return {
        path.name: (path.stat().st_size, *one) for path, one in zip(paths, zip(said, taken, strict=True), strict=True)
    }


@pytest.mark.parametrize("name", SMALL_FILES)
def test_a_small_file_that_describes_much_is_one_line(name: str, refusals: dict[str, tuple[int, str, int]]) -> None:
    size, message, kilobytes = refusals[name]
    assert size < 8_000_000
    assert message.startswith("DatasetError dataset"), message
    assert any(part in message for part in SMALL_FILES[name][1].split("|")), message
    assert "--allow-large allows" in message
    assert kilobytes < 600_000, "memory grows with what is read, not with what is described"


def test_an_honest_file_of_any_shape_is_read(tmp_path: Path) -> None:
    rows = [{"a": number, "b": "x", **({"rare": 1} if number % 500 == 0 else {})} for number in range(3000)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_data(tmp_path / "a.jsonl").frame["rare"].notna().sum() == 6
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"a\n" + b"0\n" * 200_000))
    assert len(read_data(tmp_path / "b.csv.gz").frame) == 200_000
    np.savez_compressed(tmp_path / "c.npz", features=np.zeros((1000, 28, 28)), y=np.array(["a", "bb"] * 500))
    assert len(read_data(tmp_path / "c.npz").frame) == 1000


def test_what_is_allowed_is_read(tmp_path: Path) -> None:
    wide_keys(tmp_path / "w.jsonl")
    with pytest.raises(DatasetError, match="columns"):
        read_data(tmp_path / "w.jsonl")
    with allow_large():
        assert read_data(tmp_path / "w.jsonl").frame.shape == (1, 30_000)


def test_a_memory_that_is_really_full_costs_one_auditor(tmp_path: Path) -> None:
    """The limit of a process, not a made-up error: fairness asks for 64 GiB."""
    script = (
        "import resource, sys\n"
        "import numpy as np\n"
        "from auditkit.auditors.fairness.auditor import Fairness\n"
        "from auditkit.cli import call\n"
        "Fairness.audit = lambda self, subject: np.ones(2**33).sum()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))\n"
        "sys.exit(call(sys.argv[1:]))\n"
    )
    rows = pd.DataFrame({"p": [1, 0] * 100, "y": [1, 1, 0, 0] * 50, "g": ["a", "b", "b", "a"] * 50})
    rows.to_csv(tmp_path / "d.csv", index=False)
    command = ["run", "--dataset", str(tmp_path / "d.csv"), "--prediction", "p", "--target", "y", "--sensitive", "g"]
    command += ["--only", "fairness", "--only", "performance", "--out", str(tmp_path / "out"), "--quiet"]
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    report = auditkit.read_report(tmp_path / "out/results.json")
    assert [outcome.auditor for outcome in report.outcomes if (outcome.error or "").startswith("out of memory; ")] == [
        "fairness"
    ]
    assert report.measurement("performance.accuracy") is not None


def test_too_many_classes_are_refused_before_anything_is_predicted(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(CLASSES.usual + 1)]
    frame = pd.DataFrame({"made": names, "was": names})
    with pytest.raises(InputError, match=r"must have from 2 to 2,000 classes, got 2,001"):
        auditkit.audit(None, frame, prediction="made", target="was", only=["performance"])
    report = auditkit.audit(None, frame, prediction="made", target="was", only=["data"], allow_large=True)
    assert report.verdict != "error"


def test_many_classes_are_read_and_those_that_are_compared_are_counted() -> None:
    """2,000 classes took 127 s, a page of 7.4 MB and an interval that did not hold its value."""
    draws = np.random.default_rng(0)
    labels = [f"c{number:04d}" for number in range(1200)] * 2
    made = np.where(draws.random(2400) < 0.7, labels, draws.permutation(labels))
    sex = draws.choice(["f", "m"], 2400)
    frame = pd.DataFrame({"made": made, "was": labels, "sex": sex, "race": draws.choice(["a", "b"], 2400)})
    only = ["performance", "fairness"]
    report = auditkit.audit(None, frame, prediction="made", target="was", sensitive=["sex"], only=only)
    assert not [outcome.error for outcome in report.outcomes if outcome.error]
    gap = report.measurement("fairness.demographic_parity_difference", by=("sex",))
    assert gap is not None
    assert "the 100 most frequent of 1200 classes" in gap.definition
    notes = [str(note) for outcome in report.outcomes for note in outcome.notes]
    assert any("1,200 classes the 100 most frequent are compared" in note for note in notes)
    assert len(render_html(report)) < 5_000_000
    assert "NaN" not in report.model_dump_json()


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")],
)
def test_a_full_memory_is_one_line_and_the_other_auditors_keep_their_results(
    error: Exception, loans: Loans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from auditkit.auditors.fairness.auditor import Fairness

    def full(*_: object, **__: object) -> None:
        raise error

    assert out_of_memory(error)
    monkeypatch.setattr(Fairness, "audit", full)
    command = ["run", str(loans.model), "--dataset", str(loans.test), "--only", "fairness", "--only", "performance"]
    assert call([*command, "--out", str(tmp_path / "out"), "--quiet"]) == 3
    report = auditkit.read_report(tmp_path / "out/results.json")
    assert report.measurement("performance.accuracy") is not None
    assert any((outcome.error or "").startswith("out of memory; ") for outcome in report.outcomes)
    monkeypatch.setattr("auditkit.engine.audit.load", full)
    capsys.readouterr()
    assert call([*command, "--out", str(tmp_path / "out")]) == 3
    assert capsys.readouterr().err == (
        "auditkit: out of memory; audit fewer rows (--limit N), or leave auditors out (--skip AUDITOR).\n"
    )


@pytest.mark.parametrize("found", [10**400, float("inf"), float("nan")])
def test_a_number_of_any_length_is_compared_with_a_limit(found: float) -> None:
    """Found by `make fuzz`: a config.json of a layer count of 400 digits was a traceback."""
    with pytest.raises(InputError, match="and auditkit reads at most 50,000,000") as refused:
        ROWS.check(found, "model m")
    assert len(str(refused.value)) < 200
    ROWS.check(50_000_000, "model m")
